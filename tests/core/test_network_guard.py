"""A run stays on this machine: what would leave it is refused before a packet is sent."""

import asyncio
import contextvars
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any, TypeVar

import pytest

from aloft import network_guard
from aloft.errors import AloftError
from aloft.network_guard import NetworkRefusedError, guarded_steps, local_only

T = TypeVar("T")

ADDRESS = "192.0.2.1"  # set aside for documents (RFC 5737): nobody answers there
NAME = "aloft.invalid"  # set aside likewise (RFC 2606)


@pytest.fixture(autouse=True)
def no_guard_is_left() -> Iterator[None]:
    yield
    left = list(network_guard._active)
    network_guard._active.clear()
    assert not left


def connect(host: str = ADDRESS) -> None:
    """Never waits for an answer, should it get through."""
    with socket.socket() as one:
        one.setblocking(False)
        one.connect((host, 9))


def send() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as one:
        one.sendto(b"x", (ADDRESS, 9))


@pytest.mark.parametrize(
    ("reach", "host"),
    [
        (connect, ADDRESS),
        (send, ADDRESS),
        (lambda: socket.getaddrinfo(NAME, 80), NAME),
        (lambda: socket.create_connection((NAME, 80), timeout=0.1), NAME),
        (lambda: socket.create_connection((ADDRESS, 80), timeout=0.1), ADDRESS),
    ],
)
def test_what_leaves_the_machine_is_refused_and_counted(
    reach: Callable[[], Any], host: str
) -> None:
    with local_only() as guard:
        assert guard.refused == []
        with pytest.raises(NetworkRefusedError, match=f"{host} was refused: this run stays local"):
            reach()
        assert guard.refused == [host]


@pytest.mark.parametrize(
    ("known", "now", "is_open"),
    [
        ("8.8.4.4", "8.8.8.8", True),  # a service with many addresses
        ("10.0.0.5", "10.0.0.6", True),
        ("10.0.0.5", "8.8.8.8", False),  # nobody allowed what leaves the building
        ("8.8.4.4", "9.9.9.9", False),  # it is not of that name
    ],
)
def test_a_name_that_is_allowed_may_have_another_address_later(
    monkeypatch: pytest.MonkeyPatch, known: str, now: str, is_open: bool
) -> None:
    answers = {NAME: "10.0.0.6" if now == "10.0.0.6" else "8.8.8.8"}

    def resolve(name: str, *_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answers[name], 0))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    refused = nullcontext() if is_open else pytest.raises(NetworkRefusedError)
    with local_only({NAME, known}) as guard, socket.socket() as one, refused:
        sys.audit("socket.connect", one, (now, 443))  # what a connection raises, but no packet
    assert guard.reached == ({now} if is_open else set())


def test_refusals_are_counted_in_order() -> None:
    with local_only() as guard:
        for host in (ADDRESS, "198.51.100.7", ADDRESS):
            with pytest.raises(NetworkRefusedError):
                connect(host)
    assert guard.refused == [ADDRESS, "198.51.100.7", ADDRESS]


def test_a_refusal_is_an_error_that_a_user_can_read_and_no_network_error() -> None:
    assert issubclass(NetworkRefusedError, AloftError)
    assert not issubclass(NetworkRefusedError, OSError)  # which libraries catch and try again


def is_refused() -> bool:
    """Whether this thread may reach another machine."""
    try:
        sys.audit("socket.connect", None, (ADDRESS, 9))  # as a real connection would
    except NetworkRefusedError:
        return True
    return False


def in_thread(work: Callable[[], T]) -> T:
    """What `work` returns in a new thread."""
    found: list[T] = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    return found[0]


def test_threads_that_the_run_starts_are_refused_too() -> None:
    with local_only() as guard:
        assert in_thread(is_refused)
        assert in_thread(lambda: in_thread(is_refused))
        with ThreadPoolExecutor(2) as pool:  # as libraries and data loaders start them
            assert pool.submit(is_refused).result()
            assert pool.submit(in_thread, is_refused).result()
        assert asyncio.run(asyncio.to_thread(is_refused))
    assert guard.refused == [ADDRESS] * 5


def test_a_thread_of_the_host_is_never_refused() -> None:
    begun, ended = threading.Event(), threading.Event()
    found: list[bool] = []

    def serve() -> None:
        found.append(is_refused())
        begun.wait(60)
        found.append(is_refused())
        found.append(in_thread(is_refused))
        ended.set()

    host = threading.Thread(target=serve)
    host.start()
    with local_only() as guard:
        begun.set()
        ended.wait(60)
        assert guard.refused == []
        assert is_refused()
    host.join()
    assert found == [False, False, False]


def test_two_runs_at_once_have_guards_of_their_own() -> None:
    begun, ended = threading.Event(), threading.Event()
    refused: dict[str, list[str]] = {}

    def run(name: str, allowed: frozenset[str]) -> bool:
        with local_only(allowed) as guard:
            begun.set() if name == "first" else begun.wait(60)
            ended.wait(60) if name == "first" else None
            was_refused = is_refused()
            refused[name] = guard.refused
        return was_refused

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(run, "first", frozenset())
        second = pool.submit(run, "second", frozenset({ADDRESS}))
        assert not second.result(60)
        ended.set()
        assert first.result(60)
    assert refused == {"first": [ADDRESS], "second": []}


def test_threads_that_a_run_leaves_behind_are_free_once_it_has_ended() -> None:
    with ThreadPoolExecutor(1) as pool:
        with local_only():
            assert pool.submit(is_refused).result()
        assert not pool.submit(is_refused).result()
        assert not is_refused()


def test_a_copy_of_the_context_is_free_once_the_run_has_ended() -> None:
    with local_only():
        context = contextvars.copy_context()
        assert context.run(is_refused)
    assert not context.run(is_refused)


def test_a_run_in_a_thread_of_another_run_is_under_both_guards() -> None:
    def run() -> list[str]:
        with local_only({ADDRESS}) as inner:
            assert is_refused()
            return inner.refused

    with local_only() as outer:
        assert in_thread(run) == [ADDRESS]
    assert outer.refused == [ADDRESS]


def test_between_the_steps_of_a_stream_the_caller_is_free() -> None:
    def steps() -> Iterator[bool]:
        yield is_refused()
        yield is_refused()

    stream = guarded_steps(steps())
    assert next(stream)
    assert not is_refused()
    assert contextvars.copy_context().run(next, stream)  # as asyncio.to_thread asks for a step
    assert list(stream) == []


def test_a_stream_that_nobody_reads_to_its_end_leaves_no_guard() -> None:
    stream = guarded_steps(iter([1, 2]))
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert not network_guard._active


@pytest.mark.usefixtures("loopback")
def test_loopback_stays_open() -> None:
    with local_only() as guard, socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            client.sendall(b"hello")
            there, _ = server.accept()
            with there:
                assert there.recv(5) == b"hello"
        assert socket.getaddrinfo("localhost", port)
        assert socket.getaddrinfo(None, port)
        assert guard.refused == []


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="this system has no such sockets")
def test_sockets_within_this_machine_stay_open() -> None:
    one, other = socket.socketpair()
    with local_only() as guard, one, other:
        one.sendall(b"x")
        assert other.recv(1) == b"x"
        with socket.socket(socket.AF_UNIX) as client, pytest.raises(FileNotFoundError):
            client.connect("/nowhere/at/all.sock")
        assert guard.refused == []


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.8.7", "::1", "localhost", "", None])
def test_this_machine(host: str | None) -> None:
    with local_only() as guard:
        sys.audit("socket.getaddrinfo", host, 80, 0, 0, 0)
        sys.audit("socket.connect", None, (host, 80))
    assert guard.refused == []


@pytest.mark.parametrize(
    "host", ["10.0.0.1", "192.168.1.1", "fe80::1%eth0", "2001:db8::1", "localhost.example", NAME]
)
def test_other_machines(host: str) -> None:
    with local_only() as guard:
        for event in (
            ("socket.getaddrinfo", host, 80, 0, 0, 0),
            ("socket.connect", None, (host, 80)),
            ("socket.sendto", None, (host, 80)),
        ):
            with pytest.raises(NetworkRefusedError):
                sys.audit(*event)
    assert guard.refused == [host] * 3


def test_nothing_is_refused_without_a_guard() -> None:
    with local_only() as guard:
        pass
    sys.audit("socket.connect", None, (ADDRESS, 9))  # as a real connection would
    sys.audit("socket.getaddrinfo", NAME, 80, 0, 0, 0)
    assert guard.refused == []


def test_an_error_inside_takes_the_guard_away_as_well() -> None:
    with pytest.raises(RuntimeError), local_only():
        raise RuntimeError
    sys.audit("socket.connect", None, (ADDRESS, 9))


def test_nested_guards_both_count() -> None:
    with local_only() as outer:
        with pytest.raises(NetworkRefusedError):
            connect()
        with local_only() as inner, pytest.raises(NetworkRefusedError):
            connect("198.51.100.7")
        assert inner.refused == ["198.51.100.7"]
        with pytest.raises(NetworkRefusedError):
            connect("198.51.100.8")
    assert outer.refused == [ADDRESS, "198.51.100.7", "198.51.100.8"]
    assert inner.refused == ["198.51.100.7"]


def test_the_inner_of_two_guards_that_saw_nothing_goes_first() -> None:
    with local_only() as outer:
        with local_only() as inner:
            pass
        with pytest.raises(NetworkRefusedError):
            connect()
    assert (outer.refused, inner.refused) == ([ADDRESS], [])


@pytest.mark.parametrize(
    "event",
    [
        ("socket.gethostbyname", NAME),
        ("socket.gethostbyaddr", ADDRESS),
        ("socket.sendmsg", None, (ADDRESS, 9)),
        ("socket.getaddrinfo", NAME.encode(), 80, 0, 0, 0),  # a name may be given as bytes
    ],
)
def test_other_ways_out_are_refused(event: tuple[Any, ...]) -> None:
    with local_only(), pytest.raises(NetworkRefusedError):
        sys.audit(*event)


def test_the_environment_of_the_process_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads of the host that use the model hub meanwhile would obey it too."""
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("DO_NOT_TRACK", "yes")
    before = dict(os.environ)
    with local_only(), local_only():
        assert dict(os.environ) == before
    assert dict(os.environ) == before


def test_starting_threads_is_as_before_once_all_runs_have_ended() -> None:
    before = threading.Thread.start
    with local_only(), local_only():
        assert threading.Thread.start is not before
    assert threading.Thread.start is before


def test_the_command_line_keeps_libraries_offline_unless_the_user_said_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("DO_NOT_TRACK", "")
    monkeypatch.delenv("DO_NOT_TRACK")
    network_guard.forbid_telemetry()
    assert (os.environ["HF_HUB_OFFLINE"], os.environ["DO_NOT_TRACK"]) == ("0", "1")


def test_the_hub_stays_online_for_a_host_that_first_imports_it_during_a_run() -> None:
    pytest.importorskip("huggingface_hub")
    program = (
        "from aloft.network_guard import local_only\n"
        "with local_only():\n"
        "    from huggingface_hub import constants\n"
        "print(constants.HF_HUB_OFFLINE)\n"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    call = [sys.executable, "-c", program]
    done = subprocess.run(call, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split() == ["False"]
