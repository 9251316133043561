"""Which reader reads a file, by its suffix; what goes wrong in one file is a rejection.

To add a format, write a module here with `read(source)` and name it in `KINDS`.
"""

from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from stat import S_ISREG

from aloft.config import DocumentsConfig
from aloft.corpus.readers.source import (
    MEGABYTE,
    Found,
    Source,
    UnreadableError,
    too_large,
)

KINDS = {
    ".txt": "plain",
    ".md": "markdown",
    ".markdown": "markdown",
    ".rst": "plain",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".mhtml": "mhtml",
    ".mht": "mhtml",
    ".pdf": "pdf",
    ".docx": "docx",
    ".docm": "docx",
    ".pptx": "pptx",
    ".pptm": "pptx",
    ".xlsx": "xlsx",
    ".xlsm": "xlsx",
    ".epub": "epub",
    ".eml": "eml",
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "json_lines",
    ".ndjson": "json_lines",
    ".jsonl.gz": "json_lines",
}
UNREADABLE = "unreadable file"
_MOST_NESTED = 3  # messages in messages

Reader = Callable[[Source], Iterator[Found | Source]]
"""Yields documents, rejections, and files that are packed in the file, which are read in turn."""


def read_file(path: Path, name: str, config: DocumentsConfig) -> Iterator[Found]:
    """Read one file.

    Args:
        path: Where it is.
        name: What it is called in ids and rejections.
        config: How large it may be, unpacked too.
    """
    try:
        reader = _reader_of(name)
        max_bytes = int(config.max_megabytes * MEGABYTE)
        raw = _bytes_of(path, max_bytes)
        yield from _read(reader, Source(name=name, raw=raw, max_bytes=max_bytes))
    except UnreadableError as error:
        yield name, error.at(name)
    except OSError as error:
        detail = f"{error.strerror or error}; check the file and its permissions"
        yield name, UnreadableError(UNREADABLE, detail).at(name)


def _reader_of(name: str) -> Reader:
    kind = next((kind for suffix, kind in KINDS.items() if name.lower().endswith(suffix)), None)
    if kind is None:
        raise UnreadableError("not a kind Aloft reads", f"it reads {' '.join(KINDS)}")
    reader: Reader = import_module(f"{__package__}.{kind}").read
    return reader


def _read(reader: Reader, source: Source) -> Iterator[Found]:
    for found in reader(source):
        if isinstance(found, Source):
            yield from _read_inner(found)
        else:
            yield found


def _read_inner(source: Source) -> Iterator[Found]:
    """Read a file that is packed in another file, such as an attachment."""
    try:
        if source.depth > _MOST_NESTED:
            raise UnreadableError("nested too deep", "save the inner file by itself")
        yield from _read(_reader_of(source.name), source)
    except UnreadableError as error:
        yield source.name, error.at(source.name)


def _bytes_of(path: Path, max_bytes: int) -> bytes:
    status = path.stat()
    if not S_ISREG(status.st_mode):
        raise UnreadableError("not a file", "it is a pipe, a socket or a device; remove it")
    if status.st_size > max_bytes:
        raise too_large(f"{status.st_size / MEGABYTE:.1f} MB", max_bytes)
    with path.open("rb") as file:
        raw = file.read(status.st_size + 1)
        if len(raw) > status.st_size:  # it grows, or is a file of /proc, which states no size
            raw += file.read(max_bytes)
    if len(raw) > max_bytes:
        raise too_large(f"more than {max_bytes / MEGABYTE:g} MB", max_bytes)
    return raw
