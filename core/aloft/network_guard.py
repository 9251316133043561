"""Keeps a run on this machine: connections that its threads make to other machines are refused.

The guard follows the run, not the process. It is active in the context that entered it
(`contextvars`, so also in asyncio tasks and `asyncio.to_thread` calls made there) and in every
thread started from a guarded context or thread, such as the workers of an executor that a library
creates. Threads that the host started itself, and the environment variables they share, are left
alone.
"""

import ipaddress
import os
import socket
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, TypeVar
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from aloft.errors import AloftError, ConfigError

T = TypeVar("T")


class NetworkRefusedError(AloftError):
    """Something tried to reach another machine while a run was kept local."""


@dataclass(slots=True, eq=False)  # two guards that saw the same are still two
class NetworkGuard:
    """What a run may reach, and what it tried to reach.

    Attributes:
        refused: Addresses that something tried to reach, in order.
        allowed: Other machines that the user named as servers.
        reached: Those of them that were connected to.
    """

    refused: list[str] = field(default_factory=list)
    allowed: frozenset[str] = frozenset()
    reached: set[str] = field(default_factory=set)


_Guards = tuple[NetworkGuard, ...]
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
_of_context: ContextVar[_Guards] = ContextVar("aloft_network_guards", default=())
_of_thread: "WeakKeyDictionary[threading.Thread, _Guards]" = WeakKeyDictionary()
_active: set[NetworkGuard] = set()  # threads that a run left behind are free once it has ended
_changing = threading.Lock()
_is_watching = False
_own_start: Callable[[threading.Thread], None] = threading.Thread.start


def forbid_telemetry() -> None:
    """Set the variables that keep libraries offline, for this whole process: the command line's."""
    for name in ("HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
        os.environ.setdefault(name, "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@contextmanager
def local_only(allowed: Collection[str] = ()) -> Iterator[NetworkGuard]:
    """Refuse connections and name look-ups that leave this machine; loopback stays open.

    It sees what Python code of the run does, through the interpreter's audit events. It does not
    see C libraries that open sockets by themselves, other programs that the run starts, or work
    handed to a thread that the host had started before. No environment variable is set, because
    threads of the host would obey it too: our models are loaded from local files only.

    In a generator, use `guarded_steps` instead: between its steps the caller's code runs in the
    same context.

    Args:
        allowed: Host names and addresses that stay open too, with the addresses that such a name
            has later.

    Raises:
        NetworkRefusedError: inside whatever tried to connect.
    """
    guard = _new_guard(allowed)
    _of_context.set((*_current_guards(), guard))
    try:
        yield guard
    finally:
        _close(guard)
        _of_context.set(tuple(one for one in _of_context.get() if one is not guard))


def guarded_steps(steps: Iterator[T], allowed: Collection[str] = ()) -> Iterator[T]:
    """Each step of an iterator under a guard; between steps the caller's code runs without it."""
    guard = _new_guard(allowed)
    try:
        while True:
            outer = _of_context.get()
            _of_context.set((*_current_guards(), guard))
            try:
                step = next(steps)
            except StopIteration:
                return
            finally:
                _of_context.set(outer)
            yield step
    finally:
        _close(guard)


def count_refused(hosts: Collection[str]) -> None:
    """Count what a process that works for the run refused by itself."""
    for guard in _current_guards():
        guard.refused.extend(hosts)


def count_reached(hosts: Collection[str]) -> None:
    """Count other machines that something which works for the run was connected to."""
    for guard in _current_guards():
        guard.reached.update(hosts)


def allowed_hosts() -> frozenset[str]:
    """Other machines that are open here, for a process that works for the run."""
    guards = _current_guards()
    return frozenset.intersection(*(guard.allowed for guard in guards)) if guards else frozenset()


def _new_guard(allowed: Collection[str]) -> NetworkGuard:
    global _is_watching, _own_start
    guard = NetworkGuard(allowed=frozenset(allowed))
    with _changing:
        if not _is_watching:
            sys.addaudithook(_watch)  # cannot be removed: outside of runs it finds no guard
            _is_watching = True
        if not _active:
            _own_start = threading.Thread.start
            threading.Thread.start = _inheriting(_own_start)  # type: ignore[method-assign,assignment]
        _active.add(guard)
    return guard


def _close(guard: NetworkGuard) -> None:
    with _changing:
        _active.discard(guard)
        is_ours = getattr(threading.Thread.start, "__wrapped__", None) is _own_start
        if not _active and is_ours:  # unless somebody else wrapped it meanwhile
            threading.Thread.start = _own_start  # type: ignore[method-assign,assignment]


def _inheriting(start: Callable[[threading.Thread], None]) -> Callable[[threading.Thread], None]:
    """Thread.start that notes the guards of the thread that starts another one.

    Threads inherit no context before Python 3.14.
    """

    @wraps(start)
    def start_thread(thread: threading.Thread) -> None:
        if guards := _current_guards():
            _of_thread[thread] = guards
        start(thread)

    return start_thread


def _current_guards() -> _Guards:
    """Guards of this context, or else those that this thread was started under."""
    if not _active:
        return ()
    guards = _of_context.get() or _of_thread.get(threading.current_thread(), ())
    return tuple(guard for guard in guards if guard in _active)


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event in _ADDRESS_AT and (guards := _current_guards()):
        _check_address(event, arguments, guards)


def _check_address(event: str, arguments: tuple[Any, ...], guards: _Guards) -> None:
    if getattr(arguments[0], "family", None) == getattr(socket, "AF_UNIX", -1):
        return
    address = arguments[_ADDRESS_AT[event]]
    host = address[0] if isinstance(address, tuple) else address
    if isinstance(host, bytes):
        host = host.decode("utf-8", "replace")
    if _is_local(host):
        return
    if all(_is_open(host, guard) for guard in guards):
        if event == "socket.connect":
            for guard in guards:
                guard.reached.add(str(host))
    else:
        for guard in guards:
            guard.refused.append(str(host))
        raise NetworkRefusedError(f"A connection to {host} was refused: this run stays local.")


def _is_open(host: Any, guard: NetworkGuard) -> bool:
    """Whether a guard lets another machine be reached, by a name or by an address of a name.

    Names of services have other addresses every few minutes. Where the user allowed none that is
    public, none becomes so.
    """
    if host in guard.allowed:
        return True
    addresses = {one for one in guard.allowed if _is_address(one)}
    if not _is_address(host) or not (_is_near(host) or any(not _is_near(one) for one in addresses)):
        return False
    for name in guard.allowed - addresses:
        try:
            found = _addresses_of(name)
        except (OSError, UnicodeError):
            continue
        if host in found:
            guard.allowed |= found
            return True
    return False


def _is_address(host: Any) -> bool:
    try:
        ipaddress.ip_address(str(host).split("%")[0])
    except ValueError:
        return False
    return True


def _is_near(address: str) -> bool:
    return ipaddress.ip_address(address.split("%")[0]).is_private


def _addresses_of(name: str) -> set[str]:
    return {str(entry[4][0]) for entry in socket.getaddrinfo(name, None)}


def hosts_of(url: str, *, allow_remote: bool = False) -> frozenset[str]:
    """The host of a server's address, by name and number; empty where it is this machine.

    Raises:
        ConfigError: it is neither this machine nor on a private network, and `allow_remote` is
            off; or its name is unknown, or no name.
    """
    try:
        host = urlsplit(url).hostname or ""
    except ValueError as error:
        raise ConfigError(f"{url} is no address of a server ({error}). Check it.") from error
    if _is_local(host):
        return frozenset()
    try:
        found = _addresses_of(host)
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"{url}: host {host} is unknown. Check the address.") from error
    if all(map(_is_local, found)):
        return frozenset({host})
    is_near = all(map(_is_near, found))
    if not is_near and not allow_remote:
        raise ConfigError(
            f"{url} is on a public network: documents would leave the building. Name a server on "
            "this machine or a private address, or set allow_remote = true."
        )
    return frozenset({host, *found})


def _is_local(host: Any) -> bool:
    if not isinstance(host, str) or host in ("", "localhost"):
        return True  # no address, or a kind that stays on this machine
    try:
        address = ipaddress.ip_address(host.split("%")[0])
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback
