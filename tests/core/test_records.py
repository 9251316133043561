"""Records: ids that are the same everywhere, and nothing lost on the way through JSON."""

import json
from dataclasses import is_dataclass, replace
from typing import Any

import pytest

from aloft import records
from aloft.records import (
    Artifact,
    Candidate,
    Chunk,
    Document,
    EmbedderRow,
    GeneratorRow,
    LabelledQuestion,
    LinkedQuestion,
    LogEntry,
    Message,
    Negatives,
    Passage,
    Probe,
    QAPair,
    Rating,
    Rejection,
    RerankerRow,
    RetrievedRow,
    content_id,
    content_id_of,
    from_json,
    to_json,
)

PASSAGE = Passage(document_id="a.txt", text="body", start=3, title="T")
ASKED = (Message(role="system", content="Cite."), Message(role="user", content="Wér?\n\ud800"))
EVERY_RECORD = [
    Document(id="a/b.md", text="Zürich\u2028\r\n", title="T"),
    PASSAGE,
    Document(id="b", text="One.", chunks=(Chunk(document_id="b", start=0, end=4),)),
    Chunk(document_id="b", start=0, end=4, embedding_frame=("By Ada: ", ""), metadata='{"a": 1}'),
    Passage(document_id="b", text="x", start=0, embedding_frame=("x",), reading_frame=("", "!")),
    Rating(subject_id="s", criterion="answer", value=7.5),
    QAPair(passage_id="p", question="Who?", answer="Mary"),
    LogEntry(question="Who?", answer="Mary", clicks=("a.md", "b.md")),
    LinkedQuestion(passage_id="p", question="Who?", answer="", confidence=0.97),
    Candidate(passage_id="x", rank=2, score=0.5, verdict="dropped", reason="so"),
    Negatives(
        pair_id="q",
        score=0.5,
        candidates=(
            Candidate(passage_id="x", rank=2, score=0.5, verdict="dropped", reason="so"),
            Candidate(passage_id="y", rank=3, score=-0.25, verdict="negative"),
        ),
    ),
    Rejection(subject_id="s", stage="pairs", reason="reply was cut", detail="It is"),
    LabelledQuestion(id="5", question="Q?", answers=(), passage_ids=("p",), origin="human"),
    Message(role="user", content="Hello"),
    EmbedderRow(pair_id="q", anchor="Q?", positive="yes", negatives=("no", "nor")),
    RerankerRow(pair_id="q", query="Q?", passage="yes", label=1.0),
    GeneratorRow(
        pair_id="q", prompt=ASKED, prefix="### Reference\n", completion="### Reference\n1"
    ),
    RetrievedRow(
        pair_id="q",
        question="Q?",
        columns=(4, 2),
        scores=(0.9, 0.7),
        prompts=(ASKED, ASKED),
        prefix="",
        answer="yes",
        windows=(9, 3),
        logs=((-0.5, -0.1), (-2.0, -1.5)),
    ),
    Probe(step=3, found=0.5, spread=0.1, right=0.7, likeness=0.9),
    Artifact(
        kind="generator",
        path="models/g",
        base_model="b",
        fingerprint="f",
        losses=(2.0, 1.5),
        probes=(Probe(step=3, found=0.5, spread=0.1, right=0.7, likeness=0.9),),
    ),
]


def test_an_id_is_the_same_on_every_machine() -> None:
    # printf 'ab\x1fc' | sha256sum
    assert content_id("ab", "c") == "9617c506357d3d46"
    # printf 'a.txt\x1f3\x1fT\x1fbody' | sha256sum
    assert PASSAGE.id == "904296a36027fe94"


@pytest.mark.parametrize("texts", [(), ("",), ("", ""), ("ab", "c"), ("é\ud800", "\udc00\x1f")])
def test_texts_that_are_read_one_at_a_time_have_the_id_of_all(texts: tuple[str, ...]) -> None:
    assert content_id_of(iter(texts)) == content_id(*texts)


def test_fields_of_an_id_do_not_run_together() -> None:
    ids = {content_id("ab", "c"), content_id("a", "bc"), content_id("abc"), content_id("abc", "")}
    assert len(ids) == 4


def test_text_that_is_not_unicode_has_an_id() -> None:
    assert content_id("\ud800") != content_id("\ud801")


@pytest.mark.parametrize(
    "change", [{"document_id": "b.txt"}, {"text": "other"}, {"start": 4}, {"title": ""}]
)
def test_a_passage_changes_its_id_with_each_field(change: dict[str, Any]) -> None:
    assert replace(PASSAGE, **change).id != PASSAGE.id


def test_ids_tell_what_a_record_is_of() -> None:
    pair = QAPair(passage_id="p", question="Who?", answer="Mary")
    assert replace(pair, answer="Ann").id != pair.id
    assert Negatives(pair_id=pair.id, score=0.0, candidates=()).id == pair.id
    row = EmbedderRow(pair_id=pair.id, anchor="", positive="a", negatives=())
    assert replace(row, positive="b").id != row.id == replace(row, anchor="Who?").id
    marks = [Rating(subject_id="p", criterion="passage", value=value) for value in (1.0, 9.0)]
    assert marks[0].id == marks[1].id != Rating(subject_id="p", criterion="answer", value=1.0).id
    rows = [RerankerRow(pair_id="q", query="Q?", passage=text, label=0.0) for text in ("x", "y")]
    assert rows[0].id != rows[1].id


def test_a_passage_ends_where_its_text_ends() -> None:
    assert PASSAGE.end == 7  # 3 + the four letters of "body"; the title stands elsewhere


def test_a_title_is_read_in_front_of_the_text() -> None:
    assert PASSAGE.content == "T\nbody"
    assert replace(PASSAGE, title="").content == "body"


@pytest.mark.parametrize("record", EVERY_RECORD, ids=lambda record: type(record).__name__)
def test_a_record_comes_back_from_json_as_it_was(record: Any) -> None:
    line = json.dumps(to_json(record), ensure_ascii=False)
    assert from_json(type(record), json.loads(line)) == record


def test_no_record_is_left_out_above() -> None:
    defined = {cls for cls in vars(records).values() if isinstance(cls, type) and is_dataclass(cls)}
    assert {type(record) for record in EVERY_RECORD} == defined


def test_what_follows_from_the_rest_is_not_stored() -> None:
    assert to_json(PASSAGE) == {"document_id": "a.txt", "text": "body", "start": 3, "title": "T"}


def test_a_record_can_not_be_changed() -> None:
    with pytest.raises(AttributeError):
        PASSAGE.start = 4  # type: ignore[misc]


def test_records_of_version_0_1_are_read_under_their_new_names() -> None:
    old = {"passage_id": "p", "question": "q", "answer": "a", "tries": 2, "further_ids": ["r"]}
    pair = from_json(QAPair, old)
    assert (pair.attempts, pair.additional_passage_ids) == (2, ("r",))
