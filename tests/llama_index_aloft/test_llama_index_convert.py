"""LlamaIndex nodes go to Aloft and come back with ids, metadata and every character."""

import pytest
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, MessageRole, TextBlock
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import BaseNode, Document, NodeRelationship, TextNode

from aloft.errors import DataError
from aloft.records import Document as AloftDocument
from aloft.records import Message, Passage, content_id
from llama_index_aloft import to_documents, to_nodes
from llama_index_aloft.convert import to_messages, to_passage

TEXT = "Größe und Maß: 漢字 🙂.\nSecond line."


def test_a_document_keeps_id_title_and_every_character() -> None:
    given = Document(id_="a/b.md", text=TEXT, metadata={"title": " A  title ", "year": 2020})

    assert to_documents([given]) == [AloftDocument(id="a/b.md", text=TEXT, title="A title")]
    assert given.metadata == {"title": " A  title ", "year": 2020}


def test_a_random_id_gives_way_to_one_that_a_second_run_finds_again() -> None:
    first, second = (to_documents([Document(text=TEXT)]) for _ in range(2))

    assert first == second == [AloftDocument(id=content_id("", TEXT), text=TEXT)]


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


def test_passages_come_back_as_nodes_with_the_metadata_of_their_source() -> None:
    given = Document(id_="a.txt", text=TEXT, metadata={"year": 2020})
    passage = Passage(document_id="a.txt", text="Second line.", start=23, title="T")

    (node,) = to_nodes([passage], [given])

    assert (node.node_id, node.text) == (passage.id, "Second line.")
    assert node.metadata == {"year": 2020, "title": "T"}
    assert (node.start_char_idx, node.end_char_idx) == (23, 35)
    assert node.relationships[NodeRelationship.SOURCE].node_id == "a.txt"  # type: ignore[union-attr]
    assert to_passage(node) == passage
    assert given.metadata == {"year": 2020}


def test_what_models_read_of_a_node_is_its_title_and_text() -> None:
    node = TextNode(text="Text.", metadata={"title": "Title", "file_path": "/x/y"})

    assert to_passage(node).content == "Title\nText."


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
        Message(role="user", content="42"),
        Message(role="assistant", content="Yes."),
    )


def test_a_picture_is_refused() -> None:
    picture = ChatMessage(blocks=[TextBlock(text="See:"), ImageBlock(url="https://x.test/a.png")])

    with pytest.raises(DataError, match="holds a image, but only text"):
        to_messages([picture])
