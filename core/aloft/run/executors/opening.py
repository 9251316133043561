"""Opens the executor that a name stands for: `local`, `ray` or `ray://HOST:PORT`."""

from collections.abc import Iterator
from contextlib import contextmanager

from aloft.errors import ConfigError
from aloft.run.executors.local import Executor, LocalExecutor


@contextmanager
def open_executor(name: str = "local", *, allow_remote: bool = False) -> Iterator[Executor]:
    """An executor, for as long as it is used.

    Args:
        name: "local", this process; "ray", a Ray cluster that is started on this machine;
            "ray://HOST:PORT", one that runs.
        allow_remote: Whether the cluster may stand outside this machine and its private network.

    Raises:
        ConfigError: there is no such executor, or the cluster is on a public network.
        ClusterError: there is no cluster at the address.
        MissingExtraError: the extra `ray` is not installed.
    """
    kind, separator, address = name.partition("://")
    if name == "local":
        yield LocalExecutor()
    elif kind == "ray" and bool(address) == bool(separator):
        from aloft.run.executors.ray_executor import RayExecutor

        with RayExecutor(address, allow_remote=allow_remote) as executor:
            yield executor
    else:
        raise ConfigError(f'--executor is "{name}", but may be: local, ray, ray://HOST:PORT.')
