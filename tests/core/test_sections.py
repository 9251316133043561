"""Sections of long documents: of a few handbooks questions are held out as of many documents."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from pydoc_data.topics import topics
from random import Random

import pytest
from scripted import Wordy, mined, wordy_config

from aloft.config import RunConfig, TrainingSetsConfig
from aloft.corpus.sections import Sections, cut_sections
from aloft.datasets.rows import Corpus, TrainingRows
from aloft.datasets.split import label_held_out, select_linked, split_pairs
from aloft.errors import DataError
from aloft.evaluation.splits import split_questions
from aloft.network_guard import NetworkGuard
from aloft.records import (
    Document,
    EmbedderRow,
    LabelledQuestion,
    LinkedQuestion,
    Passage,
    QAPair,
    Rejection,
)
from aloft.run.context import Shared
from aloft.run.job import OpenRun
from aloft.run.store import RunStore

LENGTH = 10  # characters from the start of a passage to the next one


def passages(document: str, count: int, length: int = LENGTH) -> list[Passage]:
    return [
        Passage(document_id=document, text=f"{number:x>{length}}", start=LENGTH * number)
        for number in range(count)
    ]


def pair(source: Passage, *more: Passage) -> QAPair:
    return QAPair(
        passage_id=source.id,
        question=f"{source.text} {len(more)}?",
        answer="yes",
        additional_passage_ids=tuple(one.id for one in more),
    )


@pytest.mark.parametrize(
    ("count", "sections"),
    [(9, 1), (10, 2), (100, 20), (250, 50), (1000, 50)],  # five passages each at least
)
def test_one_document_is_divided_into_sections_of_as_many_passages(
    count: int, sections: int
) -> None:
    corpus = passages("book", count)
    Random(0).shuffle(corpus)
    cut = cut_sections(corpus)
    sizes = Counter(cut.of(one) for one in corpus)
    assert len(sizes) == sections
    assert max(sizes.values()) - min(sizes.values()) <= 1
    if sections > 1:
        assert ("book § 1",) in sizes
        assert list(cut.divide([("book",)])) == [(f"book § {i}",) for i in range(1, sections + 1)]


def test_long_documents_are_divided_and_short_ones_are_not() -> None:
    corpus = [*passages("long", 60), *passages("short", 4), *passages("half", 30)]
    cut = cut_sections(corpus)  # 94 passages, 18 sections
    assert {name: len(starts) for name, starts in cut.starts.items()} == {"long": 11, "half": 5}
    assert cut.of(corpus[60]) == ("short",)
    groups = [("long", "short"), ("half",)]  # which share text
    alone = cut.among({"half"})
    assert list(alone.divide(groups)) == [groups[0], *((f"half § {i}",) for i in range(1, 6))]
    assert alone.of(corpus[0]) == ("long",)


def test_of_many_documents_none_is_divided_and_no_further_one_is_read() -> None:
    read = []

    def stream(documents: int) -> Iterator[Passage]:
        for number in range(documents):
            for one in passages(f"d{number}", 30):
                read.append(one)
                yield one

    assert len(cut_sections(stream(19)).starts) == 19
    read.clear()
    assert cut_sections(stream(1000)).starts == {}
    assert len(read) == 19 * 30 + 1


def test_what_was_divided_before_stays_as_it_was_and_what_was_whole_stays_whole() -> None:
    corpus = [*passages("a", 50), *passages("b", 50), *passages("c", 50)]
    cut = cut_sections(corpus, {"a": [0, 70]}, whole={"b"})
    assert cut.starts["a"] == [0, 70]
    assert set(cut.starts) == {"a", "c"}
    many = [one for number in range(30) for one in passages(f"d{number}", 30)]
    assert cut_sections(many, {"d3": [0, 70]}).starts == {"d3": [0, 70]}


def test_a_passage_that_begins_in_one_section_and_ends_in_the_next_is_of_both() -> None:
    cut = Sections({"book": [0, 20, 40]})
    overlapping = passages("book", 6, length=LENGTH + 1)
    assert [cut.of(one) for one in overlapping] == [
        ("book § 1",),
        ("book § 1", "book § 2"),
        ("book § 2",),
        ("book § 2", "book § 3"),
        ("book § 3",),
        ("book § 3",),
    ]
    whole = Passage(document_id="book", text="x" * 60, start=0)
    assert cut.of(whole) == ("book § 1", "book § 2", "book § 3")


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("length", [LENGTH, LENGTH + 4])  # apart, and with an overlap
def test_nothing_of_a_held_out_section_is_trained_on(seed: int, length: int) -> None:
    corpus = passages("book", 100, length)
    by_id = {one.id: one for one in corpus}
    pairs = [pair(one) for one in corpus] + [pair(corpus[i], corpus[99 - i]) for i in range(50)]
    found = {one.id: mined(one.id, [], [corpus[7].id] * (i == 30)) for i, one in enumerate(pairs)}
    cut = cut_sections(corpus)
    train, test, neither = split_pairs(
        pairs,
        by_id,
        list(cut.divide([("book",)])),
        TrainingSetsConfig(held_out_share=0.2),
        seed=seed,
        sections=cut,
        mined=found,
    )
    apart = {name for one in test for i in one.passage_ids for name in cut.of(by_id[i])}
    seen = {name for one in train for i in one.passage_ids for name in cut.of(by_id[i])}
    assert apart.isdisjoint(seen)
    assert len(apart) >= 4
    assert 0.15 <= len(test) / len(pairs) <= 0.3
    assert all(len(one.passage_ids) == 1 for one in test)
    everywhere = {one.id for one in (*train, *test)} | {one.subject_id for one in neither}
    assert everywhere == {one.id for one in pairs}
    if pairs[30] in test:  # which passage 7 answers, too
        assert corpus[7].id not in {i for one in train for i in one.passage_ids}


def test_a_passage_that_answers_a_held_out_question_is_not_trained_on() -> None:
    corpus = passages("book", 10)
    by_id = {one.id: one for one in corpus}
    pairs = [pair(one) for one in corpus]
    cut = Sections({"book": [0, 50]})
    found = {one.id: mined(one.id) for one in pairs}
    found |= {one.id: mined(one.id, [], [corpus[8].id]) for one in pairs[:5]}
    train, test, neither = split_pairs(
        pairs,
        by_id,
        list(cut.divide([("book",)])),
        TrainingSetsConfig(held_out_share=0.5),
        seed=0,
        settled={"book § 2": False},
        sections=cut,
        mined=found,
    )
    assert test == pairs[:5]
    assert train == [*pairs[5:8], pairs[9]]
    assert neither == [
        Rejection(
            subject_id=pairs[8].id, stage="sets", reason="its passage answers a held-out question"
        )
    ]
    asked = label_held_out(test, found)
    rows = TrainingRows(
        pairs=train,
        held_out=asked,
        corpus=Corpus(passages=by_id),
        negatives=found,
        config=TrainingSetsConfig(),
        seed=0,
        sections=cut,
    )
    read = {row.positive for row in rows.of("embedder") if isinstance(row, EmbedderRow)}
    assert read == {by_id[one.passage_id].text for one in train}
    linked = [
        LinkedQuestion(question="Late?", passage_id=corpus[i].id, answer="", confidence=0.5)
        for i in (2, 7)
    ]
    known = {one.id: mined(one.id) for one in test}
    groups = [("book § 1",), ("book § 2",)]
    outcomes = select_linked(linked, label_held_out(test, known), [], by_id, groups, cut)
    assert [isinstance(one, Rejection) for one in outcomes] == [True, False]


def test_questions_about_one_document_are_drawn_by_section() -> None:
    corpus = passages("book", 100)
    asked = [
        LabelledQuestion(
            id=str(number), question="?", answers=(), passage_ids=(one.id,), origin="human"
        )
        for number, one in enumerate(corpus)
    ]
    split = split_questions({"human": asked}, corpus, cut_sections(corpus), seed=0)["human"]
    assert len(set(split.documents)) == 20
    assert split.is_crossed and split.are_sections
    whole = split_questions({"human": asked}, corpus, seed=0)["human"]
    assert not whole.is_crossed and not whole.are_sections


@pytest.fixture
def config(encoder: Path) -> RunConfig:
    return wordy_config(encoder)


BOOK = "\n\n".join(topics[name] for name in ("assignment", "booleans", "calls", "class", "while"))


def open_folder(store: RunStore, config: RunConfig, text: str) -> OpenRun:
    run = OpenRun(config, Shared(store, Wordy()), NetworkGuard())
    run.give([Document(id="book.txt", text=text)])
    return run


def test_a_run_on_one_document_holds_sections_out(tmp_path: Path, config: RunConfig) -> None:
    with RunStore(tmp_path / "run") as store:
        run = open_folder(store, config, BOOK)
        train, held_out = run.records("train_pairs"), run.records("held_out")
        by_id = run.records("passages").by_id
        cut = Sections(json.loads((store.path / "sets" / "sections.json").read_bytes()))
        apart = {name for one in held_out for i in one.passage_ids for name in cut.of(by_id[i])}
        seen = {name for one in train for i in one.passage_ids for name in cut.of(by_id[i])}
        assert len(train) > len(held_out) > 0
        assert apart.isdisjoint(seen)
        split = run.evaluator.splits["synthetic"]
        assert split.are_sections and split.is_crossed
        assert set(split.documents) <= apart


def test_one_short_document_is_refused_before_anything_is_asked(
    tmp_path: Path, config: RunConfig
) -> None:
    with RunStore(tmp_path / "run") as store:
        run = open_folder(store, config.model_copy(update={"parts": ()}), BOOK[:900])
        with pytest.raises(DataError, match=r'one document, "book\.txt", of \d passages'):
            run.report()
        assert not (store.path / "pairs.jsonl").exists()
