"""Filters: which pairs are worth training on, each by evidence that is worked out by hand."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scripted import split_rejections

from aloft.config import FILTERS, Filter, FiltersConfig
from aloft.protocols import Floats, Prompt
from aloft.records import Passage, QAPair, Rejection
from aloft.retrieval.dense import DenseIndex
from aloft.retrieval.searchable import SearchableCorpus
from aloft.synthesis.filters import drop_near_duplicates, screen_pairs, verify_pairs
from aloft.testing import HashingEmbedder, ScriptedTeacher

PORT = Passage(document_id="port", text="The port of Aberley has eleven berths.", start=0)
PILOT = Passage(document_id="pilot", text="Mary Dunn guides ships as a pilot.", start=0)
TIDE = Passage(document_id="tide", text="High tide comes at nine every night.", start=0)
CORPUS = [PORT, PILOT, TIDE]


def likelihood(prompt: Prompt, reply: str) -> float:
    """A twentieth for each word of the reply that stands before it, from -1 on."""
    before = prompt.messages[-1].content.partition("Question:")[0]
    return -1 + sum(word in before.split() for word in reply.split()) / 20


TOLD = ScriptedTeacher(lambda _: None, read=likelihood)


def pair(question: str, answer: str = "eleven berths", passage: Passage = PORT) -> QAPair:
    return QAPair(passage_id=passage.id, question=question, answer=answer)


def filtered(
    pairs: Sequence[QAPair],
    corpus: Sequence[Passage],
    config: FiltersConfig,
    vectors: tuple[Floats, Floats] | None = None,
) -> tuple[list[QAPair], list[Rejection]]:
    """The filters' verdicts; vectors of questions and passages are those of their words."""
    embedder = HashingEmbedder()
    queries, passages = vectors or (
        embedder.encode_queries([one.question for one in pairs]),
        embedder.encode_passages([one.content for one in corpus]),
    )
    searchable = SearchableCorpus(corpus, DenseIndex(passages))
    passed, dropped = split_rejections(screen_pairs(pairs, queries, searchable, config))
    passed, copies = split_rejections(list(drop_near_duplicates(passed, config)))
    read = TOLD.score_replies
    verified = verify_pairs(passed, searchable.by_id, read, config)
    passed, unverified = split_rejections(verified)
    return passed, [*dropped, *copies, *unverified]


def reasons(pairs: list[QAPair], *use: Filter, **settings: Any) -> list[str | None]:
    """Why each pair is dropped; None where it stays."""
    kept, dropped = filtered(pairs, CORPUS, FiltersConfig(use=use, **settings))
    why = {one.subject_id: one.reason for one in dropped}
    assert [one.id for one in pairs if one.id not in why] == [one.id for one in kept]
    assert all(one.stage == "filters" for one in dropped)
    return [why.get(one.id) for one in pairs]


LEAK = "question holds the answer"
SUPPORT = "answer is not in the passage"
ROUND_TRIP = "question does not find its passage"
DUPLICATE = "near duplicate of another question"


@pytest.mark.parametrize(
    ("question", "answer", "leaks"),
    [
        ("What are eleven berths?", "Eleven berths.", True),
        ("What are berths, eleven of them?", "eleven berths", False),  # not word for word
        ("Which berth is the eleventh?", "eleven", False),  # not a whole word
        ("How many?", "eleven", False),
        # eight of nine words, and seven
        ("Is the port of two lakes, of Ull, deep?", "The port of two lakes of Ull is small.", True),
        ("Is the port of two lakes deep, Ulla?", "The port of two lakes of Ull is small.", False),
        ("港口有十一个泊位吗?", "十一个泊位", True),  # no spaces between words
        ("港口有几个泊位?", "十一个泊位", False),
    ],
)
def test_a_question_that_holds_its_answer_is_dropped(
    question: str, answer: str, leaks: bool
) -> None:
    assert reasons([pair(question, answer)], "leak") == [LEAK if leaks else None]


@pytest.mark.parametrize(
    ("answer", "support", "stays"),
    [
        ("eleven berths", 1.0, True),
        ("It has ELEVEN berths", 0.75, True),  # "it" is not there
        ("It has eleven berths", 0.76, False),
        ("twelve", 0.01, False),
        ("?", 0.01, False),  # no word at all
    ],
)
def test_the_answers_words_stand_in_the_passage(answer: str, support: float, stays: bool) -> None:
    found = reasons([pair("How many?", answer)], "support", support=support)
    assert found == [None if stays else SUPPORT]


HAFEN = Passage(
    document_id="hafen",
    text="Der Hafen von Aberley liegt an der Küste und hat elf Liegeplätze für große Schiffe.",
    start=0,
)
LONG = "The harbour lies on the coast and has eleven berths, all of them for rather large ships."


@pytest.mark.parametrize(
    ("question", "answer", "stays"),
    [
        ("Wie viele Liegeplätze hat der Hafen von Aberley?", "elf", True),
        ("How many berths does the harbour have for ships?", "elf", False),
        ("Wie viele Liegeplätze hat der Hafen von Aberley?", LONG, False),
        ("Wie viele Liegeplätze hat der Hafen von Aberley?", "eleven berths", True),  # too short
    ],
)
def test_a_pair_speaks_the_language_of_its_passage(question: str, answer: str, stays: bool) -> None:
    asked = pair(question, answer, HAFEN)
    kept, dropped = filtered([asked], [HAFEN], FiltersConfig(use=("language",)))
    assert bool(kept) is stays
    assert stays or dropped[0].reason == "in another language than its passage"


@pytest.mark.parametrize(
    ("question", "stays"),
    [
        ("What does the author say about berths?", False),
        ("What is this text about?", False),
        ("Which article of the treaty names Aberley?", True),
    ],
)
def test_a_question_does_not_point_at_the_text(question: str, stays: bool) -> None:
    found = reasons([pair(question)], "self_contained")
    assert found == [None if stays else "question points at the text"]


def test_a_title_supports_an_answer_too() -> None:
    titled = Passage(document_id="a", text="It has berths.", start=0, title="Aberley")
    asked = pair("Which port?", "Aberley", titled)
    assert filtered([asked], [titled], FiltersConfig(use=("support",)))[0] == [asked]


def test_a_question_finds_the_passage_that_it_was_written_from() -> None:
    pairs = [
        pair("How many berths has Aberley?"),
        pair("Who guides ships?"),  # finds the pilot's passage
        pair("Who guides ships?", passage=PILOT),
        pair("Xyzzy plugh?"),  # finds nothing
    ]
    found = reasons(pairs, "round_trip", round_trip_depth=1)
    assert found[:3] == [None, ROUND_TRIP, None]
    assert reasons(pairs[1:2], "round_trip", round_trip_depth=3) == [None]  # of three passages


def test_words_or_vectors_suffice_to_find_a_passage() -> None:
    asked = pair("How many berths has Aberley?")
    away = np.eye(3, dtype=np.float32)
    config = FiltersConfig(use=("round_trip",), round_trip_depth=1)

    def stays(question: QAPair, row: int) -> bool:
        return bool(filtered([question], CORPUS, config, (away[[row]], away))[0])

    assert stays(asked, 2)  # by its words, though its vector is the tide's
    assert stays(pair("Xyzzy?"), 0)  # by its vector
    assert not stays(pair("Xyzzy?"), 2)


@pytest.mark.parametrize(
    ("question", "similarity", "stays"),
    [
        ("How many berths has the port of Aberley today?", 0.88, False),  # 8 words of 9 are shared
        ("How many berths has the port of Aberley today?", 0.9, True),
        ("The port of Aberley has how many berths?", 1.0, False),  # order is no difference
        ("Who guides ships?", 0.1, True),
    ],
)
def test_the_first_of_questions_that_are_nearly_alike_stays(
    question: str, similarity: float, stays: bool
) -> None:
    pairs = [pair("How many berths has the port of Aberley?"), pair(question)]
    found = reasons(pairs, "duplicate", similarity=similarity)
    assert found == [None, None if stays else DUPLICATE]


def test_questions_after_different_numbers_are_no_copies() -> None:
    pairs = [pair(f"How many ships came to Aberley in {year}?") for year in (1990, 1991)]
    assert reasons(pairs, "duplicate", similarity=0.5) == [None, None]


def test_a_pair_is_counted_under_the_first_filter_that_drops_it() -> None:
    bad = pair("What are twelve docks?", "twelve docks")  # leaks, and is not in the passage
    copy = pair("What are twelve docks here?", "eleven berths")
    assert reasons([bad, copy], *FILTERS[:-1], similarity=0.75) == [LEAK, None]
    # what is dropped by an earlier filter makes no copy of a later one
    assert reasons([bad, copy], "duplicate", similarity=0.75) == [None, DUPLICATE]


def test_without_filters_everything_stays() -> None:
    assert reasons([pair("?", "x"), pair("?", "x y")]) == [None, None]


def test_a_rejection_shows_what_was_dropped() -> None:
    asked = pair("What are eleven berths?")
    _, (dropped,) = filtered([asked], [PORT], FiltersConfig(use=("leak",)))
    assert dropped.detail == "What are eleven berths? | eleven berths"


ALONE = "answer gains nothing from its passage"
MISSED = "one of its passages can be missed"


def hop(question: str, answer: str) -> QAPair:
    """A question that needs the port's and the pilot's passage."""
    return QAPair(
        passage_id=PORT.id,
        additional_passage_ids=(PILOT.id,),
        question=question,
        answer=answer,
        kind="x",
    )


@pytest.mark.parametrize(
    ("answer", "gain", "reason"),
    [
        ("eleven berths", 0.05, None),  # one of two words stands there: "berths." is another one
        ("eleven berths", 0.06, ALONE),
        ("eleven port", 0.1, None),
        ("nine quays", 0.01, ALONE),
    ],
)
def test_an_answer_that_gains_nothing_from_its_passage_is_dropped(
    answer: str, gain: float, reason: str | None
) -> None:
    assert reasons([pair("How many?", answer)], "dependency", gain=gain) == [reason]


@pytest.mark.parametrize(
    ("question", "answer", "reason"),
    [
        ("Which?", "eleven ships as", MISSED),  # 1 and 2 of 3 words: without the port's 2 are left
        ("Which?", "The port ships as", None),
        ("Which?", "The port of", MISSED),  # the pilot's gives nothing
        ("Which port has ships as", "?", None),  # it counts what the question takes up
        ("Which port has ships", "eleven", MISSED),
    ],
)
def test_a_multi_hop_pair_that_gains_nothing_from_one_of_its_passages_is_dropped(
    question: str, answer: str, reason: str | None
) -> None:
    assert reasons([hop(question, answer)], "needs_all", multi_hop_gain=0.07) == [reason]
    # and each of the two filters leaves the other's questions alone
    assert reasons([hop(question, answer)], "dependency", gain=9) == [None]
    assert reasons([pair(question, answer)], "needs_all", multi_hop_gain=9) == [None]


def test_what_the_teacher_reads_is_the_pair_behind_the_passages_and_behind_less() -> None:
    read: list[tuple[str, str]] = []

    def note(prompts: Sequence[Prompt], replies: Sequence[str]) -> Floats:
        read.extend((p.messages[0].content, r) for p, r in zip(prompts, replies, strict=True))
        return np.zeros(len(replies), np.float32)

    passages = {one.id: one for one in CORPUS}
    verify_pairs([hop("Which?", "both")], passages, note, FiltersConfig(use=("needs_all",)))
    reply = " Which?\nAnswer: both"
    assert read == [
        (f"{PORT.text}\n\n{PILOT.text}\n\nQuestion:", reply),
        (f"{PILOT.text}\n\nQuestion:", reply),
        (f"{PORT.text}\n\nQuestion:", reply),
    ]


def test_no_teacher_is_asked_where_no_filter_needs_it() -> None:
    TOLD.asked.clear()
    reasons([pair("How many berths?")], *FILTERS[:-1])
    assert not TOLD.asked


@pytest.mark.parametrize(
    ("question", "depth", "reason"),
    [
        ("Which pilot guides ships to the port of Aberley?", 2, None),
        ("Which pilot guides ships?", 1, ROUND_TRIP),  # only the pilot's comes first
    ],
)
def test_a_multi_hop_question_finds_all_its_passages(
    question: str, depth: int, reason: str | None
) -> None:
    asked = [hop(question, "Mary Dunn")]
    assert reasons(asked, "round_trip", round_trip_depth=depth) == [reason]


def test_all_passages_of_a_multi_hop_question_support_its_answer() -> None:
    assert reasons([hop("Which?", "eleven ships")], "support", support=1) == [None]
    assert reasons([pair("Which?", "eleven ships")], "support", support=1) == [SUPPORT]


def test_any_partition_of_the_pairs_is_screened_and_verified_alike() -> None:
    pairs = [
        pair("How many berths has Aberley?"),
        pair("What is this text about?"),
        hop("Which pilot guides ships to the port of Aberley?", "Mary Dunn"),
        pair("Who guides ships?", "Mary Dunn", PILOT),
        pair("Xyzzy plugh?", "nine", TIDE),
    ]
    embedder = HashingEmbedder()
    queries = embedder.encode_queries([one.question for one in pairs])
    passages = embedder.encode_passages([one.content for one in CORPUS])
    corpus = SearchableCorpus(CORPUS, DenseIndex(passages))
    config = FiltersConfig(use=FILTERS, round_trip_depth=1, gain=0.05, multi_hop_gain=0.5)
    read = TOLD.score_replies
    together = screen_pairs(pairs, queries, corpus, config)
    verified = verify_pairs(pairs, corpus.by_id, read, config)
    assert len({type(one) for one in together}) == len({type(one) for one in verified}) == 2
    for size in (1, 2, 3):
        parts = [slice(start, start + size) for start in range(0, len(pairs), size)]
        screened = [screen_pairs(pairs[part], queries[part], corpus, config) for part in parts]
        assert [one for some in screened for one in some] == together
        again = [verify_pairs(pairs[part], corpus.by_id, read, config) for part in parts]
        assert [one for some in again for one in some] == verified
