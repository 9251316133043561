"""Refuses updates that would spoil an average, and says why.

An update is what a site's weights differ by from those that it was sent.
"""

import math
from collections.abc import Mapping
from statistics import median_low

import numpy as np

from aloft.api import State


def find_fault(sent: State, received: State) -> str | None:
    """What is wrong with a site's weights by themselves; None: nothing.

    Args:
        sent: The weights that the site was sent.
        received: Those that it answers with.
    """
    missing, further = sent.keys() - received.keys(), received.keys() - sent.keys()
    if missing or further:
        return f"names differ: {len(missing)} tensors are missing and {len(further)} are unknown"
    for name, weights in received.items():
        wanted = sent[name]
        if weights.shape != wanted.shape:
            return f"{name} has the shape {weights.shape}, not {wanted.shape}"
        if weights.dtype != wanted.dtype:
            return f"{name} holds {weights.dtype}, not {wanted.dtype}"
        if not np.isfinite(weights).all():
            return f"{name} holds values that are not finite"
    return None


def count_fault(count: object) -> str | None:
    """What is wrong with a number of rows, by which a site's weights are weighted."""
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        return f"it names {count!r} rows, not a whole number of one or more"
    return None


def norm_of(sent: State, received: State) -> float:
    """Euclidean norm of an update."""
    squares = (
        float(np.square(received[name].astype(np.float64) - weights).sum())
        for name, weights in sent.items()
    )
    return math.sqrt(sum(squares))


def find_outliers(
    norms: Mapping[int, float], ratio: float, earlier: float | None = None
) -> dict[int, str]:
    """Updates that are far larger than the others', with reasons.

    Args:
        norms: Norm of each update, by site.
        ratio: How many times as large as the median of the others an update may be.
        earlier: The median norm of what was accepted in the round before, which a site that is
            alone is compared with; None: it is accepted.

    Where the median is zero no update is refused: every other one would be too large.
    """
    found = {}
    for site, norm in norms.items():
        others = [other for name, other in norms.items() if name != site]
        usual = median_low(others) if others else earlier
        if usual and norm > ratio * usual:
            found[site] = (
                f"its update's norm is {norm:.3g}, more than {ratio:g} times that of the "
                f"{'others' if others else 'round before'} ({usual:.3g})"
            )
    return found
