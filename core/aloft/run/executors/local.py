"""Works everything out in this process, one thing after the other."""

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from aloft.run.context import Shared
from aloft.run.executors.worker import PartResult, Task, perform
from aloft.run.graph import Graph
from aloft.run.model_calls import Call, perform_in_order


class Executor(Protocol):
    """Works out what a run has to do, wherever it does so."""

    @property
    def nodes(self) -> int | None:
        """Among how many workers it divides work; None: it does not."""
        ...

    def run(self, tasks: Iterable[Task], graph: Graph, shared: Shared) -> Iterator[PartResult]:
        """The results of partitions of one stage, in any order, as they come."""
        ...

    def whole(self, tasks: Iterable[Task], graph: Graph, shared: Shared) -> Iterator[PartResult]:
        """The results of stages that are one task each, such as trainings, as they come.

        None of them needs another one's output.
        """
        ...

    def call(self, calls: Iterable[Call], shared: Shared) -> Iterator[tuple[int, Any]]:
        """The place of each call and its result, in any order, as they come."""
        ...


class LocalExecutor:
    """Works everything out in this process, in order."""

    nodes = None

    def run(self, tasks: Iterable[Task], graph: Graph, shared: Shared) -> Iterator[PartResult]:
        """The results, in the order of the tasks."""
        return (perform(task, graph, shared) for task in tasks)

    def whole(self, tasks: Iterable[Task], graph: Graph, shared: Shared) -> Iterator[PartResult]:
        """The results of stages that are one task each, in order."""
        return (perform(task, graph, shared, shared.progress) for task in tasks)

    def call(self, calls: Iterable[Call], shared: Shared) -> Iterator[tuple[int, Any]]:
        """The results, in the order of the calls."""
        return perform_in_order(calls, shared.models)
