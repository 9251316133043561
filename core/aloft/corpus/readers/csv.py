"""CSV: one document a row, "column: cell" a line, or its text where a column is called that.

The header is the first row that holds more than its first cell, or a longer one of names where that
reaches over half of the columns at most; what stands above it, in up to five rows, is the title.
"""

import csv
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, islice, pairwise
from statistics import median

from aloft.corpus.readers.decoding import decode
from aloft.corpus.readers.json_lines import document_of_fields, unread_fields
from aloft.corpus.readers.source import Found, Source, UnreadableError, clean, make_document
from aloft.records import Document

_Row = tuple[int, list[str] | csv.Error]  # the line that it begins on, and its cells
_MOST_TITLE_ROWS = 5
_ROWS_LOOKED_AT = 20  # whether they are a table below a title
_LINES_LOOKED_AT = 400  # for the delimiter: a quoted cell may have many
DELIMITERS = ",;\t|"  # of several that are as frequent, the first
_NO_DELIMITER = "\x1f"
LETTER = re.compile(r"[^\W\d_]")
_QUOTED = re.compile('"[^"]*"')
_FEWEST_SWALLOWED = 3  # a quoted address may look like a row or two
_UNCLOSED = 'a quote (") is opened and never closed'


def read(source: Source) -> Iterator[Found]:
    """One document a row below the header; a broken row is listed and the others are read."""
    text, notes = decode(source)
    lines = [f"{line}\n" for line in clean(text).split("\n")]
    with any_field_length(len(text)):
        is_tabbed = source.name.lower().endswith(".tsv")
        title, first, delimiter = _split_title(lines, is_tabbed=is_tabbed)
        rows = _rows(lines, first, delimiter)
        number, header = next(rows, (0, []))
        if isinstance(header, csv.Error):
            raise UnreadableError("bad header", f"line {number}: {header}; mend the quotes")
        columns = [column.strip() for column in header]
        top = list(islice(rows, 1))
        below = [row for _, row in top if not isinstance(row, csv.Error)]
        if below and (grouped := grouped_columns(columns, below[0])):
            columns, top = grouped, []
        yield from unread_columns(source, source.name, columns)
        is_bare = True
        for row_number, (line, row) in enumerate(chain(top, rows), start=1):
            is_bare = False
            place = f"{source.name}#{row_number}"
            try:
                if isinstance(row, csv.Error):
                    raise UnreadableError("bad row", f"{row}; mend its quotes")
                document = document_of_row(place, columns, row)
                yield place, replace(document, title=document.title or title)
            except UnreadableError as error:
                yield source.reject(error.reason, f"line {line}: {error.detail}", place=place)
    yield from notes
    if is_bare:
        raise UnreadableError("empty", "it holds no row below its header; fill it or remove it")


def header_place(rows: Sequence[Sequence[str]]) -> int:
    """Which row names the columns; above it stand titles and, in few cells, facts."""
    top = rows[:_ROWS_LOOKED_AT]
    filled = [[place for place, cell in enumerate(row) if cell.strip()] for row in top]
    first = min((row[0] for row in filled if row), default=0)
    wide = [i for i, row in enumerate(filled[: _MOST_TITLE_ROWS + 1]) if row and row != [first]]
    if not wide:
        return 0
    ends = [row[-1] + 1 if row else 0 for row in filled]
    half = median(ends[wide[0] + 1 :] or [0]) / 2
    named = (
        i
        for i in wide
        if ends[i] > half
        and len(filled[i]) > len(filled[wide[0]])
        and all(LETTER.search(top[i][place]) for place in filled[i])
    )
    return wide[0] if ends[wide[0]] > half else next(named, wide[0])


def grouped_columns(header: Sequence[str], below: Sequence[str]) -> list[str]:
    """The columns of a header in two rows, of which the upper one names groups of columns.

    A group's name stands above the first of its columns, and blanks above the others; what is in
    no group has its name above alone, or in both rows. Where nothing else tells names from the
    first row of figures, the groups have the same ones.

    Returns:
        "group column" for each column of a group; none where the header is one row.
    """
    width = max(len(header), len(below))
    rows = ([cell.strip() for cell in row] for row in (header, below))
    above, names = (row + [""] * (width - len(row)) for row in rows)
    begins = [place for place, cell in enumerate(above) if cell]
    spans = list(pairwise([*begins, width]))
    groups = [(first, end) for first, end in spans if end - first > 1 and all(names[first:end])]
    grouped = {place for first, end in groups for place in range(first, end)}
    others = [place for place in range(width) if place not in grouped]
    if not groups or any(above[i] and names[i] not in ("", above[i]) for i in others):
        return []
    is_alike = len(groups) > 1 and len({tuple(names[first:end]) for first, end in groups}) == 1
    if not is_alike and not any(above[place] for place in others):
        return []
    columns = [upper or lower for upper, lower in zip(above, names, strict=True)]
    for first, end in groups:
        columns[first:end] = [f"{above[first]} {name}" for name in names[first:end]]
    return columns


def document_of_row(place: str, columns: Sequence[str], row: Sequence[str]) -> Document:
    """A document from a row of a table.

    Raises:
        UnreadableError: the row is longer than the header, or empty.
    """
    if any(cell.strip() for cell in row[len(columns) :]):
        found = f"it has {len(row)} cells, the header has {len(columns)}"
        raise UnreadableError("bad row", f"{found}; quote cells that hold the delimiter")
    named = {column.lower(): cell for column, cell in zip(columns, row, strict=False)}
    if "text" in named:
        return document_of_fields(place, named)
    return make_document(place, "\n".join(_labelled(columns, row)))


def unread_columns(source: Source, place: str, columns: Sequence[str]) -> Iterator[Found]:
    """A line to be listed where a table has columns beside its texts that are not read."""
    if any(column.lower() == "text" for column in columns):
        yield from unread_fields(source, place, columns)


def _labelled(columns: Iterable[str], row: Iterable[str]) -> Iterator[str]:
    for column, cell in zip(columns, row, strict=False):
        if cell.strip():
            yield f"{column}: {cell.strip()}" if column else cell.strip()


def _rows(lines: Sequence[str], first: int, delimiter: str) -> Iterator[_Row]:
    """Rows with the line that they begin on, the header first, which begins on line `first`.

    A quote that is never closed makes one broken row of its line; the lines that it swallowed are
    rows again where they have as many cells as the header.
    """
    width, doubted = 0, first  # lines before `doubted` may be the rest of a broken row
    broken = True
    while broken:
        broken = False
        for line, end, row in _parse(lines, first, delimiter):
            if isinstance(row, csv.Error) or _swallows(lines[line + 1 : end - 1], width, delimiter):
                is_one_line = isinstance(row, csv.Error) and end == line + 1
                yield line + 1, row if is_one_line else csv.Error(_UNCLOSED)
                first, doubted, broken = line + 1, max(doubted, end), True
                break
            if line < doubted and len(row) != width:
                yield line + 1, csv.Error("it is the rest of a broken row")
                continue
            width = width or len(row)
            yield line + 1, row


def _split_title(lines: Sequence[str], *, is_tabbed: bool) -> tuple[str, int, str]:
    """A table's title, the line that its header begins on, and the delimiter."""
    first, delimiter = _dialect(lines, is_tabbed=is_tabbed)
    top = list(islice(_parse(lines, first, delimiter), _ROWS_LOOKED_AT))
    rows = [row for _, _, row in top if not isinstance(row, csv.Error)]
    place = header_place(rows) if len(rows) == len(top) else 0
    if place == 0 or len(rows[place:]) < 2 or len({len(row) for row in rows[place:]}) > 1:
        return "", first, delimiter  # no title, or a list of texts with commas below it
    title = " ".join(cell for row in rows[:place] for cell in row)
    return " ".join(title.split()), top[place][0], delimiter


def _dialect(lines: Sequence[str], *, is_tabbed: bool) -> tuple[int, str]:
    """The first line that is not empty, and the delimiter, which Excel may state above it.

    Otherwise it is the most frequent one of the first line that shares it with the next: a title
    may have a comma, and what is below it not.
    """
    first = next((number for number, line in enumerate(lines) if line.strip()), 0)
    stated = lines[first].strip("\n ")
    if len(stated) == 5 and stated.lower().startswith("sep="):
        return first + 1, stated[4]
    if stated.strip('"').lower() == "text":  # the only column, in which a comma is one of a text
        return first, _NO_DELIMITER
    bare = _QUOTED.sub("", "".join(lines[first : first + _LINES_LOOKED_AT])).split("\n")
    top = [line for line in bare if line.strip(" ")]  # of tabs alone, too
    if is_tabbed and any("\t" in line for line in top):
        return first, "\t"
    held = [(max(DELIMITERS, key=line.count), line) for line in top[: _MOST_TITLE_ROWS + 1]]
    held = [(delimiter, line) for delimiter, line in held if delimiter in line]
    shared = (one for (one, _), (_, below) in pairwise([*held, *held[-1:]]) if one in below)
    return first, next(shared, ",")


def _parse(
    lines: Sequence[str], first: int, delimiter: str
) -> Iterator[tuple[int, int, list[str] | csv.Error]]:
    """Each row from a line on: the lines that it begins on and ends before, and its cells."""
    rest = (lines[number] for number in range(first, len(lines)))
    reader = csv.reader(rest, delimiter=delimiter, skipinitialspace=True, strict=True)
    while True:
        begin = first + reader.line_num
        try:
            row: list[str] | csv.Error = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            row = error
        if row:
            yield begin, first + reader.line_num, row


def _swallows(inside: Sequence[str], width: int, delimiter: str) -> bool:
    """Whether the lines inside a cell are rows themselves, so that its quote closes by accident."""
    return (
        width > 1
        and len(inside) >= _FEWEST_SWALLOWED
        and all(line.count(delimiter) == width - 1 for line in inside)
    )


@contextmanager
def any_field_length(length: int) -> Iterator[None]:
    """Let a cell be as long as its file; the module's limit of 131,072 would cut documents."""
    before = csv.field_size_limit(min(length + 1, sys.maxsize))
    try:
        yield
    finally:
        csv.field_size_limit(before)
