"""Works partitions out in this process, one after the other."""

from collections.abc import Iterable, Iterator
from typing import Protocol

from aloft.run.context import Shared
from aloft.run.executors.worker import PartResult, Task, perform
from aloft.run.graph import Graph


class Executor(Protocol):
    """Works partitions out, wherever it does so."""

    def run(self, tasks: Iterable[Task], graph: Graph, shared: Shared) -> Iterator[PartResult]:
        """The results of partitions of one stage, in any order, as they come."""
        ...


class LocalExecutor:
    """Works partitions out in this process, in order."""

    def run(self, tasks: Iterable[Task], graph: Graph, shared: Shared) -> Iterator[PartResult]:
        """The results, in the order of the tasks."""
        return (perform(task, graph, shared) for task in tasks)
