"""Reads files of questions, as tools export them, into rows of named values.

A file is CSV (with commas, semicolons, tabs or bars, after a line `sep=;` or without it), JSON
Lines, a JSON array, or an object that holds one; UTF-8, UTF-16 or UTF-32, and CSV also in a
legacy encoding, as Excel writes it; plain or packed by gzip.
A row that cannot be read is a fault with its place, and costs no other row.
"""

import ast
import csv
import gzip
import io
import json
import logging
import re
import zlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aloft.corpus.readers.csv import DELIMITERS, any_field_length
from aloft.corpus.readers.decoding import decode
from aloft.corpus.readers.source import Source, UnreadableError
from aloft.errors import DataError
from aloft.records import Rejection
from aloft.text.surrogates import replace_surrogates

logger = logging.getLogger(__name__)
Row = Mapping[str, object]

QUESTION = ("question", "query", "user_query", "user_question", "user_input", "user_message")
ANSWER = ("answer", "answers", "accepted_answer", "response", "bot_response", "reply")
_QUESTION_LAST = ("utterance", "search_query", "search_term", "input", "inputs", "prompt")
_ANSWER_LAST = ("completion", "generation", "output", "outputs")

_SEP = re.compile(r"sep=(.)\s*", re.IGNORECASE)  # the first line of a file from Excel
_NO_DELIMITER = "\x1f"  # of a file with one column
_ASIDE = re.compile(r"[(\[].*?[)\]]")  # in a column's name, such as a unit or a scale
_ASKERS, _ANSWERERS = ("user", "human"), ("assistant", "ai", "gpt", "chatgpt", "bot", "model")
_NEXT_LINE = re.compile(r"\n([^\S\n]*)(?=[^\s\]}])")
_NEXT_OBJECT = re.compile(r"\}\s*,\s*(?=\{)")
_PACKED = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # how XLSX and ZIP begin, and the XLS of old
_NOT_UTF8 = re.compile("[\udc80-\udcff]")  # what "surrogateescape" makes of such bytes
_SAVE_AS_UTF8 = "not UTF-8. Save the file as UTF-8."
_PREFIX = re.compile(r"(?:inputs?|outputs?|metadata|reference|example)_(?=.)")
_CARRIERS = (
    "text",
    "content",
    "value",
    "body",
    "message",
    "page_content",
)  # named by what holds it
_PLACES = ("id", "document_id", "path", "url", "uri")  # of a document that was clicked
NOTHING = ("nan", "NaN", "null", "NULL", "None", "\\N")  # how tools write that a cell is empty
_SHOWN = 40  # characters of a column's name
_ENOUGH_ROWS = 0.8  # of the lines inside a cell, from which it has swallowed rows


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a row cannot be read, and what to do."""

    what: str


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns that a reader wants.

    Attributes:
        names: By the name that the reader uses, the names that stand for it, best first.
        lists: Those that may hold several values, in a CSV cell with | between them.
    """

    names: Mapping[str, Sequence[str]]
    lists: frozenset[str]


def columns(further: Mapping[str, Sequence[str]], lists: Sequence[str]) -> Columns:
    """Question and answer, and further columns."""
    names = {
        "question": (*QUESTION, *_QUESTION_LAST),
        "answer": (*ANSWER, *_ANSWER_LAST),
        **further,
    }
    return Columns(names, frozenset(lists))


def read_rows(path: Path, wanted: Columns) -> Iterator[tuple[str, Row | Fault]]:
    """Each row's place, such as "line 3", with its values or what is wrong with it.

    Raises:
        DataError: the file cannot be read, or has no column of questions.
    """
    text = _read_text(path)
    if text.lstrip()[:1] in ("{", "["):
        yield from _json_rows(text, wanted)
    elif text.strip():
        with any_field_length(len(text)):
            yield from _csv_rows(text, path, wanted)


def clean(text: str) -> str:
    """Trimmed, without the lone surrogates that no tokenizer takes."""
    return replace_surrogates(text).strip()


def unpack(path: Path) -> bytes:
    """A file's bytes, decompressed where it is packed by gzip.

    Raises:
        DataError: the file cannot be read or decompressed.
    """
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if raw.startswith(b"\x1f\x8b") else raw
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist. Check the path of the questions.") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be unpacked ({error}). Pack it again.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}). Name a file.") from error


def _read_text(path: Path) -> str:
    """The file as text; single bytes that are not UTF-8 become lone surrogates."""
    raw = unpack(path)
    if raw.startswith(_PACKED):
        raise DataError(f"{path} is a spreadsheet or an archive. Save it as CSV or JSON Lines.")
    if text := _decode_legacy(raw, path):
        return text
    encoding = json.detect_encoding(raw)
    errors = "surrogateescape" if encoding.startswith("utf-8") else "replace"
    return raw.decode(encoding, errors)


def _decode_legacy(raw: bytes, path: Path) -> str:
    """The text of a table in a legacy encoding; "" for JSON, or if no such encoding is found."""
    if raw.lstrip()[:1] in (b"{", b"["):
        return ""
    try:
        text, notes = decode(Source(name=path.name, raw=raw, max_bytes=len(raw)))
    except UnreadableError:
        return ""
    for _, note in notes:
        if isinstance(note, Rejection) and note.reason == "encoding guessed":
            logger.warning("%s is not UTF-8: %s.", path, note.detail)
            return text
    return ""


# ---- JSON


def _json_rows(text: str, wanted: Columns) -> Iterator[tuple[str, Row | Fault]]:
    """The objects of the file, whatever stands between them; behind a faulty one the next."""
    decoder = json.JSONDecoder()
    line, counted = 1, 0
    at = _next(text, 0)
    while at < len(text):
        line, counted = line + text.count("\n", counted, at), at
        place = f"line {line}"
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else error
            yield place, Fault(f"not JSON ({reason}). Write one object a line.")
            at = _behind_fault(text, at)
            continue
        if _NOT_UTF8.search(text, at, end):
            yield place, Fault(_SAVE_AS_UTF8)
        else:
            yield from _records(value, place, wanted)
        at = _next(text, end)


def _next(text: str, at: int) -> int:
    """Where the next value begins."""
    while at < len(text) and (text[at].isspace() or text[at] in ",[]"):
        at += 1
    return at


def _behind_fault(text: str, at: int) -> int:
    """Where the next object begins: on a line as far indented as the faulty one, or on its own."""
    start = text.rfind("\n", 0, at) + 1
    indent = text[start:at]
    if not indent.strip():
        for found in _NEXT_LINE.finditer(text, at):
            if found[1] == indent:
                return found.end()
        return len(text)
    following = _NEXT_OBJECT.search(text, at)
    return following.end() if following else len(text)


def _records(value: Any, place: str, wanted: Columns) -> Iterator[tuple[str, Row | Fault]]:
    if not isinstance(value, dict):
        yield place, Fault('not a JSON object. Write {"question": ...}.')
        return
    row = _named(_flatten(value, wanted), wanted)
    inside = [] if row.get("question") else _list_inside(value)
    named = [_named(_flatten(record, wanted), wanted) for record in inside]
    if not any(record.get("question") for record in named):
        yield place, row
        return
    for number, record in enumerate(named, start=1):
        yield f"{place}, record {number}", record


def _list_inside(value: dict[str, Any]) -> list[dict[str, Any]]:
    """The records of an object that is but their wrapper, as APIs answer."""
    left = deque([value])
    while left:
        for inner in left.popleft().values():
            if _are_records(inner):
                return list(inner)
            if isinstance(inner, dict):
                left.append(inner)
    return []


def _are_records(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)


def _flatten(value: Mapping[str, Any], wanted: Columns) -> dict[str, object]:
    """Values by the last part of their name; of two with one name the outer one counts."""
    flat: dict[str, object] = {}
    left: deque[tuple[str, Any]] = deque(value.items())
    while left:
        key, inner = left.popleft()
        if turns := _turns(inner):
            for role, said in turns.items():
                flat.setdefault(role, said)
        elif isinstance(inner, dict):
            left += [(_carried(key, name, wanted), v) for name, v in inner.items()]
        elif _are_records(inner):
            gathered: dict[str, list[Any]] = {}
            for record in inner:
                for name, v in record.items():
                    gathered.setdefault(_carried(key, name, wanted), []).append(v)
            left += [(name, v if len(v) > 1 else v[0]) for name, v in gathered.items()]
        elif flat.get(_name(key)) is None:
            flat[_name(key)] = inner if inner == inner else None  # NaN is nothing
    return flat


def _carried(outer: str, inner: str, wanted: Columns) -> str:
    """The name of a value inside another: {"question": {"text": ...}} is a question."""
    is_place = _name(outer) in wanted.lists and _name(inner) in _PLACES
    if is_place or _name(inner) in _CARRIERS:
        return outer
    return f"{outer}_id" if _name(inner) == "id" else inner


def _turns(value: Any) -> dict[str, object]:
    """Of the messages of a conversation the last question and the last answer."""
    if not _are_records(value):
        return {}
    found: dict[str, object] = {}
    for turn in value:
        role = str(turn.get("role") or turn.get("from") or turn.get("type") or "").lower()
        said = turn.get("content") or turn.get("value")
        if isinstance(said, list):
            said = " ".join(str(p.get("text", "")) for p in said if isinstance(p, dict))
        if role in _ASKERS and said:
            found["question"] = said
            found.pop("answer", None)
        elif role in _ANSWERERS and said:
            found["answer"] = said
    return found


def _name(column: str) -> str:
    """A column's name in lower case, words joined by _, without what it is nested in."""
    parts = [_folded(part) for part in re.split(r"[./]", column)]
    named = [part for part in parts if part and part not in _CARRIERS]
    return named[-1] if named else parts[-1]


def _folded(name: str) -> str:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", _ASIDE.sub("", name).strip() or name)
    return re.sub(r"\W+", "_", words).strip("_").lower()


def _named(values: Mapping[str, object], wanted: Columns) -> dict[str, object]:
    """Values by the names that the reader uses; others are left as they are."""
    short = {_PREFIX.sub("", name): value for name, value in values.items()}
    row = {**short, **values}
    for name, names in wanted.names.items():
        given = [row[alias] for alias in names if alias in row]
        if given:
            row[name] = next((value for value in given if value not in (None, "", [])), None)
    return row


# ---- CSV


def _csv_rows(text: str, path: Path, wanted: Columns) -> Iterator[tuple[str, Row | Fault]]:
    lines = list(io.StringIO(text, newline=""))
    start = next((i for i, line in enumerate(lines) if line.strip()), 0)
    sep = _SEP.fullmatch(lines[start]) if lines else None
    if sep:
        start += 1
    header = lines[start] if start < len(lines) else ""
    delimiter = sep[1] if sep else _delimiter(header, wanted)
    names = [_name(cell) for cell in _split(header, delimiter)]
    if len(names) == 1:  # then a comma is one of the text
        delimiter = _NO_DELIMITER
    if not _named(dict.fromkeys(names, "x"), wanted).get("question"):
        found = ", ".join(name[:_SHOWN] for name in names[:8] if name) or "no columns"
        raise DataError(
            f'{path} has no column "question", but {found}. '
            "Give CSV with a header line, JSON Lines or a JSON array."
        )
    for number, cells in _cells(lines, start + 1, delimiter, len(names)):
        place = f"line {number + 1}"
        if isinstance(cells, Fault):
            yield place, cells
        elif any(_NOT_UTF8.search(cell) for cell in cells):
            yield place, Fault(_SAVE_AS_UTF8)
        elif len(cells) > len(names) and any(cell.strip() for cell in cells[len(names) :]):
            what = f"{len(cells)} cells in {len(names)} columns"
            yield place, Fault(f"{what}. Put quotes around text that holds the delimiter.")
        elif any(cell.strip() for cell in cells):
            row = dict(zip(names, map(_unpacked, cells), strict=False))  # the last may be left out
            yield place, _lists(_named(_flatten(row, wanted), wanted), wanted)


def _delimiter(header: str, wanted: Columns) -> str:
    """The character that parts the header into most of the columns that are wanted."""
    known = {alias for names in wanted.names.values() for alias in names}

    def found(delimiter: str) -> tuple[int, int]:
        names = [_name(cell) for cell in _split(header, delimiter)]
        return sum(name in known for name in names), len(names)

    return max(DELIMITERS, key=found)


def _split(line: str, delimiter: str) -> list[str]:
    return next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])


def _unpacked(cell: str) -> object:
    """What a cell holds, which may be JSON, as of traces, or Python, as pandas writes a list."""
    if cell[:1] not in ("{", "["):
        return cell
    try:
        value = json.loads(cell)
    except (ValueError, RecursionError):
        try:
            value = ast.literal_eval(cell)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            return cell
    is_list = isinstance(value, list) and all(isinstance(one, dict | str) for one in value)
    return value if isinstance(value, dict) or is_list else cell


def _lists(row: dict[str, object], wanted: Columns) -> Row:
    """The row with its cells parted that hold several values."""
    return {
        name: value.split("|") if name in wanted.lists and isinstance(value, str) else value
        for name, value in row.items()
    }


def _cells(
    lines: Sequence[str], start: int, delimiter: str, width: int
) -> Iterator[tuple[int, list[str] | Fault]]:
    """Rows with the number of their first line; behind a faulty line reading starts anew.

    A quote that is never closed, or closed by one far below, would otherwise take with it all rows
    in between.
    """
    while start < len(lines):
        rest = (lines[i] for i in range(start, len(lines)))
        reader = csv.reader(rest, delimiter=delimiter, skipinitialspace=True, strict=True)
        first = number = start
        fault = ""
        try:
            for cells in reader:
                number = start + reader.line_num
                if _swallows_rows(lines[first:number], delimiter, width):
                    fault = f"a quote that is opened here is closed on line {number} only"
                    break
                yield first, cells
                first = number
        except csv.Error as error:
            fault = f"not CSV ({error})"
        if not fault:
            return
        escaped = lines[first].replace('\\"', '""')
        retried = [] if escaped == lines[first] else _strictly(escaped, delimiter)
        if retried:  # quotes as programs write them that escape by a backslash
            yield first, retried
        else:
            yield first, Fault(f"{fault}. Check its quotes.")
        start = first + 1


def _strictly(line: str, delimiter: str) -> list[str]:
    """The cells of one line; none where it is not CSV."""
    try:
        reader = csv.reader([line], delimiter=delimiter, skipinitialspace=True, strict=True)
        return next(reader, [])
    except csv.Error:
        return []


def _swallows_rows(lines: Sequence[str], delimiter: str, width: int) -> bool:
    """Whether lines that are read as one row look like rows themselves, each with all its cells.

    In a row the delimiter is followed by no space, as it is in prose.
    """
    if len(lines) < 3 or width < 2:
        return False
    first, *inside, last = lines
    whole = sum(
        line.count(delimiter) == width - 1 and f"{delimiter} " not in line for line in inside
    )
    ends = min(first.count(delimiter), last.count(delimiter))
    return whole >= _ENOUGH_ROWS * len(inside) and ends >= width - 1
