"""Prompts: what goes out, and what is read from replies that keep the form and that do not."""

import re

import pytest

from aloft.prompts import aloftrag, pair, rating
from aloft.prompts.citation import CitedAnswer
from aloft.prompts.formats import format_of
from aloft.prompts.languages import LANGUAGES
from aloft.records import Message


def test_a_mark_is_asked_for_with_what_is_marked() -> None:
    prompt = rating.render("answer", "The port.", question="What?", answer="A {port}.")
    system, user = prompt.messages
    assert (system.role, user.role) == ("system", "user")
    assert user.content == "### Context\nThe port.\n\n### Question\nWhat?\n\n### Answer\nA {port}."
    assert "from 0 (wrong) to 10 (correct" in system.content
    assert prompt.prefix == "### Answer rating score\n"
    assert not prompt.is_plain


def test_a_mark_of_one_digit_is_asked_for_behind_the_passage() -> None:
    (user,) = rating.render_digit("The port.", passage_first=True).messages
    assert user.content.startswith("### Text\nThe port.\n\n### Task\n")
    assert "to 9 (dense" in user.content


def test_a_mark_that_nothing_follows_is_asked_for_before_the_passage() -> None:
    prompts = [rating.render_digit(text, passage_first=False) for text in ("A {port}.", "B")]
    first, second = (prompt.messages for prompt in prompts)
    assert first[0] == second[0] and "to 9 (dense" in first[0].content
    assert first[1].content == "### Context\nA {port}."
    assert prompts[0].prefix == "### Filter score\n"


def test_all_that_is_asked_about_a_passage_begins_alike() -> None:
    mark = rating.render_digit("The {port}.", passage_first=True).messages[0].content
    pairs = [pair.render_instruct("The {port}.", kind, language="English") for kind in pair.KINDS]
    shared = "### Text\nThe {port}.\n\n### Task\n"
    texts = [mark, *(prompt.messages[0].content for prompt in pairs)]
    assert all(text.startswith(shared) for text in texts)
    assert len(set(texts)) == len(pair.KINDS) + 1


@pytest.mark.parametrize(
    ("reply", "mark"),
    [
        ("8", 8.0),
        ("0", 0.0),
        ("10", 10.0),
        (" 7.5 of 10", 7.5),
        ("[9]", 9.0),
        ("**6**", 6.0),
        ("8/10", 8.0),
        ("\n3\n", 3.0),
        ("10.5", None),
        ("11", None),
        ("-1", None),
        ("Score: 8", None),
        ("eight", None),
        ("", None),
    ],
)
def test_a_mark_is_the_number_at_the_start(reply: str, mark: float | None) -> None:
    assert rating.parse(reply) == mark


def test_a_pair_is_asked_for_in_a_language() -> None:
    prompt = pair.render_paper("A {text}.", language="German")
    assert "Write natural, fluent German." in prompt.messages[0].content
    assert prompt.messages[1] == Message(role="user", content="A {text}.")
    assert prompt.prefix == "### Question\n"
    (other,) = pair.render_instruct("A {text}.", "why", language="German").messages
    assert "Write in German." in other.content
    assert "Ask why" in other.content


def test_a_style_stands_behind_the_task() -> None:
    bare, styled = (
        pair.render_instruct("A text.", "how", language="English", style=style).messages[0].content
        for style in ((), ("wheres my parcel", "refund how long??"))
    )
    assert styled.startswith(bare)
    assert styled.endswith("\n- wheres my parcel\n- refund how long??")


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("Who  is\nit?\n\n### Answer\nMary.\n", ("Who is it?", "Mary.")),
        ("Who?\n## Answer:\nMary\nAnn", ("Who?", "Mary\nAnn")),  # an answer may have lines
        ("Who?\n### Answer\nMary\n\n### Question\nWhen?", ("Who?", "Mary")),
        ("Who?\n### Answer Mary", ("Who?", "Mary")),
        ("Who?\n\n**Answer:** Mary", ("Who?", "Mary")),
        ("Who?\n**Answer**: Mary", ("Who?", "Mary")),
        ("Who?\nanswer: Mary", ("Who?", "Mary")),
        ("Who?\n### **Answer**\nMary", ("Who?", "Mary")),
        ("Who?\n### Answer\nMary\nQuestion: When?", ("Who?", "Mary")),
        ("Who?\nThe answer: is Mary", None),
        ("Who? Mary.", None),
        ("Who?\nAnswer\nMary", None),  # no heading
        ("### Answer\nMary", None),
        ("Who?\n### Answer\n", None),
        ("", None),
    ],
)
def test_a_pair_is_read_from_two_headings(reply: str, expected: tuple[str, str] | None) -> None:
    assert pair.parse_headings(reply) == expected


@pytest.mark.parametrize(
    ("language", "shown_in"), [("en", "en"), ("de", "de"), ("xx", "en"), ("", "en")]
)
def test_examples_stand_before_the_focus_without_a_chat(language: str, shown_in: str) -> None:
    prompt = pair.render_examples("Harbour", "It has 11 berths.", language=language)
    examples, task = prompt.messages
    labels = LANGUAGES[shown_in].labels
    assert prompt.is_plain
    assert prompt.prefix == f"{labels[2]}:"
    assert task.content == f"{labels[0]}: Harbour\n{labels[1]}: It has 11 berths.\n"
    assert pair.answer_line(language) == f"\n{labels[3]}:"
    assert re.fullmatch(prompt.pattern, f" How many?\n{labels[3]}: 11")
    for one in LANGUAGES[shown_in].examples:
        shown = "\n".join(f"{label}: {value}" for label, value in zip(labels, one, strict=True))
        assert shown in examples.content
        assert one[3] in one[1]  # an example keeps the rule that it shows
    assert examples.content.endswith("\n\n")


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (" How many\tberths?\nAnswer: 11", ("How many berths?", "11")),
        (" How many?\nAnswer:\n 11\nand more", ("How many?", "11")),
        (" How many?", None),
        (" How many? Answer: 11", ("How many?", "11")),  # small models forget the line's end
        (" How many berths Answer: 11", None),
        (" How many?\nAnsver: 11", ("How many?", "11")),  # a label is known by three letters
        (" कितने बर्थ?\nउत्: ग्यारह", ("कितने बर्थ?", "ग्यारह")),
        (" How many? Ansver: 11", None),
        (" How many?\nBerths: 11", None),
        (" 有几个泊位？答案：十一", ("有几个泊位？", "十一")),
        (" Wie viele?\nAntwort: elf", ("Wie viele?", "elf")),
        ("\nAnswer: 11", None),
        (" How many?\nAnswer: ", None),
    ],
)
def test_a_pair_is_read_from_two_lines(reply: str, expected: tuple[str, str] | None) -> None:
    assert pair.parse_examples(reply) == expected


FORM, SHOWN = format_of("aloftrag", abstains=False), ["one", "two", "three"]


def test_passages_are_numbered_from_one() -> None:
    prompt = FORM.render("Who?", ["First {0}.", "T\nSecond."])
    assert prompt.messages == (
        Message(role="system", content=aloftrag.SYSTEM),
        Message(
            role="user", content="### 1\nFirst {0}.\n\n### 2\nT\nSecond.\n\n### Question\nWho?"
        ),
    )
    assert prompt.prefix == "### Reference\n"


def test_what_is_trained_on_reads_as_it_was_meant() -> None:
    assert FORM.target("Mary.", [2], SHOWN) == "2\n\n### Answer\nMary."
    answer = "Mary.\n\n1. She is 40.\n## More"
    target = FORM.target(answer, [3, 1], SHOWN) or ""
    for reply in (target, f"{target}\n### Answer\nNot this."):
        assert FORM.parse(reply, SHOWN) == CitedAnswer(ordinals=(3, 1), answer=answer)


@pytest.mark.parametrize(
    ("reply", "ordinals", "answer"),
    [
        ("2\n\n### Answer\nMary.", (2,), "Mary."),
        ("[2], [1]\n### Answer:\nMary.", (2, 1), "Mary."),
        ("1, 3 and 1\n# Answer\nMary.", (1, 3), "Mary."),  # each once
        ("0, 4, 3\n### Answer\nMary.", (3,), "Mary."),  # there are three passages
        ("123456789012345678901\n### Answer\nMary.", (), "Mary."),
        ("2\n1\n### Answer\nMary.", (2,), "Mary."),  # the first line alone
        ("\n\n### Answer\nMary.", (), "Mary."),
        ("No document\n### Answer\nMary.", (), "Mary."),
        ("The answer is in 2\n### Answer\nMary.", (), "Mary."),  # a sentence with a number
        ("In 2 the ferry leaves.", (), "In 2 the ferry leaves."),
        ("2", (2,), "2"),  # no heading: the reply as it stands
        ("2\n\n### Answer", (2,), ""),
        ("2\n\nAnswer\nMary.", (2,), "2\n\nAnswer\nMary."),
        ("", (), ""),
        ("### Answer\nMary.", (), "Mary."),
    ],
)
def test_a_reply_cites_passages_that_are_there(
    reply: str, ordinals: tuple[int, ...], answer: str
) -> None:
    assert FORM.parse(reply, SHOWN) == CitedAnswer(ordinals=ordinals, answer=answer)
