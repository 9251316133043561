"""Local differential privacy of a site's updates: how much noise, and what has been spent.

An update that is clipped to a norm and gets Gaussian noise hides whatever documents a site has: two
clipped updates lie at most twice that norm apart. So the promise is about all documents of a site
at once. Several updates compose exactly, as Gaussian mechanisms do.

Source: Dong et al. 2019 (arXiv:1905.02383); for one update Balle and Wang 2018 (arXiv:1805.06530).
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scipy.optimize import brentq
from scipy.stats import norm

from aloft.errors import DataError
from aloft.files import write_text

_LEAST, _MOST = math.log(1e-6), math.log(1e9)  # noise by sensitivity


def spent_epsilon(multipliers: Sequence[float], delta: float) -> float:
    """The epsilon of several updates together.

    Args:
        multipliers: Of each, the standard deviation of its noise by its sensitivity.
        delta: Probability with which the promise may fail.
    """
    mean = math.sqrt(sum(multiplier**-2 for multiplier in multipliers))
    if not mean:
        return 0.0

    def excess(epsilon: float) -> float:
        high, low = mean / 2 - epsilon / mean, -mean / 2 - epsilon / mean
        return float(norm.cdf(high) - math.exp(epsilon + norm.logcdf(low)) - delta)

    if excess(0.0) <= 0:
        return 0.0
    most = mean**2 / 2 + mean * abs(float(norm.ppf(delta))) + 1
    return float(brentq(excess, 0.0, most, xtol=1e-10))


def noise_multiplier(epsilon: float, delta: float, updates: int) -> float:
    """The least noise, by sensitivity, with which some updates spend no more than epsilon."""

    def excess(log_multiplier: float) -> float:
        return spent_epsilon([math.exp(log_multiplier)] * updates, delta) - epsilon

    return math.exp(float(brentq(excess, _LEAST, _MOST, xtol=1e-12)))


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacyBudget:
    """What a site has spent, kept in its run folder for all federations that it takes part in.

    Attributes:
        file: Where it is kept.
        epsilon: All that may be spent; None: no noise is added.
        delta: Probability with which the promise may fail.
    """

    file: Path
    epsilon: float | None
    delta: float

    @property
    def multipliers(self) -> list[float]:
        """Of each update that was sent, the noise by its sensitivity.

        Raises:
            DataError: the file is damaged.
        """
        if not self.file.exists():
            return []
        try:
            values = json.loads(self.file.read_bytes())
            return [float(value) for value in values["noise_multipliers"]]
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{self.file} is damaged ({error}), so what was spent of the privacy budget is not "
                "known. Restore the file, or take another run folder."
            ) from error

    @property
    def spent(self) -> float:
        """Epsilon so far."""
        return spent_epsilon(self.multipliers, self.delta)

    def allows(self, multiplier: float) -> bool:
        """Whether one more update stays within the budget."""
        after = spent_epsilon([*self.multipliers, multiplier], self.delta)
        return self.epsilon is not None and after <= self.epsilon * (1 + 1e-6)

    def spend(self, multiplier: float) -> None:
        """Write down an update, before it is sent."""
        values = {"noise_multipliers": [*self.multipliers, multiplier]}
        write_text(self.file, json.dumps(values) + "\n")
