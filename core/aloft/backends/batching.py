"""Answers the prompts of many callers together: what waits while a model works is its next batch.

Hosts call once per prompt, from many threads or tasks, but a model replies to a batch in little
more time than to one prompt. A batch that nobody waits for any more is given up.
"""

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from typing import Any, TypeVar

from aloft.protocols import Prompt, Reply

T = TypeVar("T")
Answer = Callable[[Sequence[Prompt], int, Sequence[str]], list[Reply]]
given_up: ContextVar[Callable[[], bool] | None] = ContextVar("given_up", default=None)
"""Tells, while a model replies, that nobody waits for it any more; None: that is not known."""
ENCODED_AT_ONCE = 512
"""Texts that an encoder sorts by length and encodes before another caller has its turn.

A text's vector depends in its last bits on the texts that share its batch, and with it the order of
passages of nearly equal score. Evaluation and serving use the same blocks, so that they rank alike.
"""
_PAUSE = 0.002  # seconds without a new prompt after which a batch begins


class _Pending(Future[list[Reply]]):
    """Replies that may be given up while the model writes them."""

    is_unwanted = False

    def cancel(self) -> bool:
        """Give up; whether it had not been begun."""
        self.is_unwanted = True
        return super().cancel()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    prompts: tuple[Prompt, ...]
    limit: int
    stop: tuple[str, ...]
    replies: _Pending = field(default_factory=_Pending)


class Threads:
    """A pool of threads of this process: one that was forked has none of those it was forked from.

    Servers of applications load a model and try it, and then fork their workers.
    """

    def __init__(self, count: int, name: str) -> None:
        self._start = partial(ThreadPoolExecutor, count, thread_name_prefix=name)
        self._pool, self._process = self._start(), os.getpid()

    def submit(self, work: Callable[..., T], *given: Any) -> Future[T]:
        """Do work in one of the threads."""
        if self._process != os.getpid():
            self._pool, self._process = self._start(), os.getpid()
        return self._pool.submit(work, *given)


class Batcher:
    """Collects prompts for one model, and asks it for all of them at once.

    Args:
        answer: Replies to prompts, given the longest reply and stop strings.
    """

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._waiting: list[_Request] = []
        self._lock = Lock()
        self._turn = Lock()  # held by the thread that asks the model
        self._runner = Threads(1, "aloft")

    def complete(self, prompts: Sequence[Prompt], limit: int, stop: Sequence[str]) -> list[Reply]:
        """Reply to prompts; the calling thread asks the model for all that wait."""
        request = self._add(prompts, limit, stop)
        with self._turn:
            while not request.replies.done():
                self._answer_next()
        return request.replies.result()

    def submit(
        self, prompts: Sequence[Prompt], limit: int, stop: Sequence[str]
    ) -> "Future[list[Reply]]":
        """Reply to prompts later, in another thread."""
        request = self._add(prompts, limit, stop)
        self._runner.submit(self._answer_all)
        return request.replies

    def _add(self, prompts: Sequence[Prompt], limit: int, stop: Sequence[str]) -> _Request:
        request = _Request(prompts=tuple(prompts), limit=limit, stop=tuple(stop))
        with self._lock:
            self._waiting.append(request)
        return request

    def _answer_all(self) -> None:
        with self._turn:
            while self._waiting:
                self._answer_next()

    def _answer_next(self) -> None:
        """Ask for all that waits and has the limits of the oldest."""
        count = -1
        while count != len(self._waiting):  # callers that were started together come together
            count = len(self._waiting)
            time.sleep(_PAUSE)
        with self._lock:
            first = self._waiting[0]
            taken = [one for one in self._waiting if _limits(one) == _limits(first)]
            self._waiting = [one for one in self._waiting if _limits(one) != _limits(first)]
        taken = [one for one in taken if one.replies.set_running_or_notify_cancel()]
        try:
            self._reply(taken)
        except BaseException as error:  # an interrupt of this thread: the others are not answered
            for request in taken:
                if not request.replies.done():
                    request.replies.set_exception(error)
            raise

    def _reply(self, taken: Sequence[_Request]) -> None:
        try:
            self._ask(taken)
        except Exception as error:
            if len(taken) == 1:
                taken[0].replies.set_exception(error)
                return
            for request in taken:  # the fault of one is not the others'
                self._reply([request])

    def _ask(self, taken: Sequence[_Request]) -> None:
        if not taken:
            return
        prompts = [prompt for request in taken for prompt in request.prompts]
        token = given_up.set(lambda: all(request.replies.is_unwanted for request in taken))
        try:
            replies = iter(self._answer(prompts, taken[0].limit, taken[0].stop))
        finally:
            given_up.reset(token)
        whole = [[next(replies) for _ in request.prompts] for request in taken]
        for request, own in zip(taken, whole, strict=True):
            request.replies.set_result(own)


def _limits(request: _Request) -> tuple[int, tuple[str, ...]]:
    return request.limit, request.stop
