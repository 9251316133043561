"""Figures that are known up to a range."""

from dataclasses import dataclass
from math import sqrt

from aloft.run.pilot import Pace


@dataclass(frozen=True, slots=True)
class Range:
    """Between what a figure is expected to lie."""

    low: float
    high: float

    def __add__(self, other: "Range") -> "Range":
        return Range(self.low + other.low, self.high + other.high)

    def __mul__(self, other: "Range | float") -> "Range":
        by = other if isinstance(other, Range) else exactly(other)
        return Range(self.low * by.low, self.high * by.high)

    def less(self, done: float) -> "Range":
        """What is left of it."""
        return Range(max(0.0, self.low - done), max(0.0, self.high - done))

    def most(self, limit: float | None) -> "Range":
        """Of it no more than a limit, where there is one."""
        return self if limit is None else Range(min(self.low, limit), min(self.high, limit))

    def at(self, pace: Pace) -> "Range":
        """Seconds that so much of it takes."""
        return Range(pace.seconds_for(self.low), pace.seconds_for(self.high))


def exactly(figure: float) -> Range:
    """A figure that is known."""
    return Range(figure, figure)


NOTHING = exactly(0)


def share_of(kept: int, of: int) -> Range:
    """The share of all that a sample's tells of, give or take one standard error.

    Of a few that were all kept, or all dropped, the rule of succession keeps some doubt.
    """
    share = (kept + 1) / (of + 2)
    error = sqrt(share * (1 - share) / (of + 2))
    return Range(max(0.0, share - error), min(1.0, share + error))
