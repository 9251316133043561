"""Turns rankings and gold passages into hits, recall, MRR and nDCG, a value per question."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aloft.retrieval.fusion import fuse
from aloft.retrieval.ranking import Ranking

DEPTH = 10
METRICS = ("hit@1", "hit@5", "hit@10", "recall@5", "mrr@10", "ndcg@10")
_WEIGHTS = tuple(round(0.1 * i, 1) for i in range(11))  # either half alone among them

Values = dict[str, NDArray[np.float64]]
"""Per metric one value per question, in [0, 1]."""


def measure_ranking(ranking: Ranking, gold: Sequence[frozenset[int]]) -> Values:
    """Measure a ranking.

    Args:
        ranking: Passage columns, best first; (questions, ranks).
        gold: Per question the columns of the passages that answer it, alone or together.

    Returns:
        Per metric an array (questions,). Recall is the share of the gold passages, of which a
        multi-hop question needs all; a hit is any of them. nDCG has binary gains; its ideal
        ranking holds all gold passages first.
    """
    hits = np.zeros((len(gold), DEPTH), bool)
    for row, (columns, right) in enumerate(zip(ranking.columns.tolist(), gold, strict=True)):
        for rank, column in enumerate(columns[:DEPTH]):
            hits[row, rank] = column in right
    ranks = np.arange(1, DEPTH + 1)
    discounts = 1 / np.log2(ranks + 1)
    wanted = np.array([len(right) for right in gold])
    ideal = np.array([discounts[: min(len(right), DEPTH)].sum() for right in gold])
    return {
        "hit@1": hits[:, :1].any(1).astype(float),
        "hit@5": hits[:, :5].any(1).astype(float),
        "hit@10": hits.any(1).astype(float),
        "recall@5": hits[:, :5].sum(1) / np.maximum(wanted, 1),
        "mrr@10": (hits / ranks).max(1, initial=0.0),
        "ndcg@10": np.divide(
            (hits * discounts).sum(1), ideal, out=np.zeros(len(gold)), where=ideal > 0
        ),
    }


def fit_weight(dense: Ranking, lexical: Ranking, gold: Sequence[frozenset[int]]) -> float:
    """The dense ranking's share in the fusion that gives the best MRR@10 on these questions.

    Of equal ones that nearest to the middle: a plateau says that the weight hardly matters. As
    either half alone is among them, the fusion is never below its better half on these questions.
    """

    def gain(weight: float) -> tuple[float, float]:
        fused = fuse(dense, lexical, DEPTH, weight)
        return round(measure_ranking(fused, gold)["mrr@10"].mean(), 6), -abs(weight - 0.5)

    return max(_WEIGHTS, key=gain)
