"""LangChain documents and messages to Aloft's records, and passages back to documents."""

from collections.abc import Sequence
from typing import Any

from langchain_core.documents import Document as LangChainDocument
from langchain_core.messages import BaseMessage, ChatMessage

from aloft.api import (
    DataError,
    Document,
    HostChunk,
    MergedDocument,
    Message,
    Passage,
    Role,
    join_pieces,
    title_of,
)

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "human": "user",
    "user": "user",
    "tool": "user",
    "function": "user",
    "ai": "assistant",
    "assistant": "assistant",
}


def to_documents(
    documents: Sequence[LangChainDocument], *, group_by: str | None = "source"
) -> list[Document]:
    """Aloft documents of LangChain ones; those that were cut from one source become one again.

    What overlaps between neighbours is kept once. A document without a lasting name is named
    after its content, so that a second run finds the first one's work.

    Args:
        documents: As loaders or text splitters make them.
        group_by: The metadata key that names a document's source. None: each document stands for
            itself, as rows of a table do.
    """
    return [joined.document for joined in _join(documents, group_by)]


def from_passages(
    passages: Sequence[Passage],
    sources: Sequence[LangChainDocument] = (),
    *,
    group_by: str | None = "source",
) -> list[LangChainDocument]:
    """LangChain documents of passages, under the passages' ids.

    Args:
        passages: For example those of a run.
        sources: What was given to `to_documents`; each result gets the metadata of its source.
        group_by: As given to `to_documents`.
    """
    metadata = {
        joined.document.id: sources[joined.places[0]].metadata
        for joined in _join(sources, group_by)
    }
    return [
        LangChainDocument(
            id=passage.id,
            page_content=passage.text,
            metadata={
                "source": passage.document_id,
                **metadata.get(passage.document_id, {}),
                **({"title": passage.title} if passage.title else {}),
                "start_index": passage.start,
            },
        )
        for passage in passages
    ]


def to_passages(documents: Sequence[LangChainDocument]) -> list[Passage]:
    """Each document as one passage, named after its place in the list."""
    return [
        Passage(
            document_id=str(place),
            text=document.page_content,
            start=0,
            title=title_of(document.metadata),
        )
        for place, document in enumerate(documents)
    ]


def content_of(document: LangChainDocument) -> str:
    """What models read of a document: its title and text, without other metadata."""
    return to_passages([document])[0].content


def with_score(document: LangChainDocument, score: float) -> LangChainDocument:
    """A copy of a document that states its score; the one given stays as it is."""
    return document.model_copy(update={"metadata": {**document.metadata, "relevance_score": score}})


def to_messages(messages: Sequence[BaseMessage]) -> tuple[Message, ...]:
    """A conversation as Aloft's messages.

    Raises:
        DataError: a message holds something else than text, or an unknown role.
    """
    return tuple(Message(role=_role_of(message), content=_text_of(message)) for message in messages)


def _join(documents: Sequence[LangChainDocument], group_by: str | None) -> list[MergedDocument]:
    return join_pieces(
        [
            HostChunk(
                source=_source_of(document, group_by),
                text=document.page_content,
                title=title_of(document.metadata),
                start=_start_of(document.metadata),
            )
            for document in documents
        ]
    )


def _source_of(document: LangChainDocument, group_by: str | None) -> str:
    named = document.metadata.get(group_by) if group_by else None
    return str(named or document.id or "")


def _start_of(metadata: dict[str, Any]) -> int | None:
    start = metadata.get("start_index")
    return start if isinstance(start, int) else None


def _role_of(message: BaseMessage) -> Role:
    name = message.role if isinstance(message, ChatMessage) else message.type
    if name not in _ROLES:
        raise DataError(f'A message has the role "{name}". It may be one of: {", ".join(_ROLES)}.')
    return _ROLES[name]


def _text_of(message: BaseMessage) -> str:
    if isinstance(message.content, list):
        for block in message.content:
            kind = "text" if isinstance(block, str) else block.get("type")
            if kind != "text":
                raise DataError(f"A message holds a block of type {kind}, but only text is read.")
    return str(message.text)
