"""LlamaIndex nodes go to Aloft and come back with ids, metadata and every character."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, MessageRole, TextBlock
from llama_index.core.node_parser import (
    HierarchicalNodeParser,
    MarkdownNodeParser,
    NodeParser,
    SentenceSplitter,
    SentenceWindowNodeParser,
    get_leaf_nodes,
    get_root_nodes,
)
from llama_index.core.schema import (
    BaseNode,
    Document,
    ImageNode,
    IndexNode,
    MetadataMode,
    NodeRelationship,
    RelatedNodeInfo,
    TextNode,
)
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from aloft.config import PassagesConfig
from aloft.corpus.host_chunks import without_metadata
from aloft.corpus.passages import DocumentSplitter
from aloft.errors import DataError
from aloft.protocols import ToolTurn
from aloft.records import Document as AloftDocument
from aloft.records import Message, Passage, content_id
from llama_index_aloft import to_documents, to_nodes
from llama_index_aloft.convert import to_passage
from llama_index_aloft.messages import to_messages

TEXT = "Größe und Maß: 漢字 🙂.\nSecond line."


def test_a_document_keeps_id_title_and_every_character() -> None:
    given = Document(id_="a/b.md", text=TEXT, metadata={"title": " A  title ", "year": 2020})

    (found,) = to_documents([given])

    assert (found.id, found.text, found.title) == ("a/b.md", TEXT, "A title")
    assert given.metadata == {"title": " A  title ", "year": 2020}


def test_a_random_id_gives_way_to_one_that_a_second_run_finds_again() -> None:
    (first,), (second,) = (to_documents([Document(text=TEXT)]) for _ in range(2))

    assert without_metadata(first) == without_metadata(second)
    assert without_metadata(first) == AloftDocument(id=content_id("", TEXT), text=TEXT)


def test_overlapping_nodes_become_their_document_again() -> None:
    text = " ".join(f"Sentence number {i} tells of the number {i}." for i in range(60))
    source = Document(id_="a.txt", text=text)
    nodes: list[BaseNode] = list(
        SentenceSplitter(chunk_size=100, chunk_overlap=30).get_nodes_from_documents([source])
    )
    assert len(nodes) > 5
    assert sum(len(node.get_content()) for node in nodes) > len(text)  # they do overlap

    (found,) = to_documents(nodes)

    assert found.id == "a.txt"
    assert found.text.split() == text.split()


FACTS = [
    " ".join(f"Fact {section}{number:02} holds in plant {number * 7}." for number in range(40))
    for section in (1, 2, 3)
]
MANUAL = Document(
    id_="manual", text="\n\n".join(f"# Section {n}\n\n{text}" for n, text in enumerate(FACTS))
)


def split_by_section() -> list[BaseNode]:
    splitter = SentenceSplitter(chunk_size=128, chunk_overlap=0)
    sections = MarkdownNodeParser().get_nodes_from_documents([MANUAL])
    return [node for section in sections for node in splitter.get_nodes_from_documents([section])]


def split_by_size() -> list[BaseNode]:
    parser = HierarchicalNodeParser.from_defaults(chunk_sizes=[1024, 512, 128])
    return list(parser.get_nodes_from_documents([MANUAL]))


def small_to_big() -> list[BaseNode]:
    """Large nodes, and small ones that point to them, as for a recursive retriever."""
    large = SentenceSplitter(chunk_size=512, chunk_overlap=40).get_nodes_from_documents([MANUAL])
    small = SentenceSplitter(chunk_size=128, chunk_overlap=20)
    return [
        IndexNode.from_text_node(node, base.node_id)
        for base in large
        if isinstance(base, TextNode)
        for node in (*small.get_nodes_from_documents([base]), base)
        if isinstance(node, TextNode)
    ]


@pytest.mark.parametrize(
    "nodes",
    [
        pytest.param(split_by_section, id="sections"),
        pytest.param(split_by_size, id="all levels"),
        pytest.param(lambda: get_leaf_nodes(split_by_size()), id="leaves"),
        pytest.param(lambda: get_root_nodes(split_by_size()), id="roots"),
        pytest.param(small_to_big, id="small to big"),
    ],
)
def test_offsets_that_count_from_a_section_or_parent_garble_nothing(
    nodes: Callable[[], list[BaseNode]],
) -> None:
    (found,) = to_documents(nodes())

    assert found.text.split() == MANUAL.text.split()


def test_a_level_between_may_be_missing() -> None:
    nodes = split_by_size()
    roots, leaves = get_root_nodes(nodes), get_leaf_nodes(nodes)

    (found,) = to_documents([*roots, *leaves])

    assert found.text.split() == MANUAL.text.split()


@pytest.mark.parametrize(
    "parser",
    [
        SentenceSplitter(chunk_size=40, chunk_overlap=0),
        HierarchicalNodeParser.from_defaults(chunk_sizes=[80, 40], chunk_overlap=0),
    ],
)
def test_documents_and_their_nodes_together_hold_each_text_once(parser: NodeParser) -> None:
    text = " ".join(f"Law {i} is {i} years old, and nobody keeps it." for i in range(40))
    document = Document(id_="laws", text=text)
    nodes = get_leaf_nodes(parser.get_nodes_from_documents([document]))
    assert len(nodes) > 5
    for given in ([document, *nodes], [*nodes, document]):
        (found,) = to_documents(given)
        assert found.text == text


def test_a_passage_has_the_metadata_of_the_node_that_holds_it() -> None:
    pages = [
        TextNode(
            text=text,
            metadata={"page": number},
            relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id="a.pdf")},
        )
        for number, text in enumerate(FACTS)
    ]
    (whole,) = to_documents(pages)

    for number, text in enumerate(FACTS):
        start = whole.text.index(text) + 30
        passage = Passage(document_id="a.pdf", text=text[30:90], start=start)
        (node,) = to_nodes([passage], pages)
        assert node.metadata == {"page": number}


def test_nodes_without_text_are_no_documents() -> None:
    assert to_documents([ImageNode(image="abc"), Document(text=None), TextNode(text=" ")]) == []


@pytest.mark.parametrize("given", ["docs", Path("docs"), ["a text"], [None], None])
def test_what_is_no_list_of_nodes_is_refused_in_one_line(given: Any) -> None:
    with pytest.raises(DataError, match="list of BaseNode objects is expected, but"):
        to_documents(given)


@pytest.mark.parametrize("given", ["docs", [TextNode(text="a")], None])
def test_what_is_no_list_of_passages_is_refused_in_one_line(given: Any) -> None:
    with pytest.raises(DataError, match="A list of Passage objects is expected"):
        to_nodes(given)


def test_lone_surrogates_become_the_replacement_character() -> None:
    torn = "Let \ud835 be"
    given = Document(id_="a", text=torn, metadata={"title": torn})

    (found,) = to_documents([given])
    assert (found.text, found.title) == ("Let \ufffd be", "Let \ufffd be")
    assert to_passage(given).content == "title: Let \ufffd be\n\nLet \ufffd be"
    (message,) = to_messages([ChatMessage(role=MessageRole.USER, content=torn)])
    assert message.content == "Let \ufffd be"


def test_a_conversation_without_messages_is_refused() -> None:
    with pytest.raises(DataError, match="no messages"):
        to_messages([])


def test_passages_come_back_as_nodes_with_the_metadata_of_their_source() -> None:
    given = Document(id_="a.txt", text=TEXT, metadata={"year": 2020})
    passage = Passage(document_id="a.txt", text="Second line.", start=23, title="T")

    (node,) = to_nodes([passage], [given])

    assert (node.node_id, node.text) == (passage.id, "Second line.")
    assert node.metadata == {"year": 2020}
    assert (node.start_char_idx, node.end_char_idx) == (23, 35)
    assert node.relationships[NodeRelationship.SOURCE].node_id == "a.txt"  # type: ignore[union-attr]
    assert node.get_content(MetadataMode.EMBED) == "year: 2020\n\nSecond line."
    assert given.metadata == {"year": 2020}


def test_offsets_of_nodes_that_begin_with_empty_lines_are_those_of_their_characters() -> None:
    document = Document(
        id_="laws", text="\n\n  A fox sleeps.\n\n  A whale sings.\n", metadata={"a": 1}
    )
    nodes = SentenceWindowNodeParser.from_defaults().get_nodes_from_documents([document])
    for node in nodes:
        found = to_passage(node)
        assert document.text[found.start :].startswith(found.text)
    (merged,) = to_documents(nodes)
    sleeps = merged.text.index("sleeps")
    passage = Passage(document_id="laws", text="sleeps", start=sleeps)
    (back,) = to_nodes([passage], nodes)
    assert document.text[back.start_char_idx : back.end_char_idx] == "sleeps"


@pytest.mark.parametrize("kind", [TextNode, Document])
def test_offsets_of_a_node_without_one_count_from_its_text(kind: Any) -> None:
    page = kind(id_="1", text="\n\n  A fox sleeps.\n", metadata={"page_label": "4"})
    (document,) = to_documents([page])
    passage = Passage(document_id="1", text="sleeps", start=document.text.index("sleeps"))
    (back,) = to_nodes([passage], [page])
    assert page.text[back.start_char_idx : back.end_char_idx] == "sleeps"


def test_a_passage_of_a_file_has_its_title_in_front_in_every_mode() -> None:
    passage = Passage(document_id="a.txt", text="Second line.", start=23, title="T")

    (node,) = to_nodes([passage])

    assert node.metadata == {"title": "T"}
    for mode in (MetadataMode.EMBED, MetadataMode.LLM):
        assert node.get_content(mode) == passage.content == "T\nSecond line."


AROUND: list[dict[str, Any]] = [
    {},
    {"metadata": {"title": "Pumps", "author": "Maria Lopez"}},
    {"metadata": {"a": 1, "b": 2}, "excluded_embed_metadata_keys": ["a"]},
    {"metadata": {"a": 1, "b": 2}, "excluded_llm_metadata_keys": ["a", "b"]},
    {
        "metadata": {"a": 1, "b": "two"},
        "metadata_template": "{value}",
        "metadata_separator": "|",
        "text_template": "{content} ({metadata_str})",
    },
    {"metadata": {"a": "Text of the node."}},  # the text stands in its metadata too
    {"metadata": {"a": 1}, "text_template": "{metadata_str}"},
]


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("text", ["Text of the node.", " Text of the node. \n"])
@pytest.mark.parametrize("kind", [TextNode, Document])
def test_models_read_what_llama_index_lets_them_read(
    around: dict[str, Any], text: str, kind: Callable[..., BaseNode]
) -> None:
    node = kind(text=text, **around)
    passage = to_passage(node)
    if text == text.strip():
        assert passage.embedded == node.get_content(MetadataMode.EMBED)
        assert passage.content == node.get_content(MetadataMode.LLM)
    assert passage.embedded.strip() == node.get_content(MetadataMode.EMBED).strip()
    assert passage.content.strip() == node.get_content(MetadataMode.LLM).strip()

    (document,) = to_documents([node])
    (cut,) = DocumentSplitter(words(), PassagesConfig(min_characters=1)).split(document)
    assert isinstance(cut, Passage)
    assert (cut.embedded, cut.content) == (passage.embedded.strip(), passage.content.strip())


def words() -> Tokenizer:
    return Tokenizer(WordLevel({"?": 0}, unk_token="?"))


def test_equal_texts_with_other_metadata_are_two() -> None:
    nodes = [TextNode(text=TEXT, metadata={"tenant": name}) for name in ("a", "b", "a")]

    first, second = to_documents(nodes)

    assert first.text == second.text
    assert [json.loads(one.chunks[0].metadata)["tenant"] for one in (first, second)] == ["a", "b"]
    of_one_source = [
        TextNode(
            text=TEXT,
            metadata={"tenant": name},
            relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id="faq.csv")},
        )
        for name in ("a", "b")
    ]
    (both,) = to_documents(of_one_source)
    assert both.text == f"{TEXT}\n\n{TEXT}"
    assert [(one.start, one.is_apart) for one in both.chunks] == [(0, True), (len(TEXT) + 2, True)]


def test_what_changes_from_day_to_day_does_not_change_the_documents_that_are_read() -> None:
    days = ("2026-01-01", "2026-01-02")
    hidden = {
        "excluded_embed_metadata_keys": ["last_accessed_date"],
        "excluded_llm_metadata_keys": ["last_accessed_date"],
    }
    nodes = [Document(text=TEXT, metadata={"last_accessed_date": day}, **hidden) for day in days]
    first, second = (without_metadata(to_documents([node])[0]) for node in nodes)
    assert first == second


def test_messages_keep_their_roles_and_text() -> None:
    given = [
        ChatMessage(role=MessageRole.SYSTEM, content="Be brief."),
        ChatMessage(role=MessageRole.USER, content="漢字?"),
        ChatMessage(role=MessageRole.TOOL, content="42"),
        ChatMessage(role=MessageRole.CHATBOT, content="Yes."),
    ]

    assert to_messages(given) == (
        Message(role="system", content="Be brief."),
        Message(role="user", content="漢字?"),
        ToolTurn(role="tool", content="42"),
        Message(role="assistant", content="Yes."),
    )


def test_a_picture_is_refused() -> None:
    picture = ChatMessage(blocks=[TextBlock(text="See:"), ImageBlock(url="https://x.test/a.png")])

    with pytest.raises(DataError, match="block of type image, but only text"):
        to_messages([picture])
