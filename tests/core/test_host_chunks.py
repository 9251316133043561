"""Chunks become documents again: in order, each text once, under a name that lasts."""

import json
import random
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from aloft.corpus.host_chunks import (
    DocumentChunks,
    HostChunk,
    merge_chunks,
    metadata_to_json,
    share_one_text,
    without_metadata,
)
from aloft.errors import DataError
from aloft.records import Chunk, Document, Passage, content_id

TEXT = "Cold water is denser than warm water. Ice floats because it is lighter than both."
PAGES = (
    "The pump is guaranteed for two years from delivery. The guarantee covers parts and labour.",
    "The filter is changed every six months. Close the tap and turn the housing to the left.",
)
UUID_4 = "1f0c6a3e-8b59-4d7e-9c55-0f6a2b1c7d11"


def cut(text: str, size: int, overlap: int, source: str = "a") -> list[HostChunk]:
    """Windows of a text, with offsets that count from its start."""
    return [
        HostChunk(source=source, text=text[start : start + size], start=start)
        for start in range(0, max(1, len(text) - overlap), size - overlap)
    ]


def text_of(chunks: Sequence[HostChunk]) -> str:
    (merged,) = merge_chunks(chunks)
    return merged.document.text


def test_chunks_of_one_source_are_one_document_and_what_they_share_stands_once() -> None:
    chunks = [
        HostChunk(source="b.txt", text=TEXT[25:], start=25),
        HostChunk(source="a.txt", text="Another text."),
        HostChunk(source="b.txt", text=TEXT[:60], start=0),
    ]

    first, second = merge_chunks(chunks)

    assert without_metadata(first.document) == Document(id="b.txt", text=TEXT)
    assert [(span.index, span.start, span.end) for span in first.spans] == [(2, 0, 60), (0, 25, 81)]
    assert without_metadata(second.document) == Document(id="a.txt", text="Another text.")


@pytest.mark.parametrize(("size", "overlap"), [(30, 10), (30, 3), (30, 0), (7, 5)])
def test_offsets_of_a_document_restore_any_order(size: int, overlap: int) -> None:
    chunks = cut(TEXT, size, overlap)
    random.Random(1).shuffle(chunks)

    assert text_of(chunks) == TEXT


def test_offsets_that_count_from_each_page_leave_the_order_as_it_is() -> None:
    for size, overlap in ((40, 25), (40, 12), (40, 0)):
        chunks = [chunk for page in PAGES for chunk in cut(page, size, overlap)]

        assert text_of(chunks) == "\n\n".join(PAGES)


def test_a_page_keeps_the_heading_that_all_pages_share() -> None:
    pages = [f"Handbook of the works, edition of the year 1998. {page}" for page in PAGES]
    chunks = [chunk for page in pages for chunk in cut(page, 45, 15)]

    assert text_of(chunks) == "\n\n".join(pages)


def test_pages_that_were_not_split_stand_one_after_the_other() -> None:
    assert text_of([HostChunk(source="a", text=page, start=0) for page in PAGES]) == (
        "\n\n".join(PAGES)
    )


def test_offsets_are_proved_by_the_characters_that_chunks_share() -> None:
    assert share_one_text(cut(TEXT, 30, 10)[::-1])
    assert not share_one_text([chunk for page in PAGES for chunk in cut(page, 40, 10)])
    assert not share_one_text([HostChunk(source="a", text="One."), *cut(TEXT, 30, 10)])
    assert share_one_text([*cut(TEXT, 30, 10), *cut(TEXT, 50, 0)])  # given twice, cut differently


def test_overlaps_without_offsets_are_found_by_comparing_text() -> None:
    chunks = [HostChunk(source="a", text=TEXT[:60]), HostChunk(source="a", text=TEXT[25:])]

    assert text_of(chunks) == TEXT


def test_chunks_without_overlap_are_paragraphs_in_the_order_given() -> None:
    chunks = [HostChunk(source="a", text="One."), HostChunk(source="a", text="Two.", title="Title")]

    merged = merge_chunks(chunks)[0].document
    assert (merged.text, merged.title) == ("One.\n\nTwo.", "Title")


def test_what_was_stripped_between_chunks_is_white_space_again() -> None:
    chunks = [
        HostChunk(source="a", text="One.", start=0),
        HostChunk(source="a", text="Two.", start=5),
        HostChunk(source="a", text="Three.", start=11),
    ]

    assert text_of(chunks) == "One. Two.\n\nThree."


def test_a_child_of_a_chunk_that_is_given_counts_once() -> None:
    parents = [
        HostChunk(source="a", text=page, id=f"page {number}") for number, page in enumerate(PAGES)
    ]
    children = [
        HostChunk(source="a", text=chunk.text, start=chunk.start, id=f"child {i}", parent=parent.id)
        for parent in parents
        for i, chunk in enumerate(cut(parent.text, 40, 10))
    ]

    assert text_of([*parents, *children]) == "\n\n".join(PAGES)
    assert text_of([*children, *parents]) == "\n\n".join(PAGES)
    assert text_of(children) == "\n\n".join(PAGES)


def test_a_summary_is_no_part_of_the_chunk_it_points_to() -> None:
    chunks = [
        HostChunk(source="a", text="A guarantee.", id="summary", parent="page"),
        HostChunk(source="a", text=PAGES[0], id="page"),
    ]

    assert text_of(chunks) == f"A guarantee.\n\n{PAGES[0]}"


def test_a_passage_belongs_to_the_chunk_that_holds_most_of_it() -> None:
    (merged,) = merge_chunks([HostChunk(source="a", text=page) for page in PAGES])
    second = len(PAGES[0]) + 2

    def chunk_of(start: int, end: int) -> int:
        text = merged.document.text[start:end]
        return merged.chunk_of(Passage(document_id="a", text=text, start=start)).index

    assert chunk_of(0, 20) == 0
    assert chunk_of(second, second + 20) == 1
    assert chunk_of(second - 20, second + 10) == 0
    assert chunk_of(second - 10, second + 20) == 1


def test_a_passage_is_looked_for_among_the_chunks_around_it_alone() -> None:
    """Otherwise a run on sources of ten thousand chunks takes a minute to open."""
    draw = random.Random(0)
    spans = [(start, start + draw.randint(1, 30)) for start in range(0, 3000, 10)]
    spans += [(start, start + 1) for start in (5, 705, 2995)]  # within others
    chunks = [Chunk(document_id="d", start=start, end=end) for start, end in spans]
    known = DocumentChunks(draw.sample(chunks, len(chunks)))
    for start in range(3100):
        passage = Passage(document_id="d", text="x" * draw.randint(1, 40), start=start)
        best = known.chunk_of(passage)
        shared = [min(one.end, passage.end) - max(one.start, start) for one in chunks]
        assert best is not None
        assert min(best.end, passage.end) - max(best.start, start) == max(shared)
        assert len(known.around(passage)) < 10 or max(shared) <= 0
    assert DocumentChunks([]).chunk_of(passage) is None


def test_chunks_without_text_are_no_documents() -> None:
    assert merge_chunks([HostChunk(source="a", text=" \n"), HostChunk(source="", text="")]) == []


def test_half_of_a_pair_becomes_the_replacement_character() -> None:
    (merged,) = merge_chunks([HostChunk(source="a", text="Let \ud835 be", title="x")])

    assert merged.document.text == "Let \ufffd be"


def test_a_random_or_missing_name_gives_way_to_the_content() -> None:
    for source in (UUID_4, ""):
        (merged,) = merge_chunks([HostChunk(source=source, text="Größe 漢字")])
        assert merged.document.id == content_id("", "Größe 漢字")


def test_nameless_texts_are_apart_unless_they_are_the_same() -> None:
    merged = merge_chunks([HostChunk(source="", text=text) for text in ("One.", "Two.", "One.")])

    assert [one.document.text for one in merged] == ["One.", "Two."]


def test_numbers_stay_numbers_in_kept_metadata_and_a_circle_is_refused() -> None:
    given = {"n": np.int64(3), "x": np.float32(0.5), "row": np.arange(2), "set": {"b", "a"}}
    kept = json.loads(metadata_to_json({**given, "day": date(2026, 1, 2), ("no", "text"): 1}))
    assert kept == {"n": 3, "x": 0.5, "row": [0, 1], "set": ["a", "b"], "day": "2026-01-02"}
    prices = {"whole": Decimal("12.00"), "part": Decimal("3.50"), "high": Decimal("Infinity")}
    assert metadata_to_json(prices) == '{"whole": 12, "part": 3.5, "high": Infinity}'
    circle: dict[str, Any] = {}
    circle["self"] = circle
    with pytest.raises(DataError, match="metadata of a document cannot be kept"):
        metadata_to_json(circle)
