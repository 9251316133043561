"""Formats: what a generator is trained to reply reads as it was meant, and quotes stand there."""

import re

import pytest

from aloft.config import FormatName
from aloft.prompts.abstention import SENTENCES, abstain_in
from aloft.prompts.citation import CitedAnswer, Quote, named_in
from aloft.prompts.formats import format_of
from aloft.prompts.languages import LANGUAGES
from aloft.prompts.raft import sentence_with
from aloft.text.language import language_of

SHOWN = [
    "The ferry\nruns daily. It leaves at nine. In winter it rests.",
    "The pilot is Mary.",
    "Ferries leave at nine! 渡し船は九時に出る。港は東にある。",
]
RAFT = format_of("raft", abstains=False)


@pytest.mark.parametrize("name", ["aloftrag", "raft", "ralt"])
def test_a_target_reads_as_it_was_meant(name: FormatName) -> None:
    form = format_of(name, abstains=False)
    prompt = form.render("When?", SHOWN)
    assert prompt.prefix == form.prefix
    assert prompt.messages[-1].content.endswith("### 3\n" + SHOWN[2] + "\n\n### Question\nWhen?")
    target = form.target("at nine", [1, 3], SHOWN)
    assert target is not None
    read = form.parse(target, SHOWN)
    assert read.answer == "at nine"
    assert read.ordinals == ((1, 3) if form.cites else ())
    assert read.unverified_quotes == 0


@pytest.mark.parametrize("abstains", [True, False])
@pytest.mark.parametrize("gold", [[1], [3], [1, 3], [3, 1]])
@pytest.mark.parametrize("name", ["aloftrag", "raft"])
def test_what_is_trained_on_keeps_the_pattern(
    name: FormatName, gold: list[int], abstains: bool
) -> None:
    form = format_of(name, abstains=abstains)
    pattern = form.render("When?", SHOWN).pattern
    target = form.target("at nine", gold, SHOWN) or ""
    assert re.fullmatch(pattern, target)
    assert re.fullmatch(pattern, f"{target}\n\n2. A second line, of #1.\n## 3")
    refusal = form.target("It is not there.", [], SHOWN) or ""
    assert (re.fullmatch(pattern, refusal) is not None) is abstains


@pytest.mark.parametrize(
    "named",
    [
        "4",
        "0",
        "1, 4",
        "1, 2, 3, 1",
        "1,2",
        "1 ",
        " 1",
        "",
        "One",
        "1.",
        "[1]",
        "1\n",
        "none, 1",
        "1 2",
    ],
)
def test_only_passages_that_were_shown_can_be_named(named: str) -> None:
    for abstains in (True, False):
        aloftrag, raft = (format_of(name, abstains=abstains) for name in ("aloftrag", "raft"))
        reply = f"{named}\n\n### Answer\nat nine"
        assert not re.fullmatch(aloftrag.render("When?", SHOWN).pattern, reply)
        pattern = raft.render("When?", SHOWN).pattern
        assert not re.fullmatch(pattern, f'[1] "at nine"\n\n### Reference\n{reply}')
        assert not re.fullmatch(pattern, f"[{named}] x\n\n### Reference\n1\n\n### Answer\nat nine")


def test_of_many_passages_each_and_of_none_no_passage_can_be_named() -> None:
    form = format_of("aloftrag", abstains=False)
    for count in (1, 2, 10, 20):
        pattern = form.render("When?", SHOWN[:1] * count).pattern
        named = [i for i in range(30) if re.fullmatch(pattern, f"{i}\n\n### Answer\nx")]
        assert named == [*range(1, count + 1)]
    pattern = form.render("When?", []).pattern
    assert re.fullmatch(pattern, "none\n\n### Answer\nx")
    assert not re.fullmatch(pattern, "1\n\n### Answer\nx")


@pytest.mark.parametrize("name", ["aloftrag", "raft", "ralt"])
@pytest.mark.parametrize(
    "behind", ["\n\n### Question\nWho?", "\n###", "\n### Answer\nMary", "\n### 1\nx"]
)
def test_an_answer_ends_with_its_section(name: FormatName, behind: str) -> None:
    form = format_of(name, abstains=False)
    target = form.target("at nine", [1], SHOWN)
    assert form.parse(f"{target}{behind}", SHOWN) == form.parse(f"{target}", SHOWN)
    assert form.parse(f"{target}\n#!/bin/sh", SHOWN).answer == "at nine\n#!/bin/sh"


@pytest.mark.parametrize("name", ["aloftrag", "raft", "ralt"])
def test_nothing_that_is_trained_on_is_stopped(name: FormatName) -> None:
    form = format_of(name, abstains=False)
    target = form.target("at nine", [1, 3], SHOWN) or ""
    assert not [one for one in form.stop if one in target]
    assert [one for one in form.stop if one in f"{target}\n\n### Question\nWho?"]


def test_quotes_are_the_sentences_that_hold_the_answer() -> None:
    assert RAFT.target("at nine", [1, 3], SHOWN) == (
        '[1] "It leaves at nine."\n[3] "Ferries leave at nine!"\n\n'
        "### Reference\n1, 3\n\n### Answer\nat nine"
    )


def test_a_pair_that_can_not_be_quoted_is_not_trained_on() -> None:
    assert RAFT.target("at noon", [1], SHOWN) is None
    assert RAFT.target("", [1], SHOWN) is None
    assert RAFT.target("Mary", [1, 2], SHOWN) == (
        '[2] "The pilot is Mary."\n\n### Reference\n1, 2\n\n### Answer\nMary'
    )


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("RUNS  daily.", "The ferry runs daily."),
        ("九時", "渡し船は九時に出る。"),
        ("港", "港は東にある。"),
        ("daily. It leaves", None),  # two sentences
        (".", None),
    ],
)
def test_an_answers_sentence_is_found(answer: str, expected: str | None) -> None:
    texts = [text.replace("The ferry\nruns", "The ferry runs") for text in SHOWN]
    assert sentence_with(answer, " ".join(texts)) == expected


@pytest.mark.parametrize(
    ("said", "quotes", "false"),
    [
        ('[1] "leaves at nine."', (Quote(ordinal=1, start=25, end=40, text="leaves at nine."),), 0),
        # a line's end in the passage is a space in the quote
        ('[1] "The ferry runs"', (Quote(ordinal=1, start=0, end=14, text="The ferry\nruns"),), 0),
        ('[2] "It leaves at nine."', (), 1),  # in another passage
        ('[1] "It leaves at ten."', (), 1),
        ('[4] "The pilot is Mary."', (), 1),
        ('[1] “It leaves”\n[2] «The pilot»\n[1] "never said"',
         (Quote(ordinal=1, start=22, end=31, text="It leaves"),
          Quote(ordinal=2, start=0, end=9, text="The pilot")), 1),
        ("It leaves at nine.", (), 0),
        ("", (), 0),
    ],
)  # fmt: skip
def test_quotes_are_looked_up(said: str, quotes: tuple[Quote, ...], false: int) -> None:
    reply = f"{said}\n\n### Reference\n2\n\n### Answer\nMary."
    assert RAFT.parse(reply, SHOWN) == CitedAnswer(
        ordinals=(2,), answer="Mary.", quotes=quotes, unverified_quotes=false
    )


def test_a_reply_that_never_gets_to_its_references_cites_nothing() -> None:
    read = RAFT.parse('[1] "It leaves at nine."', SHOWN)
    assert read.ordinals == ()
    assert [quote.ordinal for quote in read.quotes] == [1]


NAMES: list[FormatName] = ["aloftrag", "raft", "ralt"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("language", SENTENCES)
def test_that_no_passage_holds_it_is_said_in_any_language(name: FormatName, language: str) -> None:
    form = format_of(name, abstains=True)
    target = form.target(SENTENCES[language], [], SHOWN)
    assert target is not None
    read = form.parse(target, SHOWN)
    assert (read.is_abstaining, read.ordinals, read.quotes) == (True, (), ())
    assert read.answer == SENTENCES[language]


@pytest.mark.parametrize("name", NAMES)
def test_an_answer_is_no_abstention(name: FormatName) -> None:
    form = format_of(name, abstains=True)
    assert not form.parse(form.target("at nine", [1], SHOWN) or "", SHOWN).is_abstaining
    assert not form.parse("", SHOWN).is_abstaining
    assert not form.parse("None of them is late.\n\n### Answer\nno", SHOWN).is_abstaining


@pytest.mark.parametrize("name", NAMES)
def test_only_who_may_abstain_is_told_so(name: FormatName) -> None:
    with_it, without = (
        format_of(name, abstains=one).render("When?", SHOWN) for one in (True, False)
    )
    told, untold = with_it.messages[0].content, without.messages[0].content
    assert told.startswith(untold)
    assert "If none of the documents holds it" in told.removeprefix(untold)
    assert with_it.messages[1:] == without.messages[1:]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_sentence_is_in_the_passages_language(language: str) -> None:
    passage = " ".join(text for _, text, _, _ in LANGUAGES[language].examples)
    assert abstain_in(language_of(passage)) == SENTENCES[language]
    assert abstain_in(None) == abstain_in("xx") == SENTENCES["en"]


@pytest.mark.parametrize(
    ("target", "prefix", "named"),
    [
        ("4\n\n### Answer\n9 lives", "### Reference\n", "4"),
        ("1, 12\n\n### Answer\nnone", "### Reference\n", "1, 12"),
        ("none\n\n### Answer\nNo.", "### Reference\n", "none"),
        ('[2] "9 lives"\n\n### Reference\n2', "### Quotes\n", "2"),
        ("none\n\n### Reference\nnone", "### Quotes\n", "none"),
        ("1984", "### Answer\n", ""),
    ],
)
def test_what_first_names_passages_is_found(target: str, prefix: str, named: str) -> None:
    start, end = named_in(target, prefix)
    assert target[start:end] == named
