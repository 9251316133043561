"""Hits, recall, MRR and nDCG of rankings, a value per question."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aloft.retrieval.ranking import Ranking

DEPTH = 10
METRICS = ("hit@1", "hit@5", "hit@10", "recall@5", "mrr@10", "ndcg@10")

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
