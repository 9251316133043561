"""Progress with the time left: bars on a terminal, and a line every 30 seconds anywhere else.

A notebook gets lines too: bars in it would need a package of widgets.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import (
    Progress as Bars,
)

from aloft.protocols import Progress, no_progress
from aloft.terminal.console import errors, print_line

INTERVAL = 30.0  # seconds between two lines
_drawing = threading.Lock()  # a terminal has room for the bars of one


@contextmanager
def shown_progress(is_shown: bool = True) -> Iterator[Progress]:
    """A callable that shows how far each stage is, on the error output.

    Of several at a time in one process, the first draws the bars, and the others write lines.

    Args:
        is_shown: Whether anything is shown.
    """
    if not is_shown:
        yield no_progress
    elif errors.is_terminal and _drawing.acquire(blocking=False):
        try:
            with _bars() as report:
                yield report
        finally:
            _drawing.release()
    else:
        lines = ProgressLines(print_line)
        with _ticking(lines):
            yield lines.report


@contextmanager
def _bars() -> Iterator[Progress]:
    columns = (
        TextColumn("{task.description:<28}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=errors) as bars:
        tasks: dict[str, TaskID] = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield report


@dataclass(frozen=True, slots=True)
class _Stage:
    name: str
    began: float  # seconds of the clock
    first: int  # what was done already when it began
    done: int
    total: int


class ProgressLines:
    """A line when a stage starts, every 30 seconds while it lasts, and when it ends.

    What was ended before and now ends as it starts, such as a few scores more, is no news.

    Args:
        write: Takes a line.
        clock: Seconds, from any origin.
    """

    def __init__(
        self, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._write = write
        self._clock = clock
        self._lock = threading.Lock()
        self._running: dict[str, _Stage] = {}  # the one that reported last is the last
        self._heard: set[str] = set()  # since the last line
        self._ended: set[str] = set()
        self._began = self._last = clock()

    def report(self, stage: str, done: int, total: int) -> None:
        """Note how far a stage is; several may run at a time."""
        with self._lock:
            now, running = self._clock(), self._running.pop(stage, None)
            is_new = running is None or done < running.done
            if is_new or running is None:
                running = _Stage(stage, now, done, done, total)
            else:
                running = _Stage(stage, running.began, running.first, done, total)
            if done >= total:
                if not (is_new and stage in self._ended):
                    took = "" if is_new else f" in {_duration(now - running.began)}"
                    self._say(f"{stage}: done{took}")
                self._ended.add(stage)
                self._heard.discard(stage)
            else:
                self._running[stage] = running
                self._heard.add(stage)
                if is_new:
                    self._say(f"{stage}: started{f' at {_share(running)}' if done else ''}")
        self.tick()

    def tick(self) -> None:
        """Write what runs if no line was written for 30 seconds."""
        with self._lock:
            now = self._clock()
            if now - self._last < INTERVAL:
                return
            if not self._running:
                self._say(f"still working, {_duration(now - self._began)} since the start")
                return
            silent = [*self._running][-1:]  # in one long call
            for name in [one for one in self._running if one in self._heard] or silent:
                self._say(_how_far(self._running[name], now))
            self._heard.clear()

    def _say(self, line: str) -> None:
        self._last = self._clock()
        self._write(line)


def _how_far(stage: _Stage, now: float) -> str:
    new = stage.done - stage.first
    left = (now - stage.began) * (stage.total - stage.done) / new if new else None
    rest = "time left not known yet" if left is None else f"about {_duration(left)} left"
    return f"{stage.name}: {_share(stage)}, {rest}"


def _share(stage: _Stage) -> str:
    return f"{100 * stage.done // max(1, stage.total)} % ({stage.done:,} of {stage.total:,})"


def _duration(seconds: float) -> str:
    """In seconds, minutes or hours, whichever reads best."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


@contextmanager
def _ticking(lines: ProgressLines) -> Iterator[None]:
    """Let lines be written while a stage reports nothing, as in one long call of a model."""
    is_over = threading.Event()

    def tick() -> None:
        while not is_over.wait(1.0):
            lines.tick()

    thread = threading.Thread(target=tick, name="aloft-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
