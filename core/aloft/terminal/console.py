"""The terminal: it gets text and colour, and nothing that a document holds can act on it."""

import logging
import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.segment import Segment

# C0 and C1 controls but tabs and line ends, line separators, and marks that reorder what is read
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def escape_controls(text: str) -> str:
    r"""Text in which characters that steer a terminal are written out, such as \x1b."""
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


class SafeConsole(Console):
    """A console whose output cannot move the cursor, set a title or hide a line, but by rich."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        if self.width < 1:  # COLUMNS=0, as of a terminal without a size: nothing would be printed
            self.width = 80

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render as rich does, with control characters of the text written out."""
        for segment in super().render(renderable, options):
            if segment.control is None and _CONTROL.search(segment.text):
                segment = Segment(escape_controls(segment.text), segment.style)
            yield segment


# no emoji: ":key:" in a path or a text is no name of one
screen = SafeConsole(soft_wrap=True, emoji=False)
errors = SafeConsole(stderr=True, soft_wrap=True, emoji=False)


def print_line(line: str) -> None:
    """Print a line of plain text on the error output."""
    if errors.is_jupyter:  # where rich would make a box of HTML of each line
        sys.stderr.write(f"{escape_controls(line)}\n")
    else:
        errors.print(escape(line))


def report_error(message: str) -> None:
    """Print a fault on one line of the error output."""
    line = " ".join(message.splitlines())
    errors.print(f"[red]aloft:[/red] {escape(line)}")


def replace_unprintable_characters() -> None:
    """Let output that an encoding lacks, as in LANG=C, become "?" instead of a traceback."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None and getattr(stream, "errors", None) != "backslashreplace":
            reconfigure(errors="replace")


def discard_output() -> None:
    """Let what standard output still holds go nowhere, so that leaving does not fail on it."""
    with suppress(OSError, ValueError):  # it is closed, or no file
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


class _Printed(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        line = " ".join(record.getMessage().splitlines())
        errors.print(f"[yellow]aloft:[/yellow] {escape(line)}")


@contextmanager
def printed_warnings() -> Iterator[None]:
    """Print what the library logs as a warning, one line each."""
    logger, handler = logging.getLogger("aloft"), _Printed(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
