"""LangChain documents go to Aloft and come back with ids, metadata and every character."""

import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, ChatMessage, HumanMessage, SystemMessage, ToolMessage

from aloft.errors import DataError
from aloft.records import Document as AloftDocument
from aloft.records import Message, Passage, content_id
from langchain_aloft import from_passages, to_documents
from langchain_aloft.convert import content_of, to_messages, with_score

TEXT = "Größe und Maß: 漢字 🙂.\nSecond line."


def test_a_document_keeps_its_source_title_and_every_character() -> None:
    given = Document(page_content=TEXT, metadata={"source": "a/b.md", "title": "A title"})

    assert to_documents([given]) == [AloftDocument(id="a/b.md", text=TEXT, title="A title")]
    assert given.metadata == {"source": "a/b.md", "title": "A title"}


def test_a_document_without_a_source_is_named_by_its_id_or_its_content() -> None:
    found = to_documents([Document(TEXT, id="seven"), Document(TEXT)])

    assert [document.id for document in found] == ["seven", content_id("", TEXT)]


def test_pieces_of_a_source_are_one_document_again_unless_told_otherwise() -> None:
    text = "Cold water is denser than warm water. Ice floats because it is lighter than both."
    pieces = [
        Document(text[start : start + 50], metadata={"source": "a.txt", "start_index": start})
        for start in (0, 25, 50)
    ]

    assert to_documents(pieces) == [AloftDocument(id="a.txt", text=text)]
    assert len(to_documents(pieces, group_by=None)) == 3


def test_passages_come_back_with_the_metadata_of_their_source() -> None:
    given = Document(TEXT, metadata={"source": "a.txt", "year": 2020})
    passage = Passage(document_id="a.txt", text="Second line.", start=23, title="T")

    (found,) = from_passages([passage], [given])

    assert found == Document(
        id=passage.id,
        page_content="Second line.",
        metadata={"source": "a.txt", "year": 2020, "title": "T", "start_index": 23},
    )
    assert given.metadata == {"source": "a.txt", "year": 2020}


def test_a_scored_document_is_a_copy() -> None:
    given = Document("Text.", id="1", metadata={"title": "Title"})

    scored = with_score(given, 0.5)

    assert (scored.id, scored.metadata) == ("1", {"title": "Title", "relevance_score": 0.5})
    assert given.metadata == {"title": "Title"}
    assert content_of(given) == "Title\nText."


def test_messages_keep_their_roles_and_text() -> None:
    given = [
        SystemMessage("Be brief."),
        HumanMessage([{"type": "text", "text": "漢字?"}]),
        ToolMessage("42", tool_call_id="1"),
        AIMessage("Yes."),
        ChatMessage(role="user", content="Good."),
    ]

    assert to_messages(given) == (
        Message(role="system", content="Be brief."),
        Message(role="user", content="漢字?"),
        Message(role="user", content="42"),
        Message(role="assistant", content="Yes."),
        Message(role="user", content="Good."),
    )


def test_a_picture_and_an_unknown_role_are_refused() -> None:
    picture = HumanMessage([{"type": "image_url", "image_url": {"url": "https://x.test/a.png"}}])

    with pytest.raises(DataError, match="type image_url, but only text"):
        to_messages([picture])
    with pytest.raises(DataError, match='role "jester"'):
        to_messages([ChatMessage(role="jester", content="Ha.")])
