"""Turns a log of what people asked, with clicks, thumbs and accepted answers, into entries.

A log is CSV with a header line, or JSON Lines. `question` is needed; what else counts:

- `answer` (or `answers`, of which the first is taken): the answer that was accepted;
- `clicked` (or `document_id`, `doc_id`, `passage`): ids or paths of the documents that were
  opened, or quotes of them; several as a list, or in a CSV cell with | between them;
- `thumbs`: up or down, true or false, 1 or -1 (0 and nothing: no opinion); `rating`: 1 to 5 stars,
  of which 4 and 5 are up, 1 and 2 down. Where one of them stands, an answer counts only if it is
  up; a line that is down is dropped.
"""

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from aloft.errors import DataError
from aloft.records import LogEntry, Rejection
from aloft.text.normalising import fold_question
from aloft.text.tokens import split_words

_CLICKS = ("clicked", "document_id", "doc_id", "passage")
_SPLIT = ("clicked", "document_id", "doc_id")
_OPINIONS: dict[str, dict[str, bool | None]] = {
    "thumbs": {
        "": None,
        "up": True,
        "down": False,
        "true": True,
        "false": False,
        "1": True,
        "-1": False,
        "0": None,
    },
    "rating": {"": None, "1": False, "2": False, "3": None, "4": True, "5": True},
}
_NOT_UTF8 = re.compile("[\udc80-\udcff]")  # what "surrogateescape" makes of such bytes
_SAVE_AS_UTF8 = "not UTF-8. Save the file as UTF-8."
_SURROGATES = re.compile("[\ud800-\udfff]")

_Row = Mapping[str, object]


class _DroppedError(Exception):
    """Why a line is not used; becomes a `Rejection` that names the line."""

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason = reason
        self.detail = detail


class _BadLineError(_DroppedError):
    """What is wrong with a line and what to do."""

    def __init__(self, detail: str) -> None:
        super().__init__("bad line", detail)


def read_log(path: Path) -> tuple[list[LogEntry], list[Rejection]]:
    """Read a log, each question once, and a rejection for every line that gives no entry.

    A question that was asked several times has the clicks of all and the first accepted answer.

    Raises:
        DataError: the file is missing, has no column `question`, or no line that can be used.
    """
    entries: dict[str, LogEntry] = {}
    dropped: list[Rejection] = []
    for number, values in _rows(path):
        try:
            if isinstance(values, str):
                raise _BadLineError(values)
            entry = _entry(values)
            earlier = entries.setdefault(fold_question(entry.question), entry)
            if earlier is not entry:
                entries[fold_question(entry.question)] = _merge(earlier, entry)
                raise _DroppedError("asked before", entry.question)
        except _DroppedError as fault:
            line = f"line {number}"
            dropped.append(
                Rejection(subject_id=line, stage="log", reason=fault.reason, detail=fault.detail)
            )
    if not entries:
        first = f" {dropped[0].subject_id}: {dropped[0].detail}" if dropped else " Is it empty?"
        raise DataError(f"{path} holds no question that can be used.{first}")
    return list(entries.values()), dropped


def _rows(path: Path) -> Iterator[tuple[int, _Row | str]]:
    """Each line's number, and its values by name or what is wrong with it."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} can not be read ({error.strerror}). Give a file.") from error
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{path} is UTF-16. Save it as UTF-8.")
    text = raw.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    yield from _json_rows(text) if text.lstrip().startswith("{") else _csv_rows(text, path)


def _json_rows(text: str) -> Iterator[tuple[int, _Row | str]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if _NOT_UTF8.search(line):
            yield number, _SAVE_AS_UTF8
        elif line.strip():
            try:
                values = json.loads(line)
            except (ValueError, RecursionError) as error:
                yield number, f"not JSON ({error}). Write one object a line."
                continue
            if isinstance(values, dict):
                yield number, {_name(name): value for name, value in values.items()}
            else:
                yield number, 'not a JSON object. Write {"question": ...}.'


def _csv_rows(text: str, path: Path) -> Iterator[tuple[int, _Row | str]]:
    lines = list(io.StringIO(text, newline=""))
    try:
        dialect = csv.Sniffer().sniff(lines[0] if lines else "", ",;\t|")
    except csv.Error:
        dialect = csv.excel  # one column has no delimiter to be found
    rows = _cells(lines, dialect)
    _, header = next(rows, (1, ""))
    names = [] if isinstance(header, str) else [_name(cell) for cell in header]
    if "question" not in names:
        raise DataError(
            f'{path} has no column "question", but {", ".join(names[:8]) or "no columns"}. '
            "Give CSV with a header line, or JSON Lines."
        )
    for number, cells in rows:
        if isinstance(cells, str):
            yield number, cells
        elif any(_NOT_UTF8.search(cell) for cell in cells):
            yield number, _SAVE_AS_UTF8
        elif len(cells) > len(names):
            found = f"{len(cells)} cells in {len(names)} columns"
            yield number, f"{found}. Put quotes around text that holds the delimiter."
        elif any(cell.strip() for cell in cells):
            row = zip(names, cells, strict=False)  # empty cells at the end may be left out
            yield number, {n: cell.split("|") if n in _SPLIT else cell for n, cell in row}


def _cells(
    lines: Sequence[str], dialect: type[csv.Dialect]
) -> Iterator[tuple[int, list[str] | str]]:
    """Rows with the number of their first line; behind a faulty line reading starts anew.

    A quote that is never closed would otherwise swallow the rest of the file.
    """
    start = 0
    while start < len(lines):
        reader = csv.reader(lines[start:], dialect, strict=True, doublequote=True)
        number = start
        try:
            for cells in reader:
                yield number + 1, cells
                number = start + reader.line_num
            return
        except csv.Error as error:
            yield number + 1, f"not CSV ({error}). Check its quotes."
            start = number + 1


def _name(column: str) -> str:
    return column.strip().lower().replace(" ", "_")


def _entry(values: Mapping[str, object]) -> LogEntry:
    question = "".join(_texts(values, "question")[:1])
    if not split_words(question):
        raise _BadLineError('"question" is missing. Add it.')
    opinions = [_opinion(name, values[name]) for name in _OPINIONS if name in values]
    if False in opinions:
        raise _DroppedError("thumbs down", question)
    answers = [*_texts(values, "answer"), *_texts(values, "answers")]
    is_accepted = not opinions or True in opinions
    clicks = [click for name in _CLICKS for click in _texts(values, name)]
    return LogEntry(
        question=question,
        answer=answers[0] if answers and is_accepted else "",
        clicks=tuple(dict.fromkeys(clicks)),
    )


def _opinion(name: str, value: object) -> bool | None:
    known = _OPINIONS[name]
    word = "" if value is None else str(value).strip().lower()
    if word not in known:
        raise _BadLineError(
            f'"{name}" is "{word}", but may be: {", ".join(filter(None, known))}. Correct it.'
        )
    return known[word]


def _texts(values: Mapping[str, object], name: str) -> list[str]:
    value = values.get(name)
    given = value if isinstance(value, list) else [] if value is None else [value]
    if name in _SPLIT:  # an id may be a whole number
        given = [str(one) if type(one) is int else one for one in given]
    texts = [one for one in given if isinstance(one, str)]
    if len(texts) < len(given):
        raise _BadLineError(f'"{name}" must be a string or a list of strings. Put it in quotes.')
    return [_SURROGATES.sub("\ufffd", text).strip() for text in texts if text.strip()]


def _merge(first: LogEntry, second: LogEntry) -> LogEntry:
    return LogEntry(
        question=first.question,
        answer=first.answer or second.answer,
        clicks=tuple(dict.fromkeys([*first.clicks, *second.clicks])),
    )
