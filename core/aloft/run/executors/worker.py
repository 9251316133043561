"""Works out one partition, or one whole stage: what every executor does, in whatever process."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aloft.protocols import Progress, no_progress
from aloft.run.context import Context, Inputs, Shared
from aloft.run.graph import Graph
from aloft.run.stage import Stage
from aloft.run.store import Tally
from aloft.run.usage import Usage

AHEAD = "ahead of "  # before a stage's name: what its model was asked in advance


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A partition to be worked out, or a stage as a whole; it can be pickled.

    Attributes:
        stage: Its stage's name.
        key: The stage's key.
        part: The partition's own key; "": of a whole stage.
        over: The input whose records are divided; "": the stage is worked out as a whole.
        start, stop: Rows of the records.
        follower: The stage that works on the same records right after, by name; "": none.
        follower_key: Its key.
    """

    stage: str
    key: str
    part: str = ""
    over: str = ""
    start: int = 0
    stop: int = 0
    follower: str = ""
    follower_key: str = ""


@dataclass(frozen=True, slots=True)
class PartResult:
    """What a partition, or a whole stage, came to."""

    task: Task
    outcomes: list[Any]
    usage: Mapping[str, Usage]
    seconds: float

    @property
    def tally(self) -> Tally:
        """Usage and time."""
        tally = Tally()
        tally.add_usage(self.usage, self.seconds)
        return tally


def perform(
    task: Task, graph: Graph, shared: Shared, progress: Progress = no_progress
) -> PartResult:
    """Work a partition or a whole stage out."""
    started = time.monotonic()
    stage = graph.stages[task.stage]
    inputs = _inputs(stage, task, graph, shared)
    context = Context(stage, shared, key=task.key, progress=progress)
    outcomes = list(stage.work(context, inputs))
    usage = dict(context.meter.by_role)
    if task.follower:
        ahead = _follow(graph.stages[task.follower], task, outcomes, inputs, graph, shared)
        usage |= {f"{AHEAD}{task.follower}": one for one in ahead.values()}
    return PartResult(task, outcomes, usage, time.monotonic() - started)


def _inputs(stage: Stage, task: Task, graph: Graph, shared: Shared) -> Inputs:
    if not task.over:
        return Inputs(stage, graph, shared.store)
    records = shared.store.read(graph.maker(task.over).outputs[task.over])[task.start : task.stop]
    return Inputs(stage, graph, shared.store, records, (task.over, task.start))


def _follow(
    follower: Stage,
    task: Task,
    outcomes: list[Any],
    inputs: Inputs,
    graph: Graph,
    shared: Shared,
) -> Mapping[str, Usage]:
    """Let the follower ask its models about the same records: the results stay in the cache."""
    context = Context(follower, shared, key=task.follower_key, progress=no_progress)
    assert follower.affinity is not None  # noqa: S101 - that is what makes it the follower
    records = follower.affinity.select(context, list(inputs.records), outcomes)
    if records:
        part = Inputs(follower, graph, shared.store, records, (task.over, task.start))
        for _ in follower.work(context, part):
            pass
    return context.meter.by_role
