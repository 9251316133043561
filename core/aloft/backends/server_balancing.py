"""Several servers of one model as one: each request goes to the server that has least to do.

A server that gives no reply is left out, and its requests are sent to the others. After a pause it
is sent one request again, and takes part once more where it replies.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from aloft.backends.server_connection import NoReplyError, ServerConnection
from aloft.errors import ModelError

_BESIDE_OTHERS = 2  # attempts of a request that another server can take: one broken connection
_LOOK = 1.0  # seconds between two looks at who has rested
_REST = 60.0  # seconds until a server that was left out is sent a request again
T = TypeVar("T")
logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Member:
    """A server, with its requests in flight.

    Attributes:
        rests_until: Time of the monotonic clock before which it is sent nothing.
        is_out: Whether its last request was without a reply.
    """

    connection: ServerConnection
    in_flight: int = 0
    rests_until: float = 0.0
    is_out: bool = False


class BalancedServers:
    """Servers of one model.

    Args:
        connections: To the servers; those whose model is unnamed must have the others' model.
        concurrency: Requests that one of them is sent at a time.
        rest: Seconds until a server that was left out is sent a request again.
    """

    def __init__(
        self, connections: Sequence[ServerConnection], *, concurrency: int, rest: float = _REST
    ) -> None:
        self._members = [_Member(one) for one in connections]
        self._patience = connections[0].attempts
        self._concurrency = concurrency
        self._rest = rest
        self._changed = threading.Condition()
        self._model = ""
        self._set_patience()

    @property
    def at_once(self) -> int:
        """Requests that all of them are sent at a time."""
        return self._concurrency * len(self._members)

    @property
    def retries(self) -> int:
        """Requests that were sent again."""
        return sum(member.connection.retries for member in self._members)

    @property
    def model(self) -> str:
        """Name of the model that all of them have.

        Raises:
            ModelError: no server names it, or it is not the same everywhere.
        """
        return self._model or self.call(lambda server: server.model)

    def call(self, work: Callable[[ServerConnection], T]) -> T:
        """Have one server do some work; where it gives no reply, another one.

        Raises:
            NoReplyError: none of them gives a reply.
            ModelError: a server refuses the work, or has another model than the others.
        """
        while True:
            with self._chosen() as member:
                try:
                    self._check_model(member.connection)
                    result = work(member.connection)
                except NoReplyError as error:
                    if not self._leave_out(member, error):
                        raise self._silent(error) from None
                else:
                    self._take_back(member)
                    return result

    @contextmanager
    def _chosen(self) -> Iterator[_Member]:
        """The server with the fewest requests in flight, once one has room for another."""
        with self._changed:
            while (member := self._best()) is None:
                self._changed.wait(_LOOK)
            member.in_flight += 1
        try:
            yield member
        finally:
            with self._changed:
                member.in_flight -= 1
                self._changed.notify()

    def _best(self) -> _Member | None:
        now = time.monotonic()
        for member in self._members:
            if member.is_out and member.rests_until <= now and not member.in_flight:
                return member  # one request shows whether it is back
        up = [member for member in self._members if not member.is_out]
        able = [one for one in up or self._members if one.in_flight < self._concurrency]
        return min(able, key=lambda one: one.in_flight, default=None)

    def _check_model(self, server: ServerConnection) -> None:
        model = server.model
        self._model = self._model or model
        if model != self._model:
            raise ModelError(
                f"The servers of one model must have the same: {server.address} has {model}, the "
                f"others have {self._model}. Leave it out, or start it with that model."
            )

    def _leave_out(self, member: _Member, error: NoReplyError) -> bool:
        """Send a server nothing for a while; returns whether another one is left."""
        with self._changed:
            is_new = not member.is_out
            member.is_out, member.rests_until = True, time.monotonic() + self._rest
            left = sum(not one.is_out for one in self._members)
            self._set_patience()
            self._changed.notify_all()
        if is_new and left:
            logger.warning(
                "The server at %s gives no reply (%s) and is left out; %d of %d servers %s.",
                member.connection.address,
                error.fault,
                left,
                len(self._members),
                "is left" if left == 1 else "are left",
            )
        return left > 0

    def _take_back(self, member: _Member) -> None:
        with self._changed:
            if not member.is_out:
                return
            member.is_out = False
            self._set_patience()
            self._changed.notify_all()
        if len(self._members) > 1:
            logger.warning("The server at %s replies again.", member.connection.address)

    def _set_patience(self) -> None:
        """Wait long for the last server alone: what others can do is not waited for."""
        up = [member for member in self._members if not member.is_out]
        for member in self._members:
            is_last = len(self._members) == 1 or up in ([], [member])
            patience = self._patience if is_last else _BESIDE_OTHERS
            member.connection.attempts = min(patience, self._patience)

    def _silent(self, error: NoReplyError) -> NoReplyError:
        if len(self._members) == 1:
            return error
        addresses = ", ".join(member.connection.address for member in self._members)
        return NoReplyError(
            f"None of the servers at {addresses} gives a reply ({error.fault}). Start one, then "
            "run the same command again to resume.",
            error.fault,
        )
