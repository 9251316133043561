"""The retriever: dense, BM25 or hybrid search with an optional reranker, as measured and shipped.

The evaluator ranks held-out questions with this class, and the bundle answers with it, so that a
reported figure is that of what ships.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import RLock
from typing import Any, Generic, Literal, Protocol, TypeVar
from weakref import WeakKeyDictionary, WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from aloft.corpus.windows import cut_windows
from aloft.errors import DataError
from aloft.protocols import Embedder, Floats, Reranker
from aloft.records import Passage, cache_key, content_id, content_id_of
from aloft.retrieval.approximate import index_for_search
from aloft.retrieval.bm25 import BM25Index, open_bm25
from aloft.retrieval.dense import DenseIndex
from aloft.retrieval.fusion import HALF, WHOLE, CoverageShare, blend, fuse
from aloft.retrieval.index_store import IndexStore
from aloft.retrieval.ranking import Ranking, followed_by, pairs_of
from aloft.retrieval.relevance import EMBEDDED, LEXICAL, UNRELATED, Relevance, overlap, standardise

FIRST_STAGE_DEPTH = 100  # ranks that are fused
RetrieverName = Literal["dense", "bm25", "hybrid"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrievalSettings:
    """How passages are retrieved.

    Attributes:
        retriever: What ranks first.
        dense_share: Share of the dense score in a hybrid.
        rerank_depth: Ranks that the reranker reorders, where there is a reranker.
        rerank_share: Share of the reranker's score in their new order.
        late_depth: Ranks that late interaction reorders before the reranker reads the first of
            them; 0: none.
        late_share: Share of late interaction's score in their new order.
        count: Passages retrieved where a call does not say how many.
        relevance: What the scores of retrieved passages are computed by; None: the default.
    """

    retriever: RetrieverName = "hybrid"
    dense_share: CoverageShare = HALF
    rerank_depth: int = 20
    rerank_share: CoverageShare = WHOLE
    late_depth: int = 0
    late_share: CoverageShare = WHOLE
    count: int = 10
    relevance: Relevance | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredPassage:
    """A retrieved passage with its score.

    Attributes:
        score: The probability that it answers the question; see `aloft.retrieval.relevance`.
        column: Its place in the corpus of the retriever; -1: it was retrieved elsewhere.
    """

    passage: Passage
    score: float
    column: int = field(default=-1, compare=False)


class Ranker(Protocol):
    """Ranks a fixed corpus for questions."""

    def rank(self, questions: Sequence[str], depth: int) -> Ranking:
        """Passage columns, best first; (questions, min(depth, passages))."""
        ...


class LexicalRanker(Ranker, Protocol):
    """Ranks by words, and knows how much of a question they cover."""

    def coverage(self, questions: Sequence[str], ranking: Ranking) -> NDArray[np.float64]:
        """How much of each question its first passages hold, in [0, 1]; (questions,)."""
        ...


IndexT = TypeVar("IndexT")


class _LiveIndexes(Generic[IndexT]):
    """Indexes that rankers hold at present, so that equal ones are built once."""

    def __init__(self) -> None:
        self._known: WeakValueDictionary[str, IndexT] = WeakValueDictionary()
        self._lock = RLock()

    def get(self, key: str, build: Callable[[], IndexT]) -> IndexT:
        """The index of a key, built unless one of that key lives."""
        found = self._known.get(key)
        if found is None:
            with self._lock:
                found = self._known.get(key)
                if found is None:
                    found = self._known[key] = build()
        return found


class _LiveVectors:
    """Vectors of the texts of live indexes: of a corpus that grows the new texts are embedded."""

    def __init__(self) -> None:
        self._rows: WeakKeyDictionary[DenseIndex, tuple[str, dict[str, int]]] = WeakKeyDictionary()

    def add(self, index: DenseIndex, embedder: Embedder, texts: Iterable[str]) -> None:
        """Know an index by the texts of its rows."""
        rows = {content_id(text): row for row, text in enumerate(texts)}
        self._rows[index] = embedder.fingerprint, rows

    def encode(self, embedder: Embedder, texts: Sequence[str]) -> Floats:
        """Vectors of texts, of which only those are embedded that no index has."""
        keys = [content_id(text) for text in texts]
        known: dict[str, Floats] = {}
        for index, (fingerprint, rows) in list(self._rows.items()):
            if fingerprint == embedder.fingerprint:
                known |= {key: index.vectors[rows[key]] for key in keys if key in rows}
        new = [text for text, key in zip(texts, keys, strict=True) if key not in known]
        if not known:
            return embedder.encode_passages(new)
        made = iter(embedder.encode_passages(new) if new else ())
        return np.stack([known[key] if key in known else next(made) for key in keys])


_DENSE: _LiveIndexes[DenseIndex] = _LiveIndexes()
_EMBEDDED = _LiveVectors()  # by the indexes of `_DENSE`
_LEXICAL: _LiveIndexes[BM25Index] = _LiveIndexes()
_KEPT = IndexStore()  # vectors of the few unrelated texts, for each embedder


class DenseRanker:
    """Ranks passages by an embedder; they are embedded when the first question comes.

    Rankers of the same passages by the same model share vectors that are kept nowhere else, for as
    long as one of them lives; of passages that another one has embedded in part, the others are.

    Args:
        passages: The corpus.
        embedder: Embeds questions and passages.
        window_tokens: Longest stretch of a passage that is embedded as one; None: as much as the
            embedder reads.
        vectors: Where the passages' vectors are kept; None: in memory.
        earlier: What has embedded some of them; it is kept until all are.
    """

    def __init__(
        self,
        passages: Sequence[Passage],
        embedder: Embedder,
        window_tokens: int | None = None,
        vectors: IndexStore | None = None,
        earlier: object = None,
    ) -> None:
        self._passages = passages
        self._embedder = embedder
        self._window_tokens = window_tokens
        self._vectors = vectors
        self._earlier = earlier
        self._index: DenseIndex | None = None
        self._unrelated: Floats | None = None

    def rank(self, questions: Sequence[str], depth: int) -> Ranking:
        """Rank by cosine similarity of a passage's best window; equal ones in corpus order."""
        return self.search(self.encode(questions), depth)

    @property
    def index(self) -> DenseIndex:
        """The passages' vectors."""
        if self._index is None:
            given = (self._passages, self._embedder, self._window_tokens)
            if self._vectors is None:
                texts = content_id_of(passage.embedded for passage in self._passages)
                key = cache_key(self._embedder.fingerprint, self._window_tokens, texts)
                self._index = _DENSE.get(key, lambda: _index_in_memory(*given))
            else:
                self._index = index_passages(*given, self._vectors)
            self._earlier = None
        return self._index

    def encode(self, questions: Sequence[str]) -> Floats:
        """Vectors of questions; (questions, dimensions)."""
        return self._embedder.encode_queries(list(questions))

    def search(self, vectors: Floats, depth: int) -> Ranking:
        """Rank by vectors in place of questions.

        Args:
            vectors: (questions, dimensions), rows of unit length.
            depth: Ranks to keep, at most the number of passages.

        Raises:
            DataError: passages have vectors of another dimension.
        """
        dimensions = self.index.vectors.shape[1]
        if vectors.shape[1] != dimensions:
            raise DataError(
                f"The question has a vector of {vectors.shape[1]} dimensions, but passages have "
                f"{dimensions}. Embed it by the same model."
            )
        return self.index.rank(vectors, depth)

    @property
    def unrelated(self) -> Floats:
        """Vectors of `aloft.retrieval.relevance.UNRELATED`; (texts, dimensions)."""
        if self._unrelated is None:
            store, key = self._vectors or _KEPT, self._embedder.fingerprint
            texts = list(UNRELATED)
            self._unrelated = store.get(
                "unrelated", key, texts, lambda: self._embedder.encode_passages(texts)
            )
        return self._unrelated

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy in another process has embedded nothing yet."""
        given = (self._passages, self._embedder, self._window_tokens, self._vectors)
        return DenseRanker, given


def index_passages(
    passages: Sequence[Passage], embedder: Embedder, window_tokens: int | None, vectors: IndexStore
) -> DenseIndex:
    """Cut passages into windows that the embedder reads whole, and embed these."""
    windows = cut_windows(passages, embedder, window_tokens, vectors.get_table)

    def encode() -> Floats:
        return embedder.encode_passages(windows.texts)

    known = vectors.get("passages", embedder.fingerprint, windows.texts, encode)
    return index_for_search(known, windows.starts, vectors)


def _index_in_memory(
    passages: Sequence[Passage], embedder: Embedder, window_tokens: int | None
) -> DenseIndex:
    """The same for passages whose vectors are kept nowhere."""
    store = IndexStore()
    windows = cut_windows(passages, embedder, window_tokens, store.get_table)
    vectors = _EMBEDDED.encode(embedder, windows.texts)
    index = index_for_search(vectors, windows.starts, store)
    _EMBEDDED.add(index, embedder, windows.texts)
    return index


class Bm25Ranker:
    """Ranks passages by BM25; they are indexed when the first question comes.

    Rankers of the same passages share the index, for as long as one lives.

    Args:
        passages: The corpus.
        store: Where the index is kept; None: in temporary files.
    """

    def __init__(self, passages: Sequence[Passage], store: IndexStore | None = None) -> None:
        self._passages = passages
        self._store = store or IndexStore()
        self._index: BM25Index | None = None

    @property
    def _indexed(self) -> BM25Index:
        if self._index is None:
            key = content_id_of(passage.embedded for passage in self._passages)
            self._index = _LEXICAL.get(key, lambda: open_bm25(self._passages, self._store, key))
        return self._index

    def rank(self, questions: Sequence[str], depth: int) -> Ranking:
        """Rank by BM25; equal ones in corpus order."""
        return self._indexed.rank(list(questions), depth)

    def coverage(self, questions: Sequence[str], ranking: Ranking) -> NDArray[np.float64]:
        """How much of each question its first passages hold; see `BM25Index.coverage`."""
        return self._indexed.coverage(questions, ranking)

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy in another process has indexed nothing yet."""
        return Bm25Ranker, (self._passages, self._store)


@dataclass(frozen=True, slots=True)
class _Ranked:
    """A ranking, and the reranker's own scores of what it reordered."""

    ranking: Ranking
    before: Ranking | None = None
    scores: Floats | None = None  # of `pairs_of(before, ...)`

    def reranked(self, row: int) -> dict[int, float]:
        """The reranker's score of each passage of a question; none without a reranker."""
        if self.before is None or self.scores is None:
            return {}
        table = np.asarray(self.scores).reshape(self.before.columns.shape)
        return dict(zip(self.before.columns[row].tolist(), table[row].tolist(), strict=True))


class Retriever:
    """Retrieves passages for questions; thread-safe, one call at a time.

    A copy is the same object: it holds nothing that a call changes. What another process unpickles
    has embedded and indexed nothing yet.

    Args:
        settings: How to retrieve.
        passages: The corpus.
        dense: Ranks it by vectors; unused, and may be None, for "bm25".
        lexical: Ranks it by words; None: BM25 over the passages, where the settings ask for it.
        reranker: Reorders the first ranks; None: they stay.
        late: Late interaction, which reorders more of them before the reranker does; None: it does
            not.
    """

    def __init__(
        self,
        settings: RetrievalSettings,
        passages: Sequence[Passage],
        dense: Ranker | None,
        reranker: Reranker | None = None,
        lexical: LexicalRanker | None = None,
        late: Reranker | None = None,
    ) -> None:
        self.settings = settings
        self.passages = passages
        self._dense = dense
        self._reranker = reranker
        self._late = late
        self._lexical = lexical or Bm25Ranker(passages)
        self._lock = RLock()

    def rank(
        self,
        questions: Sequence[str],
        among: Collection[int] | None = None,
        rerank_depth: int | None = None,
    ) -> Ranking:
        """Rank passages for each question.

        Args:
            questions: One text each.
            among: Columns of the passages that may be found; None: all.
            rerank_depth: Ranks that the reranker reorders; None: as the settings say.

        Returns:
            Passage columns, best first, at most 100 a question; with a reranker, only the ranks
            that were reordered.
        """
        depth = rerank_depth or self.settings.rerank_depth
        with self._lock:
            return self._rank(questions, among, depth, 0, None).ranking

    def _rank(
        self,
        questions: Sequence[str],
        among: Collection[int] | None,
        rerank_depth: int,
        count: int,
        vectors: Floats | None,
    ) -> _Ranked:
        ranks = max(FIRST_STAGE_DEPTH, count)
        by_coverage = self._weighs_by_coverage
        words = None
        if self.settings.retriever != "dense" or by_coverage:
            words = self._first(lambda depth: self._lexical.rank(questions, depth), ranks, among)
        covered = np.zeros(len(questions))  # all that a share for all questions needs
        if words is not None and by_coverage:
            covered = self._lexical.coverage(questions, words)
        first = words
        if self.settings.retriever != "bm25" or first is None:
            first = self._first(
                lambda depth: self._rank_dense(questions, depth, vectors), ranks, among
            )
        if self.settings.retriever == "hybrid" and words is not None:
            shares = self.settings.dense_share.of(covered)
            first = fuse(first, words, ranks, shares)
        if self._reranker is None:
            return _Ranked(first)
        others = first.top(0)
        if self._late is not None:
            first = first.top(max(self.settings.late_depth, rerank_depth))
            scores = self._late.score(pairs_of(first, questions, self.passages))
            first = blend(first, scores, self.settings.late_share.of(covered))
            others = first.below(rerank_depth)
        top = first.top(rerank_depth)
        scores = self._reranker.score(pairs_of(top, questions, self.passages))
        best = blend(top, scores, self.settings.rerank_share.of(covered))
        return _Ranked(followed_by(best, others), top, scores)

    @property
    def _weighs_by_coverage(self) -> bool:
        """Whether a share that is used depends on what BM25 covers."""
        settings, shares = self.settings, list[CoverageShare]()
        shares += [settings.dense_share] if settings.retriever == "hybrid" else []
        shares += [settings.rerank_share] if self._reranker is not None else []
        shares += [settings.late_share] if self._late is not None else []
        return not all(share.is_constant for share in shares)

    def retrieve(
        self,
        questions: Sequence[str],
        count: int | None = None,
        among: Collection[int] | None = None,
        vectors: Floats | None = None,
    ) -> list[list[ScoredPassage]]:
        """The best passages for each question, best first.

        Args:
            questions: One text each.
            count: Passages a question, at most; a reranker reorders at least as many. None: as
                the settings say.
            among: Columns of the passages that may be found; None: all.
            vectors: What passages are compared with in place of the embedded questions;
                (questions, dimensions), rows of unit length.

        Raises:
            DataError: passages have vectors of another dimension, or none.
        """
        if vectors is not None and self.settings.retriever == "bm25":
            raise DataError("BM25 alone is retrieved by, which reads text. Pass no vector.")
        if not len(self.passages) or not questions or (among is not None and not among):
            return [[] for _ in questions]
        depth = max(self.settings.rerank_depth, count or 0)
        count = count or self.settings.count
        with self._lock:
            dense = self._dense if isinstance(self._dense, DenseRanker) else None
            if dense is not None and vectors is None and self.settings.retriever != "bm25":
                vectors = dense.encode(questions)
            ranked = self._rank(questions, among, depth, count, vectors)
            asked = [None] * len(questions) if vectors is None else list(vectors)
            return [
                self._score(question, vector, columns, ranked.reranked(row))
                for row, (question, vector, columns) in enumerate(
                    zip(questions, asked, ranked.ranking.top(count).columns.tolist(), strict=True)
                )
            ]

    def _score(
        self,
        question: str,
        vector: Floats | None,
        columns: Sequence[int],
        reranked: Mapping[int, float],
    ) -> list[ScoredPassage]:
        """Passages with the probability that each of them answers the question."""
        passages = [self.passages[column] for column in columns]
        features = np.zeros((len(columns), 3))
        relevance = LEXICAL
        if vector is not None and isinstance(self._dense, DenseRanker):
            relevance = EMBEDDED
            index, query = self._dense.index, np.asarray(vector, np.float64)
            found = np.asarray(index.vectors[index.best_windows(vector, columns)], np.float64)
            features[:, 0] = standardise(found @ query, self._dense.unrelated @ query)
        features[:, 1] = overlap(question, [passage.embedded for passage in passages])
        relevance = self.settings.relevance or relevance
        if relevance.reranker:
            features[:, 2] = [reranked.get(column, 0.0) for column in columns]
        scores = relevance.probabilities(features).tolist()
        return [
            ScoredPassage(passage=passage, score=score, column=column)
            for passage, score, column in zip(passages, scores, columns, strict=True)
        ]

    def _rank_dense(self, questions: Sequence[str], depth: int, vectors: Floats | None) -> Ranking:
        if self._dense is None:
            raise ValueError(f"A {self.settings.retriever} retriever needs a dense ranker.")
        if vectors is not None and isinstance(self._dense, DenseRanker):
            return self._dense.search(vectors, depth)
        return self._dense.rank(questions, depth)

    def _first(
        self, rank: Callable[[int], Ranking], ranks: int, among: Collection[int] | None
    ) -> Ranking:
        """The first ranks among some passages; `rank` ranks as many of all as it is given."""
        if among is None:
            return rank(ranks)
        return rank(len(self.passages)).among(among).top(ranks)

    def __copy__(self) -> "Retriever":
        return self

    def __deepcopy__(self, _memo: dict[int, Any]) -> "Retriever":
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        ranks = (self._dense, self._reranker, self._lexical, self._late)
        return Retriever, (self.settings, self.passages, *ranks)
