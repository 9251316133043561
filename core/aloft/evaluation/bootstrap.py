"""Turns values per question, before and after, into a gain with its 95 % interval."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aloft.errors import DataError

_BLOCK = 4_000_000  # resampled values held at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One metric before and after on the same questions.

    Attributes:
        low, high: 95 % interval of the gain, by paired bootstrap over questions.
    """

    metric: str
    before: float
    after: float
    gain: float
    low: float
    high: float
    n: int


def compare(
    metric: str,
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    *,
    resamples: int,
    seed: int,
) -> Comparison:
    """Compare two systems question by question.

    Args:
        metric: Name of what the values are.
        before: (questions,).
        after: (questions,), the same questions in the same order.
        resamples: Bootstrap resamples of the questions.
        seed: The run's seed: the same values give the same interval.

    Raises:
        DataError: the two do not hold the same number of questions, or none.

    Source: Efron's percentile bootstrap on paired differences.
    """
    if before.shape != after.shape or not len(before):
        raise DataError(f"{metric}: {len(before)} values before, {len(after)} after; none to pair.")
    gains = after - before
    rng = np.random.default_rng(seed)
    rows = max(1, _BLOCK // len(gains))
    means = np.concatenate(
        [
            gains[rng.integers(0, len(gains), (min(rows, resamples - done), len(gains)))].mean(1)
            for done in range(0, resamples, rows)
        ]
    )
    low, high = np.percentile(means, [2.5, 97.5])
    return Comparison(
        metric=metric,
        before=float(before.mean()),
        after=float(after.mean()),
        gain=float(gains.mean()),
        low=float(low),
        high=float(high),
        n=len(gains),
    )
