"""Gains with their 95 % intervals, from values per question before and after.

Questions about one document are not independent: they share its topic, its wording and the
teacher that read it. So whole documents are resampled, each with all of its questions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aloft.errors import DataError

MIN_CLUSTERS = 2  # with fewer there is nothing to resample, and no interval
_BLOCK = 4_000_000  # resampled values held at once


_WRITTEN = {"mrr@10": "MRR@10", "ndcg@10": "nDCG@10", "answer f1": "answer F1"}


def metric_name(metric: str) -> str:
    """A metric as it is usually written."""
    return _WRITTEN.get(metric, metric)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A metric before and after on the same questions.

    Attributes:
        low, high: 95 % interval of the gain by paired cluster bootstrap; None with fewer than
            `MIN_CLUSTERS` clusters.
        n: Questions.
        clusters: Groups of questions that are resampled whole: the documents they are about.
    """

    metric: str
    before: float
    after: float
    gain: float
    low: float | None
    high: float | None
    n: int
    clusters: int

    @property
    def includes_loss(self) -> bool:
        """Whether a loss lies within the interval; an undefined interval excludes nothing."""
        return self.low is None or self.low < 0

    @property
    def is_loss(self) -> bool:
        """Whether the whole interval lies below zero."""
        return self.high is not None and self.high < 0


def compare(
    metric: str,
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    clusters: Sequence[str],
    *,
    resamples: int = 10_000,
    seed: int,
) -> Comparison:
    """Compare two systems question by question.

    Args:
        metric: Name of the metric.
        before: (questions,).
        after: (questions,), the same questions in the same order.
        clusters: (questions,), the document of each question. Where every question has its own,
            this is the plain bootstrap over questions.
        resamples: Bootstrap resamples of the clusters.
        seed: The run's seed: the same values give the same interval.

    Raises:
        DataError: the three differ in length, or are empty.

    Source: Efron's percentile bootstrap on paired differences, with clusters as the units (Field
    and Welsh 2007, "Bootstrapping clustered data"); percentiles expanded for few of them, as in
    Hesterberg 2015, "What Teachers Should Know About the Bootstrap" (arXiv:1411.5279).
    """
    if not len(before) == len(after) == len(clusters) or not len(before):
        raise DataError(
            f"{metric}: {len(before)} values before, {len(after)} after, {len(clusters)} "
            "documents. A comparison needs as many of each, and at least one."
        )
    gains = after - before
    number = {cluster: i for i, cluster in enumerate(dict.fromkeys(clusters))}
    members = np.array([number[cluster] for cluster in clusters])
    sums = np.bincount(members, gains).astype(np.float64)
    counts = np.bincount(members)
    low, high = _interval(sums, counts, resamples, seed)
    return Comparison(
        metric=metric,
        before=float(before.mean()),
        after=float(after.mean()),
        gain=float(gains.mean()),
        low=low,
        high=high,
        n=len(gains),
        clusters=len(number),
    )


def _interval(
    sums: NDArray[np.float64], counts: NDArray[np.intp], resamples: int, seed: int
) -> tuple[float, float] | tuple[None, None]:
    """The interval of a mean from each cluster's sum and number of values; (clusters,) both."""
    if len(sums) < MIN_CLUSTERS:
        return None, None
    rng = np.random.default_rng(seed)
    rows = max(1, _BLOCK // len(sums))
    means = []
    for done in range(0, resamples, rows):
        drawn = rng.integers(0, len(sums), (min(rows, resamples - done), len(sums)))
        means.append(sums[drawn].sum(1) / counts[drawn].sum(1))
    outside = 100 * _share_outside(len(sums))
    low, high = np.percentile(np.concatenate(means), [outside, 100 - outside])
    return float(low), float(high)


def _share_outside(clusters: int) -> float:
    """The share of resamples below the interval, and above it: 0.025 for many clusters.

    Resamples of few clusters vary too little. The quantile of Student's t, times what the variance
    of a sample lacks, takes the place of the normal one.
    """
    from scipy.special import ndtr, stdtrit

    freedom = clusters - 1
    return float(ndtr(-np.sqrt(clusters / freedom) * stdtrit(freedom, 0.975)))
