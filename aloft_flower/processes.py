"""Starts Flower's programs with an environment that keeps them quiet and apart."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

_STARTING = 120.0  # seconds; Flower imports for some
_STOPPING = 10.0
_LEASH = Path(__file__).parent / "leash.py"
_TAIL = 4000  # characters of a log that are read for the reason of a failure


def environment(home: Path, further: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a Flower program: no telemetry, and files below `home` alone."""
    programs = str(Path(sys.executable).parent)
    return {
        **os.environ,
        "FLWR_HOME": str(home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "PATH": os.pathsep.join([programs, os.environ.get("PATH", "")]),
        **(further or {}),
    }


@contextmanager
def running(
    command: Sequence[str], log: Path, env: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """A program that runs while the context is open, and writes its output to a file.

    It ends with this process, too, however that ends.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        process = subprocess.Popen(
            [sys.executable, str(_LEASH), *command],
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=file,
            env=dict(env),
            start_new_session=True,  # Ctrl-C is for this process, which ends it
        )
    try:
        yield process
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a program that `running` has started, by force where it does not end by itself."""
    if process.stdin is not None:
        process.stdin.close()  # the leash ends it
    if process.poll() is None:
        try:
            process.wait(_STOPPING)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for_port(process: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until a program listens on a port of this machine; False: it has ended, or hangs."""
    end = time.monotonic() + _STARTING
    while process.poll() is None and time.monotonic() < end:
        if is_listening(port):
            return True
        time.sleep(0.2)
    return False


def is_listening(port: int) -> bool:
    """Whether something listens on a port of this machine."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def free_port() -> int:
    """A port of the loopback interface that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def read_tail(log: Path) -> str:
    """The end of a log."""
    return log.read_text(encoding="utf-8", errors="replace")[-_TAIL:] if log.exists() else ""
