"""Turns an estimate of a run into what it takes on several nodes that are like this machine."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from aloft.run.estimate import Estimate
from aloft.run.ranges import Range


@dataclass(frozen=True, slots=True)
class NodePlan:
    """A run on so many nodes.

    Attributes:
        nodes: How many there are.
        seconds: From start to end.
    """

    nodes: int
    seconds: Range

    @property
    def node_hours(self) -> Range:
        """What all of them are held for."""
        return self.seconds * (self.nodes / 3600)


def plan_nodes(estimate: Estimate, counts: Iterable[int]) -> list[NodePlan]:
    """What the run takes on several numbers of nodes.

    What a line has undivided is done by one node while the others wait.
    """
    return [NodePlan(count, _on(estimate, count)) for count in counts]


def _on(estimate: Estimate, nodes: int) -> Range:
    undivided, divided = _parts_of(estimate)
    return Range(
        undivided.low + divided.low / nodes,
        undivided.high + divided.high / nodes,
    )


def useful_nodes(estimate: Estimate) -> int:
    """The number of nodes at which what is not divided begins to take most of the time."""
    undivided, divided = _parts_of(estimate)
    return max(1, math.ceil(divided.high / undivided.high)) if undivided.high else 1


def _parts_of(estimate: Estimate) -> tuple[Range, Range]:
    """Seconds of one node, and seconds that nodes share."""
    low = sum(min(line.undivided.low, line.seconds.low) for line in estimate.lines)
    high = sum(min(line.undivided.high, line.seconds.high) for line in estimate.lines)
    whole = estimate.seconds
    return Range(low, high), Range(whole.low - low, whole.high - high)
