"""LangChain documents go to Aloft and come back with ids, metadata and every character."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, ChatMessage, HumanMessage, SystemMessage, ToolMessage

from aloft.corpus.host_chunks import without_metadata
from aloft.errors import ConfigError, DataError
from aloft.protocols import ToolTurn
from aloft.records import Document as AloftDocument
from aloft.records import Message, Passage, content_id
from langchain_aloft import from_passages, to_documents
from langchain_aloft.convert import (
    copy_of,
    in_source_order,
    model_text,
    to_passages,
)
from langchain_aloft.messages import to_messages

TEXT = "Größe und Maß: 漢字 🙂.\nSecond line."


def test_a_document_keeps_its_source_title_and_every_character() -> None:
    given = Document(page_content=TEXT, metadata={"source": "a/b.md", "title": "A title"})

    (found,) = to_documents([given])
    assert (found.id, found.text, found.title) == ("a/b.md", TEXT, "A title")
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

    assert [without_metadata(one) for one in to_documents(pieces)] == [
        AloftDocument(id="a.txt", text=text)
    ]
    assert len(to_documents(pieces, group_by=None)) == 3


def test_a_source_may_be_a_number_from_zero_on() -> None:
    whole = ["Cold water is denser than warm water, and sinks.", "Ice floats as it is lighter."]
    pieces = [
        Document(piece, metadata={"article": number})
        for number, text in enumerate(whole)
        for piece in (text[:30], text[4:])
    ]

    found = to_documents(pieces, group_by="article")
    assert [(one.id, one.text) for one in found] == [("0", whole[0]), ("1", whole[1])]
    nameless = [Document(text, metadata={"article": float("nan")}) for text in whole]
    found = to_documents(nameless, group_by="article")  # as tables have what is missing
    assert [one.text for one in found] == whole


def test_a_key_that_no_document_has_is_told() -> None:
    given = [Document("One.", metadata={"article": 1, "page": 2}), Document("Two.")]
    with pytest.raises(ConfigError, match=r'"artikel".*they have: article, page\.'):
        to_documents(given, group_by="artikel")
    assert len(to_documents(given, group_by="article")) == len(to_documents(given)) == 2
    assert to_documents([], group_by="artikel") == []


PAGES = (
    "The pump is guaranteed for two years from delivery. The guarantee covers parts and labour.",
    "The filter is changed every six months. Close the tap and turn the housing to the left.",
    "The hose is checked each spring. A hose that leaks is replaced, never mended with tape.",
)


def chunks_of_pages(**more: Any) -> list[Document]:
    """As PyPDFLoader and a splitter with add_start_index make them: offsets within the page."""
    return [
        Document(
            page[start : start + 40],
            metadata={"source": "pump.pdf", "page": number, "start_index": start, **more},
        )
        for number, page in enumerate(PAGES)
        for start in range(0, len(page) - 15, 25)
    ]


def test_pages_of_a_source_stand_whole_and_once_in_their_order() -> None:
    (merged,) = to_documents(chunks_of_pages())

    assert (merged.id, merged.text) == ("pump.pdf", "\n\n".join(PAGES))
    # no passage holds text of two pages
    assert [one.start for one in merged.chunks if one.is_apart] == [
        merged.text.index(page) for page in PAGES
    ]


def test_a_passage_has_the_metadata_of_the_page_it_stands_on() -> None:
    pages = [Document(text, metadata={"source": "a", "page": n}) for n, text in enumerate(PAGES)]
    whole = "\n\n".join(PAGES)
    for sources in (pages, chunks_of_pages()):
        for number, text in enumerate(PAGES):
            name = sources[0].metadata["source"]
            passage = Passage(document_id=name, text=text, start=whole.index(text))
            (found,) = from_passages([passage], sources)
            assert found.metadata["page"] == number


def shuffled(chunks: list[Document]) -> list[Document]:
    return random.Random(2).sample(chunks, len(chunks))


def test_chunks_of_a_store_are_sorted_as_their_pages_have_them() -> None:
    chunks = chunks_of_pages()
    for place, chunk in enumerate(chunks):  # what stores and applications add to each chunk
        chunk.metadata |= {"_id": f"{place * 7 % 11:x}", "chunk": place % 3, "tokens": 9}

    assert in_source_order(shuffled(chunks), "source") == chunks


def test_chunks_of_a_store_are_sorted_by_section() -> None:
    chunks = [
        Document(
            text[start : start + 40],
            metadata={"source": "a.md", "h1": h1, "h2": h2, "start_index": start},
        )
        for text, (h1, h2) in zip(PAGES, (("A", "X"), ("A", "Y"), ("B", "X")), strict=True)
        for start in range(0, len(text) - 15, 25)
    ]
    ordered = in_source_order(shuffled(chunks), "source")

    assert ordered is not None
    assert ordered == in_source_order(chunks[::-1], "source")  # as another search returns them
    (merged,) = to_documents(ordered)
    assert sorted(merged.text.split("\n\n")) == sorted(PAGES)


@pytest.mark.parametrize("kind", [int, float, np.int64, np.float32])  # as stores and tables do
def test_offsets_of_the_source_are_enough(kind: Callable[[int], Any]) -> None:
    text = " ".join(PAGES)
    places = [{"start_index": kind(s), "page": s // 100} for s in range(0, len(text) - 20, 30)]
    chunks = [
        Document(text[(s := int(place["start_index"])) : s + 50], metadata={"source": "a", **place})
        for place in places
    ]

    ordered = in_source_order(shuffled(chunks), "source")
    assert ordered == chunks
    (merged,) = to_documents(ordered)
    assert merged.text == text


def test_the_metadata_of_many_chunks_are_read_a_few_times() -> None:
    class Counted(str):
        read = 0

        def __str__(self) -> str:
            Counted.read += 1
            return self

    chunks = [
        Document(f"Rule {i}.", metadata={"source": "a", "book": Counted("b"), "start_index": 9 * i})
        for i in range(300)
    ]
    assert in_source_order(shuffled(chunks), "source") == chunks
    assert Counted.read <= 4 * len(chunks)


def test_an_order_that_offsets_do_not_tell_is_not_made_up() -> None:
    nameless = chunks_of_pages(page="?")  # pages that do not say which they are
    assert in_source_order(nameless, "source") is None
    assert in_source_order([Document("One.", metadata={"source": "a"})], "source") is None


def test_a_parent_and_its_children_count_once() -> None:
    parent = Document(PAGES[0], id="p", metadata={"source": "a"})
    children = [
        Document(PAGES[0][s : s + 40], id=f"c{s}", metadata={"source": "a", "doc_id": "p"})
        for s in range(0, 80, 40)
    ]

    (found,) = to_documents([*children, parent])
    assert without_metadata(found) == AloftDocument(id="a", text=PAGES[0])


@pytest.mark.parametrize("given", ["a text", Path("docs"), ["a text"], [None], Document("One.")])
def test_what_is_no_list_of_documents_is_refused_in_one_line(given: Any) -> None:
    with pytest.raises(DataError, match=r"list of Document objects is expected, but \w+ was"):
        to_documents(given)


def test_documents_may_come_from_an_iterator() -> None:
    given = [Document(page, metadata={"source": "a"}) for page in PAGES]
    (merged,) = to_documents(iter(given))
    assert merged.text == "\n\n".join(PAGES)
    passage = Passage(document_id="a", text=PAGES[0], start=0)
    assert from_passages([passage], iter(given))[0].metadata["source"] == "a"


def test_documents_without_text_are_left_out() -> None:
    assert to_documents([Document("", metadata={"source": "a.png"}), Document(" ")]) == []


def test_lone_surrogates_become_the_replacement_character() -> None:
    torn = "Let \ud835 be"
    given = Document(torn, metadata={"source": "a", "title": torn})

    (found,) = to_documents([given], text_of=lambda one: f"\ud835{one.page_content}")
    assert (found.text, found.title) == ("Let \ufffd be", "Let \ufffd be")
    assert found.chunks[0].embedding_frame == ("\ufffd", "")
    assert model_text(given) == "Let \ufffd be"
    assert to_messages([HumanMessage(torn)])[0].content == "Let \ufffd be"


@pytest.mark.parametrize("given", ["docs", [Document("a")], None])
def test_what_is_no_list_of_passages_is_refused_in_one_line(given: Any) -> None:
    with pytest.raises(DataError, match="A list of Passage objects is expected"):
        from_passages(given)


def test_a_conversation_without_messages_is_refused() -> None:
    with pytest.raises(DataError, match="no messages"):
        to_messages([])


def test_passages_come_back_with_the_metadata_of_their_source() -> None:
    given = Document(TEXT, metadata={"source": "a.txt", "year": 2020})
    passage = Passage(document_id="a.txt", text="Second line.", start=23, title="T")

    (found,) = from_passages([passage], [given])

    assert found == Document(
        id=passage.id,
        page_content="T\nSecond line.",
        metadata={"source": "a.txt", "year": 2020, "title": "T", "start_index": 23},
    )
    of_host = replace(passage, reading_frame=("", ""), embedding_frame=("", ""))
    assert from_passages([of_host], [given])[0].page_content == "Second line."
    assert given.metadata == {"source": "a.txt", "year": 2020}


def test_a_scored_document_is_a_copy() -> None:
    given = Document("Text.", id="1", metadata={"title": "Title"})

    scored = copy_of(given, 0.5, "relevance")

    assert (scored.id, scored.metadata) == ("1", {"title": "Title", "relevance": 0.5})
    assert copy_of(given, 0.5, None).metadata == given.metadata
    assert given.metadata == {"title": "Title"}
    assert model_text(given) == "Text."
    assert model_text(given, lambda one: f"{one.metadata['title']}: {one.page_content}") == (
        "Title: Text."
    )


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
        ToolTurn(role="tool", content="42", tool_call_id="1"),
        Message(role="assistant", content="Yes."),
        Message(role="user", content="Good."),
    )


def test_texts_of_a_message_are_lines_and_those_of_a_reply_go_on() -> None:
    texts = [{"type": "text", "text": "Pumps stop"}, {"type": "input_text", "text": "at night."}]
    cited = [{"type": "output_text", "text": "They stop "}, {"type": "text", "text": "at ten."}]
    given = [
        SystemMessage(["Be brief.", "Cite."]),
        HumanMessage(texts),  # type: ignore[arg-type]
        AIMessage(cited),  # type: ignore[arg-type]
        ToolMessage([{"type": "tool_result", "content": texts}, *texts], tool_call_id="1"),
    ]
    assert [turn.content for turn in to_messages(given)] == [
        "Be brief.\nCite.",
        "Pumps stop\nat night.",
        "They stop at ten.",
        "Pumps stop\nat night.\nPumps stop\nat night.",
    ]


def test_a_picture_and_an_unknown_role_are_refused() -> None:
    picture = HumanMessage([{"type": "image_url", "image_url": {"url": "https://x.test/a.png"}}])

    with pytest.raises(DataError, match="type image_url, but only text"):
        to_messages([picture])
    with pytest.raises(DataError, match='role "jester"'):
        to_messages([ChatMessage(role="jester", content="Ha.")])


def test_models_read_the_page_content_or_what_a_function_makes_of_a_document() -> None:
    given = Document(TEXT, id="1", metadata={"title": "A title", "author": "Ada"})

    def by_author(document: Document) -> str:
        return f"By {document.metadata['author']}: {document.page_content} (end)"

    (plain,) = to_passages([given])
    assert (plain.embedded, plain.content) == (TEXT, TEXT)
    (written,) = to_passages([given], by_author)
    assert written.embedded == written.content == f"By Ada: {TEXT} (end)"
    assert (written.text, written.start) == (TEXT, 0)
    (padded,) = to_passages([Document(f"\n {TEXT}\n")], lambda one: one.page_content.strip())
    assert (padded.content, padded.text, padded.start) == (TEXT, TEXT, 2)
    (other,) = to_passages([given], lambda one: one.metadata["title"])
    assert (other.embedded, other.content, other.text) == ("A title", "A title", TEXT)
    (document,) = to_documents([given], text_of=by_author)
    assert document.text == TEXT
    assert document.chunks[0].reading_frame == ("By Ada: ", " (end)")
    (summary,) = to_documents([given], text_of=lambda one: one.metadata["title"])
    assert summary.text == "A title"
    with pytest.raises(ConfigError, match="text_of returned NoneType for a document"):
        to_passages([given], lambda one: None)  # type: ignore[arg-type, return-value]


def test_a_function_may_strip_the_page_content_that_it_puts_something_before() -> None:
    about = {"source": "a.pdf", "title": "A title"}
    whole = f"{TEXT}\n"
    pages = [
        Document(whole[:25], metadata={**about, "start_index": 0}),
        Document(whole[15:], metadata={**about, "start_index": 15}),
    ]

    def titled(document: Document) -> str:
        return f"{document.metadata['title']}: {document.page_content.strip()}"

    (document,) = to_documents(pages, text_of=titled)
    assert document.text == whole
    assert {chunk.reading_frame for chunk in document.chunks} == {("A title: ", "")}
    passage = Passage(document_id=document.id, text=TEXT[20:], start=20)
    (found,) = from_passages([passage], pages, text_of=titled)
    assert (found.page_content, found.metadata["start_index"]) == (TEXT[20:], 20)


def test_equal_texts_with_other_metadata_are_two() -> None:
    same = [Document(TEXT, metadata={"tenant": name}) for name in ("a", "b", "a")]
    assert len(to_documents(same)) == 2
    rows = [Document(TEXT, metadata={"source": "faq.csv", "row": row}) for row in (0, 1)]
    (both,) = to_documents(rows)
    assert both.text == f"{TEXT}\n\n{TEXT}"
    for row, start in enumerate((0, len(TEXT) + 2)):
        passage = Passage(document_id="faq.csv", text=TEXT, start=start)
        assert from_passages([passage], rows)[0].metadata["row"] == row
