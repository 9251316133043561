"""Turns pairs and a ranking of all passages into hard negatives, with a verdict on each candidate.

A passage that ranks high may answer the question too: trained on as a negative, it teaches the
contrary of what is wanted. Guards look at each candidate, from the best down; what they let through
is a negative, a copy of the right passage is a further positive, and what may be either is dropped.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from aloft.config import NegativesConfig
from aloft.errors import DataError
from aloft.prompts import answering
from aloft.protocols import Floats, Reader, Scorer
from aloft.records import Candidate, Negatives, Passage, QAPair
from aloft.retrieval.bm25 import BM25Index
from aloft.retrieval.dense import DenseIndex, read_rows
from aloft.retrieval.fusion import fuse
from aloft.retrieval.ranking import Ranking
from aloft.text.overlap import fold, shared_share

COPY = "a copy of the positive"
_SHORTEST_TELLING_ANSWER = 4  # "3" or "yes" stands in passages that answer nothing
_LIKE_A_COPY = 0.15  # by what share of its score a copy may stand below the positive
_KEPT_TEXTS = 20_000  # passages whose folded text is remembered
_SPARE = 2  # times as many candidates, where a model may drop some of them afterwards


@dataclass(frozen=True, slots=True, kw_only=True)
class Judges:
    """Models that can be asked about candidates, many at once.

    Attributes:
        score: A reranker; the guard "reranker" asks it.
        read: How likely the teacher finds answers; the guard "reading" asks it.
    """

    score: Scorer | None = None
    read: Reader | None = None


def mine_negatives(
    pairs: Sequence[QAPair],
    passages: Sequence[Passage],
    query_vectors: Floats,
    index: DenseIndex,
    config: NegativesConfig,
    judges: Judges = Judges(),
) -> Iterator[Negatives]:
    """Pick each question's best-ranked passages that are not likely to answer it too.

    Args:
        pairs: The questions, one per row of `query_vectors`.
        passages: The whole corpus: what is never asked about is met at retrieval all the same.
        query_vectors: (pairs, dimensions), rows of length one.
        index: Vectors of the corpus.
        config: How many to keep, how deep to look, and by which guards.
        judges: Whom guards ask.

    Returns:
        Per pair, in order, all candidates that were looked at until `config.count` of them were
        negatives. There are fewer where too few qualify: padding would teach the model noise.

    Raises:
        DataError: vectors and records do not match, a pair's passage is not in the corpus, or
            nobody was given for a guard to ask.

    Source: step 4 of ALoFTRAG (arXiv:2501.11929); the margin is TopK-PercPos in NV-Retriever
    (arXiv:2407.15831).
    """
    if (len(pairs), len(passages)) != (len(query_vectors), len(index)):
        raise DataError(
            f"{len(pairs)} pairs and {len(passages)} passages, but {len(query_vectors)} and "
            f"{len(index)} vectors."
        )
    for guard, asked in (("reranker", judges.score), ("reading", judges.read)):
        if guard in config.guards and asked is None:
            raise DataError(f'Nobody is given for the guard "{guard}" to ask. Leave it out.')
    miner = _Miner(passages, index, config, judges)
    needed = (passage_id for pair in pairs for passage_id in pair.passage_ids)
    missing = next((one for one in needed if one not in miner.columns), None)
    if missing is not None:
        raise DataError(f"Passage {missing} of a pair is not in the corpus. Run pairs again.")
    return miner.mine(pairs, query_vectors)


class _Miner:
    """The corpus, and who judges a candidate of it."""

    def __init__(
        self,
        passages: Sequence[Passage],
        index: DenseIndex,
        config: NegativesConfig,
        judges: Judges,
    ) -> None:
        self.columns = {passage.id: column for column, passage in enumerate(passages)}
        self._passages = passages
        self._index = index
        self._config = config
        self._score = judges.score if "reranker" in config.guards else None
        self._read = judges.read if "reading" in config.guards else None
        self._folded = lru_cache(_KEPT_TEXTS)(lambda column: fold(passages[column].content))
        self._lexical = (
            BM25Index([passage.content for passage in passages])
            if config.retriever != "dense"
            else None
        )

    def mine(self, pairs: Sequence[QAPair], queries: Floats) -> Iterator[Negatives]:
        """The verdicts of each pair, block by block."""
        most = max((len(pair.passage_ids) for pair in pairs), default=1)
        depth = self._config.depth + most
        start = 0
        for dense in self._index.rank_blocks(queries, depth):
            some = pairs[start : start + len(dense.columns)]
            asked = read_rows(queries, start, start + len(some))
            start += len(some)
            yield from self._mine_block(some, asked, self._pooled(some, asked, dense))

    def _pooled(self, pairs: Sequence[QAPair], queries: Floats, dense: Ranking) -> Ranking:
        """The candidates of all retrievers, best first, each with its dense score."""
        if self._lexical is None:
            return dense
        depth = dense.columns.shape[1]
        lexical = self._lexical.rank([pair.question for pair in pairs], depth)
        fused = lexical if self._config.retriever == "bm25" else fuse(dense, lexical, depth)
        columns = fused.columns
        rows = zip(columns, queries, strict=True)
        scores = np.array([self._index.score(query, some) for some, query in rows], np.float32)
        return Ranking(columns=columns, scores=scores.reshape(columns.shape))

    def _mine_block(
        self, pairs: Sequence[QAPair], queries: Floats, ranking: Ranking
    ) -> list[Negatives]:
        mined = [
            self._look_at(pair, query, columns.tolist(), scores.tolist())
            for pair, query, columns, scores in zip(
                pairs, queries, ranking.columns, ranking.scores, strict=True
            )
        ]
        if self._score is not None:
            mined = self._drop_what_reranks(pairs, mined, self._score)
        if self._read is not None:
            mined = self._drop_what_reads(pairs, mined, self._read)
        return [_cut(one, self._config.count) for one in mined]

    def _look_at(
        self, pair: QAPair, query: Floats, columns: Sequence[int], scores: Sequence[float]
    ) -> Negatives:
        """Candidates from the best down, until there are enough negatives."""
        own = [self.columns[passage_id] for passage_id in pair.passage_ids]
        positive = float(self._index.score(query, own).min())
        asks_models = self._score is not None or self._read is not None
        wanted = self._config.count * (_SPARE if asks_models else 1)
        answer = fold(pair.answer).strip(" .")
        candidates = []
        for rank, (column, score) in enumerate(zip(columns, scores, strict=True), start=1):
            if column in own or rank <= self._config.skip:
                continue
            reason = self._doubt(column, score, own, positive, answer)
            is_copy = reason == COPY
            candidates.append(
                Candidate(
                    passage_id=self._passages[column].id,
                    rank=rank,
                    score=round(score, 4),
                    verdict="positive" if is_copy else "dropped" if reason else "negative",
                    reason=reason,
                )
            )
            wanted -= not reason
            if not wanted:
                break
        return Negatives(pair_id=pair.id, score=round(positive, 4), candidates=tuple(candidates))

    def _doubt(
        self, column: int, score: float, own: Sequence[int], positive: float, answer: str
    ) -> str:
        """Why a candidate is no negative; "" where nothing speaks against it."""
        guards = self._config.guards
        if "copy" in guards and score >= positive - _LIKE_A_COPY * abs(positive):
            contents = (self._passages[one].content for one in own)
            mine = self._passages[column].content
            if any(
                shared_share(content, mine) >= self._config.copy_threshold for content in contents
            ):
                return COPY
        tells = "answer" in guards and len(answer) >= _SHORTEST_TELLING_ANSWER
        if tells and answer in self._folded(column):
            return "holds the answer"
        if "margin" in guards and score > positive - self._config.margin * abs(positive):
            return "scores like the positive"
        return ""

    def _drop_what_reranks(
        self, pairs: Sequence[QAPair], mined: Sequence[Negatives], score: Scorer
    ) -> list[Negatives]:
        """Drop what a reranker finds as good as the positive."""
        asked = [
            (pair.question, self._content(passage_id))
            for pair, one in zip(pairs, mined, strict=True)
            for passage_id in (*pair.passage_ids, *one.passage_ids)
        ]
        told = iter(score(asked).tolist())
        outcomes = []
        for pair, one in zip(pairs, mined, strict=True):
            least = min(next(told) for _ in pair.passage_ids)
            outcomes.append(
                _drop(
                    one, [next(told) >= least for _ in one.passage_ids], "reranks like the positive"
                )
            )
        return outcomes

    def _drop_what_reads(
        self, pairs: Sequence[QAPair], mined: Sequence[Negatives], read: Reader
    ) -> list[Negatives]:
        """Drop what makes the answer as likely, by the teacher, as what the question needs does."""
        prompts, replies = [], []
        for pair, one in zip(pairs, mined, strict=True):
            shown = [[self._content(i) for i in pair.passage_ids]]
            shown += [[self._content(i)] for i in one.passage_ids]
            prompts += [answering.render(pair.question, contents) for contents in shown]
            replies += [answering.reply_of(pair.answer)] * len(shown)
        told = iter(read(prompts, replies).tolist())
        outcomes = []
        for one in mined:
            least = next(told)
            outcomes.append(
                _drop(
                    one, [next(told) >= least for _ in one.passage_ids], "tells the answer as well"
                )
            )
        return outcomes

    def _content(self, passage_id: str) -> str:
        return self._passages[self.columns[passage_id]].content


def _drop(mined: Negatives, is_dropped: Sequence[bool], reason: str) -> Negatives:
    """The same with some of its negatives dropped."""
    dropped = {i for i, drop in zip(mined.passage_ids, is_dropped, strict=True) if drop}
    candidates = [
        replace(one, verdict="dropped", reason=reason) if one.passage_id in dropped else one
        for one in mined.candidates
    ]
    return replace(mined, candidates=tuple(candidates))


def _cut(mined: Negatives, count: int) -> Negatives:
    """The same up to its last negative that is wanted."""
    negatives = [i for i, one in enumerate(mined.candidates) if one.verdict == "negative"]
    if len(negatives) < count:
        return mined
    return replace(mined, candidates=mined.candidates[: negatives[count - 1] + 1])
