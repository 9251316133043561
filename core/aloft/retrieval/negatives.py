"""Mines hard negatives from a ranking of the whole corpus, with a verdict on each candidate.

A highly ranked passage may answer the question too; training on it as a negative would teach the
opposite of what is wanted. Guards examine the candidates from the best rank down. A candidate that
passes is a negative, a copy of the right passage is an additional positive, and one that may be
either is dropped.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice

from aloft.config import NegativesConfig
from aloft.errors import DataError
from aloft.prompts import answering
from aloft.protocols import Floats, Reader, Scorer
from aloft.records import Candidate, Negatives, QAPair
from aloft.retrieval.dense import read_rows
from aloft.retrieval.fusion import fuse
from aloft.retrieval.ranking import Ranking
from aloft.retrieval.searchable import SearchableCorpus
from aloft.text.normalising import fold
from aloft.text.overlap import Grams, shared_share, word_grams

COPY = "a copy of the positive"
_SHORTEST_TELLING_ANSWER = 4  # "3" or "yes" stands in passages that answer nothing
_LIKE_A_COPY = 0.15  # by what share of its score a copy may stand below the positive
_CACHED_TEXTS = 4096  # normalised texts of passages that several questions find
_SPARE = 2  # times as many candidates where a model may drop some of them afterwards


@dataclass(frozen=True, slots=True, kw_only=True)
class Judges:
    """Models that judge candidates, many at once.

    Attributes:
        score: A reranker, for the guard "reranker".
        read: Returns how likely the teacher finds answers, for the guard "reading".
    """

    score: Scorer | None = None
    read: Reader | None = None


def mine_negatives(
    pairs: Sequence[QAPair],
    queries: Floats,
    corpus: SearchableCorpus,
    config: NegativesConfig,
    judges: Judges = Judges(),
) -> Iterator[Negatives]:
    """Yield each question's best-ranked passages that are not likely to answer it too.

    The outcome of a pair does not depend on the other pairs, so that any partition of them may be
    mined by itself.

    Args:
        pairs: The questions, one per row of `queries`.
        queries: Unit vectors of the questions; (pairs, dimensions).
        corpus: The whole corpus, passages without questions included: they are retrieved too. Its
            BM25 index is used only where `config.retriever` says so.
        config: How many negatives to keep, how deep to look, and which guards examine candidates.
        judges: The models that guards ask.

    Returns:
        For each pair, in order, all candidates that were examined until `config.count` of them were
        negatives. There are fewer where too few qualify: padding would teach the model noise.

    Raises:
        DataError: pairs and vectors do not match, a pair's passage is not in the corpus, or a guard
            needs a model that is not in `judges`.

    Source: step 4 of ALoFTRAG (arXiv:2501.11929); the margin is TopK-PercPos in NV-Retriever
    (arXiv:2407.15831).
    """
    if len(pairs) != len(queries):
        raise DataError(f"{len(pairs)} pairs, but {len(queries)} vectors of questions.")
    for guard, model, judge in (
        ("reranker", "reranker", judges.score),
        ("reading", "teacher that returns token probabilities", judges.read),
    ):
        if guard in config.guards and judge is None:
            raise DataError(f'negatives.guards includes "{guard}", but no {model} is configured.')
    for pair in pairs:
        _own_rows(pair, corpus)
    return _Miner(corpus, config, judges).mine(pairs, queries)


def _own_rows(pair: QAPair, corpus: SearchableCorpus) -> list[int]:
    try:
        return corpus.by_id.rows(pair.passage_ids)
    except KeyError as error:
        raise DataError(
            f"Passage {error.args[0]} of a pair is not in the corpus. Write the pairs again."
        ) from None


class _Miner:
    """Looks candidates up in a corpus and judges them."""

    def __init__(self, corpus: SearchableCorpus, config: NegativesConfig, judges: Judges) -> None:
        self._corpus = corpus
        self._config = config
        self._score = judges.score if "reranker" in config.guards else None
        self._read = judges.read if "reading" in config.guards else None
        self._folded = lru_cache(_CACHED_TEXTS)(lambda row: fold(corpus.passages[row].content))

    def mine(self, pairs: Sequence[QAPair], queries: Floats) -> Iterator[Negatives]:
        """Yield the verdicts of each pair, block by block."""
        most = max((len(pair.passage_ids) for pair in pairs), default=1)
        start = 0
        for dense in self._corpus.dense.rank_blocks(queries, self._config.depth + most):
            block = pairs[start : start + len(dense.columns)]
            vectors = read_rows(queries, start, start + len(block))
            start += len(block)
            yield from self._mine_block(block, vectors, dense)

    def _mine_block(
        self, pairs: Sequence[QAPair], queries: Floats, dense: Ranking
    ) -> Iterator[Negatives]:
        rankings = self._pool(pairs, queries, dense)
        mined = [
            self._examine(pair, query, ranking)
            for pair, query, ranking in zip(pairs, queries, rankings, strict=True)
        ]
        if self._score is not None:
            mined = self._drop_by_reranker(pairs, mined, self._score)
        if self._read is not None:
            mined = self._drop_by_reading(pairs, mined, self._read)
        return (_cut(record, self._config.count) for record in mined)

    def _pool(self, pairs: Sequence[QAPair], queries: Floats, dense: Ranking) -> Iterator[Ranking]:
        """Yield the candidates of each question, best first, each with its dense score."""
        retriever, depth = self._config.retriever, dense.columns.shape[1]
        lexical = None
        if retriever != "dense":
            lexical = self._corpus.lexical.rank([pair.question for pair in pairs], depth)
        for i, (pair, query) in enumerate(zip(pairs, queries, strict=True)):
            depth = self._config.depth + len(pair.passage_ids)
            ranking = dense.of([i]).top(depth)
            if lexical is not None:
                by_words = lexical.of([i]).top(depth)
                pooled = by_words if retriever == "bm25" else fuse(ranking, by_words, depth)
                scores = self._corpus.dense.score(query, pooled.columns[0].tolist())
                ranking = Ranking(columns=pooled.columns, scores=scores[None, :])
            yield ranking

    def _examine(self, pair: QAPair, query: Floats, ranking: Ranking) -> Negatives:
        """Judge candidates from the best rank down, until there are enough negatives."""
        own = _own_rows(pair, self._corpus)
        positive = float(self._corpus.dense.score(query, own).min())
        asks_models = self._score is not None or self._read is not None
        wanted = self._config.count * (_SPARE if asks_models else 1)
        answer = fold(pair.answer).strip(" .")
        own_grams = [word_grams(self._corpus.passages[row].content) for row in own]
        candidates = []
        ranks = zip(ranking.columns[0].tolist(), ranking.scores[0].tolist(), strict=True)
        for rank, (row, score) in enumerate(ranks, start=1):
            if row in own or rank <= self._config.skip:
                continue
            reason = self._doubt(row, score, own_grams, positive, answer)
            candidates.append(
                Candidate(
                    passage_id=self._corpus.by_id.id(row),
                    rank=rank,
                    score=round(score, 4),
                    verdict="positive" if reason == COPY else "dropped" if reason else "negative",
                    reason=reason,
                )
            )
            wanted -= not reason
            if not wanted:
                break
        return Negatives(pair_id=pair.id, score=round(positive, 4), candidates=tuple(candidates))

    def _doubt(
        self, row: int, score: float, own: Sequence[Grams], positive: float, answer: str
    ) -> str:
        """Return why a candidate is not a negative; "" where no guard objects."""
        guards = self._config.guards
        if "copy" in guards and score >= positive - _LIKE_A_COPY * abs(positive):
            grams = word_grams(self._corpus.passages[row].content)
            if any(shared_share(one, grams) >= self._config.copy_threshold for one in own):
                return COPY
        is_telling = "answer" in guards and len(answer) >= _SHORTEST_TELLING_ANSWER
        if is_telling and answer in self._folded(row):
            return "holds the answer"
        if "margin" in guards and score > positive - self._config.margin * abs(positive):
            return "scores like the positive"
        return ""

    def _drop_by_reranker(
        self, pairs: Sequence[QAPair], mined: Sequence[Negatives], score: Scorer
    ) -> list[Negatives]:
        """Drop candidates that a reranker scores as high as the positive."""
        asked = [
            (pair.question, self._corpus.by_id[passage_id].embedded)
            for pair, record in zip(pairs, mined, strict=True)
            for passage_id in (*pair.passage_ids, *record.passage_ids)
        ]
        scores = iter(score(asked).tolist())
        outcomes = []
        for pair, record in zip(pairs, mined, strict=True):
            positive = min(islice(scores, len(pair.passage_ids)))
            is_dropped = [value >= positive for value in islice(scores, len(record.passage_ids))]
            outcomes.append(_drop(record, is_dropped, "reranks like the positive"))
        return outcomes

    def _drop_by_reading(
        self, pairs: Sequence[QAPair], mined: Sequence[Negatives], read: Reader
    ) -> list[Negatives]:
        """Drop candidates that make the answer as likely, to the teacher, as the positive does."""
        prompts, replies = [], []
        for pair, record in zip(pairs, mined, strict=True):
            shown = [[self._content(i) for i in pair.passage_ids]]
            shown += [[self._content(i)] for i in record.passage_ids]
            prompts += [answering.render(pair.question, contents) for contents in shown]
            replies += [answering.reply_of(pair.answer)] * len(shown)
        likelihoods = iter(read(prompts, replies).tolist())
        outcomes = []
        for record in mined:
            positive = next(likelihoods)
            is_dropped = [
                value >= positive for value in islice(likelihoods, len(record.passage_ids))
            ]
            outcomes.append(_drop(record, is_dropped, "tells the answer as well"))
        return outcomes

    def _content(self, passage_id: str) -> str:
        return self._corpus.by_id[passage_id].content


def _drop(mined: Negatives, is_dropped: Sequence[bool], reason: str) -> Negatives:
    """Return the record with some of its negatives dropped."""
    dropped = {i for i, drop in zip(mined.passage_ids, is_dropped, strict=True) if drop}
    candidates = tuple(
        replace(found, verdict="dropped", reason=reason) if found.passage_id in dropped else found
        for found in mined.candidates
    )
    return replace(mined, candidates=candidates)


def _cut(mined: Negatives, count: int) -> Negatives:
    """Return the record up to the last negative that is wanted."""
    verdicts = [found.verdict for found in mined.candidates]
    negatives = [place for place, verdict in enumerate(verdicts) if verdict == "negative"]
    if len(negatives) < count:
        return mined
    return replace(mined, candidates=mined.candidates[: negatives[count - 1] + 1])
