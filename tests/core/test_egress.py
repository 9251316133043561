"""A run stays on this machine: what would leave it is refused before a packet is sent."""

import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from aloft import network_guard as egress
from aloft.errors import AloftError
from aloft.network_guard import NetworkRefusedError, local_only

ADDRESS = "192.0.2.1"  # set aside for documents (RFC 5737): nobody answers there
NAME = "aloft.invalid"  # set aside likewise (RFC 2606)


@pytest.fixture(autouse=True)
def no_guard_is_left() -> Iterator[None]:
    yield
    left = list(egress._active)
    egress._active.clear()
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


def test_refusals_are_counted_in_order() -> None:
    with local_only() as guard:
        for host in (ADDRESS, "198.51.100.7", ADDRESS):
            with pytest.raises(NetworkRefusedError):
                connect(host)
    assert guard.refused == [ADDRESS, "198.51.100.7", ADDRESS]


def test_a_refusal_is_an_error_that_a_user_can_read_and_no_network_error() -> None:
    assert issubclass(NetworkRefusedError, AloftError)
    assert not issubclass(NetworkRefusedError, OSError)  # which libraries catch and try again


def test_another_thread_is_refused_too() -> None:
    seen: list[BaseException] = []

    def reach() -> None:
        try:
            connect()
        except NetworkRefusedError as error:
            seen.append(error)

    with local_only() as guard:
        thread = threading.Thread(target=reach)
        thread.start()
        thread.join()
    assert len(seen) == 1
    assert guard.refused == [ADDRESS]


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


def test_libraries_are_told_to_stay_offline_unless_the_user_said_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("DO_NOT_TRACK", "yes")
    with local_only():
        assert os.environ["HF_HUB_OFFLINE"] == "1"
        assert os.environ["DO_NOT_TRACK"] == "yes"
