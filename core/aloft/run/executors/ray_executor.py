"""Works partitions, trainings and calls of models out on the nodes of a Ray cluster.

What was given to a worker that is lost is given to another one. The process of the run alone
writes partitions and manifests, so that a run that is killed resumes as it does without Ray.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Self

from aloft.errors import ClusterError
from aloft.network_guard import count_reached, count_refused
from aloft.run.context import Shared
from aloft.run.executors.ray_actors import Answer, Assignment, pass_on
from aloft.run.executors.ray_cluster import RayCluster, Worker, Workers, unwrapped
from aloft.run.executors.worker import PartResult, Task
from aloft.run.graph import Graph
from aloft.run.model_calls import Call
from aloft.run.plan import ModelFingerprints

_RETRIES = 3  # of a partition or a call whose worker was lost
_AHEAD = 2  # given to a worker at a time, so that it does not wait for the next


class RayExecutor:
    """Works out what a run has to do on a Ray cluster.

    Partitions, trainings, calls of models and what stages spread, such as the files that are read,
    go to workers. What a barrier does besides, such as laying out rows and computing metrics, is
    done in this process.

    Args:
        address: HOST:PORT of a cluster; "": one is started on this machine, and ends with the
            executor.
        allow_remote: Whether it may stand outside this machine and its private network.

    Raises:
        MissingExtraError: the extra `ray` is not installed.
        ConfigError: the address is on a public network, and `allow_remote` is off.
    """

    def __init__(self, address: str = "", *, allow_remote: bool = False) -> None:
        self._cluster = RayCluster(address, allow_remote=allow_remote)
        self._ray = self._cluster.ray
        self._workers: Workers | None = None
        self._run: Shared | None = None

    def __enter__(self) -> Self:
        """Connect to the cluster, or start it.

        Raises:
            ClusterError: there is none at the address.
        """
        self._cluster.open()
        return self

    @property
    def nodes(self) -> int:
        """Workers that the cluster has place for: one a GPU, or else one a node."""
        return len(self._cluster.places())

    def __exit__(self, *_: object) -> None:
        self._leave()
        self._cluster.close()

    def run(self, tasks: Iterable[Task], graph: Graph, shared: Shared) -> Iterator[PartResult]:
        """The results of partitions of one stage, as they come."""
        todo = list(tasks)
        if not todo:
            return
        assigned = self._assign(todo, graph, shared)
        for _, result in self._spread(assigned, shared, lambda one, it: one.perform.remote(it)):
            yield result

    def call(self, calls: Iterable[Call], shared: Shared) -> Iterator[tuple[int, Any]]:
        """The place of each call and its result, as they come."""
        return self._spread(calls, shared, lambda one, it: one.call.remote(it))

    def whole(self, tasks: Iterable[Task], graph: Graph, shared: Shared) -> Iterator[PartResult]:
        """The results of stages that are one task each, each on a worker of its own, as they come.

        A task resumes where its worker is lost.

        Raises:
            ClusterError: the workers of one task were lost again and again.
        """
        todo = deque(one for task in tasks for one in self._assign([task], graph, shared))
        lost: Counter[str] = Counter()
        streams: dict[Any, tuple[Worker, Assignment]] = {}
        try:
            while todo or streams:
                workers = self._workers_of(shared)
                while todo and (worker := workers.free(1)) is not None:
                    worker.in_flight += 1
                    one = todo.popleft()
                    start = worker.actor.perform_whole.options(num_returns="streaming")
                    streams[start.remote(one)] = worker, one
                (stream,), _ = self._ray.wait([*streams], num_returns=1)
                worker, one = streams[stream]
                try:
                    said = self._get(next(stream))
                except self._cluster.lost:
                    del streams[stream]
                    stage = one.task.stage
                    lost[stage] += 1
                    retries = graph.stages[stage].resources.retries
                    if lost[stage] > retries:
                        raise _lost_too_often(one, retries) from None
                    todo.append(one)
                    workers.replace(worker)
                else:
                    if not isinstance(said, Answer):
                        shared.progress(*said)
                        continue
                    del streams[stream]
                    worker.in_flight -= 1
                    yield self._take(said)
        finally:
            if streams:
                self._leave()  # whoever trains is to end now

    def _assign(self, tasks: list[Task], graph: Graph, shared: Shared) -> list[Assignment]:
        models = ModelFingerprints(shared).of(graph.stages[tasks[0].stage])
        return [Assignment(setup=graph.setup, task=task, models=models) for task in tasks]

    def _spread(
        self, given: Iterable[Any], shared: Shared, start: Callable[[Any, Any], Any]
    ) -> Iterator[tuple[int, Any]]:
        """The place of each thing that is given to the workers and its result, as they come.

        Raises:
            ClusterError: the workers that one thing was given to were lost again and again.
        """
        source, again = enumerate(given), deque[tuple[int, Any]]()
        lost: Counter[int] = Counter()
        flying: dict[Any, tuple[Worker, tuple[int, Any]]] = {}
        try:
            while True:
                workers = self._workers_of(shared)
                while (worker := workers.free(_AHEAD)) is not None:
                    one = again.popleft() if again else next(source, None)
                    if one is None:
                        break
                    worker.in_flight += 1
                    flying[start(worker.actor, one[1])] = worker, one
                if not flying:
                    return
                (ended,), _ = self._ray.wait([*flying], num_returns=1)
                worker, one = flying.pop(ended)
                worker.in_flight -= 1
                try:
                    result = self._read(ended)
                except self._cluster.lost:
                    lost[one[0]] += 1
                    if lost[one[0]] > _RETRIES:
                        raise _lost_too_often(one[1], _RETRIES) from None
                    again.append(one)
                    workers.replace(worker)
                else:
                    yield one[0], result
        finally:
            if flying:  # nobody waits for it any more
                self._leave()

    def _read(self, item: Any) -> Any:
        return self._take(self._get(item))

    def _get(self, item: Any) -> Any:
        try:
            return self._ray.get(item)
        except self._ray.exceptions.RayTaskError as error:
            raise unwrapped(error) from None

    def _take(self, answer: Answer) -> Any:
        """The result of an answer, once what else it reports has been passed on."""
        count_refused(answer.refused)
        count_reached(answer.reached)
        pass_on(answer.warnings)
        return answer.value

    def _workers_of(self, shared: Shared) -> Workers:
        """The workers of a run; those of another one end."""
        if self._run is not shared or self._workers is None:
            self._leave()
            self._workers, self._run = Workers(self._cluster, shared), shared
        return self._workers

    def _leave(self) -> None:
        if self._workers is not None:
            self._workers.close()
        self._workers = self._run = None


def _lost_too_often(what: Assignment | Call, most: int) -> ClusterError:
    kind = "stage" if isinstance(what, Assignment) else "a call of"
    return ClusterError(
        f"The workers that {kind} {what.name} was given to were lost {most + 1} times. They may "
        "lack memory: see Ray's logs. Run the same command again to resume."
    )
