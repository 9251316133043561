"""Training sets: nothing held out is trained on, and every row is what it says."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import pytest
from scripted import mined

from aloft.config import TrainingSetsConfig
from aloft.datasets.rows import Corpus, TrainingRows
from aloft.datasets.split import label_held_out, select_linked, split_pairs
from aloft.errors import DataError
from aloft.prompts.abstention import SENTENCES
from aloft.prompts.formats import format_of
from aloft.records import (
    EmbedderRow,
    GeneratorRow,
    LabelledQuestion,
    LinkedQuestion,
    Negatives,
    Passage,
    QAPair,
    Rejection,
    RerankerRow,
    to_json,
)


def passage(document: int, number: int = 0) -> Passage:
    return Passage(document_id=f"d{document:02}", text=f"text {document} {number}", start=number)


def pair(source: Passage, name: str = "") -> QAPair:
    return QAPair(
        passage_id=source.id, question=f"{source.text}{name}?", answer=f"of {source.text}"
    )


# ten documents of two passages, each asked about once
CORPUS = [passage(document, number) for document in range(10) for number in range(2)]
PASSAGES = {one.id: one for one in CORPUS}
SHOWN = Corpus(passages=PASSAGES)
PAIRS = [pair(one) for one in CORPUS]
ALONE = [[f"d{document:02}"] for document in range(10)]


@dataclass(frozen=True)
class TrainingSets:
    embedder: tuple[EmbedderRow, ...]
    reranker: tuple[RerankerRow, ...]
    generator: tuple[GeneratorRow, ...]


def build_training_sets(
    pairs: Sequence[QAPair],
    held_out: Sequence[LabelledQuestion],
    corpus: Corpus,
    negatives: Mapping[str, Negatives],
    config: TrainingSetsConfig,
    *,
    seed: int,
) -> TrainingSets:
    """All rows of every part."""
    rows = TrainingRows(
        pairs=pairs,
        held_out=held_out,
        corpus=corpus,
        negatives=negatives,
        config=config,
        seed=seed,
    )
    return TrainingSets(tuple(rows.embedder()), tuple(rows.reranker()), tuple(rows.generator()))


def documents(pairs: Sequence[QAPair]) -> set[str]:
    return {PASSAGES[one.passage_id].document_id for one in pairs}


def split(
    groups: Sequence[Sequence[str]], share: float = 0.2, seed: int = 0
) -> tuple[list[QAPair], list[QAPair]]:
    config = TrainingSetsConfig(held_out_share=share)
    train, test, neither = split_pairs(PAIRS, PASSAGES, groups, config, seed=seed)
    assert neither == []
    return train, test


@pytest.mark.parametrize(("share", "held_out"), [(0.2, 4), (0.25, 6), (0.5, 10)])
def test_whole_documents_are_held_out(share: float, held_out: int) -> None:
    for seed in range(20):
        train, test = split(ALONE, share, seed)
        assert len(test) == held_out  # the first even number that holds the share
        assert documents(train) & documents(test) == set()
        assert [one for one in PAIRS if one in train or one in test] == PAIRS
        assert train == sorted(train, key=PAIRS.index)
        assert test == sorted(test, key=PAIRS.index)


def test_documents_that_share_text_stay_on_one_side() -> None:
    groups = [["d00", "d05"], ["d01", "d09"], *([f"d{i:02}"] for i in (2, 3, 4, 6, 7, 8))]
    held_out = []
    for seed in range(40):
        train, test = split(groups, seed=seed)
        for group in groups:
            assert len({one in documents(test) for one in group}) == 1
        assert documents(train) & documents(test) == set()
        held_out.append("d00" in documents(test))
    assert set(held_out) == {True, False}


def test_a_group_too_large_to_hold_out_is_passed_over() -> None:
    large = [f"d{i:02}" for i in range(7)]  # 14 of 20 pairs; at most 6 may be held out
    for seed in range(20):
        _, test = split([large, ["d07"], ["d08"], ["d09"]], seed=seed)
        assert documents(test) <= {"d07", "d08", "d09"}
        assert len(test) == 4


def test_the_split_is_drawn_by_the_seed() -> None:
    assert split(ALONE, seed=5) == split(ALONE, seed=5)
    assert len({tuple(documents(split(ALONE, seed=seed)[1])) for seed in range(10)}) > 1


def test_what_a_run_before_split_stays_where_it_was() -> None:
    settled = {"d00": False, "d01": False, "d02": False, "d03": True, "gone": True}
    config, held_out = TrainingSetsConfig(held_out_share=0.4), set()
    for seed in range(20):
        train, test, _ = split_pairs(PAIRS, PASSAGES, ALONE, config, seed=seed, settled=settled)
        assert len(test) == 8
        assert {"d00", "d01", "d02"} <= documents(train)
        assert "d03" in documents(test)
        held_out |= documents(test)
    assert held_out == {f"d{i:02}" for i in range(3, 10)}


def test_text_shared_with_what_was_trained_on_is_not_held_out() -> None:
    groups = [["d00", "d03"], *([f"d{i:02}"] for i in (1, 2, *range(4, 10)))]
    for seed in range(20):
        _, test, _ = split_pairs(
            PAIRS,
            PASSAGES,
            groups,
            TrainingSetsConfig(),
            seed=seed,
            settled={"d00": False, "d03": True},
        )
        assert not {"d00", "d03"} & documents(test)


@pytest.mark.parametrize("groups", [[[f"d{i:02}" for i in range(10)]], [ALONE[0] + ALONE[1]]])
def test_too_few_documents_are_told(groups: list[list[str]]) -> None:
    pairs = [one for one in PAIRS if PASSAGES[one.passage_id].document_id in groups[0]]
    with pytest.raises(DataError) as caught:
        split_pairs(pairs, PASSAGES, groups, TrainingSetsConfig(), seed=0)
    assert f"{len(pairs)} pairs from 1 unrelated documents" in str(caught.value)
    assert "Give more documents" in str(caught.value)


def test_two_documents_are_enough() -> None:
    pairs = [PAIRS[0], PAIRS[2]]
    train, test, _ = split_pairs(pairs, PASSAGES, ALONE, TrainingSetsConfig(), seed=0)
    assert sorted([*train, *test], key=PAIRS.index) == pairs
    assert len(test) == 1


# rows: the first document's questions are trained on, with the second's passages as negatives
GOLD, OTHERS = CORPUS[0], CORPUS[2:8]
ASKED = PAIRS[0]
MINED = {
    ASKED.id: mined(ASKED.id, [one.id for one in OTHERS]),
}


def rows_of(count: int, contexts: int, seed: int = 0) -> tuple[GeneratorRow, ...]:
    """Rows of as many questions about the one gold passage."""
    pairs = [ASKED, *(pair(GOLD, f" {i}") for i in range(1, count))]
    ids = MINED[ASKED.id].passage_ids
    known = {one.id: mined(one.id, ids) for one in pairs}
    config = TrainingSetsConfig(contexts=contexts)
    return build_training_sets(pairs, [], SHOWN, known, config, seed=seed).generator


def contents_of(row: GeneratorRow) -> list[str]:
    body, _ = row.prompt[1].content.split("\n\n### Question\n")
    return [part.split("\n", 1)[1] for part in body.split("\n\n")]


@pytest.mark.parametrize(("contexts", "shown"), [(2, 2), (5, 5), (7, 7), (10, 7)])
def test_a_generator_row_cites_the_passage_asked_about(contexts: int, shown: int) -> None:
    for row in rows_of(20, contexts):
        contents = contents_of(row)
        assert set(contents) == {GOLD.text, *(one.text for one in OTHERS[: shown - 1])}
        assert len(contents) == shown
        ordinal = contents.index(GOLD.text) + 1
        assert row.completion == f"### Reference\n{ordinal}\n\n### Answer\n{ASKED.answer}"
    row = rows_of(1, contexts)[0]
    assert (
        row.prompt
        == format_of("aloftrag", abstains=False).render(ASKED.question, contents_of(row)).messages
    )
    assert row.pair_id == ASKED.id


def test_a_row_is_in_the_format_asked_for_or_is_left_out() -> None:
    text = CORPUS[0].text
    held = QAPair(passage_id=GOLD.id, question="What?", answer=text)
    missing = QAPair(passage_id=GOLD.id, question="Where?", answer="nowhere")
    known = {one.id: mined(one.id, [other.id for other in OTHERS]) for one in (held, missing)}
    config = TrainingSetsConfig(contexts=3, format="raft")
    (row,) = build_training_sets([held, missing], [], SHOWN, known, config, seed=0).generator
    form = format_of("raft", abstains=False)
    assert (row.pair_id, row.prefix) == (held.id, form.prefix)
    contents = contents_of(row)
    ordinal = contents.index(text) + 1
    assert row.completion == form.prefix + str(form.target(text, [ordinal], contents))
    assert f'[{ordinal}] "{text}"' in row.completion


def test_where_the_right_passage_is_left_out_the_target_says_so() -> None:
    pairs = [pair(GOLD, f" {i}") for i in range(8)]
    known = {one.id: mined(one.id, [other.id for other in OTHERS]) for one in pairs}
    config = TrainingSetsConfig(contexts=4, abstaining_share=1 / 3)
    rows = build_training_sets(pairs, [], SHOWN, known, config, seed=0).generator
    abstaining = [row for row in rows if row.completion.startswith("### Reference\nnone\n")]
    assert (len(rows), len(abstaining)) == (12, 4)
    answering = [row.pair_id for row in rows if row not in abstaining]
    assert sorted(answering) == sorted(one.id for one in pairs)  # nothing but passages tells
    assert len({row.pair_id for row in abstaining}) == 4
    for row in rows:
        contents = contents_of(row)
        assert len(contents) == 4
        assert (GOLD.text in contents) == (row not in abstaining)
        assert "If none of the documents holds it" in row.prompt[0].content
    assert {row.completion for row in abstaining} == {
        f"### Reference\nnone\n\n### Answer\n{SENTENCES['en']}"
    }


@pytest.mark.parametrize(
    ("most", "share", "answering", "abstaining"),
    [(None, 0.5, 8, 8), (6, 0.5, 3, 3), (1, 0.5, 1, 1), (8, 0.25, 6, 2), (8, 0.0, 8, 0)],
)
def test_those_that_abstain_count_among_the_rows(
    most: int | None, share: float, answering: int, abstaining: int
) -> None:
    pairs = [pair(GOLD, f" {i}") for i in range(8)]
    known = {one.id: mined(one.id, [other.id for other in OTHERS]) for one in pairs}
    config = TrainingSetsConfig(contexts=4, abstaining_share=share, max_generator_rows=most)
    rows = build_training_sets(pairs, [], SHOWN, known, config, seed=0).generator
    said = ["none" in row.completion for row in rows]
    assert (said.count(False), said.count(True)) == (answering, abstaining)
    places = Counter(row.completion.split("\n")[1] for row in rows if "none" not in row.completion)
    assert max(places.values()) <= -(-answering // 4)


@pytest.mark.parametrize(("contexts", "count", "most"), [(4, 20, 5), (5, 20, 4), (7, 20, 3)])
def test_the_right_passage_stands_at_every_place_equally_often(
    contexts: int, count: int, most: int
) -> None:
    places = Counter(row.completion.split("\n")[1] for row in rows_of(count, contexts))
    assert set(places) == {str(i) for i in range(1, contexts + 1)}
    assert most - 1 <= min(places.values()) and max(places.values()) == most


def test_numbers_of_contexts_are_as_frequent_and_so_are_the_places_in_each() -> None:
    """Eighteen rows of two to four passages: six of each, which fill their places in turn."""
    pairs = [pair(GOLD, f" {i}") for i in range(18)]
    known = {one.id: mined(one.id, [other.id for other in OTHERS]) for one in pairs}
    config = TrainingSetsConfig(contexts=4, min_contexts=2)
    rows = build_training_sets(pairs, [], SHOWN, known, config, seed=0).generator
    contents = [contents_of(row) for row in rows]
    assert Counter(map(len, contents)) == {2: 6, 3: 6, 4: 6}
    places = Counter((len(one), one.index(GOLD.text)) for one in contents)
    assert {place: count for place, count in places.items() if place[0] < 4} == {
        (2, 0): 3, (2, 1): 3, (3, 0): 2, (3, 1): 2, (3, 2): 2,
    }  # fmt: skip
    assert sorted(places[4, i] for i in range(4)) == [1, 1, 2, 2]
    assert [len(one) for one in contents[:6]] != [2, 3, 4, 2, 3, 4]  # in a drawn order


def test_the_fewest_contexts_are_no_more_than_the_most() -> None:
    with pytest.raises(ValueError, match=r"min_contexts is 5, but contexts is 4\. Lower"):
        TrainingSetsConfig(contexts=4, min_contexts=5)


def test_a_place_tells_nothing_of_the_row_it_is_in() -> None:
    def places(seed: int) -> list[str]:
        return [row.completion.split("\n")[1] for row in rows_of(20, 4, seed)]

    assert places(0) == places(0)
    assert places(0) != places(1)
    assert places(0)[:4] != places(0)[4:8]  # dealt in a drawn order, not in turn


def test_each_row_shuffles_its_negatives() -> None:
    orders = {
        tuple(text for text in contents_of(row) if text != GOLD.text) for row in rows_of(20, 4)
    }
    assert len(orders) == 6  # all orders of three


def build(config: TrainingSetsConfig) -> TrainingSets:
    return build_training_sets([ASKED], [], SHOWN, MINED, config, seed=0)


def test_an_embedder_row_takes_the_hardest_negatives() -> None:
    for count in (0, 1, 3, 9):
        (row,) = build(TrainingSetsConfig(embedder_negatives=count)).embedder
        assert row == EmbedderRow(
            pair_id=ASKED.id,
            anchor=ASKED.question,
            positive=GOLD.content,
            negatives=tuple(one.content for one in OTHERS[:count]),
        )


FIRST = (
    "The light of Aberley is turned by a clockwork that is wound every four hours of the night, "
    "unless the wind is so strong that nobody can climb the tower."
)
SECOND = (
    "Its keeper enters each ship that passes in a book that is kept in the harbour office, with "
    "the weather, the state of the sea, and whatever else was seen."
)


def written(document: str, text: str = f"{FIRST} {SECOND}") -> Passage:
    return Passage(document_id=document, text=text, start=0, title="Lights")


def cloze_rows(corpus: Sequence[Passage], held: Sequence[Passage] = (), **config: int) -> set[str]:
    """Anchors and positives of the rows that no pair gives, with the passage's document."""
    known = {ASKED.id: MINED[ASKED.id], **{pair(one).id: mined(pair(one).id) for one in held}}
    passages = PASSAGES | {one.id: one for one in corpus}
    questions = label_held_out([pair(one) for one in held], known)
    sets = build_training_sets(
        [ASKED], questions, Corpus(passages=passages), known, TrainingSetsConfig(**config), seed=0
    )
    assert all(row.negatives == () for row in sets.embedder[1:])
    assert all(row.pair_id == ASKED.id for row in (*sets.embedder[:1], *sets.reranker))
    return {
        f"{passages[row.pair_id].document_id}: {row.anchor} | {row.positive}"
        for row in sets.embedder[1:]
    }


def test_a_sentence_stands_for_a_question_about_a_passage_that_no_pair_is_about() -> None:
    # those of the pairs' corpus have one span each
    found = cloze_rows([written(f"c{number}") for number in range(40)])
    apart = {f"{FIRST} | Lights\n {SECOND}", f"{SECOND} | Lights\n{FIRST} "}
    whole = {f"{one} | Lights\n{FIRST} {SECOND}" for one in (FIRST, SECOND)}
    drawn = [text.split(": ", 1)[1] for text in found]
    assert len(found) == 40 and set(drawn) == apart | whole
    assert 1 <= sum(text in whole for text in drawn) <= 12  # one in ten


def test_a_cloze_row_asks_for_no_metadata() -> None:
    around = ("author: Ada Lovelace\npage: 4\n\n", "\n\nsource: a.pdf")
    framed = [replace(written(f"c{number}"), embedding_frame=around) for number in range(40)]
    anchors, positives = zip(*(row.split(" | ") for row in cloze_rows(framed)), strict=True)
    assert {anchor.split(": ", 1)[1] for anchor in anchors} == {FIRST, SECOND}
    assert all(text.startswith(around[0]) for text in positives)
    assert all(text.endswith(around[1].strip()) for text in positives)


def test_no_more_cloze_rows_are_made_than_wanted_and_none_of_held_out_documents() -> None:
    corpus = [written(f"c{number}") for number in range(6)]
    assert len(cloze_rows(corpus, cloze_rows=4)) == 4
    assert cloze_rows(corpus, cloze_rows=0) == set()
    assert {text[:2] for text in cloze_rows(corpus, corpus[:2])} == {"c2", "c3", "c4", "c5"}


def test_a_cloze_row_is_of_one_window_of_a_long_passage() -> None:
    one = written("c0")
    shown = (f"Lights\n{FIRST} {FIRST}", f"Lights\n{SECOND} {SECOND}")
    corpus = Corpus(passages={GOLD.id: GOLD, one.id: one}, windows={one.id: shown})
    known = {ASKED.id: mined(ASKED.id)}
    for seed in range(8):
        sets = build_training_sets([ASKED], [], corpus, known, TrainingSetsConfig(), seed=seed)
        row = sets.embedder[1]
        other = SECOND if row.anchor == FIRST else FIRST
        assert row.anchor in (FIRST, SECOND) and other not in row.positive


def test_reranker_rows_are_the_right_passage_and_the_hardest_negatives() -> None:
    assert build(TrainingSetsConfig(reranker_negatives=2)).reranker == tuple(
        RerankerRow(pair_id=ASKED.id, query=ASKED.question, passage=one.content, label=label)
        for one, label in ((GOLD, 1.0), (OTHERS[0], 0.0), (OTHERS[1], 0.0))
    )


def test_models_read_titles_too() -> None:
    titled = Passage(document_id="t", text="body", start=0, title="Title")
    asked = pair(titled)
    known = {asked.id: mined(asked.id)}
    sets = build_training_sets(
        [asked], [], Corpus(passages={titled.id: titled}), known, TrainingSetsConfig(), seed=0
    )
    assert sets.embedder[0].positive == sets.reranker[0].passage == "Title\nbody"
    assert sets.generator[0].prompt[1].content.startswith("### 1\nTitle\nbody\n\n### Question")


def test_a_held_out_question_knows_its_passage() -> None:
    known = {PAIRS[10].id: mined(PAIRS[10].id)}
    assert label_held_out([PAIRS[10]], known) == [
        LabelledQuestion(
            id=PAIRS[10].id,
            question=PAIRS[10].question,
            answers=(PAIRS[10].answer,),
            passage_ids=(CORPUS[10].id,),
            origin="synthetic",
        ),
    ]


def test_each_part_is_trained_on_the_pairs_that_are_given() -> None:
    sets = build(TrainingSetsConfig())
    assert {row.pair_id for row in sets.embedder} == {ASKED.id}
    assert {row.pair_id for row in sets.reranker} == {ASKED.id}
    assert {row.pair_id for row in sets.generator} == {ASKED.id}


def test_generator_rows_are_drawn_by_the_seed_in_order() -> None:
    known = {one.id: mined(one.id) for one in PAIRS}

    def drawn(count: int | None, seed: int = 0) -> list[str]:
        config = TrainingSetsConfig(max_generator_rows=count)
        sets = build_training_sets(PAIRS, [], SHOWN, known, config, seed=seed)
        assert len(sets.embedder) == len(sets.reranker) == 20  # these stay whole
        return [row.pair_id for row in sets.generator]

    everything = [one.id for one in PAIRS]
    some = drawn(6)
    assert some == drawn(6) != drawn(6, seed=1)
    assert [one for one in everything if one in some] == some
    assert len(set(some)) == 6
    assert drawn(None) == drawn(20) == drawn(21) == everything


def logged(source: Passage, question: str = "A new one?", answer: str = "") -> LinkedQuestion:
    return LinkedQuestion(passage_id=source.id, question=question, answer=answer, confidence=0.95)


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        (logged(CORPUS[0]), None),
        (logged(CORPUS[4]), "logged question is about a held-out document"),
        (logged(CORPUS[5]), "logged question is about a held-out document"),  # its other passage
        (logged(CORPUS[6]), "logged question is about a held-out document"),  # shares its text
        (logged(CORPUS[8]), None),
        (logged(CORPUS[0], "who  Signs"), "logged question is in the evaluation"),
        (logged(CORPUS[0], "Who signs it?"), None),
    ],
)
def test_what_is_evaluated_takes_logged_questions_out(
    question: LinkedQuestion, reason: str | None
) -> None:
    groups = [["d00", "d04"], ["d01"], ["d02", "d03"]]
    held_out = label_held_out([PAIRS[4]], {PAIRS[4].id: mined(PAIRS[4].id)})
    (outcome,) = select_linked([question], held_out, ["Who signs?"], PASSAGES, groups)
    if reason is None:
        assert outcome is question
    else:
        assert isinstance(outcome, Rejection)
        assert (outcome.subject_id, outcome.stage) == (question.id, "sets")
        assert (outcome.reason, outcome.detail) == (reason, question.question)


def test_a_question_without_an_answer_trains_no_generator() -> None:
    asked = [logged(GOLD).pair, logged(GOLD, answer="yes").pair]
    known = {one.id: mined(one.id) for one in asked}
    sets = build_training_sets(asked, [], SHOWN, known, TrainingSetsConfig(), seed=0)
    both = [one.id for one in asked]
    assert [row.pair_id for row in sets.embedder] == both
    assert [row.pair_id for row in sets.reranker] == both
    assert [row.pair_id for row in sets.generator] == both[1:]


def hop(first: Passage, second: Passage) -> QAPair:
    return QAPair(
        passage_id=first.id,
        additional_passage_ids=(second.id,),
        question=f"{first.text}?",
        answer="both",
    )


def test_a_multi_hop_question_is_trained_on_where_none_of_its_documents_is_held_out() -> None:
    hops = [hop(CORPUS[2 * i], CORPUS[(2 * i + 2) % 20]) for i in range(10)]
    for seed in range(20):
        config = TrainingSetsConfig()
        train, test, neither = split_pairs([*PAIRS, *hops], PASSAGES, ALONE, config, seed=seed)
        apart = documents(test)
        assert len(test) == 6 and not any(
            one.additional_passage_ids for one in test
        )  # of 30, a fifth
        for one in hops:
            needed = {PASSAGES[i].document_id for i in one.passage_ids}
            assert (one in train) == needed.isdisjoint(apart)
        assert len(train) + len(test) + len(neither) == 30
        assert {one.reason for one in neither} == {"needs a held-out document"}
        assert {one.subject_id for one in neither} < {one.id for one in hops}


def test_all_passages_of_a_multi_hop_question_are_gold() -> None:
    asked = hop(GOLD, CORPUS[9])
    known = {asked.id: mined(asked.id, MINED[ASKED.id].passage_ids)}
    config = TrainingSetsConfig(contexts=4, embedder_negatives=1, reranker_negatives=1)
    sets = build_training_sets([asked], [], SHOWN, known, config, seed=0)
    assert [(row.positive, row.negatives) for row in sets.embedder] == [
        (GOLD.text, (OTHERS[0].text,)),
        (CORPUS[9].text, (OTHERS[0].text,)),
    ]
    assert len({row.id for row in sets.embedder}) == 2
    assert [(row.passage, row.label) for row in sets.reranker] == [
        (GOLD.text, 1.0),
        (CORPUS[9].text, 1.0),
        (OTHERS[0].text, 0.0),
    ]
    (row,) = sets.generator
    contents = contents_of(row)
    assert set(contents) == {GOLD.text, CORPUS[9].text, OTHERS[0].text, OTHERS[1].text}
    cited = sorted(contents.index(text) + 1 for text in (GOLD.text, CORPUS[9].text))
    assert row.completion == f"### Reference\n{cited[0]}, {cited[1]}\n\n### Answer\nboth"


def test_further_positives_are_gold_unless_their_document_is_held_out() -> None:
    held = PAIRS[10]
    further = [CORPUS[9].id, CORPUS[11].id]  # one is free, the other stands with the held-out one
    known = {
        ASKED.id: mined(ASKED.id, [OTHERS[0].id], further),
        held.id: mined(held.id, [GOLD.id], [CORPUS[13].id]),
    }
    questions = label_held_out([held], known)
    sets = build_training_sets([ASKED], questions, SHOWN, known, TrainingSetsConfig(), seed=0)
    assert [row.positive for row in sets.embedder] == [GOLD.text, CORPUS[9].text]
    assert [(row.passage, row.label) for row in sets.reranker] == [
        (GOLD.text, 1.0),
        (CORPUS[9].text, 1.0),
        (OTHERS[0].text, 0.0),
    ]
    assert set(contents_of(sets.generator[0])) == {GOLD.text, OTHERS[0].text}
    assert questions[0].passage_ids == (held.passage_id, CORPUS[13].id)


# ---- the whole, by numbers that earlier versions gave


def situation() -> tuple[list[QAPair], dict[str, Negatives]]:
    """Sixty pairs, some of them multi-hop, and one without an answer."""
    pairs = [
        QAPair(
            passage_id=one.id,
            question=f"{one.text} {i}?",
            answer=one.text if i else f"of {one.text}",
            additional_passage_ids=((CORPUS[(n + 5) % 20].id,) if (n + i) % 7 == 0 else ()),
        )
        for n, one in enumerate(CORPUS)
        for i in range(3)
    ]
    pairs.append(QAPair(passage_id=CORPUS[2].id, question="no answer?", answer=""))
    known = {}
    for n, one in enumerate(pairs):
        own = PASSAGES[one.passage_id].document_id
        others = [other.id for other in CORPUS if other.document_id != own]
        hard = others[n % 5 : n % 5 + 3 + n % 6]
        known[one.id] = mined(one.id, hard, others[-(n % 3) or 17 :])
    return pairs, known


@pytest.mark.parametrize(
    ("settings", "counts", "digest"),
    [
        ({}, (34, 22, 5, 43, 173, 33), "5c7880ee36c299b0"),
        (
            {
                "contexts": 4,
                "min_contexts": 2,
                "abstaining_share": 0.25,
                "max_generator_rows": 30,
            },
            (34, 22, 5, 43, 173, 29),
            "0022d82a69a8c43a",
        ),
        ({"format": "raft", "contexts": 3}, (34, 22, 5, 43, 173, 22), "452a24dfa5e69ed7"),
        (
            {"format": "ralt", "max_generator_rows": 7},
            (34, 22, 5, 43, 173, 7),
            "0ecf1d7909a16b87",
        ),
    ],
)
def test_the_same_seed_gives_the_bytes_that_it_gave_in_earlier_versions(
    settings: dict[str, Any], counts: tuple[int, ...], digest: str
) -> None:
    pairs, known = situation()
    config = TrainingSetsConfig(held_out_share=0.3, **settings)
    train, held_out, neither = split_pairs(pairs, PASSAGES, ALONE, config, seed=3)
    questions = label_held_out(held_out, known)
    sets = build_training_sets(train, questions, SHOWN, known, config, seed=3)

    rows = (sets.embedder, sets.reranker, sets.generator)
    assert (len(train), len(held_out), len(neither), *map(len, rows)) == counts
    digest_of_all = sha256()
    for records in (train, held_out, neither, questions, *rows):
        for record in records:
            line = json.dumps(to_json(record), ensure_ascii=False) + "\n"
            was_named = line.replace('"attempts"', '"tries"')  # in those versions
            digest_of_all.update(was_named.encode())
    assert digest_of_all.hexdigest().startswith(digest)


def test_rows_are_made_while_they_are_read() -> None:
    pairs, known = situation()

    class Counted(dict[str, Passage]):
        read = 0

        def __getitem__(self, key: str) -> Passage:
            self.read += 1
            return super().__getitem__(key)

    passages = Counted(PASSAGES)
    rows = TrainingRows(
        pairs=pairs,
        held_out=[],
        corpus=Corpus(passages=passages),
        negatives=known,
        config=TrainingSetsConfig(),
        seed=0,
    )
    for part in ("embedder", "reranker", "generator"):
        passages.read = 0
        next(iter(rows.of(part)))
        assert 0 < passages.read < 40, part  # of one pair, not of sixty
