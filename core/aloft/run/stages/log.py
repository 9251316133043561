"""Takes in the user's log of past questions."""

from collections.abc import Iterator

from aloft.questions.logs import read_log
from aloft.records import LogEntry, Rejection
from aloft.run.context import Context, Inputs
from aloft.run.stage import Records, stage


@stage(
    name="log",
    version=1,
    doing="reading past questions",
    source="log",
    when=lambda setup: "log" in setup.sources,
    output=Records(LogEntry, "log.jsonl"),
)
def log(context: Context, _: Inputs) -> Iterator[LogEntry | Rejection]:
    """Questions that people asked, each once, with what they took for its answer."""
    entries, dropped = read_log(context.source())
    yield from entries
    yield from dropped
