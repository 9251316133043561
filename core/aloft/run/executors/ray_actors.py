"""What runs in a Ray cluster: workers that hold models, and the one that keeps their results."""

import logging
import os
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

from aloft import __version__
from aloft._extras import require
from aloft.backends.loading import Models
from aloft.errors import ClusterError, ModelError
from aloft.network_guard import forbid_telemetry, local_only
from aloft.run.cache import CallCache
from aloft.run.context import Shared
from aloft.run.executors.worker import Task, perform
from aloft.run.graph import Graph
from aloft.run.model_calls import Call
from aloft.run.plan import ModelFingerprints
from aloft.run.stage import Setup
from aloft.run.store import RunStore

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a worker was asked for, and what it has to report besides.

    Attributes:
        value: The result.
        refused: Other machines that something tried to reach in vain.
        reached: Those that were allowed and reached.
        warnings: Lines for the user.
    """

    value: Any
    refused: tuple[str, ...]
    reached: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """A task, with what a worker needs to know of its run.

    Attributes:
        setup: What the run is asked to do.
        task: What is to be worked out.
        models: Fingerprints of the stage's models, as the run's own process has them.
    """

    setup: Setup
    task: Task
    models: Mapping[str, str]

    @property
    def name(self) -> str:
        """The stage's."""
        return self.task.stage


class ResultKeeper:
    """Keeps what models return in the run folder's cache, which one machine alone writes.

    Args:
        file: The cache's file.
    """

    def __init__(self, file: Path) -> None:
        self._cache = CallCache(file)

    def get(self, keys: Sequence[str]) -> dict[str, tuple[Any, Any]]:
        """Value and cost of each key that is known."""
        return self._cache.get(keys)

    def add(self, entries: Mapping[str, tuple[Any, Any]]) -> None:
        """Keep values with their costs; they are on disk when this returns."""
        self._cache.add(entries)

    def close(self) -> None:
        """Close the file."""
        self._cache.close()


class RemoteCalls:
    """The results that a `ResultKeeper` has, for a worker.

    Args:
        keeper: The actor.
    """

    def __init__(self, keeper: Any) -> None:
        ray: Any = require("ray", extra="ray")
        self._get: Callable[[Any], Any] = ray.get
        self._keeper = keeper

    def get(self, keys: Sequence[str]) -> dict[str, tuple[Any, Any]]:
        """Value and cost of each key that is known."""
        found: dict[str, tuple[Any, Any]] = self._get(self._keeper.get.remote(keys))
        return found

    def add(self, entries: Mapping[str, tuple[Any, Any]]) -> None:
        """Keep values with their costs; they are on disk when this returns."""
        self._get(self._keeper.add.remote(entries))


class RayWorker:
    """Holds models and works out what it is given, in a process of its own.

    It reads the run folder, and writes into it nothing but what a training writes.

    Args:
        run: The run folder, which this machine sees under the same path.
        folder: Where relative paths count from.
        models: Where models are loaded from.
        keeper: The actor that keeps what models return.
        allowed: Other machines that may be reached.
    """

    def __init__(
        self, run: Path, folder: Path, models: Models, keeper: Any, allowed: frozenset[str]
    ) -> None:
        forbid_telemetry()
        self._place = folder / run
        with suppress(OSError):  # what `check` then says
            os.chdir(folder)
        self._store = RunStore(run)
        self._shared = Shared(self._store, models)
        self._shared.calls = RemoteCalls(keeper)
        self._fingerprints = ModelFingerprints(self._shared)
        self._allowed = allowed
        self._graph: Graph | None = None

    def check(self, version: str) -> None:
        """Find out whether this machine can work for the run.

        Raises:
            ClusterError: it does not see the run folder, or has another version of Aloft.
        """
        machine, path = platform.node(), self._place
        if not path.is_dir():
            raise ClusterError(
                f"{machine}, a node of the Ray cluster, does not see {path}. Put the run folder on "
                "storage that all nodes have under the same path."
            )
        if version != __version__:
            raise ClusterError(
                f"{machine}, a node of the Ray cluster, has Aloft {__version__}, but this is "
                f"{version}. Install the same version everywhere."
            )

    def perform(self, assignment: Assignment) -> Answer:
        """Work a partition out."""
        return self._answer(lambda: self._perform(assignment))

    def call(self, call: Call) -> Answer:
        """Work a call out, with all that it returns."""

        def work() -> Any:
            value = call.perform(self._shared.models)
            return list(value) if isinstance(value, Iterator) else value

        return self._answer(work)

    def perform_whole(self, assignment: Assignment) -> Iterator[Any]:
        """Work a whole stage out: its progress as it is made, and in the end the answer."""
        events: SimpleQueue[Any] = SimpleQueue()

        def progress(doing: str, done: int, total: int) -> None:
            events.put((doing, done, total))

        def work() -> None:
            try:
                events.put(self._answer(lambda: self._perform(assignment, progress)))
            except BaseException as error:
                events.put(error)

        Thread(target=work, daemon=True).start()
        while True:
            item = events.get()
            if isinstance(item, BaseException):
                raise item
            yield item
            if isinstance(item, Answer):
                return

    def _perform(self, assignment: Assignment, *progress: Any) -> Any:
        graph = self._graph_of(assignment.setup)
        self._check_models(graph, assignment)
        return perform(assignment.task, graph, self._shared, *progress)

    def _graph_of(self, setup: Setup) -> Graph:
        if self._graph is None or self._graph.setup != setup:
            self._graph = Graph(setup)
        return self._graph

    def _check_models(self, graph: Graph, assignment: Assignment) -> None:
        stage = graph.stages[assignment.task.stage]
        for role, fingerprint in self._fingerprints.of(stage).items():
            if fingerprint != assignment.models[role]:
                raise ModelError(
                    f"{platform.node()}, a node of the Ray cluster, has another model "
                    f"{stage.models[role].name} than this machine. Put the same files there."
                )

    def _answer(self, work: Callable[[], Any]) -> Answer:
        with local_only(self._allowed) as guard, _noted_warnings() as warnings:
            value = work()
        return Answer(
            value=value,
            refused=tuple(guard.refused),
            reached=tuple(sorted(guard.reached)),
            warnings=tuple(warnings),
        )


def pass_on(lines: Iterable[str]) -> None:
    """Say here what a worker had to say to the user."""
    for line in lines:
        logger.warning("%s", line)


class _Noted(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@contextmanager
def _noted_warnings() -> Iterator[list[str]]:
    """The lines that the library logs for the user meanwhile."""
    logger, noted = logging.getLogger("aloft"), _Noted()
    logger.addHandler(noted)
    try:
        yield noted.lines
    finally:
        logger.removeHandler(noted)
