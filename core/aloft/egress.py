"""Keeps a run on this machine: outbound connections are refused and counted while it works."""

import ipaddress
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aloft.errors import AloftError


class EgressRefusedError(AloftError):
    """Something tried to reach another machine while a run was kept local."""


@dataclass(slots=True, eq=False)  # two guards that saw the same are still two
class EgressGuard:
    """What the guard saw.

    Attributes:
        refused: Addresses that something tried to reach, in order.
    """

    refused: list[str] = field(default_factory=list)


# Python's audit events that name another machine, and which of their arguments does
_ADDRESS_AT = {
    "socket.connect": 1,
    "socket.sendto": 1,
    "socket.sendmsg": 1,
    "socket.getaddrinfo": 0,
    "socket.gethostbyname": 0,
    "socket.gethostbyaddr": 0,
    "socket.getnameinfo": 0,
}
_active: list[EgressGuard] = []
_is_installed = False


def forbid_telemetry() -> None:
    """Tell the libraries below to stay off the network and to send no usage counts."""
    for name in ("HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
        os.environ.setdefault(name, "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@contextmanager
def local_only() -> Iterator[EgressGuard]:
    """Refuse connections and name look-ups that leave this machine; loopback stays open.

    It sees what Python does, through the interpreter's audit events; a C library that opens its
    own sockets is not seen, which is why loading is told to stay offline besides.

    Raises:
        EgressRefusedError: inside whatever tried to connect.
    """
    global _is_installed
    forbid_telemetry()
    if not _is_installed:
        sys.addaudithook(_watch)  # a hook can not be removed: it sleeps while no guard is active
        _is_installed = True
    guard = EgressGuard()
    _active.append(guard)
    try:
        yield guard
    finally:
        _active.remove(guard)


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if not _active or event not in _ADDRESS_AT:
        return
    if getattr(arguments[0], "family", None) == getattr(socket, "AF_UNIX", -1):
        return
    address = arguments[_ADDRESS_AT[event]]
    host = address[0] if isinstance(address, tuple) else address
    if isinstance(host, bytes):
        host = host.decode("utf-8", "replace")
    if not _is_local(host):
        for guard in _active:
            guard.refused.append(str(host))
        raise EgressRefusedError(f"A connection to {host} was refused: this run stays local.")


def _is_local(host: Any) -> bool:
    if not isinstance(host, str) or host in ("", "localhost"):
        return True  # no address, or one of this machine's own kinds
    try:
        address = ipaddress.ip_address(host.split("%")[0])
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback
