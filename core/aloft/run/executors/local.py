"""Works everything out in this process, one thing after the other."""

from collections.abc import Iterable, Iterator
from typing import Protocol

from aloft.run.context import Shared
from aloft.run.executors.worker import PartResult, Task, perform
from aloft.run.graph import Graph
from aloft.run.model_calls import CallResult, ModelCall, perform_in_order


class Executor(Protocol):
    """Works out what a run has to do, wherever it does so."""

    def run(self, tasks: Iterable[Task], graph: Graph, shared: Shared) -> Iterator[PartResult]:
        """The results of partitions of one stage, in any order, as they come."""
        ...

    def whole(self, task: Task, graph: Graph, shared: Shared) -> PartResult:
        """The result of a stage that is one task, such as a training."""
        ...

    def call(self, calls: Iterable[ModelCall], shared: Shared) -> Iterator[tuple[int, CallResult]]:
        """The place of each call of a model and its result, in any order, as they come."""
        ...


class LocalExecutor:
    """Works everything out in this process, in order."""

    def run(self, tasks: Iterable[Task], graph: Graph, shared: Shared) -> Iterator[PartResult]:
        """The results, in the order of the tasks."""
        return (perform(task, graph, shared) for task in tasks)

    def whole(self, task: Task, graph: Graph, shared: Shared) -> PartResult:
        """The result of a stage that is one task."""
        return perform(task, graph, shared, shared.progress)

    def call(self, calls: Iterable[ModelCall], shared: Shared) -> Iterator[tuple[int, CallResult]]:
        """The results, in the order of the calls."""
        return perform_in_order(calls, shared.models)
