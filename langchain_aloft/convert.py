"""Converts LangChain documents to Aloft's records, and passages to documents."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from langchain_core.documents import Document as LangChainDocument

from aloft.api import (
    ConfigError,
    Document,
    Frame,
    HostChunk,
    HostedPassage,
    MergedDocument,
    Passage,
    copy_containers,
    host_offset,
    is_number,
    merge_chunks,
    metadata_to_json,
    read_list,
    replace_surrogates,
    share_one_text,
    title_of,
)

TextOf = Callable[[LangChainDocument], str]
"""What models read of a document."""


def to_documents(
    documents: Iterable[LangChainDocument],
    *,
    group_by: str | None = "source",
    text_of: TextOf | None = None,
) -> list[Document]:
    """Convert LangChain documents; chunks of one source are merged into one document again.

    Text that chunks share is kept once, and pages of one source stand in the order given.
    Documents without text are left out. A document without a lasting name is named after its
    content, so that a second run resumes the first.

    Args:
        documents: As loaders or text splitters make them.
        group_by: The metadata key that names a document's source. None: each document stands for
            itself, like the rows of a table.
        text_of: What models read of a document, such as its title and its page content; None: its
            page content. Where the page content does not stand in it, as in a summary, it is the
            text that is cut into passages.

    Raises:
        ConfigError: no document has the key.
        DataError: anything other than documents is given.
    """
    documents = read_documents(documents)
    keys = sorted({str(key) for document in documents for key in document.metadata})
    if documents and group_by not in (None, "source", *keys):  # "source" if it is there
        raise ConfigError(
            f'group_by is "{group_by}", which the metadata of no document has; they have: '
            f"{', '.join(keys) or 'none'}. Correct it, or pass None: each stands for itself."
        )
    return [merged.document for merged in _merge(documents, group_by, text_of)]


def from_passages(
    passages: Sequence[Passage],
    sources: Iterable[LangChainDocument] = (),
    *,
    group_by: str | None = "source",
    text_of: TextOf | None = None,
) -> list[LangChainDocument]:
    """Convert passages to LangChain documents that have the passages' ids.

    The page content is that of the documents which the passages were cut from, or, of files with a
    title, the title and the text.

    Args:
        passages: For example those of a run.
        sources: The documents that were given to `to_documents`. A result gets the metadata of the
            one that holds most of its text, such as the page, and a `start_index` that counts as
            this one's does.
        group_by: As given to `to_documents`.
        text_of: As given to `to_documents`.

    Raises:
        DataError: anything other than passages and documents is given.
    """
    passages = read_list(passages, Passage, "Those of a run are read_passages(run).values().")
    sources = read_documents(sources)
    merged = {found.document.id: found for found in _merge(sources, group_by, text_of)}
    documents = []
    for passage in passages:
        found = merged.get(passage.document_id)
        start, metadata = passage.start, {}
        if found is not None:
            chunk = found.chunk_of(passage)
            metadata = sources[chunk.index].metadata
            start = host_offset(passage, chunk, _start_of(metadata))
        documents.append(_from_passage(passage, start, metadata))
    return documents


def from_hosted(passages: Iterable[HostedPassage]) -> list[LangChainDocument]:
    """Convert passages of a run to documents with the metadata that its documents had."""
    return [_from_passage(one.passage, one.start, one.metadata) for one in passages]


def to_passages(
    documents: Sequence[LangChainDocument], text_of: TextOf | None = None
) -> list[Passage]:
    """Convert each document to one passage, named after its position in the list.

    Its text is the page content, from `start` on; what the function puts around it is its frame.
    """
    passages = []
    for place, document in enumerate(documents):
        text, frame = _read_in(document, text_of)
        passage = Passage(
            document_id=str(place),
            text=text,
            start=replace_surrogates(document.page_content).index(text),
            embedding_frame=frame,
            reading_frame=frame,
        )
        passages.append(passage)
    return passages


def check_text_of(given: Any) -> None:
    """Check that `text_of` is a function or None.

    Raises:
        ConfigError: it is neither.
    """
    if given is not None and not callable(given):
        raise ConfigError(
            f"text_of is of type {type(given).__name__}, but must be a function from a document "
            "to what models read of it."
        )


def model_text(document: LangChainDocument, text_of: TextOf | None = None) -> str:
    """What models read of a document.

    Raises:
        ConfigError: it is no function, or returns something else than a text.
    """
    check_text_of(text_of)
    text = text_of(document) if text_of else document.page_content
    if not isinstance(text, str):
        raise ConfigError(
            f"text_of returned {type(text).__name__} for a document, but must return a text."
        )
    return replace_surrogates(text)


def _read_in(document: LangChainDocument, text_of: TextOf | None) -> tuple[str, Frame]:
    """A document's text as models read it, and what stands around it or in its place."""
    read = model_text(document, text_of)
    whole = replace_surrogates(document.page_content)
    text = whole if whole in read else whole.strip()  # as such functions often do
    before, found, after = read.rpartition(text) if text else ("", "", "")
    return text, (before, after) if found else (read,)


def copy_of(document: LangChainDocument, score: float, key: str | None) -> LangChainDocument:
    """Copy a document and, if there is a key for it, add its score to the copy's metadata."""
    added = {key: score} if key else {}
    return document.model_copy(update={"metadata": {**copy_containers(document.metadata), **added}})


def in_source_order(
    documents: Sequence[LangChainDocument], group_by: str | None
) -> list[LangChainDocument] | None:
    """Sort the chunks of a vector store, which a search returns by similarity, as they were cut.

    Offsets may count from the start of the source, or of its pages, sections or other parts, which
    the chunks' metadata tells apart.

    Returns:
        None if the order cannot be restored: offsets are missing or contradict each other.
    """
    ordered: list[LangChainDocument] = []
    for members in _by_source(documents, group_by).values():
        parts = _parts_of(members)
        if parts is None:
            return None
        for part in parts:
            ordered += sorted(part, key=lambda document: document.metadata["start_index"])
    return ordered


def read_documents(given: Iterable[LangChainDocument]) -> list[LangChainDocument]:
    """Return documents as a list.

    Raises:
        DataError: anything other than documents is given.
    """
    advice = "Load files by a document loader, or wrap a text: Document(page_content=text)."
    return read_list(given, LangChainDocument, advice)


def _by_source(
    documents: Sequence[LangChainDocument], group_by: str | None
) -> dict[str, list[LangChainDocument]]:
    groups: dict[str, list[LangChainDocument]] = {}
    for place, document in enumerate(documents):
        groups.setdefault(_source_of(document, group_by) or f"\x1f{place}", []).append(document)
    return groups


def _parts_of(documents: Sequence[LangChainDocument]) -> list[list[LangChainDocument]] | None:
    """Split the chunks of one source into the fewest parts within which offsets agree."""
    rows = [document.metadata for document in documents]
    names = dict.fromkeys(key for row in rows for key in row if key != "start_index")
    keys = sorted(names, key=lambda key: len({str(row.get(key)) for row in rows}))
    for chosen in ([], *([key] for key in keys), keys):
        parts: dict[tuple[str, ...], list[LangChainDocument]] = {}
        for row, document in zip(rows, documents, strict=True):
            parts.setdefault(tuple(str(row.get(key)) for key in chosen), []).append(document)
        if all(share_one_text(_to_chunk(one, None) for one in part) for part in parts.values()):
            is_numbered = all(value.isdecimal() for name in parts for value in name)
            order = (lambda name: [*map(int, name)]) if is_numbered else None
            return [parts[name] for name in sorted(parts, key=order)]
    return None


def _from_passage(passage: Passage, start: int, metadata: Mapping[str, Any]) -> LangChainDocument:
    return LangChainDocument(
        id=passage.id,
        page_content=passage.text if passage.reading_frame else passage.content,
        metadata={
            "source": passage.document_id,
            **({"title": passage.title} if passage.title else {}),
            **metadata,
            "start_index": start,
        },
    )


def _merge(
    documents: Sequence[LangChainDocument], group_by: str | None, text_of: TextOf | None
) -> list[MergedDocument]:
    return merge_chunks([_to_chunk(document, group_by, text_of) for document in documents])


def _to_chunk(
    document: LangChainDocument, group_by: str | None, text_of: TextOf | None = None
) -> HostChunk:
    parent = document.metadata.get("doc_id") or document.metadata.get("parent_id")
    text = replace_surrogates(document.page_content)
    frame: Frame = ("", "")
    if text_of is not None and text.strip():
        _, around = _read_in(document, text_of)
        text, frame = (text, around) if len(around) > 1 else (around[0], frame)
    metadata = {key: value for key, value in document.metadata.items() if key != "start_index"}
    return HostChunk(
        source=_source_of(document, group_by),
        text=text,
        title=title_of(document.metadata),
        start=_start_of(document.metadata),
        id=document.id or "",
        parent=str(parent or ""),
        embedding_frame=frame,
        reading_frame=frame,
        metadata=metadata_to_json(metadata),
    )


def _source_of(document: LangChainDocument, group_by: str | None) -> str:
    named = document.metadata.get(group_by) if group_by else None
    is_missing = named is None or named != named  # NaN, as in tables
    return ("" if is_missing else str(named)) or document.id or ""


def _start_of(metadata: Mapping[str, Any]) -> int | None:
    start: Any = metadata.get("start_index")
    is_offset = is_number(start) and start == int(start)  # stores and tables have other kinds
    return int(start) if is_offset else None
