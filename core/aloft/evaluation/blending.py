"""Chooses how parts are blended: shares fitted on held-out questions, drawn towards a prior.

Few questions choose badly: the best of many candidates is best partly by luck. So the candidate
nearest to the prior is taken among those that are not clearly worse than the best.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aloft.evaluation.retrieval_metrics import DEPTH, measure_ranking
from aloft.protocols import Floats
from aloft.retrieval.fusion import CoverageShare, min_max
from aloft.retrieval.ranking import Ranking

SHARES = np.round(np.arange(0.0, 1.01, 0.05), 2)
"""Shares that are tried, among them each side alone."""
DENSE_SHARE = CoverageShare(uncovered=0.8, covered=0.2)
"""Of the embedder in a hybrid, where nothing is known of a corpus; see docs/results/fusion.md."""
RERANK_SHARE = CoverageShare(uncovered=0.9, covered=0.0)
"""Of late interaction: a question whose words stand in a passage needs none."""
TUNED_RERANK_SHARE = CoverageShare(uncovered=0.9, covered=0.4)
"""Of one that was tuned, which is worth more; see docs/results/uplift.md."""

ORDER_WEIGHTS = (0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 100.0)
"""What the order may count for in a citation, from nothing to the first passage alone."""
ORDER_WEIGHT = 4.0
"""Where nothing is known of a corpus and a generator."""


def choose_order_weight(right: NDArray[np.float64], clusters: Sequence[str]) -> float:
    """One of `ORDER_WEIGHTS`, chosen on some questions.

    Args:
        right: Whether what is cited is right, at each weight; (questions, weights).
        clusters: Their documents; (questions,).
    """
    places = np.arange(len(ORDER_WEIGHTS), dtype=float)[:, None]
    prior = places[ORDER_WEIGHTS.index(ORDER_WEIGHT)]
    return ORDER_WEIGHTS[choose(right, clusters, places, prior)]


def lines(middles: NDArray[np.float64], slopes: NDArray[np.float64]) -> list[CoverageShare]:
    """Shares over coverage that are tried, by their value at a coverage of one half."""
    return [
        CoverageShare(uncovered=round(middle - slope / 2, 2), covered=round(middle + slope / 2, 2))
        for middle in middles.tolist()
        for slope in slopes.tolist()
    ]


_LINES = lines(np.arange(0.0, 1.01, 0.1), np.arange(-1.2, 0.01, 0.1))


def choose(
    values: NDArray[np.float64],
    clusters: Sequence[str],
    candidates: NDArray[np.float64],
    prior: NDArray[np.float64],
) -> int:
    """The candidate nearest to the prior among those within one standard error of the best.

    Args:
        values: A metric of each question with each candidate; (questions, candidates).
        clusters: The document of each question; (questions,).
        candidates: Their parameters, of comparable size; (candidates, parameters).
        prior: The parameters that are best where nothing is known of the corpus; (parameters,).

    Returns:
        Its row; of equally near ones the better, then the first.

    Source: the one-standard-error rule of Breiman et al. 1984 (Classification and Regression
    Trees), with the error of the paired difference over clusters.
    """
    means = values.mean(axis=0)
    best = int(means.argmax())
    worse = values[:, [best]] - values
    names, members = np.unique(np.array(clusters), return_inverse=True)
    sums = np.zeros((len(names), values.shape[1]))
    np.add.at(sums, members, worse - worse.mean(axis=0))
    errors = np.sqrt((sums**2).sum(axis=0)) / len(values)
    admitted = np.flatnonzero(means[best] - means <= errors)
    distance = np.linalg.norm(candidates[admitted] - prior, axis=1)
    order = np.lexsort((admitted, -np.round(means[admitted], 6), np.round(distance, 6)))
    return int(admitted[order[0]])


def share_table(
    dense: Ranking, lexical: Ranking, gold: Sequence[frozenset[int]]
) -> NDArray[np.float64]:
    """nDCG@10 of each question's hybrid at each dense share.

    Args:
        dense: (questions, ranks).
        lexical: Of the same questions.
        gold: Columns of the passages that answer each question.

    Returns:
        (questions, len(SHARES)).
    """
    return np.stack(
        [
            _at_shares(*_side_by_side(dense, lexical, row), gold[row])
            for row in range(len(dense.columns))
        ]
    )


def rerank_table(
    first: Ranking, scores: Floats, gold: Sequence[frozenset[int]]
) -> NDArray[np.float64]:
    """nDCG@10 of each question at each share of a reranker.

    Args:
        first: What was reranked; (questions, ranks).
        scores: The reranker's, in its order; (questions x ranks,).
        gold: Columns of the passages that answer each question.

    Returns:
        (questions, len(SHARES)).
    """
    table = np.asarray(scores, np.float32).reshape(first.columns.shape)
    return np.stack(
        [
            _at_shares(first.columns[row], min_max(table[row]), min_max(first.scores[row]), right)
            for row, right in enumerate(gold)
        ]
    )


def _side_by_side(
    dense: Ranking, lexical: Ranking, row: int
) -> tuple[NDArray[np.intp], Floats, Floats]:
    """All columns that either ranks for a question, and their scaled scores in both."""
    both = np.union1d(dense.columns[row], lexical.columns[row])
    sides = []
    for ranking in (dense, lexical):
        side = np.zeros(len(both), np.float32)
        side[np.searchsorted(both, ranking.columns[row])] = min_max(ranking.scores[row])
        sides.append(side)
    return both, sides[0], sides[1]


def _at_shares(
    columns: NDArray[np.intp], one: Floats, other: Floats, right: frozenset[int]
) -> NDArray[np.float64]:
    """nDCG@10 of one question at each share of `one`; (len(SHARES),)."""
    scores = SHARES[:, None] * one + (1 - SHARES[:, None]) * other
    order = np.argsort(-scores, axis=1, kind="stable")[:, :DEPTH]
    best = np.take_along_axis(scores, order, axis=1).astype(np.float32)
    ranking = Ranking(columns=columns[order], scores=best)
    return measure_ranking(ranking, [right] * len(SHARES))["ndcg@10"]


def at_share(
    table: NDArray[np.float64], share: CoverageShare, coverage: NDArray[np.float64]
) -> NDArray[np.float64]:
    """What a table holds for each question at its share; (questions, ...).

    Args:
        table: Values at each of `SHARES`; (questions, shares, ...).
        share: A line over coverage; the nearest of `SHARES` counts.
        coverage: Of these questions; (questions,).
    """
    columns = np.rint(share.of(coverage) * (len(SHARES) - 1)).astype(int)
    found: NDArray[np.float64] = table[np.arange(len(table)), columns]
    return found


def fit_share(
    values: NDArray[np.float64],
    coverage: NDArray[np.float64],
    clusters: Sequence[str],
    prior: CoverageShare,
) -> CoverageShare:
    """The share over coverage that is chosen on some questions.

    Args:
        values: nDCG@10 at each of `SHARES`; (questions, shares).
        coverage: Of these questions; (questions,).
        clusters: Their documents; (questions,).
        prior: What is chosen where no other share is clearly better.
    """
    tried = [prior, *_LINES]
    table = np.stack([at_share(values, line, coverage) for line in tried], axis=1)
    points = np.array([(line.uncovered, line.covered) for line in tried])
    return tried[choose(table, clusters, points, points[0])]
