"""Keeps a run on this machine: outbound connections are refused and counted while it works."""

import ipaddress
import os
import socket
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from aloft.errors import AloftError, ConfigError


class NetworkRefusedError(AloftError):
    """Something tried to reach another machine while a run was kept local."""


@dataclass(slots=True, eq=False)  # two guards that saw the same are still two
class NetworkGuard:
    """What the guard saw.

    Attributes:
        refused: Addresses that something tried to reach, in order.
        allowed: Other machines that the user named as servers.
        reached: Those of them that were connected to.
    """

    refused: list[str] = field(default_factory=list)
    allowed: frozenset[str] = frozenset()
    reached: set[str] = field(default_factory=set)


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
_active: list[NetworkGuard] = []
_is_installed = False


def forbid_telemetry() -> None:
    """Tell the libraries below to stay off the network and to send no usage counts."""
    for name in ("HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
        os.environ.setdefault(name, "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@contextmanager
def local_only(allowed: Collection[str] = ()) -> Iterator[NetworkGuard]:
    """Refuse connections and name look-ups that leave this machine; loopback stays open.

    Args:
        allowed: Host names and addresses that stay open too.

    It sees what Python does, through the interpreter's audit events; a C library that opens its
    own sockets is not seen, which is why loading is told to stay offline besides.

    Raises:
        NetworkRefusedError: inside whatever tried to connect.
    """
    global _is_installed
    forbid_telemetry()
    if not _is_installed:
        sys.addaudithook(_watch)  # a hook can not be removed: it sleeps while no guard is active
        _is_installed = True
    guard = NetworkGuard(allowed=frozenset(allowed))
    _active.append(guard)
    try:
        yield guard
    finally:
        _active.remove(guard)


def count_refused(hosts: Collection[str]) -> None:
    """Count what a process that works for a run refused by itself."""
    for guard in _active:
        guard.refused.extend(hosts)


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if not _active or event not in _ADDRESS_AT:
        return
    if getattr(arguments[0], "family", None) == getattr(socket, "AF_UNIX", -1):
        return
    address = arguments[_ADDRESS_AT[event]]
    host = address[0] if isinstance(address, tuple) else address
    if isinstance(host, bytes):
        host = host.decode("utf-8", "replace")
    if _is_local(host):
        return
    if all(host in guard.allowed for guard in _active):
        if event == "socket.connect":
            for guard in _active:
                guard.reached.add(str(host))
    else:
        for guard in _active:
            guard.refused.append(str(host))
        raise NetworkRefusedError(f"A connection to {host} was refused: this run stays local.")


def hosts_of(url: str, *, allow_remote: bool = False) -> frozenset[str]:
    """The host of a server's address, by name and number; none where it is this machine.

    Raises:
        ConfigError: it is neither this machine nor on a private network, and `allow_remote` is
            off; or its name is not known.
    """
    host = urlsplit(url).hostname or ""
    if _is_local(host):
        return frozenset()
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
    except OSError as error:
        raise ConfigError(f"{url}: {host or 'no host'} is not known. Check the address.") from error
    if all(map(_is_local, found)):
        return frozenset({host})
    is_near = all(ipaddress.ip_address(address.split("%")[0]).is_private for address in found)
    if not is_near and not allow_remote:
        raise ConfigError(
            f"{url} is on another network: documents would leave the building. Name a server on "
            "this machine or a private address, or set allow_remote = true."
        )
    return frozenset({host, *found})


def _is_local(host: Any) -> bool:
    if not isinstance(host, str) or host in ("", "localhost"):
        return True  # no address, or one of this machine's own kinds
    try:
        address = ipaddress.ip_address(host.split("%")[0])
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback
