"""The retriever: dense, BM25 or hybrid search with an optional reranker, as measured and shipped.

The evaluator ranks held-out questions with this class, and the bundle answers with it, so that a
reported figure is that of what ships.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from threading import RLock
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from aloft.corpus.windows import cut_windows
from aloft.protocols import Embedder, Floats, Reranker
from aloft.records import Passage
from aloft.retrieval.bm25 import BM25Index
from aloft.retrieval.dense import DenseIndex
from aloft.retrieval.fusion import HALF, WHOLE, CoverageShare, blend, fuse
from aloft.retrieval.ranking import Ranking, pairs_of
from aloft.retrieval.vectors import VectorStore

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
        count: Passages retrieved where a call does not say how many.
    """

    retriever: RetrieverName = "hybrid"
    dense_share: CoverageShare = HALF
    rerank_depth: int = 20
    rerank_share: CoverageShare = WHOLE
    count: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredPassage:
    """A retrieved passage with the score it was ranked by."""

    passage: Passage
    score: float


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


class DenseRanker:
    """Ranks passages by an embedder; they are embedded when the first question comes.

    Args:
        passages: The corpus.
        embedder: Embeds questions and passages.
        window_tokens: Longest stretch of a passage that is embedded as one; None: as much as the
            embedder reads.
        vectors: Where the passages' vectors are kept.
    """

    def __init__(
        self,
        passages: Sequence[Passage],
        embedder: Embedder,
        window_tokens: int | None = None,
        vectors: VectorStore | None = None,
    ) -> None:
        self._passages = passages
        self._embedder = embedder
        self._window_tokens = window_tokens
        self._vectors = vectors or VectorStore()
        self._index: DenseIndex | None = None

    def rank(self, questions: Sequence[str], depth: int) -> Ranking:
        """Rank by cosine similarity of a passage's best window; equal ones in corpus order."""
        if self._index is None:
            self._index = index_passages(
                self._passages, self._embedder, self._window_tokens, self._vectors
            )
        return self._index.rank(self._embedder.encode_queries(list(questions)), depth)

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy in another process has embedded nothing yet."""
        given = (self._passages, self._embedder, self._window_tokens, self._vectors)
        return DenseRanker, given


def index_passages(
    passages: Sequence[Passage], embedder: Embedder, window_tokens: int | None, vectors: VectorStore
) -> DenseIndex:
    """Cut passages into windows that the embedder reads whole, and embed these."""
    windows = cut_windows(passages, embedder, window_tokens)

    def encode() -> Floats:
        return embedder.encode_passages(windows.texts)

    known = vectors.get("passages", embedder.fingerprint, windows.texts, encode)
    return DenseIndex(known, windows.starts)


class Bm25Ranker:
    """Ranks passages by BM25; they are indexed when the first question comes."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        self._passages = passages
        self._index: BM25Index | None = None

    @property
    def _indexed(self) -> BM25Index:
        if self._index is None:
            self._index = BM25Index(passage.content for passage in self._passages)
        return self._index

    def rank(self, questions: Sequence[str], depth: int) -> Ranking:
        """Rank by BM25; equal ones in corpus order."""
        return self._indexed.rank(list(questions), depth)

    def coverage(self, questions: Sequence[str], ranking: Ranking) -> NDArray[np.float64]:
        """How much of each question its first passages hold; see `BM25Index.coverage`."""
        return self._indexed.coverage(questions, ranking)

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy in another process has indexed nothing yet."""
        return Bm25Ranker, (self._passages,)


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
    """

    def __init__(
        self,
        settings: RetrievalSettings,
        passages: Sequence[Passage],
        dense: Ranker | None,
        reranker: Reranker | None = None,
        lexical: LexicalRanker | None = None,
    ) -> None:
        self.settings = settings
        self.passages = passages
        self._dense = dense
        self._reranker = reranker
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
            that it reordered.
        """
        with self._lock:
            by_coverage = self._weighs_by_coverage
            reads_words = self.settings.retriever != "dense" or by_coverage
            words = self._rank_by(self._lexical, questions, among) if reads_words else None
            covered = np.zeros(len(questions))  # all that a share for all questions needs
            if words is not None and by_coverage:
                covered = self._lexical.coverage(questions, words)
            first = self._rank_first(questions, among, words, covered)
            if self._reranker is None:
                return first
            top = first.top(rerank_depth or self.settings.rerank_depth)
            scores = self._reranker.score(pairs_of(top, questions, self.passages))
            return blend(top, scores, self.settings.rerank_share.of(covered))

    @property
    def _weighs_by_coverage(self) -> bool:
        """Whether a share that is used depends on what BM25 covers."""
        settings = self.settings
        in_hybrid = settings.retriever == "hybrid" and not settings.dense_share.is_constant
        return in_hybrid or (self._reranker is not None and not settings.rerank_share.is_constant)

    def retrieve(
        self,
        questions: Sequence[str],
        count: int | None = None,
        among: Collection[int] | None = None,
    ) -> list[list[ScoredPassage]]:
        """The best passages for each question, best first.

        Args:
            questions: One text each.
            count: Passages a question, at most; a reranker reorders at least as many. None: as
                the settings say.
            among: Columns of the passages that may be found; None: all.
        """
        if not len(self.passages) or not questions or (among is not None and not among):
            return [[] for _ in questions]
        depth = max(self.settings.rerank_depth, count or 0)
        top = self.rank(questions, among, depth).top(count or self.settings.count)
        return [
            [
                ScoredPassage(passage=self.passages[column], score=score)
                for column, score in zip(columns, scores, strict=True)
            ]
            for columns, scores in zip(top.columns.tolist(), top.scores.tolist(), strict=True)
        ]

    def _rank_first(
        self,
        questions: Sequence[str],
        among: Collection[int] | None,
        words: Ranking | None,
        covered: NDArray[np.float64],
    ) -> Ranking:
        """The ranking before a reranker; `words` is BM25's, where it is read."""
        if self.settings.retriever == "bm25" and words is not None:
            return words
        if self._dense is None:
            raise ValueError(f"A {self.settings.retriever} retriever needs a dense ranker.")
        dense = self._rank_by(self._dense, questions, among)
        if self.settings.retriever == "dense" or words is None:
            return dense
        return fuse(dense, words, FIRST_STAGE_DEPTH, self.settings.dense_share.of(covered))

    def _rank_by(
        self, ranker: Ranker, questions: Sequence[str], among: Collection[int] | None
    ) -> Ranking:
        if among is None:
            return ranker.rank(questions, FIRST_STAGE_DEPTH)
        return ranker.rank(questions, len(self.passages)).among(among).top(FIRST_STAGE_DEPTH)

    def __copy__(self) -> "Retriever":
        return self

    def __deepcopy__(self, _memo: dict[int, Any]) -> "Retriever":
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        given = (self.settings, self.passages, self._dense, self._reranker, self._lexical)
        return Retriever, given
