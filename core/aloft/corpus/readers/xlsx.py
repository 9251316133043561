"""Excel workbooks: one document a row of each visible sheet, as of a CSV file.

A table ends at an empty row that a header of names follows, with figures below it. What stands
above a header is the table's title; the text boxes of a sheet are one document more, and embedded
files are read by themselves.
Formulas give the value that was saved with them; those without one are listed. A cell that spans
rows is in each of them. A number has the unit that its format shows, or is in per cent, and keeps
all of its digits.
"""

import datetime
import io
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from aloft.corpus.readers.archive import Archive
from aloft.corpus.readers.csv import (
    LETTER,
    document_of_row,
    grouped_columns,
    header_place,
    unread_columns,
)
from aloft.corpus.readers.number_formats import in_format
from aloft.corpus.readers.pptx import shape_texts
from aloft.corpus.readers.source import Found, Source, UnreadableError, make_document

_MOST_ROWS = 1_048_576  # of a sheet in Excel; a damaged number would be filled up with empty rows
_MOST_CELLS = 5_000_000  # of a sheet, empty ones too; a cell far out makes its row that wide

_MERGED = re.compile(rb'<(?:\w+:)?mergeCell\b[^<>]*?\bref="([A-Z]+[0-9]+:[A-Z]+[0-9]+)"')

_UNSAVED = re.compile(  # the end of a cell that has a formula and no value
    rb"<(?:\w+:)?f\b(?:[^<>]*/>|[^<]*</(?:\w+:)?f>)\s*"
    rb"(?:<(?:\w+:)?v\s*/>|<(?:\w+:)?v></(?:\w+:)?v>)?\s*</(?:\w+:)?c>"
)
_CELL = re.compile(rb'\br="([A-Z]+[0-9]+)"')
_MOST_NAMED = 3  # of the cells without a value

_Span = tuple[int, int, int]  # a column, and the first and last row of a cell in it; from 1
_Row = tuple[int, list[str]]  # the row's number in the sheet, and its cells


def read(source: Source) -> Iterator[Found | Source]:
    """One document a row; a hidden or broken sheet and a bad row are listed."""
    from openpyxl import load_workbook

    with Archive(source, "XLSX") as archive, warnings.catch_warnings(action="ignore"):
        archive.check_size()
        book = load_workbook(io.BytesIO(source.raw), read_only=True, data_only=True)
        if not book.worksheets:
            detail = 'no sheet is found; save it as "Excel Workbook", not as "Strict Open XML"'
            raise UnreadableError("unreadable XLSX", detail)
        found: list[Found | Source] = []
        shown: list[str] = []
        for sheet in book.worksheets:
            try:
                found += _read_sheet(source, book, sheet)
                found += _read_boxes(source, archive, sheet)
                shown += [sheet._worksheet_path] * (sheet.sheet_state == "visible")
            except Exception as error:  # the parser's; the other sheets are read
                fault = archive.broken(error)
                place = f"{source.name}#{sheet.title}"
                found.append(source.reject(fault.reason, fault.detail, place=place))
        book.close()
        found += archive.embedded(source, *shown)
    if not found:
        raise UnreadableError("empty", "its sheets hold no row; fill it or remove it")
    yield from found


def _spans(xml: bytes) -> list[_Span]:
    """Cells that span rows, which openpyxl leaves out where it reads a row at a time."""
    from openpyxl.utils import range_boundaries

    found = (range_boundaries(one.decode()) for one in _MERGED.findall(xml))
    return [(column, first, last) for column, first, _, last in found if last > first]


def _unsaved(xml: bytes) -> Iterator[str]:
    """The cells whose formulas were saved without a value."""
    for match in _UNSAVED.finditer(xml):
        cell = xml[xml.rfind(b"<", 0, match.start()) : match.start()]
        name = _CELL.search(cell)
        if name and b't="str"' not in cell:  # which Excel says of an empty text
            yield name[1].decode()


def _read_sheet(source: Source, book: Any, sheet: Any) -> Iterator[Found]:
    place = f"{source.name}#{sheet.title}"
    if sheet.sheet_state != "visible":
        yield source.reject("hidden sheet", "unhide it in Excel to have it read", place=place)
        return
    sheet.reset_dimensions()  # what other programs state there is often wrong
    with book._archive.open(sheet._worksheet_path) as file:
        xml = file.read()
    for title, columns, rows in _tables(list(_filled_rows(sheet, _spans(xml)))):
        if columns and not rows:
            yield source.reject("empty", "no row stands below its header; fill it", place=place)
        yield from unread_columns(source, place, columns)
        for number, row in rows:
            row_place = f"{place}!{number}"
            named = columns + [""] * (len(row) - len(columns))
            try:
                document = document_of_row(row_place, named, row + [""] * (len(named) - len(row)))
                yield row_place, replace(document, title=document.title or title)
            except UnreadableError as error:
                yield source.reject(error.reason, error.detail, place=row_place)
    if unsaved := list(_unsaved(xml)):
        cells = ", ".join(unsaved[:_MOST_NAMED]) + (", ..." if unsaved[_MOST_NAMED:] else "")
        detail = f"{len(unsaved)} of them ({cells}); open the file in Excel and save it"
        yield source.reject("formula without a value", detail, place=place)


def _read_boxes(source: Source, archive: Archive, sheet: Any) -> Iterator[Found]:
    drawings = (
        archive.parse(name)
        for kind, name in archive.relations(sheet._worksheet_path).values()
        if kind == "drawing" and name in archive and sheet.sheet_state == "visible"
    )
    if text := "\n\n".join(text for drawing in drawings for text in shape_texts(drawing)):
        place = f"{source.name}#{sheet.title}!text boxes"
        yield place, make_document(place, text, sheet.title)


def _filled_rows(sheet: Any, spans: Sequence[_Span]) -> Iterator[_Row]:
    cells = 0
    spanning: dict[int, tuple[int, str]] = {}  # by column: the last row, and the text
    begins = {(first, column): last for column, first, last in spans}
    columns = sorted({column for column, *_ in spans})
    for number, given in enumerate(sheet.iter_rows(max_row=_MOST_ROWS), start=1):
        values = [_text(cell) for cell in given]
        for column in columns:
            last, value = spanning.get(column, (0, ""))
            if number <= last:
                values += [""] * (column - len(values))
                values[column - 1] = value
            elif (number, column) in begins and column <= len(values):
                spanning[column] = begins[number, column], values[column - 1]
        cells += len(values)
        if cells > _MOST_CELLS:
            found = f"sheet {sheet.title} has more than {_MOST_CELLS:,} cells"
            raise UnreadableError("too large", f"{found}; delete cells far from the table")
        while values and not values[-1]:
            values.pop()
        if values:
            yield number, values


def _tables(rows: list[_Row]) -> Iterator[tuple[str, list[str], list[_Row]]]:
    """The title of each table of a sheet, its columns, and the rows below."""
    header = header_place([row for _, row in rows])
    gaps = [i for i in range(1, len(rows)) if rows[i][0] > rows[i - 1][0] + 1]
    blocks = pairwise([*gaps, len(rows)])
    begins = [first for first, end in blocks if first > header and _is_table(rows[first:end])]
    for first, end in pairwise([0, *begins, len(rows)]):
        yield _split_header(rows[first:end])


def _is_table(rows: list[_Row]) -> bool:
    """Whether rows below an empty one are a table of their own.

    They are where names stand above rows that fill no more cells, and figures alone below a name.
    """
    texts = [row for _, row in rows]
    place = header_place(texts)
    names, below = texts[place], texts[place + 1 :]
    filled = [len([cell for cell in row if cell]) for row in texts[place:]]
    if filled[0] < 2 or max(filled) > filled[0]:
        return False
    if not all(LETTER.search(name) for name in names if name):
        return False
    columns = ([row[i] for row in below if len(row) > i and row[i]] for i in range(len(names)))
    return any(cells and not any(map(LETTER.search, cells)) for cells in columns)


def _split_header(rows: list[_Row]) -> tuple[str, list[str], list[_Row]]:
    """A table's title, its columns, and the rows below; a cell alone is a text without columns."""
    if len(rows) == 1 and len([cell for cell in rows[0][1] if cell]) == 1:
        return "", [], rows
    header = header_place([row for _, row in rows])
    title = " ".join(cell for _, row in rows[:header] for cell in row if cell)
    columns, below = rows[header][1] if rows else [], rows[header + 1 :]
    if below and (grouped := grouped_columns(columns, below[0][1])):
        columns, below = grouped, below[1:]
    return title, columns, below


def _text(cell: Any) -> str:
    """A cell as Excel shows it, but for digits that it rounds."""
    value = cell.value
    match value:
        case None:
            return ""
        case bool():
            return str(value).upper()
        case int() | float():
            return in_format(value, cell.number_format)
        case datetime.datetime(hour=0, minute=0, second=0, microsecond=0):
            return value.date().isoformat()
        case datetime.datetime():
            finest = (
                "milliseconds" if value.microsecond else "seconds" if value.second else "minutes"
            )
            return value.isoformat(" ", finest)
        case datetime.timedelta():
            return _duration(round(value.total_seconds()))
    from openpyxl.utils.escape import unescape

    return str(unescape(str(value))).strip()  # a control character is written as _x000D_


def _duration(seconds: int) -> str:
    """Hours and minutes, also beyond a day, as time sheets add them up."""
    minutes, rest = divmod(abs(seconds), 60)
    shown = f"{minutes // 60}:{minutes % 60:02}" + (f":{rest:02}" if rest else "")
    return f"-{shown}" if seconds < 0 else shown
