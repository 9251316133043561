"""Turns a folder or file into documents, and each one that can not be read into a rejection.

What a file holds is data: a broken PDF, a wrong encoding or a bad line is recorded with its reason
and the rest is read on. Only a path with nothing to read is an error.
"""

import csv
import gzip
import io
import json
import os
import re
import sys
import warnings
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from aloft.config import DocumentsConfig
from aloft.errors import DataError
from aloft.protocols import Progress, no_progress
from aloft.records import Document, Rejection

if TYPE_CHECKING:
    from bs4 import BeautifulSoup
    from docx.table import Table

_STAGE = "documents"
_MEGABYTE = 1_000_000
_SURROGATES = re.compile("[\ud800-\udfff]")
_FENCE = re.compile(r" {0,3}(```|~~~)")
_DROPPED_TAGS = ("head", "script", "style", "nav", "noscript", "template")
_PARAGRAPH_TAGS = (
    *("address", "article", "aside", "blockquote", "div", "dl", "fieldset", "figure", "footer"),
    *("form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "main", "ol", "p", "pre"),
    *("section", "table", "ul"),
)
_LINE_TAGS = ("br", "caption", "dd", "dt", "figcaption", "li", "option", "tr")
_MARGINS = {
    **dict.fromkeys(_PARAGRAPH_TAGS, ("\n\n", "\n\n")),
    **dict.fromkeys(_LINE_TAGS, ("\n", "")),
    **dict.fromkeys(("td", "th"), ("", " ")),
}

_Found = tuple[str, Document | Rejection]  # where it stands (a file, or file#row), what it is


class _UnusableError(Exception):
    """A file or row that is left out, and why; never leaves this module."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = " ".join(detail.split())


def read_documents(
    path: Path,
    config: DocumentsConfig,
    progress: Progress = no_progress,
    *,
    exclude: Collection[Path] = (),
) -> Iterator[Document | Rejection]:
    """Read every document below a folder, or those of one file, one after the other.

    Files are read in the order of their paths. Hidden files and folders are skipped; a link that
    leaves the folder is listed, not followed. No text is held once it is yielded.

    Args:
        path: A folder, or one file.
        config: How large a file may be.
        progress: Called after each file.
        exclude: Folders that are not read, such as the run folder itself.

    Yields:
        Each document, and each file or row that was left out with its reason; a rejection's
        subject is the file, or `file#row` for one row or line of it.

    Raises:
        DataError: the path does not exist, or, once all is read, nothing in it could be.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist. Check the path, or put your documents there.")
    return _read_all(path, config, progress, exclude)


def _read_all(
    path: Path, config: DocumentsConfig, progress: Progress, exclude: Collection[Path]
) -> Iterator[Document | Rejection]:
    files, rejections = _list_files(path, {folder.resolve() for folder in exclude})
    yield from rejections
    first, left_out = next(iter(rejections), None), len(rejections)
    places: dict[str, str] = {}
    for number, (name, file) in enumerate(files, start=1):
        for place, found in _read_file(file, name, config):
            result = found
            if isinstance(found, Document):
                if found.id in places:
                    result = _reject_twin(place, found.id, places[found.id])
                places.setdefault(found.id, place)
            if isinstance(result, Rejection):
                first, left_out = first or result, left_out + 1
            yield result
        progress("reading documents", number, len(files))
    if not places:
        raise DataError(_why_nothing(path, first, left_out))


def _list_files(
    path: Path, excluded: Collection[Path]
) -> tuple[list[tuple[str, Path]], list[Rejection]]:
    if not path.is_dir():
        return [(path.name, path)], []
    rejections: list[Rejection] = []

    def note(error: OSError) -> None:
        name = Path(error.filename).relative_to(path).as_posix()
        rejections.append(_reject(name, "unreadable folder", f"{error.strerror}; allow reading it"))

    root = path.resolve()
    files: list[tuple[str, Path]] = []
    for folder, folder_names, file_names in os.walk(path, onerror=note):
        folder_names[:] = [
            name
            for name in folder_names
            if not name.startswith(".") and Path(folder, name).resolve() not in excluded
        ]
        links = [name for name in folder_names if Path(folder, name).is_symlink()]
        for name in (*links, *file_names):
            file = Path(folder, name)
            below = file.relative_to(path).as_posix()
            if name.startswith("."):
                continue
            if file.is_symlink() and not file.resolve().is_relative_to(root):
                rejections.append(
                    _reject(below, "link that leaves the folder", "copy what it points to here")
                )
            elif name not in links:  # a folder linked from within is read where it really stands
                files.append((below, file))
    return sorted(files), rejections


def _reject(place: str, reason: str, detail: str) -> Rejection:
    return Rejection(subject_id=place, stage=_STAGE, reason=reason, detail=detail)


def _reject_twin(place: str, identifier: str, first: str) -> Rejection:
    detail = f'"{identifier}" was already given by {first}; give each document an id of its own'
    return _reject(place, "id used twice", detail)


def _why_nothing(path: Path, first: Rejection | None, left_out: int) -> str:
    kinds = " ".join(SUFFIXES)
    if first is None:
        return f"{path} is empty. Put documents into it; Aloft reads {kinds}."
    count = "the only file" if left_out == 1 else f"all {left_out} files; the first"
    return (
        f"{path} holds no document that can be read. Left out: {count}, {first.subject_id}, "
        f"is: {first.reason} ({first.detail}). Mend it or add documents; Aloft reads {kinds}."
    )


def _read_file(file: Path, name: str, config: DocumentsConfig) -> Iterator[_Found]:
    kind = next((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), None)
    try:
        if kind is None:
            raise _UnusableError("not a kind Aloft reads", f"it reads {' '.join(SUFFIXES)}")
        raw = _bytes_of(file, config.max_megabytes, is_packed=kind.endswith(".gz"))
        if kind in _ROW_READERS:
            yield from _ROW_READERS[kind](raw, name)
        else:
            title, text = _WHOLE_READERS[kind](raw)
            yield name, _document(name, title, text)
    except _UnusableError as fault:
        yield name, _reject(name, fault.reason, fault.detail)
    except OSError as error:
        detail = f"{error.strerror or error}; check the file and its permissions"
        yield name, _reject(name, "unreadable file", detail)


def _bytes_of(file: Path, max_megabytes: float, *, is_packed: bool) -> bytes:
    if not file.exists():
        raise _UnusableError("broken link", "it points to nothing; remove it or mend it")
    if not file.is_file():
        raise _UnusableError("not a file", "it is a pipe or a device; replace it by a file")
    limit = int(max_megabytes * _MEGABYTE)
    size = file.stat().st_size
    if size <= limit:
        raw = _unpack(file, limit + 1) if is_packed else file.read_bytes()
        if len(raw) <= limit:
            return raw
    found = f"{size / _MEGABYTE:.1f} MB" + (" packed, more unpacked" if is_packed else "")
    raise _UnusableError(
        "too large",
        f"{found}; the limit is {max_megabytes:g} MB; split it or raise documents.max_megabytes",
    )


def _unpack(file: Path, most: int) -> bytes:
    try:
        with gzip.open(file) as stream:
            return stream.read(most)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise _UnusableError("unreadable archive", f"{error}; pack it again with gzip") from error


def _decode(raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        at = error.start + (3 if raw.startswith(b"\xef\xbb\xbf") else 0)
        found = f"byte {at} is 0x{raw[at]:02x}; save it as UTF-8"
        raise _UnusableError("not UTF-8", found) from error


def _clean(text: str) -> str:
    """Keep only what every later stage can store and tokenize."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    return _SURROGATES.sub("\ufffd", text)


def _document(identifier: str, title: str, text: str) -> Document:
    text = _clean(text)
    if not text.strip():
        raise _UnusableError("empty", "it holds no text; fill it or remove it")
    return Document(id=identifier, text=text, title=" ".join(_clean(title).split()))


def _read_plain(raw: bytes) -> tuple[str, str]:
    return "", _decode(raw)


def _read_markdown(raw: bytes) -> tuple[str, str]:
    text = _clean(_decode(raw))
    fence = ""
    for line in text.split("\n"):
        mark = _FENCE.match(line)
        if mark and fence in ("", mark[1]):
            fence = "" if fence else mark[1]
        elif line.startswith("# ") and not fence:  # inside a fence it is a comment of some code
            return line[2:].strip().rstrip("#"), text
    return "", text


def _read_html(raw: bytes) -> tuple[str, str]:
    from bs4 import BeautifulSoup  # a page may name its encoding, so UTF-8 is not demanded of it
    from bs4.dammit import EncodingDetector

    try:
        page = _decode(raw)
    except _UnusableError:
        try:
            page = raw.decode(EncodingDetector.find_declared_encoding(raw, is_html=True) or "utf-8")
        except (LookupError, UnicodeDecodeError):
            page = ""
        if not page:
            raise
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # XHTML, bare addresses
        soup = BeautifulSoup(_clean(page), "lxml")
    title = soup.title.get_text() if soup.title else ""
    return title, _html_text(soup)


def _html_text(soup: "BeautifulSoup") -> str:
    """Text as a browser lays it out: blank lines around blocks, no line break within a sentence."""
    text = "".join(_html_pieces(soup))
    lines = (re.sub(r"^ (?! )", "", line.rstrip()) for line in text.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def _html_pieces(soup: "BeautifulSoup") -> Iterator[str]:
    from bs4.element import NavigableString, Tag

    to_do: list[tuple[object, bool]] = [(soup, False)]  # a stack: pages nest deeper than Python
    while to_do:
        node, is_pre = to_do.pop()
        if isinstance(node, Tag):
            if node.name in _DROPPED_TAGS:
                continue
            before, after = _MARGINS.get(node.name, ("", ""))
            is_pre = is_pre or node.name == "pre"
            to_do.append((after, True))
            to_do.extend((child, is_pre) for child in reversed(node.contents))
            yield before
        elif type(node) in (NavigableString, str):  # a comment or doctype is a subclass
            yield str(node) if is_pre else re.sub(r"\s+", " ", str(node))


def _read_pdf(raw: bytes) -> tuple[str, str]:
    from pypdf import PdfReader
    from pypdf.errors import DependencyError, FileNotDecryptedError, WrongPasswordError

    try:
        pages = [page.extract_text() for page in PdfReader(io.BytesIO(raw)).pages]
    except (DependencyError, FileNotDecryptedError, WrongPasswordError) as error:
        raise _UnusableError("encrypted PDF", "save it without a password") from error
    except Exception as error:  # a broken file can raise anything inside the parser
        raise _UnusableError("unreadable PDF", f"{_said(error)}; export it again") from error
    text = "\n\n".join(page.strip() for page in pages).strip()
    if not text:
        raise _UnusableError("no text in the PDF", "its pages are images; run OCR on it")
    return "", text


def _read_docx(raw: bytes) -> tuple[str, str]:
    from docx import Document as open_docx
    from docx.table import Table

    try:
        blocks = [
            _table_text(block) if isinstance(block, Table) else block.text
            for block in open_docx(io.BytesIO(raw)).iter_inner_content()
        ]
    except Exception as error:  # a broken file can raise anything inside the parser
        raise _UnusableError("unreadable DOCX", f"{_said(error)}; save it again") from error
    return "", "\n\n".join(block for block in blocks if block.strip())


def _table_text(table: "Table") -> str:
    """One line a row; a cell that spans columns is given once."""
    rows: list[str] = []
    for row in table.rows:
        texts: list[str] = []
        last = None
        for cell in row.cells:
            if cell._tc is not last:
                texts.append(" ".join(cell.text.split()))
            last = cell._tc
        rows.append(" | ".join(texts))
    return "\n".join(rows)


def _said(error: Exception) -> str:
    return str(error).strip(" .") or type(error).__name__


def _read_json_lines(raw: bytes, name: str) -> Iterator[_Found]:
    is_bare = True
    for number, line in enumerate(raw.split(b"\n"), start=1):
        if not line.strip():
            continue
        is_bare = False
        place = f"{name}#{number}"
        try:
            yield place, _from_fields(place, _object_of(_decode(line)))
        except _UnusableError as fault:
            yield place, _reject(place, fault.reason, f"line {number}: {fault.detail}")
    if is_bare:
        raise _UnusableError("empty", "it holds no line; fill it or remove it")


def _object_of(line: str) -> Mapping[str, object]:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _UnusableError("not JSON", f"{_said(error)}; write one object a line") from error
    if not isinstance(values, dict):
        raise _UnusableError("not a JSON object", 'write {"text": "..."} with "id" and "title"')
    return values


def _from_fields(place: str, values: Mapping[str, object]) -> Document:
    identifier, title, text = values.get("id"), values.get("title"), values.get("text")
    if not isinstance(text, str):
        raise _UnusableError("no text", 'its "text" must be a string; add it')
    if isinstance(identifier, bool) or not isinstance(identifier, str | int | None):
        raise _UnusableError("bad id", 'its "id" must be a string or a whole number')
    if not isinstance(title, str | None):
        raise _UnusableError("bad title", 'its "title" must be a string')
    stated = "" if identifier is None else _clean(str(identifier)).strip()
    return _document(stated or place, title or "", text)


def _read_csv(raw: bytes, name: str) -> Iterator[_Found]:
    text = _clean(_decode(raw))
    header_line = text.lstrip("\n").partition("\n")[0]
    delimiter = max(",;\t", key=header_line.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    with _any_field_length(len(text)):
        rows = _csv_rows(reader)
        number, header = next(rows, (0, []))
        if isinstance(header, csv.Error):
            raise _UnusableError("bad header", f"line {number}: {header}; mend the quotes")
        columns = [column.strip() for column in header]
        is_bare = True
        for row_number, (line, row) in enumerate(rows, start=1):
            is_bare = False
            place = f"{name}#{row_number}"
            try:
                yield place, _from_row(place, columns, row)
            except _UnusableError as fault:
                yield place, _reject(place, fault.reason, f"line {line}: {fault.detail}")
    if is_bare:
        raise _UnusableError("empty", "it holds no row below its header; fill it or remove it")


def _csv_rows(reader: Iterator[list[str]]) -> Iterator[tuple[int, list[str] | csv.Error]]:
    """Rows with the line that they begin on; a broken one gives its error, and the next is read."""
    while True:
        line: int = reader.line_num + 1  # type: ignore[attr-defined]
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield line, error
        else:
            if row:
                yield line, row


@contextmanager
def _any_field_length(length: int) -> Iterator[None]:
    """Let a cell be as long as its file; the module's limit of 131,072 would cut documents."""
    before = csv.field_size_limit(min(length + 1, sys.maxsize))
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _from_row(place: str, columns: Sequence[str], row: Sequence[str] | csv.Error) -> Document:
    if isinstance(row, csv.Error):
        raise _UnusableError("bad row", f"{row}; mend its quotes")
    if len(row) > len(columns):
        found = f"it has {len(row)} cells, the header has {len(columns)}"
        raise _UnusableError("bad row", f"{found}; quote cells that hold the delimiter")
    named = {column.lower(): cell for column, cell in zip(columns, row, strict=False)}
    if "text" in named:
        return _from_fields(place, named)
    return _document(place, "", "\n".join(_labelled(columns, row)))


def _labelled(columns: Iterable[str], row: Iterable[str]) -> Iterator[str]:
    for column, cell in zip(columns, row, strict=False):
        if cell.strip():
            yield f"{column}: {cell.strip()}" if column else cell.strip()


_WHOLE_READERS: dict[str, Callable[[bytes], tuple[str, str]]] = {
    ".txt": _read_plain,
    ".md": _read_markdown,
    ".rst": _read_plain,
    ".html": _read_html,
    ".pdf": _read_pdf,
    ".docx": _read_docx,
}
_ROW_READERS: dict[str, Callable[[bytes, str], Iterator[_Found]]] = {
    ".csv": _read_csv,
    ".jsonl": _read_json_lines,
    ".jsonl.gz": _read_json_lines,
}
SUFFIXES = (*_WHOLE_READERS, *_ROW_READERS)
