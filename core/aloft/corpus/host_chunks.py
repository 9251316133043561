"""Merges the chunks that a host framework cut texts into back into documents, each text once."""

import io
import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property
from itertools import accumulate
from os import PathLike
from typing import Any, Generic, TypeVar
from uuid import UUID

import numpy as np

from aloft.errors import ConfigError, DataError
from aloft.records import Chunk, Document, Frame, Passage, content_id
from aloft.text.surrogates import replace_surrogates

START = "start"  # of a chunk's form: the offset of its text as the host states it
_MIN_OVERLAP = 20  # characters; shorter matches occur by chance


@dataclass(frozen=True, slots=True, kw_only=True)
class HostChunk:
    """A text as a host holds it.

    Attributes:
        source: Names the document that the text was cut from; "": it is a document by itself.
        text: Its characters.
        title: The document's title.
        start: Character offset as the host states it. It may count from the start of the document,
            but also of a page, a section or a parent chunk.
        id: The host's id of the chunk.
        parent: Id of the larger chunk that this one was cut from, if any.
        embedding_frame, reading_frame, metadata, form: See `aloft.records.Chunk`.
    """

    source: str
    text: str
    title: str = ""
    start: int | None = None
    id: str = ""
    parent: str = ""
    embedding_frame: Frame = ("", "")
    reading_frame: Frame = ("", "")
    metadata: str = "{}"
    form: str = "{}"

    def is_like(self, other: "HostChunk") -> bool:
        """Whether two chunks differ in nothing but text and place."""
        return _apart_from_text(self) == _apart_from_text(other)


def _apart_from_text(chunk: HostChunk) -> tuple[object, ...]:
    frames = (chunk.embedding_frame, chunk.reading_frame)
    return (*frames, chunk.title, chunk.metadata, chunk.form)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkSpan:
    """Where a chunk stands in the merged document: characters [start, end) of its text."""

    index: int  # position of the chunk in the list that was merged
    start: int
    end: int


SpanT = TypeVar("SpanT", bound=Chunk | ChunkSpan)


class DocumentChunks(Generic[SpanT]):
    """The chunks of a document, of which it may have as many as passages.

    Args:
        chunks: In any order.
    """

    def __init__(self, chunks: Sequence[SpanT]) -> None:
        self._chunks = sorted(chunks, key=lambda chunk: chunk.start)
        self._starts = [chunk.start for chunk in self._chunks]
        self._reached = list(accumulate((chunk.end for chunk in self._chunks), max))

    def around(self, passage: Passage) -> Sequence[SpanT]:
        """Those among which are all that share text with a passage; all where none does."""
        first = bisect_right(self._reached, passage.start)
        last = bisect_left(self._starts, passage.end)
        return self._chunks[first:last] or self._chunks

    def chunk_of(self, passage: Passage) -> SpanT | None:
        """The chunk that holds most of a passage; None where there are no chunks."""

        def shared(chunk: SpanT) -> int:
            return min(chunk.end, passage.end) - max(chunk.start, passage.start)

        return max(self.around(passage), key=shared, default=None)


@dataclass(frozen=True, kw_only=True)
class MergedDocument:
    """A document and the spans of the chunks that it was merged from, in the document's order."""

    document: Document
    spans: tuple[ChunkSpan, ...]

    def chunk_of(self, passage: Passage) -> ChunkSpan:
        """The chunk that holds most of a passage of this document."""
        return self._chunks.chunk_of(passage) or self.spans[0]

    @cached_property
    def _chunks(self) -> DocumentChunks[ChunkSpan]:
        return DocumentChunks(self.spans)


def host_offset(passage: Passage, chunk: Chunk | ChunkSpan, start: int | None) -> int:
    """A passage's offset as its host counts it.

    Args:
        passage: Of a document that was merged from the host's chunks.
        chunk: The one that it was cut from.
        start: The chunk's own offset; None: the host states none.
    """
    return max(0, passage.start - chunk.start + (start or 0))


def merge_chunks(chunks: Sequence[HostChunk]) -> list[MergedDocument]:
    """Merge the chunks of each source, so that a split by document leaks no text.

    Chunks are sorted by their offsets if those prove to count from the start of one text: wherever
    two chunks overlap, their characters agree. Otherwise chunks keep the order in which they were
    given. Text that neighbours share is kept once, and so is the text of a chunk whose parent is
    given too. Chunks without text are left out, and surrogates become U+FFFD. Of equal texts with
    other metadata each is kept.

    A source without a name, or with a random one (UUID 4), is named after its content, so that a
    second run on the same texts resumes the first.

    Returns:
        Documents in order of first appearance, with their chunks; those of the same name, content
        and metadata are one.
    """
    chunks = [_clean(chunk) for chunk in chunks]
    by_id = {chunk.id: chunk for chunk in chunks if chunk.id}
    members: dict[str, list[int]] = {}
    for index, chunk in enumerate(chunks):
        if chunk.text.strip() and not _is_within_parent(chunk, by_id):
            members.setdefault(chunk.source or f"\x1f{index}", []).append(index)
    merged: dict[str, MergedDocument] = {}
    for source, indices in members.items():
        found = _merge(source, indices, chunks)
        known = merged.get(found.document.id)
        if known is not None and not chunks[indices[0]].is_like(chunks[known.spans[0].index]):
            name = content_id(found.document.id, *map(str, _apart_from_text(chunks[indices[0]])))
            found = _rename(found, name)
        merged.setdefault(found.document.id, found)
    return list(merged.values())


def without_metadata(document: Document) -> Document:
    """A document with nothing of its chunks but what changes the texts that models read.

    What a host notes beside, such as the day on which a file was read last, is no reason to work
    anything out again.
    """
    chunks = tuple(replace(one, host_id="", metadata="{}", form="{}") for one in document.chunks)
    is_plain = not document.title and all(
        one.embedding_frame == one.reading_frame == ("", "") and not (one.is_apart and i)
        for i, one in enumerate(chunks)
    )
    return replace(document, chunks=() if is_plain else chunks)


def share_one_text(chunks: Iterable[HostChunk]) -> bool:
    """Whether offsets count from the start of one text: all are known, and overlaps agree."""
    text, base = "", 0
    for start, further in sorted(
        (-1 if chunk.start is None else chunk.start, chunk.text) for chunk in chunks
    ):
        if start < 0:
            return False
        if start > base + len(text):  # a gap: nothing to compare
            text, base = "", start
        shared = text[start - base :][: len(further)]
        if not further.startswith(shared):
            return False
        text += further[len(shared) :]
    return True


def read_list(given: Any, kind: type, advice: str) -> list[Any]:
    """Return what a host gave as a list of its own objects.

    Args:
        given: Objects in any iterable.
        kind: The class of the objects.
        advice: What to do otherwise, a sentence.

    Raises:
        DataError: something else was given.
    """
    is_iterable = isinstance(given, Iterable) and not isinstance(given, str | PathLike | kind)
    objects = list(given) if is_iterable else [given]
    wrong = objects if not is_iterable else [one for one in objects if not isinstance(one, kind)]
    if wrong:
        raise DataError(
            f"A list of {kind.__name__} objects is expected, but {type(wrong[0]).__name__} was "
            f"given. {advice}"
        )
    return objects


def check_kind(name: str, given: Any, kind: type, advice: str) -> None:
    """Check the class of an argument that a host gave.

    Raises:
        ConfigError: it has another class; the message ends with the advice, a sentence.
    """
    if not isinstance(given, kind):
        raise ConfigError(
            f"{name} is of type {type(given).__name__}, but must be a {kind.__name__}. {advice}"
        )


def read_question(given: Any) -> str:
    """Return a host's question as models can read it, with surrogates replaced.

    Raises:
        DataError: it is no text.
    """
    return read_text(given, "A question")


def read_text(given: Any, what: str) -> str:
    """Return a host's text as models can read it, with surrogates replaced.

    Args:
        given: By the host.
        what: It is, to begin the message with.

    Raises:
        DataError: it is no text.
    """
    if not isinstance(given, str):
        raise DataError(f"{what} is a text, but {type(given).__name__} was given.")
    return replace_surrogates(given)


def read_texts(given: Any, what: str) -> list[str]:
    """Return a host's list of texts; see `read_text`."""
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise DataError(f"A list of texts is expected, but {type(given).__name__} was given.")
    return [read_text(text, what) for text in given]


def metadata_to_json(metadata: Mapping[str, Any]) -> str:
    """A host's metadata as a JSON object.

    Decimals and numbers of NumPy stay numbers and sets become lists; what else JSON does not have
    is kept as text.

    Raises:
        DataError: a value holds itself, or is nested too deeply.
    """
    try:
        return json.dumps(metadata, default=_as_json, skipkeys=True)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"The metadata of a document cannot be kept ({error}). Take out what holds itself."
        ) from None


def copy_containers(value: Any) -> Any:
    """A host's metadata, for a caller to change: its lists, sets and dictionaries are new.

    Other values stay the same objects: what an application keeps there may not be copyable.
    """
    if type(value) is dict:
        return {name: copy_containers(one) for name, one in value.items()}
    if type(value) in (list, set):
        return type(value)(map(copy_containers, value))
    return value


def _as_json(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, Decimal):  # as drivers of databases have them
        return int(value) if value.is_finite() and value == int(value) else float(value)
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    return str(value)


def title_of(metadata: Mapping[str, Any]) -> str:
    """The title that a host's metadata states, or ""."""
    title = metadata.get("title")
    return replace_surrogates(" ".join(title.split())) if isinstance(title, str) else ""


def _clean(chunk: HostChunk) -> HostChunk:
    return replace(
        chunk,
        text=replace_surrogates(chunk.text),
        start=chunk.start if chunk.start is not None and chunk.start >= 0 else None,
        embedding_frame=tuple(map(replace_surrogates, chunk.embedding_frame)),
        reading_frame=tuple(map(replace_surrogates, chunk.reading_frame)),
    )


def _is_within_parent(chunk: HostChunk, by_id: Mapping[str, HostChunk]) -> bool:
    parent = by_id.get(chunk.parent)
    return parent is not None and parent.id != chunk.id and chunk.text in parent.text


def _merge(source: str, indices: list[int], chunks: Sequence[HostChunk]) -> MergedDocument:
    is_sorted = share_one_text(chunks[index] for index in indices)
    if is_sorted:
        indices = sorted(indices, key=lambda index: chunks[index].start or 0)
    text, spans = io.StringIO(), list[ChunkSpan]()  # a source may have many thousands of chunks
    for index in indices:
        chunk = chunks[index]
        expected = None
        if spans and chunk.start is not None:
            previous = chunks[spans[-1].index].start
            # a smaller offset than the chunk before: a new page, section or parent begins
            if previous is not None and (is_sorted or chunk.start > previous):
                expected = spans[-1].start + chunk.start - previous
        length = text.seek(0, io.SEEK_END)
        start = _append(text, chunk.text, expected)
        is_known = text.seek(0, io.SEEK_END) == length
        if is_known and not chunk.is_like(chunks[spans[-1].index]):  # two, of equal text
            start = _write_behind(text, "\n\n", chunk.text)
        spans.append(ChunkSpan(index=index, start=start, end=start + len(chunk.text)))
    title = next((chunks[index].title for index in indices if chunks[index].title), "")
    name = source if _is_lasting(source) else content_id(title, text.getvalue())
    kept = tuple(_to_chunk(name, span, spans[i - 1 : i], chunks) for i, span in enumerate(spans))
    document = Document(id=name, text=text.getvalue(), title=title, chunks=kept)
    return MergedDocument(document=document, spans=tuple(spans))


def _to_chunk(
    name: str, span: ChunkSpan, before: Sequence[ChunkSpan], chunks: Sequence[HostChunk]
) -> Chunk:
    given = chunks[span.index]
    return Chunk(
        document_id=name,
        start=span.start,
        end=span.end,
        is_apart=not before or not given.is_like(chunks[before[0].index]),
        embedding_frame=given.embedding_frame,
        reading_frame=given.reading_frame,
        host_id=given.id,
        metadata=given.metadata,
        form=given.form if given.start is None else _with_start(given.form, given.start),
    )


def _with_start(form: str, start: int) -> str:
    """A chunk's form with its offset, which makes it no other chunk and so is added last."""
    return json.dumps({**json.loads(form), START: start})


def _rename(merged: MergedDocument, name: str) -> MergedDocument:
    chunks = tuple(replace(chunk, document_id=name) for chunk in merged.document.chunks)
    return replace(merged, document=replace(merged.document, id=name, chunks=chunks))


def _append(text: io.StringIO, further: str, expected: int | None) -> int:
    """Append a chunk to the text so far, without what both share.

    Args:
        text: The text so far, which grows.
        further: The chunk.
        expected: Position in the text at which the chunk begins by its offset; None: unknown.

    Returns:
        The position at which the chunk begins in the text.
    """
    length = text.seek(0, io.SEEK_END)
    if not length:
        return _write_behind(text, "", further)
    if expected is not None and expected <= length:
        text.seek(expected)
        shared = text.read(len(further))
        if further.startswith(shared):
            _write_behind(text, "", further[len(shared) :])
            return expected
    elif expected is not None:
        return _write_behind(text, " " if expected == length + 1 else "\n\n", further)
    text.seek(max(0, length - len(further)))
    overlap = _overlap(text.read(), further)
    if overlap:
        _write_behind(text, "", further[overlap:])
        return length - overlap
    return _write_behind(text, "\n\n", further)


def _write_behind(text: io.StringIO, gap: str, further: str) -> int:
    """Write at the end of a text, and return where it begins behind the gap."""
    start = text.seek(0, io.SEEK_END) + len(gap)
    text.write(gap + further)
    return start


def _overlap(end: str, further: str) -> int:
    """Characters at the end of a text with which `further` begins.

    Args:
        end: The text's last characters, as many as `further` has.
        further: Another text.
    """
    opening = further[:_MIN_OVERLAP]
    if len(opening) < _MIN_OVERLAP:
        return 0
    start = end.find(opening)
    while start >= 0:
        if further.startswith(end[start:]):
            return len(end) - start
        start = end.find(opening, start + 1)
    return 0


def _is_lasting(source: str) -> bool:
    if source.startswith("\x1f"):
        return False
    try:
        return UUID(source).version != 4
    except ValueError:
        return True
