"""Turns questions and passages into rankings: dense, lexical (BM25), fused and reranked."""

import logging
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import bm25s
import numpy as np
from numpy.typing import NDArray

from aloft.protocols import Floats
from aloft.text.tokens import split_terms

logging.getLogger("bm25s").setLevel(logging.WARNING)
# lengths from 96 to 384 terms and shares from 0.3 to 1 were tried on five sets (README, "BM25")
_WINDOW = 192  # terms: about 35 English words, or 100 signs
_SHARE = 0.3  # of the best window in a passage's score


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """Passage columns per question, best first, with scores; both (questions, depth)."""

    columns: NDArray[np.intp]
    scores: Floats

    def top(self, count: int) -> "Ranking":
        """The first `count` ranks."""
        return Ranking(columns=self.columns[:, :count], scores=self.scores[:, :count])

    def among(self, columns: Collection[int]) -> "Ranking":
        """The ranks of some passages, where every passage has one."""
        kept, rows = np.isin(self.columns, list(columns)), len(self.columns)
        return Ranking(
            columns=self.columns[kept].reshape(rows, -1), scores=self.scores[kept].reshape(rows, -1)
        )


def rank_block(queries: Floats, passages: Floats, depth: int) -> Ranking:
    """Rank passages by cosine similarity, exactly; equal scores stand in corpus order.

    All scores are held at once. `aloft.retrieval.dense` does the same for any number of questions.

    Args:
        queries: (questions, dimensions), rows of length one.
        passages: (passages, dimensions), rows of length one.
        depth: Ranks kept, at most the number of passages.
    """
    similarity = queries @ passages.T
    columns = _best(similarity, min(depth, len(passages)))
    return Ranking(columns=columns, scores=np.take_along_axis(similarity, columns, axis=1))


def _best(similarity: Floats, depth: int) -> NDArray[np.intp]:
    if depth < similarity.shape[1]:
        some = np.sort(np.argpartition(-similarity, depth - 1, axis=1)[:, :depth], axis=1)
        values = np.take_along_axis(similarity, some, axis=1)
        edge = values.min(axis=1, keepdims=True)
        taken, there = (values == edge).sum(axis=1), (similarity == edge).sum(axis=1)
        for row in np.flatnonzero(taken < there):  # the partition took any of the equal ones
            above = np.flatnonzero(similarity[row] > edge[row])
            equal = np.flatnonzero(similarity[row] == edge[row])
            some[row] = np.sort(np.concatenate([above, equal[: depth - len(above)]]))
    else:
        some = np.broadcast_to(np.arange(depth), similarity.shape).copy()
    order = np.argsort(-np.take_along_axis(similarity, some, axis=1), axis=1, kind="stable")
    return np.take_along_axis(some, order, axis=1)


class LexicalIndex:
    """BM25 over passages and over windows of them, with the constants of Lucene (k1 1.2, b 0.75).

    A passage's score is its own and, for a share, that of its best window: words that stand
    together say more than the same words apart, the more so the longer a passage is.

    Source: bm25s (arXiv:2407.03618); windows, Callan, Passage-Level Evidence in Document Retrieval
    (SIGIR 1994).
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._size = len(texts)
        # a term that no text holds keeps the index from being empty
        terms = [split_terms(text) or ["\x00"] for text in texts]
        windows = [_windows(some) for some in terms]
        self._starts = np.cumsum([0, *map(len, windows)])[:-1]
        self._whole = _index(terms)
        parts = [window for some in windows for window in some]
        self._parts = self._whole if len(parts) == len(terms) else _index(parts)

    def rank(self, questions: Sequence[str], depth: int) -> Ranking:
        """Rank passages for each question; terms that no passage holds count for nothing."""
        depth = min(depth, self._size)
        columns = np.empty((len(questions), depth), np.intp)
        scores = np.zeros((len(questions), depth), np.float32)
        for i, question in enumerate(questions):
            all_scores = self._score(question)
            columns[i] = _best(all_scores[None, :], depth)[0]
            scores[i] = all_scores[columns[i]]
        return Ranking(columns=columns, scores=scores)

    def _score(self, question: str) -> Floats:
        """Of each passage; (passages,)."""
        known = [term for term in split_terms(question) if term in self._whole.vocab_dict]
        if not known:
            return np.zeros(self._size, np.float32)
        best: Floats = np.maximum.reduceat(self._parts.get_scores(known), self._starts)
        best *= _SHARE
        best += (1 - _SHARE) * self._whole.get_scores(known)
        return best


def _index(terms: Sequence[Sequence[str]]) -> bm25s.BM25:
    index = bm25s.BM25(k1=1.2, b=0.75)
    index.index(terms, show_progress=False)
    return index


def _windows(terms: list[str]) -> list[list[str]]:
    """Stretches of like length, none longer than a window."""
    size = math.ceil(len(terms) / math.ceil(len(terms) / _WINDOW))
    return [terms[start : start + size] for start in range(0, len(terms), size)]


def fuse(first: Ranking, second: Ranking, depth: int, weight: float = 0.5) -> Ranking:
    """Add the two rankings' scores, each stretched to 0 to 1 over its own ranks.

    Args:
        first: Ranking that `weight` favours; (questions, ranks).
        second: The other one; the same questions.
        depth: Ranks kept, at most those of the longer ranking.
        weight: Share of the first ranking's score in the sum, in [0, 1].

    Source: convex combination in Bruch et al., 2023 (arXiv:2210.11934), which beats reciprocal
    rank fusion; a passage that one ranking does not hold gets that ranking's lowest score.
    """
    depth = min(depth, max(first.columns.shape[1], second.columns.shape[1]))
    columns = np.zeros((len(first.columns), depth), np.intp)
    scores = np.zeros((len(first.columns), depth), np.float32)
    for i in range(len(first.columns)):
        total: dict[int, float] = {}
        for ranking, share in ((first, weight), (second, 1 - weight)):
            stretched = _stretch(ranking.scores[i])
            for column, score in zip(ranking.columns[i].tolist(), stretched.tolist(), strict=True):
                total[column] = total.get(column, 0.0) + share * score
        best = sorted(total, key=lambda column: (-total[column], column))[:depth]
        columns[i] = best
        scores[i] = [total[column] for column in best]
    return Ranking(columns=columns, scores=scores)


def _stretch(scores: Floats) -> Floats:
    low, high = float(scores.min()), float(scores.max())
    stretched: Floats = (scores - low) / (high - low) if high > low else np.zeros_like(scores)
    return stretched


def pairs_of(
    ranking: Ranking, questions: Sequence[str], contents: Sequence[str]
) -> list[tuple[str, str]]:
    """The (question, passage) pairs of a ranking, question by question, for a reranker."""
    return [
        (question, contents[column])
        for question, columns in zip(questions, ranking.columns.tolist(), strict=True)
        for column in columns
    ]


def reorder(ranking: Ranking, scores: Floats) -> Ranking:
    """Reorder each question's ranks by a reranker's scores of `pairs_of`; (questions x ranks,)."""
    table = np.asarray(scores, np.float32).reshape(ranking.columns.shape)
    order = np.argsort(-table, axis=1, kind="stable")
    return Ranking(
        columns=np.take_along_axis(ranking.columns, order, axis=1),
        scores=np.take_along_axis(table, order, axis=1),
    )


def best_first(scores: Floats | Sequence[float], count: int | None = None) -> list[int]:
    """Places of the highest scores, best first, equal ones in order; all, or the first `count`."""
    places: list[int] = np.argsort(-np.asarray(scores, np.float32), kind="stable").tolist()
    return places[:count]
