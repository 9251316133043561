"""Pieces become documents again: each text once, under a name that lasts."""

from aloft.corpus.host_chunks import HostChunk, join_pieces
from aloft.records import Document, content_id

TEXT = "Cold water is denser than warm water. Ice floats because it is lighter than both."
UUID_4 = "1f0c6a3e-8b59-4d7e-9c55-0f6a2b1c7d11"


def test_pieces_of_one_source_are_one_document_and_what_they_share_stands_once() -> None:
    pieces = [
        HostChunk(source="b.txt", text=TEXT[25:], start=25),
        HostChunk(source="a.txt", text="Another text."),
        HostChunk(source="b.txt", text=TEXT[:60], start=0),
    ]

    first, second = join_pieces(pieces)

    assert first.document == Document(id="b.txt", text=TEXT)
    assert first.places == (2, 0)
    assert second.document == Document(id="a.txt", text="Another text.")


def test_pieces_without_overlap_are_paragraphs_in_the_order_given() -> None:
    pieces = [HostChunk(source="a", text="One."), HostChunk(source="a", text="Two.", title="Title")]

    assert join_pieces(pieces)[0].document == Document(id="a", text="One.\n\nTwo.", title="Title")


def test_a_random_or_missing_name_gives_way_to_the_content() -> None:
    for source in (UUID_4, ""):
        (joined,) = join_pieces([HostChunk(source=source, text="Größe 漢字")])
        assert joined.document.id == content_id("", "Größe 漢字")


def test_nameless_texts_are_apart_unless_they_are_the_same() -> None:
    joined = join_pieces([HostChunk(source="", text=text) for text in ("One.", "Two.", "One.")])

    assert [one.document.text for one in joined] == ["One.", "Two."]
    assert [one.places for one in joined] == [(0, 2), (1,)]
