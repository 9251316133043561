"""A Ray cluster: how it is reached or started, and the workers that a run has in it."""

import logging
import os
import socket
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aloft import __version__
from aloft._extras import require
from aloft.errors import AloftError, ClusterError
from aloft.network_guard import allowed_hosts, count_reached, hosts_of
from aloft.run.context import Shared
from aloft.run.executors.ray_actors import RayWorker, ResultKeeper

_START = 300.0  # seconds in which a worker starts and imports what it needs
_CLOSE = 30.0  # seconds
_KNOCK = 10.0  # seconds
_STORE = 512 << 20  # bytes of a cluster on this machine for what is on its way
_QUIET = {"RAY_USAGE_STATS_ENABLED": "0"}
# A cluster on this machine has the loopback address; Ray's default asks the network for one. That
# nobody uses it without a token in the user's home is Ray's default. Workers have the priority that
# this process has.
_ALONE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_worker_niceness": "0"}
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a worker can be: a GPU of a node, or a node of a cluster without GPUs.

    Attributes:
        node: Ray's id of the node.
        address: Of the node.
        threads: That a worker there computes with.
        gpus: 1 or 0.
    """

    node: str
    address: str
    threads: int
    gpus: int


@dataclass(slots=True, eq=False)
class Worker:
    """A worker in the cluster, and how much was given to it that it has not returned yet."""

    actor: Any
    place: Place
    in_flight: int = 0


class RayCluster:
    """A Ray cluster that was started elsewhere, or one of this process alone.

    Args:
        address: HOST:PORT; "": one is started on this machine, and ends with the process.
        allow_remote: Whether it may stand outside this machine and its private network.

    Attributes:
        ray: The library.
        lost: Errors that say that a worker is gone.
    """

    def __init__(self, address: str = "", *, allow_remote: bool = False) -> None:
        if address:
            hosts_of(f"ray://{address}", allow_remote=allow_remote)
        self._address = address
        self._variables = _QUIET if address else _QUIET | _ALONE
        with _environment(self._variables):  # some are read once
            self.ray: Any = require("ray", extra="ray")
        self._is_own = False
        gone = self.ray.exceptions
        self.lost: tuple[type[Exception], ...] = (
            gone.RayActorError,
            gone.ObjectLostError,
            gone.WorkerCrashedError,
            gone.NodeDiedError,
            gone.OutOfMemoryError,
        )

    def open(self) -> None:
        """Connect to the cluster, or start it; one that the host has connected to is used as it is.

        Raises:
            ClusterError: there is none at the address.
        """
        if self._address:
            self._knock()
        if self.ray.is_initialized():
            self._check_connection()
            return
        options = {"address": self._address} if self._address else _own_options()
        quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
        with _environment(self._variables):
            try:
                self.ray.init(**options, **quiet)
            except (ConnectionError, OSError, RuntimeError, ValueError) as error:
                raise self._absent(error) from error
        self._is_own = True

    def _knock(self) -> None:
        """Find out in seconds that nobody listens, which Ray takes minutes for."""
        host, _, port = self._address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK).close()
        except (OSError, ValueError, OverflowError) as error:
            raise self._absent(error) from error

    def _check_connection(self) -> None:
        connected = self.ray.get_runtime_context().gcs_address
        if self._address not in ("", connected):
            raise ClusterError(
                f"This process is connected to the Ray cluster at {connected}, not to "
                f"{self._address}. Call ray.shutdown() first, or leave the address out."
            )

    def _absent(self, error: Exception) -> ClusterError:
        where = f"at {self._address}" if self._address else "on this machine"
        reason = " ".join(str(error).split())[:200]
        return ClusterError(
            f"No Ray cluster can be used {where} ({reason}). Start one with: ray start --head; or "
            "leave the address out: --executor ray."
        )

    def close(self) -> None:
        """Leave the cluster; one that was started here ends."""
        if self._is_own:
            self.ray.shutdown()
            self._is_own = False

    @property
    def here(self) -> str:
        """Ray's id of the node that this process is on."""
        found: str = self.ray.get_runtime_context().get_node_id()
        return found

    def places(self) -> list[Place]:
        """Where workers can be now: on each GPU, or where there is none, on each node."""
        nodes = [node for node in self.ray.nodes() if node["Alive"]]
        gpus = [place for node in nodes for place in _places(node, int(_amount(node, "GPU")))]
        return gpus or [place for node in nodes if _amount(node, "CPU") for place in _places(node)]

    def on(self, node: str, cls: type, **options: Any) -> Any:
        """An actor's class, to be started on a node."""
        affinity = self.ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        where = affinity(node_id=node, soft=False)
        return self.ray.remote(cls).options(scheduling_strategy=where, **options)


class Workers:
    """The workers of one run.

    Args:
        cluster: Where they are.
        shared: The run's folder and models.

    Raises:
        ClusterError: none can be started, or a node does not see the run folder.
    """

    def __init__(self, cluster: RayCluster, shared: Shared) -> None:
        self._cluster = cluster
        self._shared = shared
        keeper = cluster.on(cluster.here, ResultKeeper, num_cpus=0)
        self._keeper = keeper.remote(shared.cache.path.absolute())
        self._check_models()
        self._all: list[Worker] = []
        self._fault = "it has no node with a CPU"
        self._start(cluster.places())
        if not self._all:
            raise ClusterError(
                f"No worker can be started in the Ray cluster ({self._fault}). Its CPUs and GPUs "
                "may be taken: see ray status. Aloft, and the teacher where an application passed "
                "it in, must be importable on every node."
            )

    def free(self, most: int) -> Worker | None:
        """The worker that was given least; None where each was given so much already."""
        able = [worker for worker in self._all if worker.in_flight < most]
        return min(able, key=lambda worker: worker.in_flight, default=None)

    def replace(self, worker: Worker) -> None:
        """Start workers wherever there is none, since one is lost.

        Raises:
            ClusterError: none is left, and none can be started.
        """
        if worker not in self._all:
            return  # what else it was given is lost with it
        self._all.remove(worker)
        logger.warning("A worker on %s was lost; its work starts again.", worker.place.address)
        taken = Counter(one.place for one in self._all)
        self._start([*(Counter(self._cluster.places()) - taken).elements()])
        if not self._all:
            raise ClusterError(
                f"No worker of the Ray cluster is left ({self._fault}). Start its nodes, then run "
                "the same command again to resume."
            )

    def close(self) -> None:
        """End the workers, and close the cache once nothing is written to it any more."""
        ray = self._cluster.ray
        for worker in self._all:
            ray.kill(worker.actor)
        with suppress(ray.exceptions.GetTimeoutError, *self._cluster.lost):
            ray.get(self._keeper.close.remote(), timeout=_CLOSE)
        ray.kill(self._keeper)
        self._all.clear()

    def _start(self, places: Sequence[Place]) -> None:
        started = [(place, self._actor(place)) for place in places]
        checks = [(place, actor, actor.check.remote(__version__)) for place, actor in started]
        timeout = self._cluster.ray.exceptions.GetTimeoutError
        for place, actor, check in checks:
            try:
                self._cluster.ray.get(check, timeout=_START)
            except self._cluster.ray.exceptions.RayTaskError as error:
                raise unwrapped(error) from None
            except (timeout, *self._cluster.lost) as error:
                self._fault = str(error).strip().splitlines()[-1].strip()[:200]
                logger.warning("No worker starts on %s (%s).", place.address, self._fault)
            else:
                self._all.append(Worker(actor, place))
                if place.node != self._cluster.here:
                    count_reached(hosts_of(f"ray://{place.address}", allow_remote=True))

    def _actor(self, place: Place) -> Any:
        threads = os.environ.get("OMP_NUM_THREADS", str(place.threads))
        actor = self._cluster.on(
            place.node,
            RayWorker,
            num_cpus=1,
            num_gpus=place.gpus,
            runtime_env={"env_vars": {"OMP_NUM_THREADS": threads}},
        )
        run, models = self._shared.store.path, self._shared.models
        return actor.remote(run, Path.cwd(), models, self._keeper, allowed_hosts())

    def _check_models(self) -> None:
        try:
            self._cluster.ray.cloudpickle.dumps(self._shared.models)
        except Exception as error:
            kind = type(self._shared.models.given).__name__
            raise ClusterError(
                f"The teacher of type {kind} cannot be sent to other processes "
                f"({type(error).__name__}: {error}). Leave the executor out, or name a model or a "
                "server as the teacher."
            ) from error


def unwrapped(error: Any) -> Exception:
    """What a worker raised: in one line where the user can put it right."""
    is_ours = isinstance(error.cause, AloftError)
    raised: Exception = error.cause if is_ours else error
    return raised


def _own_options() -> dict[str, Any]:
    """A cluster of our own, also where another one runs on this machine."""
    return {"address": "local", "include_dashboard": False, "object_store_memory": _STORE}


def _amount(node: Mapping[str, Any], resource: str) -> float:
    return float(node["Resources"].get(resource, 0))


def _places(node: Mapping[str, Any], gpus: int | None = None) -> list[Place]:
    """The places of a node: one for each of its GPUs, or one."""
    count = 1 if gpus is None else gpus
    threads = max(1, int(_amount(node, "CPU")) // max(1, count))
    where = node["NodeID"], node["NodeManagerAddress"], threads
    return [Place(*where, gpus=int(gpus is not None))] * count


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables, where they are not set, for what is imported or started meanwhile."""
    added = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
