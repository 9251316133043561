"""Hits, recall, MRR and nDCG of rankings, a value per question."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aloft.retrieval.fusion import fuse
from aloft.retrieval.ranking import Ranking

DEPTH = 10
METRICS = ("hit@1", "hit@5", "hit@10", "recall@5", "mrr@10", "ndcg@10")
_WEIGHTS = tuple(round(0.1 * i, 1) for i in range(11))  # BM25 alone and dense alone are among them

Values = dict[str, NDArray[np.float64]]
"""(questions,) per metric, in [0, 1]."""


def measure_ranking(ranking: Ranking, gold: Sequence[frozenset[int]]) -> Values:
    """Measure a ranking.

    Args:
        ranking: Passage columns, best first; (questions, ranks).
        gold: Columns of the passages that answer each question, alone or together.

    Returns:
        An array (questions,) per metric. Recall is the share of gold passages found, of which a
        multi-hop question needs all; a hit is any of them. nDCG has binary gains; its ideal
        ranking starts with all gold passages.
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
    """The dense share of the fusion that has the best MRR@10 on these questions.

    Of equally good shares the one nearest to 0.5 is returned: on a plateau the share hardly
    matters. BM25 alone and dense alone are among the candidates, so on these questions the fusion
    is never worse than the better of them.
    """

    def gain(weight: float) -> tuple[float, float]:
        fused = fuse(dense, lexical, DEPTH, weight)
        return round(measure_ranking(fused, gold)["mrr@10"].mean(), 6), -abs(weight - 0.5)

    return max(_WEIGHTS, key=gain)
