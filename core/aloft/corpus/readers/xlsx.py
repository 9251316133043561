"""Excel workbooks: one document a row of each visible sheet, as of a CSV file.

The header is the first row with two cells or more; what stands above it is the sheet's title.
Formulas give the value that was saved with them.
"""

import datetime
import io
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from aloft.corpus.readers.archive import Archive
from aloft.corpus.readers.csv import document_of_row
from aloft.corpus.readers.source import Found, Source, UnreadableError

_MOST_CELLS = 5_000_000  # of a sheet, empty ones too; a cell far out makes its row that wide
_MOST_TITLE_ROWS = 3

_Row = tuple[int, list[str]]  # the row's number in the sheet, and its cells


def read(source: Source) -> Iterator[Found]:
    """One document a row; a hidden sheet and a bad row are listed."""
    from openpyxl import load_workbook

    with Archive(source, "XLSX") as archive, warnings.catch_warnings(action="ignore"):
        archive.check_size()
        book = load_workbook(io.BytesIO(source.raw), read_only=True, data_only=True)
        found = [one for sheet in book.worksheets for one in _read_sheet(source, sheet)]
        book.close()
    if not found:
        raise UnreadableError("empty", "its sheets hold no row; fill it or remove it")
    yield from found


def _read_sheet(source: Source, sheet: Any) -> Iterator[Found]:
    place = f"{source.name}#{sheet.title}"
    if sheet.sheet_state != "visible":
        yield source.reject("hidden sheet", "unhide it in Excel to have it read", place=place)
        return
    sheet.reset_dimensions()  # what other programs state there is often wrong
    title, columns, rows = _split_header(list(_filled_rows(sheet)))
    for number, row in rows:
        row_place = f"{place}!{number}"
        named = columns + [""] * (len(row) - len(columns))
        try:
            document = document_of_row(row_place, named, row + [""] * (len(named) - len(row)))
            yield row_place, replace(document, title=document.title or title)
        except UnreadableError as error:
            yield source.reject(error.reason, error.detail, place=row_place)


def _filled_rows(sheet: Any) -> Iterator[_Row]:
    cells = 0
    for number, values in enumerate(sheet.iter_rows(values_only=True), start=1):
        cells += len(values)
        if cells > _MOST_CELLS:
            found = f"sheet {sheet.title} has more than {_MOST_CELLS:,} cells"
            raise UnreadableError("too large", f"{found}; delete cells far from the table")
        if row := _texts(values):
            yield number, row


def _split_header(rows: list[_Row]) -> tuple[str, list[str], list[_Row]]:
    """A sheet's title, its columns, and the rows below."""
    wide = next((place for place, (_, row) in enumerate(rows) if sum(map(bool, row)) > 1), 0)
    if wide > _MOST_TITLE_ROWS:
        wide = 0
    title = " ".join(cell for _, row in rows[:wide] for cell in row if cell)
    return title, rows[wide][1] if rows else [], rows[wide + 1 :]


def _texts(row: Sequence[object]) -> list[str]:
    """A row's cells as Excel shows them, without the empty ones at its end."""
    texts = [_text(value) for value in row]
    while texts and not texts[-1]:
        texts.pop()
    return texts


def _text(value: object) -> str:
    from openpyxl.utils.escape import unescape

    match value:
        case None:
            return ""
        case bool():
            return str(value).upper()
        case float():
            return f"{value:.15g}"
        case datetime.datetime(hour=0, minute=0, second=0):
            return value.date().isoformat()
        case datetime.datetime():
            return value.isoformat(" ", "minutes")
    return str(unescape(str(value))).strip()  # a control character is written as _x000D_
