"""Chooses how parts are blended: shares fitted on held-out questions, drawn towards a prior.

Few questions choose badly: the best of many candidates is best partly by luck. So the candidate
nearest to the prior is taken among those that are not clearly worse than the best. Where it is
known what candidates gain elsewhere, gains are drawn to that first.
"""

from collections.abc import Sequence
from dataclasses import dataclass

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
RERANK_SHARE = CoverageShare(uncovered=0.9, covered=0.4)
"""Of a reranker; see docs/results/uplift.md."""
BODY_RERANK_SHARE = CoverageShare(uncovered=0.9, covered=0.0)
"""Of an untuned embedder's body, which is worth less: a question whose words stand in a passage
needs none."""

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


LINES = lines(np.arange(0.0, 1.01, 0.1), np.arange(-1.2, 0.01, 0.1))
"""Lines that are tried beside a prior."""


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
    worse = values[:, [int(means.argmax())]] - values
    return nearest(means, standard_errors(worse, clusters), candidates, prior)


def standard_errors(values: NDArray[np.float64], clusters: Sequence[str]) -> NDArray[np.float64]:
    """The standard error of each column's mean, with clusters as units; (columns,)."""
    names, members = np.unique(np.array(clusters), return_inverse=True)
    sums = np.zeros((len(names), values.shape[1]))
    np.add.at(sums, members, values - values.mean(axis=0))
    errors: NDArray[np.float64] = np.sqrt((sums**2).sum(axis=0)) / len(values)
    return errors


def nearest(
    means: NDArray[np.float64],
    errors: NDArray[np.float64],
    candidates: NDArray[np.float64],
    prior: NDArray[np.float64],
) -> int:
    """The candidate nearest to the prior whose mean lacks no more than its error to the best.

    Args:
        means: Of a metric; (candidates,).
        errors: Of what each lacks; (candidates,).
        candidates: Their parameters; (candidates, parameters).
        prior: (parameters,).
    """
    admitted = np.flatnonzero(means.max() - means <= errors)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What lines gain elsewhere, before a question about this corpus was asked.

    Attributes:
        means: Gain of each of `LINES` over the prior in nDCG@10; (lines,).
        variances: How far another corpus' gains lie from them, squared; (lines,).
        noise: How far the gain of one question lies from its corpus', squared; (lines,).
    """

    means: NDArray[np.float64]
    variances: NDArray[np.float64]
    noise: NDArray[np.float64]


def fit_share(
    values: NDArray[np.float64],
    coverage: NDArray[np.float64],
    clusters: Sequence[str],
    prior: CoverageShare,
    expected: Expected | None = None,
) -> CoverageShare:
    """The share over coverage that is chosen on some questions.

    Args:
        values: nDCG@10 at each of `SHARES`; (questions, shares). Without questions what is expected
            chooses, and without that it is the prior.
        coverage: Of these questions; (questions,).
        clusters: Their documents; (questions,).
        prior: What is chosen where no other share is clearly better.
        expected: What the lines gain elsewhere; the fewer questions, the more it counts.
    """
    tried = [prior, *LINES]
    points = points_of(tried)
    if expected is None:
        if not len(values):
            return prior
        return tried[choose(at_lines(values, tried, coverage), clusters, points, points[0])]
    means, variances = shrink(at_lines(values, tried, coverage), clusters, expected)
    error = np.sqrt(variances[means.argmax()])
    return tried[nearest(means, np.full(len(tried), error), points, points[0])]


def shrink(
    values: NDArray[np.float64], clusters: Sequence[str], expected: Expected
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gains over the prior between those of some questions and those expected.

    Each side is weighted by how surely it is known. Few questions may agree by chance, so that they
    are taken to vary no less than elsewhere.

    Args:
        values: nDCG@10 with the prior, then with each of `LINES`; (questions, 1 + lines).
        clusters: The document of each question; (questions,).
        expected: What the lines gain elsewhere.

    Returns:
        Means, and how far the true ones may lie from them, squared; (1 + lines,) both.

    Source: empirical Bayes, as in Efron and Morris 1973 (Stein's estimation rule and its
    competitors).
    """
    sides = expected.means, expected.variances, expected.noise
    means, variances, noise = (np.append(0.0, side) for side in sides)
    if not len(values):
        return means, variances
    gains = values - values[:, [0]]
    own = np.maximum(standard_errors(gains, clusters) ** 2, noise / len(gains))
    both = own + variances
    trust = np.divide(variances, both, out=np.ones_like(both), where=both > 0)
    return trust * gains.mean(axis=0) + (1 - trust) * means, trust * own


def at_lines(
    values: NDArray[np.float64], tried: Sequence[CoverageShare], coverage: NDArray[np.float64]
) -> NDArray[np.float64]:
    """nDCG@10 of each question at each line; (questions, lines).

    Args:
        values: At each of `SHARES`; (questions, shares).
        tried: The lines.
        coverage: Of these questions; (questions,).
    """
    return np.stack([at_share(values, line, coverage) for line in tried], axis=1)


def points_of(tried: Sequence[CoverageShare]) -> NDArray[np.float64]:
    """Lines as points, between which distances are taken; (lines, 2)."""
    return np.array([(line.uncovered, line.covered) for line in tried])
