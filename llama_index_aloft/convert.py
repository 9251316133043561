"""LlamaIndex nodes, documents and messages to Aloft's records, and passages back to nodes."""

from collections.abc import Sequence

from llama_index.core.base.llms.types import ChatMessage, MessageRole, TextBlock
from llama_index.core.schema import (
    BaseNode,
    MetadataMode,
    NodeRelationship,
    RelatedNodeInfo,
    TextNode,
)

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

_ROLES: dict[MessageRole, Role] = {
    MessageRole.SYSTEM: "system",
    MessageRole.DEVELOPER: "system",
    MessageRole.USER: "user",
    MessageRole.FUNCTION: "user",
    MessageRole.TOOL: "user",
    MessageRole.ASSISTANT: "assistant",
    MessageRole.CHATBOT: "assistant",
    MessageRole.MODEL: "assistant",
}


def to_documents(nodes: Sequence[BaseNode]) -> list[Document]:
    """Aloft documents of LlamaIndex documents or nodes; nodes of one document become one again.

    What overlaps between neighbouring nodes is kept once. A document keeps its id, unless that is
    a random one: then it is named after its content, so that a second run finds the first's work.
    """
    return [joined.document for joined in _join(nodes)]


def to_nodes(passages: Sequence[Passage], sources: Sequence[BaseNode] = ()) -> list[TextNode]:
    """Nodes of passages, under the passages' ids.

    Args:
        passages: For example those of a run.
        sources: What was given to `to_documents`; a node gets the metadata of its source.
    """
    metadata = {joined.document.id: sources[joined.places[0]].metadata for joined in _join(sources)}
    return [
        TextNode(
            id_=passage.id,
            text=passage.text,
            metadata={
                **metadata.get(passage.document_id, {}),
                **({"title": passage.title} if passage.title else {}),
            },
            start_char_idx=passage.start,
            end_char_idx=passage.end,
            relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=passage.document_id)},
        )
        for passage in passages
    ]


def to_passage(node: BaseNode) -> Passage:
    """A node as the passage that models read: its title and text, without other metadata."""
    return Passage(
        document_id=_source_of(node),
        text=node.get_content(MetadataMode.NONE),
        start=_start_of(node) or 0,
        title=title_of(node.metadata),
    )


def to_messages(messages: Sequence[ChatMessage]) -> tuple[Message, ...]:
    """A conversation as Aloft's messages.

    Raises:
        DataError: a message holds something else than text.
    """
    for message in messages:
        for block in message.blocks:
            if not isinstance(block, TextBlock):
                raise DataError(f"A message holds a {block.block_type}, but only text can be read.")
    return tuple(
        Message(role=_ROLES[message.role], content=message.content or "") for message in messages
    )


def _join(nodes: Sequence[BaseNode]) -> list[MergedDocument]:
    return join_pieces(
        [
            HostChunk(
                source=_source_of(node),
                text=node.get_content(MetadataMode.NONE),
                title=title_of(node.metadata),
                start=_start_of(node),
            )
            for node in nodes
        ]
    )


def _source_of(node: BaseNode) -> str:
    source = node.source_node
    return node.node_id if source is None else source.node_id


def _start_of(node: BaseNode) -> int | None:
    return node.start_char_idx if isinstance(node, TextNode) else None
