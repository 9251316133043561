"""Converts LlamaIndex nodes, documents and messages to Aloft's records, and passages to nodes."""

from collections.abc import Iterable, Sequence
from datetime import date, time
from enum import Enum
from pathlib import PurePath
from typing import Any
from uuid import UUID

from llama_index.core.schema import (
    BaseNode,
    IndexNode,
    MetadataMode,
    NodeRelationship,
    NodeWithScore,
    RelatedNodeInfo,
    TextNode,
)
from pydantic_core import to_jsonable_python

from aloft.api import (
    Document,
    Frame,
    HostChunk,
    HostedPassage,
    MergedDocument,
    Passage,
    copy_containers,
    host_offset,
    merge_chunks,
    metadata_to_json,
    read_list,
    replace_surrogates,
    title_of,
)

_FORM = (
    "excluded_embed_metadata_keys",
    "excluded_llm_metadata_keys",
    "metadata_template",
    "metadata_separator",
    "text_template",
)
_WRITTEN = (date, time, UUID, PurePath, Enum)  # what JSON has as text


def to_documents(nodes: Iterable[BaseNode]) -> list[Document]:
    """Convert LlamaIndex documents or nodes; the nodes of a document are merged into it again.

    Text that nodes share, by overlap or because a node and its parent or document are both given,
    is kept once. Nodes without text, such as images, are left out. A document keeps its id, unless
    that is a random one: then it is named after its content, so that a second run resumes the
    first.

    Models read of a node what LlamaIndex lets them read: `MetadataMode.EMBED` is embedded and
    ranked, `MetadataMode.LLM` is written about and answered from.

    Raises:
        DataError: anything other than nodes is given.
    """
    return [merged.document for merged in _merge(read_nodes(nodes))]


def to_nodes(passages: Iterable[Passage], sources: Iterable[BaseNode] = ()) -> list[TextNode]:
    """Convert passages to nodes that have the passages' ids.

    Args:
        passages: For example those of a run.
        sources: The nodes that were given to `to_documents`. A result gets the metadata of the node
            that holds most of its text, its templates and exclusions, and offsets that count as
            this node's do.

    Raises:
        DataError: anything other than passages and nodes is given.
    """
    passages = read_list(passages, Passage, "Those of a run are read_passages(run).values().")
    sources = read_nodes(sources)
    merged = {found.document.id: found for found in _merge(sources)}
    hosted = []
    for passage in passages:
        found = merged.get(passage.document_id)
        if found is None:
            hosted.append(HostedPassage(passage=passage, start=passage.start))
            continue
        chunk = found.chunk_of(passage)
        source = sources[chunk.index]
        start = host_offset(passage, chunk, _start_of(source))
        hosted.append(
            HostedPassage(
                passage=passage, start=start, metadata=source.metadata, form=_form_of(source)
            )
        )
    return hosted_nodes(hosted)


def hosted_nodes(passages: Iterable[HostedPassage]) -> list[TextNode]:
    """Convert passages of a run to nodes with the metadata and the form that its nodes had."""
    return [_to_node(one) for one in passages]


def to_passage(node: BaseNode) -> Passage:
    """Convert a node to a passage, of which models read what LlamaIndex lets them read."""
    text, embedding_frame, reading_frame = _read(node)
    return Passage(
        document_id=source_of(node),
        text=text,
        start=(_start_of(node) or 0) + cut_before(node),
        title=title_of(node.metadata),
        embedding_frame=embedding_frame,
        reading_frame=reading_frame,
    )


def cut_before(node: BaseNode) -> int:
    """Number of spaces and line ends that a node's text begins with and its passage does not."""
    whole = replace_surrogates(node.get_content(MetadataMode.NONE))
    return whole.find(_read(node)[0]) if whole[:1].isspace() else 0


def copy_of(node: BaseNode) -> BaseNode:
    """A node that may be changed in place of another one: text, metadata and relationships."""
    own = {
        "metadata": copy_containers(node.metadata),
        "relationships": dict(node.relationships),
        "excluded_embed_metadata_keys": list(node.excluded_embed_metadata_keys),
        "excluded_llm_metadata_keys": list(node.excluded_llm_metadata_keys),
    }
    return node.model_copy(update=own)


def has_text(node: BaseNode) -> bool:
    """Whether a node holds any text; image nodes may hold none."""
    return bool(node.get_content(MetadataMode.NONE).strip())


def source_of(node: BaseNode) -> str:
    """Id of the document that a node was cut from, or of the node itself."""
    source = node.source_node
    return node.node_id if source is None else source.node_id


def written_metadata(node: BaseNode) -> dict[str, Any]:
    """A node's metadata as LlamaIndex' stores keep it, in JSON.

    A filter holds numbers and texts, so that dates, paths and ids are texts there.
    """
    return {
        name: to_jsonable_python(value) if isinstance(value, _WRITTEN) else value
        for name, value in node.metadata.items()
    }


def read_nodes(given: Iterable[BaseNode]) -> list[BaseNode]:
    """Return nodes as a list.

    Raises:
        DataError: anything other than nodes is given.
    """
    return read_list(given, BaseNode, "Load files by SimpleDirectoryReader(...).load_data().")


def read_found(given: Iterable[NodeWithScore]) -> list[NodeWithScore]:
    """Return what a retriever found as a list.

    Raises:
        DataError: anything other than nodes with scores is given.
    """
    return read_list(given, NodeWithScore, "Put each node into NodeWithScore(node=node).")


def _to_node(hosted: HostedPassage) -> TextNode:
    passage, form = hosted.passage, dict(hosted.form)
    metadata = dict(hosted.metadata)
    if passage.title and not metadata:  # it was read from a file
        metadata["title"] = passage.title
        form |= {"metadata_template": "{value}", "text_template": "{metadata_str}\n{content}"}
    return TextNode(
        id_=passage.id,
        text=passage.text,
        metadata=metadata,
        start_char_idx=hosted.start,
        end_char_idx=hosted.start + len(passage.text),
        relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=passage.document_id)},
        **form,
    )


def _merge(nodes: Sequence[BaseNode]) -> list[MergedDocument]:
    parents = _parents_given(nodes)
    return merge_chunks([_to_chunk(node, parents.get(node.node_id, "")) for node in nodes])


def _to_chunk(node: BaseNode, parent: str) -> HostChunk:
    _, embedding_frame, reading_frame = _read(node)
    return HostChunk(
        source=source_of(node),
        text=node.get_content(MetadataMode.NONE),  # whole, as offsets count
        title=title_of(node.metadata),
        start=_start_of(node),
        id=node.node_id,
        parent=parent,
        embedding_frame=embedding_frame,
        reading_frame=reading_frame,
        metadata=metadata_to_json(written_metadata(node)),
        form=metadata_to_json(_form_of(node)),
    )


def _read(node: BaseNode) -> tuple[str, Frame, Frame]:
    """A node's text, and what stands around it where it is embedded and where an LLM reads it."""
    embedded = replace_surrogates(node.get_content(MetadataMode.EMBED))
    read = replace_surrogates(node.get_content(MetadataMode.LLM))
    text = replace_surrogates(node.get_content(MetadataMode.NONE))
    if not (text in embedded and text in read):  # LlamaIndex strips what it renders
        text = text.strip()
    return text, _frame_of(text, embedded), _frame_of(text, read)


def _frame_of(text: str, rendered: str) -> Frame:
    if rendered.strip() == text.strip():
        return "", ""
    if not text:  # an image, or a page without text: its metadata alone is read
        return (rendered,)
    before, found, after = rendered.rpartition(text)
    return (before, after) if found else (rendered,)


def _form_of(node: BaseNode) -> dict[str, Any]:
    """How a node's metadata are shown, where not by LlamaIndex' defaults."""
    return {
        name: value
        for name in _FORM
        if (value := getattr(node, name, None))
        != TextNode.model_fields[name].get_default(call_default_factory=True)
        and value is not None
    }


def _parents_given(nodes: Sequence[BaseNode]) -> dict[str, str]:
    """Each node's closest ancestor among the nodes, by id; levels between may be missing.

    The last one is the document that a node was cut from, or the node itself.
    """
    above: dict[str, str] = {}
    for node in nodes:
        above.update((child.node_id, node.node_id) for child in node.child_nodes or ())
        if isinstance(node, IndexNode) and node.index_id != node.node_id:
            above[node.node_id] = node.index_id
        if node.parent_node is not None:
            above[node.node_id] = node.parent_node.node_id
    sources = {node.node_id: source_of(node) for node in nodes}
    found = {}
    for node_id, source in sources.items():
        ancestor, seen = above.get(node_id, source), {node_id}
        while ancestor not in sources and ancestor in above and ancestor not in seen:
            seen.add(ancestor)
            ancestor = above[ancestor]
        found[node_id] = ancestor if ancestor in sources else source
    return found


def _start_of(node: BaseNode) -> int | None:
    return node.start_char_idx if isinstance(node, TextNode) else None
