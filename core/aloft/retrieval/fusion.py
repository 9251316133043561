"""Blends rankings of the same passages: dense with BM25, and both with a reranker."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aloft.protocols import Floats
from aloft.retrieval.ranking import Ranking, reorder


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverageShare:
    """Share of another score beside BM25's, by how much of a question BM25 covers.

    The less of a question's weight one of BM25's first passages holds, the less its ranking can
    know, and the more the other counts. Between the ends the share is linear, and it is cut to
    [0, 1]; equal ends are one share for all questions.

    Attributes:
        uncovered: Share at a coverage of 0.
        covered: Share at a coverage of 1.
    """

    uncovered: float
    covered: float

    @classmethod
    def constant(cls, share: float) -> "CoverageShare":
        """The same share for every question."""
        return cls(uncovered=share, covered=share)

    @property
    def is_constant(self) -> bool:
        """Whether coverage need not be known."""
        return self.uncovered == self.covered

    @property
    def is_never(self) -> bool:
        """Whether the other score counts for no question."""
        return max(self.uncovered, self.covered) <= 0

    def of(self, coverage: NDArray[np.float64]) -> NDArray[np.float64]:
        """Shares of questions; (questions,).

        Args:
            coverage: See `aloft.retrieval.bm25.BM25Index.coverage`; (questions,).
        """
        shares: NDArray[np.float64] = self.uncovered + (self.covered - self.uncovered) * coverage
        return np.clip(shares, 0.0, 1.0)


HALF, WHOLE = CoverageShare.constant(0.5), CoverageShare.constant(1.0)


def fuse(
    first: Ranking, second: Ranking, depth: int, weight: float | NDArray[np.float64] = 0.5
) -> Ranking:
    """Combine two rankings by a weighted sum of their scores, each scaled to [0, 1] per question.

    A passage that only one ranking contains gets the other ranking's lowest score, which is 0.

    Args:
        first: Ranking that is weighted by `weight`; (questions, ranks).
        second: Ranking of the same questions that is weighted by `1 - weight`.
        depth: Ranks to keep, at most those of the longer ranking.
        weight: Share of the first ranking in the sum, in [0, 1]; one for all questions, or
            (questions,).

    Source: convex combination in Bruch et al., 2023 (arXiv:2210.11934), which beats reciprocal
    rank fusion.
    """
    depth = min(depth, max(first.columns.shape[1], second.columns.shape[1]))
    shares = np.broadcast_to(weight, len(first.columns)).tolist()
    columns = np.zeros((len(first.columns), depth), np.intp)
    scores = np.zeros((len(first.columns), depth), np.float32)
    for i in range(len(first.columns)):
        total: dict[int, float] = {}
        for ranking, share in ((first, shares[i]), (second, 1 - shares[i])):
            scaled = min_max(ranking.scores[i])
            for column, score in zip(ranking.columns[i].tolist(), scaled.tolist(), strict=True):
                total[column] = total.get(column, 0.0) + share * score
        best = sorted(total, key=lambda column: (-total[column], column))[:depth]
        columns[i] = best
        scores[i] = [total[column] for column in best]
    return Ranking(columns=columns, scores=scores)


def blend(ranking: Ranking, scores: Floats, share: float | NDArray[np.float64]) -> Ranking:
    """Reorder each question's ranks by a weighted sum of their scores and a reranker's.

    Both are scaled to [0, 1] per question. A share of 1 is the reranker's order alone.

    Args:
        ranking: What the reranker has scored.
        scores: Scores of `pairs_of(ranking, ...)`, in its order; (questions x ranks,).
        share: Share of the reranker, in [0, 1]; one for all questions, or (questions,).
    """
    shares = np.broadcast_to(share, len(ranking.columns)).tolist()
    if all(share == 1 for share in shares):
        return reorder(ranking, scores)
    table = np.asarray(scores, np.float32).reshape(ranking.columns.shape)
    scaled = np.zeros_like(table)
    for i, (before, now) in enumerate(zip(ranking.scores, table, strict=True)):
        scaled[i] = (1 - shares[i]) * min_max(before) + shares[i] * min_max(now)
    return reorder(ranking, scaled)


def min_max(scores: Floats) -> Floats:
    """Scores of one question, stretched to [0, 1]; all 0 where they are equal."""
    low, high = float(scores.min()), float(scores.max())
    scaled: Floats = (scores - low) / (high - low) if high > low else np.zeros_like(scores)
    return scaled
