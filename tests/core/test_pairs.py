"""Pairs: what is asked of the teacher, which replies are used, and which questions are kept."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from aloft.config import PairsConfig
from aloft.errors import ConfigError
from aloft.prompts.languages import LANGUAGES
from aloft.protocols import Prompt, Reply
from aloft.records import Passage, QAPair, Rejection
from aloft.synthesis.composition import DefinedNames, Definition
from aloft.synthesis.pairs import (
    check_language,
    choose_focuses,
    choose_kinds,
    count_pairs,
    drop_repeated_questions,
    generate_pairs,
    select_passages,
)
from aloft.testing import ScriptedTeacher
from aloft.text.overlap import copies, holds, truncate_repetition

EXAMPLES = LANGUAGES["en"].examples
SPAN = "The port of Aberley has eleven berths, and its pilot is called Mary Dunn."
PORT = Passage(document_id="port.md", text=SPAN, start=0, title="Aberley")
PAPER = PairsConfig(form="paper", per_passage=1)
INSTRUCT = PairsConfig(form="instruct", kinds={"fact": 1})
SHOWN = PairsConfig(form="examples", per_passage=1)


class CutTeacher(ScriptedTeacher):
    """Every reply is as long as it may be."""

    def complete(
        self, prompts: Sequence[Prompt], *, max_new_tokens: int, stop: Sequence[str] = ()
    ) -> list[Reply]:
        replies = super().complete(prompts, max_new_tokens=max_new_tokens, stop=stop)
        return [replace(reply, is_finished=False) for reply in replies]


def written(reply: str | None, config: PairsConfig, passage: Passage = PORT) -> Any:
    """What one reply comes to."""
    (outcome,) = generate_pairs([passage], ScriptedTeacher(lambda _: reply), config, seed=0)
    return outcome


def rejected(reason: str, detail: str = "") -> Rejection:
    return Rejection(subject_id=PORT.id, stage="pairs", reason=reason, detail=detail)


def sentences(count: int) -> str:
    """Paragraphs of 100 characters, each a focus of its own."""
    return "\n\n".join(f"Berth {i:03} ".ljust(99, "x") + "." for i in range(count))


def test_the_papers_form_reads_question_and_answer_from_the_whole_passage() -> None:
    teacher = ScriptedTeacher(lambda _: "Who is the pilot?\n\n### Answer\nMs Dunn")
    config = PairsConfig(form="paper", per_passage=1, language="Welsh")
    (outcome,) = generate_pairs([PORT], teacher, config, seed=0)
    # the answer stands in other words than the text, as a large model may write it
    assert outcome == QAPair(passage_id=PORT.id, question="Who is the pilot?", answer="Ms Dunn")
    (prompt,) = teacher.asked
    assert prompt.messages[1].content == f"Aberley\n{SPAN}"
    assert "fluent Welsh" in prompt.messages[0].content


def test_a_passage_is_asked_for_each_kind_once() -> None:
    teacher = ScriptedTeacher(
        lambda p: (
            "How?\n### Answer\nso" if "works" in p.messages[0].content else "Why?\n### Answer\nno"
        )
    )
    config = PairsConfig(form="instruct", per_passage=5, kinds={"how": 1, "why": 1, "numeric": 9})
    outcomes = list(generate_pairs([PORT], teacher, config, seed=0))  # PORT holds no digit
    found = sorted((o.kind, o.question) for o in outcomes if isinstance(o, QAPair))
    assert found == [("how", "How?"), ("why", "Why?")]
    assert all(SPAN in prompt.messages[0].content for prompt in teacher.asked)


HAFEN = Passage(
    document_id="hafen.md",
    text="Der Hafen von Aberley hat elf Liegeplätze, und seine Lotsin heißt Mary Dunn.",
    start=0,
)


def test_a_pair_is_asked_for_in_the_passages_language() -> None:
    teacher = ScriptedTeacher(lambda _: None)
    list(generate_pairs([HAFEN], teacher, INSTRUCT, seed=0))
    assert "Write in German." in teacher.asked[0].messages[0].content
    list(generate_pairs([HAFEN], teacher, SHOWN, seed=0))
    assert LANGUAGES["de"].examples[0][2] in teacher.asked[-1].messages[0].content


def test_a_language_that_is_said_goes_before_the_passages() -> None:
    teacher = ScriptedTeacher(lambda _: None)
    for config in (INSTRUCT, SHOWN):
        chosen = config.model_copy(update={"language": "Turkish"})
        list(generate_pairs([HAFEN], teacher, chosen, seed=0))
    assert "Write in Turkish." in teacher.asked[0].messages[0].content
    assert LANGUAGES["tr"].examples[0][2] in teacher.asked[-1].messages[0].content


def test_examples_are_shown_in_a_language_that_they_were_written_in() -> None:
    for language in ("auto", "German", "de"):
        check_language(PairsConfig(form="examples", language=language))
    check_language(PairsConfig(form="instruct", language="Klingon"))
    with pytest.raises(ConfigError, match=r'is "Klingon", .* English, '):
        written("Question: Q?\nAnswer: A", PairsConfig(form="examples", language="Klingon"))


def test_where_no_language_stands_out_the_text_is_pointed_to() -> None:
    teacher = ScriptedTeacher(lambda _: None)
    table = Passage(document_id="t", text="AB-12 77.4\nXK-09 13.1\nQQ-31 0.05", start=0)
    list(generate_pairs([table], teacher, INSTRUCT, seed=0))
    assert "Write in the language of the text." in teacher.asked[0].messages[0].content


def test_an_example_of_another_language_is_a_copy_too() -> None:
    _, _, question, answer = LANGUAGES["fr"].examples[1]
    outcome = written(f" {question}\nAnswer: {answer}", SHOWN)
    assert outcome.reason == "repeats an example"


def test_kinds_are_drawn_by_their_shares_and_the_passage() -> None:
    passages = [replace(PORT, start=i, text=f"{SPAN} {i}") for i in range(400)]
    drawn = [choose_kinds(p, 1, {"fact": 3, "why": 1, "how": 0}, seed=1) for p in passages]
    assert drawn == [choose_kinds(p, 1, {"fact": 3, "why": 1, "how": 0}, seed=1) for p in passages]
    counts = Counter(kind for kinds in drawn for kind in kinds)
    assert set(counts) == {"fact", "why"}
    assert 260 < counts["fact"] < 340  # 300 expected, standard deviation 8.7
    assert choose_kinds(PORT, 2, {"numeric": 1}, seed=1) == ["fact"]  # nothing else is left


@pytest.mark.parametrize(
    ("characters", "count"), [(40, 1), (599, 1), (601, 2), (1001, 3), (90_000, 8)]
)
def test_a_long_passage_is_asked_about_more_often(characters: int, count: int) -> None:
    passage = replace(PORT, text="x" * characters)
    assert count_pairs(passage, PairsConfig()) == count
    assert count_pairs(passage, PairsConfig(per_passage=4)) == 4


def test_a_character_that_says_more_than_a_letter_counts_for_more() -> None:
    # of 300 characters Chinese says what 900 letters say: two pairs, and spans a third as long
    chinese = replace(PORT, text="港口有十一个泊位，引航员名叫玛丽·邓恩。" * 15)
    assert len(chinese.text) == 300
    assert count_pairs(chinese, PairsConfig()) == 2
    assert max(map(len, choose_focuses(chinese, 9, seed=0))) <= 105 < 280
    latin = replace(PORT, text=(SPAN + " ") * 12)
    assert 105 < max(map(len, choose_focuses(latin, 9, seed=0))) <= 280


def test_examples_read_question_and_answer_from_a_focus() -> None:
    teacher = ScriptedTeacher(lambda _: " Who is the  pilot?\nAnswer: mary DUNN.")
    (outcome,) = generate_pairs([PORT], teacher, SHOWN, seed=0)
    assert outcome == QAPair(passage_id=PORT.id, question="Who is the pilot?", answer="mary DUNN.")
    (prompt,) = teacher.asked
    assert prompt.messages[1].content == f"Topic: Aberley\nText: {SPAN}\n"


def test_an_answer_that_the_focus_does_not_hold_gives_way_to_the_focus() -> None:
    outcome = written(" Who is the pilot?\nAnswer: Ann Lee", SHOWN)
    assert outcome == QAPair(passage_id=PORT.id, question="Who is the pilot?", answer=SPAN)


def test_an_answer_of_a_mere_full_stop_gives_way_too() -> None:
    assert written(" Who is the pilot?\nAnswer: .", SHOWN).answer == SPAN


@pytest.mark.parametrize(
    ("question", "answer", "expected"),
    [
        ("Who is Mary Dunn?", "Mary Dunn", SPAN),  # it says nothing that was not asked already
        ("Who is the pilot Mary?", "Mary Dunn", "Mary Dunn"),  # only a part of it
        ("Who is Mary, Dunn or Lee?", "Mary Dunn.", SPAN),
    ],
)
def test_an_answer_that_the_question_holds_gives_way_too(
    question: str, answer: str, expected: str
) -> None:
    assert written(f" {question}\nAnswer: {answer}", SHOWN).answer == expected


@pytest.mark.parametrize(
    ("reply", "config", "expected"),
    [
        (None, INSTRUCT, rejected("reply was cut")),
        (None, SHOWN, rejected("reply was cut")),
        ("I can not.", INSTRUCT, rejected("unreadable reply", "I can not.")),
        ("I can not.", SHOWN, rejected("unreadable reply", "I can not.")),
        ("Who?\n### Answer\n", INSTRUCT, rejected("unreadable reply", "Who?\n### Answer\n")),
        ("x" * 300, INSTRUCT, rejected("unreadable reply", "x" * 200)),
        *(
            (
                f" {question}\nAnswer: {answer}",
                SHOWN,
                rejected("repeats an example", f" {question}\nAnswer: {answer}"),
            )
            for _, _, question, answer in EXAMPLES
        ),
    ],
)
def test_a_bad_reply_is_kept_as_the_reason(
    reply: str | None, config: PairsConfig, expected: Rejection
) -> None:
    assert written(reply, config) == expected


TWENTY = " ".join(f"w{i}" for i in range(20))


@pytest.mark.parametrize(
    ("question", "is_copy"),
    [
        ("The port of Aberley has ELEVEN berths?", True),
        ("its pilot is called Mary Dunn?", True),
        ("What is the port of Aberley?", False),
        ("Is its pilot called Mary Dunn?", False),  # turned round
        (f"Why {TWENTY.removesuffix(' w19')}?", True),  # 19 of 20 words in a row
        (f"Why so {TWENTY.removesuffix(' w18 w19')}?", False),  # 18 of 20
        (f"{TWENTY} {TWENTY}", False),  # not in a row
        ("?", False),
    ],
)
def test_a_sentence_with_a_question_mark_is_a_copy(question: str, is_copy: bool) -> None:
    assert copies(question, f"{SPAN} {TWENTY}") == is_copy


def test_a_copied_sentence_is_asked_about_twice_more_and_then_dropped() -> None:
    copied = f" {SPAN[:-1]}?\nAnswer: Mary Dunn"
    teacher = ScriptedTeacher(lambda _: copied)
    (outcome,) = generate_pairs([PORT], teacher, SHOWN, seed=0)
    assert outcome == rejected("question copies the text", copied)
    first, *again = [prompt.seed for prompt in teacher.asked]
    assert first is None and None not in again and len(set(again)) == len(again) == 2
    good = " Who is the pilot?\nAnswer: Mary Dunn"
    teacher = ScriptedTeacher(lambda p: copied if p.seed is None else good)
    (outcome,) = generate_pairs([PORT], teacher, SHOWN, seed=0)
    assert isinstance(outcome, QAPair) and outcome.attempts == 2
    paper = f"{SPAN}\n### Answer\nMary Dunn"  # whose form keeps what it gets
    (outcome,) = generate_pairs([PORT], ScriptedTeacher(lambda _: paper), PAPER, seed=0)
    assert isinstance(outcome, QAPair)


def test_a_cut_reply_is_not_used_though_it_could_be_read() -> None:
    whole = "Who?\n\n### Answer\nMary"
    teacher = CutTeacher(lambda p: "" if whole in p.prefix else whole)
    (outcome,) = generate_pairs([PORT], teacher, INSTRUCT, seed=0)
    assert outcome == rejected("reply was cut", whole)


@pytest.mark.parametrize(
    "first", [None, "I can\nnot.", f" {EXAMPLES[0][2]}\nAnswer: {EXAMPLES[0][3]}"]
)
def test_what_can_not_be_used_is_asked_again_by_a_seed(first: str | None) -> None:
    good = " Who is the pilot?\nAnswer: Mary Dunn"
    teacher = ScriptedTeacher(lambda prompt: first if prompt.seed is None else good)
    (outcome,) = generate_pairs([PORT], teacher, SHOWN, seed=0)
    assert outcome == QAPair(
        passage_id=PORT.id, question="Who is the pilot?", answer="Mary Dunn", attempts=2
    )
    greedy, drawn = teacher.asked
    assert replace(drawn, seed=None) == greedy


@pytest.mark.parametrize(
    ("config", "prefix", "answered"),
    [
        (SHOWN, "Question: Who is it?\nAnswer:", " Mary Dunn"),
        (INSTRUCT, "### Question\n Who is it?\n\n### Answer\n", "Mary Dunn"),
    ],
)
def test_a_question_without_an_answer_is_gone_on_with(
    config: PairsConfig, prefix: str, answered: str
) -> None:
    teacher = ScriptedTeacher(lambda p: answered if p.prefix == prefix else " Who is it? ")
    (outcome,) = generate_pairs([PORT], teacher, config, seed=0)
    assert isinstance(outcome, QAPair)
    assert (outcome.question, outcome.answer, outcome.attempts) == ("Who is it?", "Mary Dunn", 2)
    plain, forced = teacher.asked
    assert replace(forced, prefix=plain.prefix, pattern=plain.pattern) == plain
    assert plain.pattern and not forced.pattern


@pytest.mark.parametrize(
    ("config", "reply"),
    [
        (SHOWN, " Who is it?\nAnswer: Mary Dunn"),
        (INSTRUCT, "Who is it?\n\n### Answer\nMary Dunn"),
    ],
)
def test_what_keeps_the_pattern_of_a_request_can_be_read(config: PairsConfig, reply: str) -> None:
    teacher = ScriptedTeacher(lambda _: reply)
    (outcome,) = generate_pairs([PORT], teacher, config, seed=0)
    assert isinstance(outcome, QAPair)
    pattern = teacher.asked[0].pattern
    assert re.fullmatch(pattern, reply) and re.fullmatch(pattern, f"{reply}\n\n")
    for other in (reply.split("\n")[0], f"{reply}\nWho else?", f"\n{reply}"):
        assert not re.fullmatch(pattern, other)


@pytest.mark.parametrize(
    ("config", "parts"),
    [
        (SHOWN, [" Who is it?\nAnswer: Mary D", "unn"]),
        (INSTRUCT, ["Who is it?\n\n### Answer\nMary D", "unn"]),
        (SHOWN, [" Who", " is", " it?\nAns", "wer: Mary Dunn"]),
        (SHOWN, [" Who is it?\nAnswer: Mary \ufffd", "Dunn"]),  # half a character
    ],
)
def test_a_reply_that_was_cut_is_gone_on_with(config: PairsConfig, parts: list[str]) -> None:
    class Slow(ScriptedTeacher):
        def complete(self, prompts: Sequence[Prompt], **limits: Any) -> list[Reply]:
            self.asked.extend(prompts)
            part = parts[len(self.asked) - 1]
            return [Reply(text=part, is_finished=part == parts[-1])]

    teacher = Slow(lambda _: None)
    (outcome,) = generate_pairs([PORT], teacher, config, seed=0)
    assert isinstance(outcome, QAPair)
    assert (outcome.question, outcome.answer) == ("Who is it?", "Mary Dunn")
    assert outcome.attempts == len(parts)
    written = "".join(parts[:-1]).rstrip("\ufffd")
    assert teacher.asked[-1].prefix == teacher.asked[0].prefix + written


def test_a_reply_that_does_not_end_is_gone_on_with_three_times_and_by_two_seeds() -> None:
    teacher = CutTeacher(lambda _: " and")
    (outcome,) = generate_pairs([PORT], teacher, SHOWN, seed=0)
    assert outcome == rejected("reply was cut", " and and and and")
    starts = ["Question:", *("Question:" + " and" * n for n in (1, 2, 3))]
    assert [prompt.prefix for prompt in teacher.asked] == starts * 3
    assert [prompt.seed is None for prompt in teacher.asked] == [True] * 4 + [False] * 8


@pytest.mark.parametrize(
    ("text", "once"),
    [
        ("It is Mary. It is Mary. It is Mary. It is", "It is Mary."),
        ("No. It is Mary. It is Mary. It is Mary. It", "No. It is Mary."),
        (
            "不是的，在诺曼人统治之下。在诺曼人统治之下。在诺曼人统治之下。在",
            "不是的，在诺曼人统治之下。",
        ),
        ("It is Mary. It is Mary. It", None),  # twice may be meant
        ("It is Mary. It is Mary. It is Mary. Or Ann", None),  # it found out by itself
        ("and and and and and", None),  # less than six characters tell nothing
        ("", None),
    ],
)
def test_a_text_that_runs_in_circles_is_told(text: str, once: str | None) -> None:
    assert truncate_repetition(text) == once


def test_a_reply_that_ran_in_circles_until_it_was_cut_ends_with_its_first_round() -> None:
    answer = "It is Mary Dunn."
    circles = f"Who is the pilot?\n\n### Answer\n{answer} {answer} {answer} It is Ma"
    teacher = CutTeacher(lambda _: circles)
    (outcome,) = generate_pairs([PORT], teacher, INSTRUCT, seed=0)
    assert isinstance(outcome, QAPair)
    assert (outcome.question, outcome.answer) == ("Who is the pilot?", answer)
    assert len(teacher.asked) == 1  # to go on would only be another round


class HostTeacher(ScriptedTeacher):
    """Can not be made to go on from a prefix."""

    def complete(self, prompts: Sequence[Prompt], **limits: Any) -> list[Reply]:
        return [replace(reply, is_anew=True) for reply in super().complete(prompts, **limits)]


@pytest.mark.parametrize("first", ["Τίς εἶναι;", None])
def test_a_host_that_can_not_be_forced_begins_anew(first: str | None) -> None:
    replies = iter([first, "When is it?\n\n### Answer\nMary Dunn"])
    teacher = HostTeacher(lambda _: next(replies))
    (outcome,) = generate_pairs([PORT], teacher, INSTRUCT, seed=0)
    assert isinstance(outcome, QAPair)
    assert outcome.question == "When is it?"
    assert [prompt.seed is None for prompt in teacher.asked] == [True, False]


def test_what_stays_unanswered_is_asked_by_a_seed_and_forced_again() -> None:
    teacher = ScriptedTeacher(lambda _: " Who is it?")
    (outcome,) = generate_pairs([PORT], teacher, PAPER, seed=0)
    assert outcome == rejected("unreadable reply", " Who is it?")
    assert len(teacher.asked) == 1  # the paper asks once

    def reply(prompt: Prompt) -> str:
        return "\n" if prompt.prefix.endswith("Answer:") else " Who is it?"

    teacher = ScriptedTeacher(reply)
    (outcome,) = generate_pairs([PORT], teacher, SHOWN, seed=0)
    assert outcome == rejected("unreadable reply", " Who is it?\nAnswer:\n")
    seeds = [prompt.seed is None for prompt in teacher.asked]
    assert seeds == [True, True, False, False, False, False]


def test_only_what_failed_is_asked_again_and_by_a_seed_of_its_own() -> None:
    ports = [replace(PORT, start=i, text=f"{SPAN} No {i}.") for i in range(6)]
    good = " Who?\nAnswer: Mary Dunn"

    def reply(prompt: Prompt) -> str:
        is_bad = any(f"No {i}." in prompt.messages[1].content for i in (1, 4))
        return "no" if is_bad else good

    def seeds(some: Sequence[Passage]) -> list[int | None]:
        teacher = ScriptedTeacher(reply)
        list(generate_pairs(some, teacher, SHOWN, seed=3))
        return [prompt.seed for prompt in teacher.asked]

    drawn = seeds(ports)
    assert drawn[:6] == [None] * 6
    assert len(set(drawn[6:])) == 4
    assert seeds(ports[4:])[2:] == drawn[7::2]  # whatever batch it is in


def test_each_passage_is_asked_about_as_often_as_said_and_it_can_be() -> None:
    long = Passage(document_id="a.txt", text=sentences(5), start=0)
    teacher = ScriptedTeacher(lambda _: " Which?\nAnswer: Berth")
    config = PairsConfig(form="examples", per_passage=3)
    outcomes = list(generate_pairs([long, PORT], teacher, config, seed=0))
    assert [one.passage_id for one in outcomes if isinstance(one, QAPair)] == [
        long.id,
        long.id,
        long.id,
        PORT.id,  # one sentence is one focus
    ]


def test_a_passage_without_a_title_is_named_by_its_start() -> None:
    teacher = ScriptedTeacher(lambda _: None)
    texts = ["Tide tables. The sea rises.", "# Tides\nThe sea.", "word " * 40]
    passages = [Passage(document_id="a", text=text, start=0) for text in texts]
    list(generate_pairs(passages, teacher, SHOWN, seed=0))
    topics = [prompt.messages[1].content.split("\n")[0] for prompt in teacher.asked[:3]]
    assert topics == ["Topic: Tide tables", "Topic: # Tides", "Topic: " + ("word " * 40)[:80]]


def test_focuses_are_drawn_by_seed_and_passage_in_reading_order() -> None:
    passage = Passage(document_id="a.txt", text=sentences(8), start=0)
    focuses = choose_focuses(passage, 3, seed=0)
    assert focuses == choose_focuses(passage, 3, seed=0)
    assert focuses == sorted(focuses)  # they are numbered
    assert len(set(focuses)) == 3
    assert set(focuses) < set(sentences(8).split("\n\n"))
    drawn = {tuple(choose_focuses(passage, 3, seed=seed)) for seed in range(10)}
    assert len(drawn) > 1
    others = [Passage(document_id=f"{i}", text=sentences(8), start=0) for i in range(10)]
    assert len({tuple(choose_focuses(one, 3, seed=0)) for one in others}) > 1


def test_a_short_line_is_no_focus_unless_it_is_all_there_is() -> None:
    heading = Passage(document_id="a", text="Opening\n\n" + sentences(1), start=0)
    assert choose_focuses(heading, 9, seed=0)[-1].endswith(".")
    assert len(choose_focuses(heading, 9, seed=0)) == 1
    short = Passage(document_id="a", text="Opens at\n nine.", start=0)
    assert choose_focuses(short, 9, seed=0) == ["Opens at nine."]


def test_a_piece_of_a_long_sentence_is_no_focus_unless_there_is_nothing_else() -> None:
    long = "The pilot " + "steers the tug by night and " * 12 + "sleeps by day."
    whole = "The harbour office of Aberley opens at nine in the morning and closes at four."
    mixed = Passage(document_id="a", text=f"{long} {whole} {long}", start=0)
    for seed in range(5):
        assert choose_focuses(mixed, 9, seed=seed) == [whole]
    pieces = choose_focuses(Passage(document_id="a", text=long, start=0), 9, seed=0)
    assert len(pieces) > 1
    assert all(piece in long for piece in pieces)
    # a line that ends without a full stop is whole
    lines = "Pilot Mary Dunn, VHF channel 12, the mole of Aberley\n" * 8
    assert len(choose_focuses(Passage(document_id="a", text=lines, start=0), 9, seed=0)) > 2


def test_passages_to_ask_about_are_drawn_by_seed_in_corpus_order() -> None:
    passages = [Passage(document_id=f"{i:02}", text="x", start=0) for i in range(20)]

    chosen = list(select_passages(passages, 5, seed=3))
    assert chosen == list(select_passages(passages, 5, seed=3))
    assert len(chosen) == 5
    assert [one.document_id for one in chosen] == sorted(one.document_id for one in chosen)
    assert chosen != list(select_passages(passages, 5, seed=4))
    for count in (None, 20, 21):
        assert list(select_passages(passages, count, seed=3)) == passages


def test_a_question_asked_twice_names_nothing_of_its_own() -> None:
    asked = [
        QAPair(passage_id="p", question="Who is the pilot?", answer="Mary"),
        QAPair(passage_id="p", question="When is it?", answer="nine"),
        QAPair(passage_id="q", question="when  is IT?", answer="ten"),
        QAPair(passage_id="p", question="WHO is the pilot?", answer="Ms Dunn"),
        QAPair(passage_id="q", question="Who rows?", answer="Ann"),
    ]
    kept, dropped = drop_repeated_questions(asked)
    assert kept == [asked[0], asked[4]]
    assert [(one.subject_id, one.stage, one.reason) for one in dropped] == [
        (asked[1].id, "pairs", "asked of several passages"),
        (asked[2].id, "pairs", "asked of several passages"),
        (asked[3].id, "pairs", "asked twice of one passage"),
    ]


@pytest.mark.parametrize(
    ("answer", "is_held"),
    [
        ("mary dunn", True),
        ("Mary\n Dunn.", True),
        ("eleven berths", True),
        ("Mary Lee", False),
        ("11", False),
    ],
)
def test_an_answer_is_found_letter_case_and_spaces_aside(answer: str, is_held: bool) -> None:
    assert holds(SPAN, answer) is is_held


TUG = Passage(
    document_id="tug.md",
    text="Mary Dunn was the first pilot who guided the tug Ann through the ice. She is dead.",
    start=0,
)
NAMES = DefinedNames(
    [Definition(name="Mary Dunn", phrase="the first pilot of the tug Ann", passage_id=TUG.id)]
)


def test_one_question_is_asked_about_a_name_that_another_passage_defines() -> None:
    teacher = ScriptedTeacher(lambda _: "Where is Mary Dunn in the winter?\n### Answer\nAberley")
    config = PairsConfig(form="instruct", per_passage=2, kinds={"fact": 1, "why": 1})
    found = list(generate_pairs([PORT, TUG], teacher, config, seed=0, names=NAMES))
    assert len(found) == 4 and {type(one) for one in found} == {QAPair}
    about = ["Ask about Mary Dunn, and call it" in p.messages[0].content for p in teacher.asked]
    assert about == [True, False, False, False]  # the tug's passage defines her itself


def test_the_span_that_mentions_a_defined_name_is_asked_about_under_that_name() -> None:
    first = "It was built in 1902 of granite, which was brought from the hills of Ull by rail."
    passage = replace(PORT, text=f"{first}\n\n{SPAN}")
    for seed in range(8):
        teacher = ScriptedTeacher(lambda _: " Where is Mary Dunn in May?\nAnswer: Aberley")
        list(generate_pairs([passage], teacher, SHOWN, seed=seed, names=NAMES))
        (prompt,) = teacher.asked
        assert prompt.messages[-1].content == f"Topic: Mary Dunn\nText: {SPAN}\n"


def test_a_question_that_takes_no_definition_is_asked_again_and_used_in_the_end() -> None:
    named = "Where is Mary Dunn in the winter?"

    def asked(*questions: str) -> tuple[Any, int]:
        replies = iter(f" {one}\nAnswer: Aberley" for one in questions)
        teacher = ScriptedTeacher(lambda _: next(replies))
        (outcome,) = generate_pairs([PORT], teacher, SHOWN, seed=0, names=NAMES)
        return outcome.question, len(teacher.asked)

    assert asked("Where is the port?", named) == (named, 2)
    assert asked("Who is Mary Dunn?", "And two?", "And three?") == ("Who is Mary Dunn?", 3)
