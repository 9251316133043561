"""JSON Lines: one document a line, {"text": "..."} with "id" and "title" where there are any."""

import gzip
import io
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping

from aloft.corpus.readers.decoding import decode_utf8
from aloft.corpus.readers.source import (
    MEGABYTE,
    Found,
    Source,
    UnreadableError,
    clean,
    make_document,
    parser_message,
    too_large,
)
from aloft.records import Document

_FIELDS = ("text", "id", "title")
_MOST_NAMED = 8  # of the fields that are not read


def read(source: Source) -> Iterator[Found]:
    """One document a line; a bad line is listed and the others are read."""
    raw = _in_utf8(_unpack(source) if source.name.lower().endswith(".gz") else source.raw)
    is_bare = True
    names: dict[str, None] = {}
    for number, line in enumerate(raw.split(b"\n"), start=1):
        if not line.strip():
            continue
        is_bare = False
        place = f"{source.name}#{number}"
        try:
            values = _object_of(decode_utf8(line))
            names |= dict.fromkeys(values)
            yield place, document_of_fields(place, values)
        except UnreadableError as error:
            yield source.reject(error.reason, f"line {number}: {error.detail}", place=place)
    if is_bare:
        raise UnreadableError("empty", "it holds no line; fill it or remove it")
    yield from unread_fields(source, source.name, names)


def _unpack(source: Source) -> bytes:
    try:
        with gzip.open(io.BytesIO(source.raw)) as stream:
            raw = stream.read(source.max_bytes + 1)
    except (OSError, EOFError, zlib.error) as error:
        detail = f"{parser_message(error)}; pack it again with gzip"
        raise UnreadableError("unreadable archive", detail) from error
    if len(raw) > source.max_bytes:
        found = f"{len(source.raw) / MEGABYTE:.1f} MB packed, more unpacked"
        raise too_large(found, source.max_bytes)
    return raw


def _in_utf8(raw: bytes) -> bytes:
    """What Windows' PowerShell wrote in UTF-16, in UTF-8."""
    encoding = json.detect_encoding(raw)
    if encoding.startswith("utf-8"):
        return raw
    return raw.decode(encoding, "replace").encode()


def document_of_fields(place: str, values: Mapping[str, object]) -> Document:
    """A document from its named fields; without an "id" it is called after its place.

    Raises:
        UnreadableError: "text" is missing, or a field is of the wrong type.
    """
    identifier, title, text = values.get("id"), values.get("title"), values.get("text")
    if isinstance(identifier, float) and identifier.is_integer():
        identifier = int(identifier)  # as pandas writes all of them where one is missing
    if not isinstance(text, str):
        raise UnreadableError("no text", 'its "text" must be a string; add it')
    if isinstance(identifier, bool) or not isinstance(identifier, str | int | None):
        raise UnreadableError("bad id", 'its "id" must be a string or a whole number')
    if not isinstance(title, str | None):
        raise UnreadableError("bad title", 'its "title" must be a string')
    stated = "" if identifier is None else clean(str(identifier)).strip()
    return make_document(stated or place, text, title or "")


def unread_fields(source: Source, place: str, names: Iterable[str]) -> Iterator[Found]:
    """A line to be listed where fields stand beside a text that are not read.

    Args:
        source: The file.
        place: The file, or a sheet of it.
        names: Of the fields.
    """
    others = [name for name in names if name.strip() and name.lower() not in _FIELDS]
    if others:
        shown = ", ".join(others[:_MOST_NAMED]) + (", ..." if others[_MOST_NAMED:] else "")
        detail = f'{shown}: beside "text" only "id" and "title" are read; put them into the text'
        yield source.reject("not all is read", detail, place=place)


def _object_of(line: str) -> Mapping[str, object]:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        detail = f"{parser_message(error)}; write one object a line"
        raise UnreadableError("not JSON", detail) from error
    if not isinstance(values, dict):
        raise UnreadableError("not a JSON object", 'write {"text": "..."} with "id" and "title"')
    return values
