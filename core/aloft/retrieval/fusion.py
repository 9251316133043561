"""Fuses two rankings of the same passages into one."""

import numpy as np

from aloft.protocols import Floats
from aloft.retrieval.ranking import Ranking


def fuse(first: Ranking, second: Ranking, depth: int, weight: float = 0.5) -> Ranking:
    """Combine two rankings by a weighted sum of their scores, each scaled to [0, 1] per question.

    A passage that only one ranking contains gets the other ranking's lowest score, which is 0.

    Args:
        first: Ranking that is weighted by `weight`; (questions, ranks).
        second: Ranking of the same questions that is weighted by `1 - weight`.
        depth: Ranks to keep, at most those of the longer ranking.
        weight: Share of the first ranking in the sum, in [0, 1].

    Source: convex combination in Bruch et al., 2023 (arXiv:2210.11934), which beats reciprocal
    rank fusion.
    """
    depth = min(depth, max(first.columns.shape[1], second.columns.shape[1]))
    columns = np.zeros((len(first.columns), depth), np.intp)
    scores = np.zeros((len(first.columns), depth), np.float32)
    for i in range(len(first.columns)):
        total: dict[int, float] = {}
        for ranking, share in ((first, weight), (second, 1 - weight)):
            scaled = _min_max(ranking.scores[i])
            for column, score in zip(ranking.columns[i].tolist(), scaled.tolist(), strict=True):
                total[column] = total.get(column, 0.0) + share * score
        best = sorted(total, key=lambda column: (-total[column], column))[:depth]
        columns[i] = best
        scores[i] = [total[column] for column in best]
    return Ranking(columns=columns, scores=scores)


def _min_max(scores: Floats) -> Floats:
    low, high = float(scores.min()), float(scores.max())
    scaled: Floats = (scores - low) / (high - low) if high > low else np.zeros_like(scores)
    return scaled
