"""Answers hold what was cited and shown, at once or in a stream."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scripted import CONTRACT, ScriptedModels, WordByWord, retrieving

from aloft.config import FormatName
from aloft.prompts.abstention import SENTENCES
from aloft.protocols import Prompt, Reply
from aloft.records import Passage
from aloft.serving.answering import Answer, answer_streaming, ask, ask_streaming
from aloft.serving.bundle import Bundle, open_retriever
from aloft.testing import ScriptedTeacher

TEXTS = ("red fox red", "red whale blue whale", "blue", "grey wolf")
PASSAGES = [Passage(document_id="a", text=text, start=0) for text in TEXTS]
TWO = retrieving(CONTRACT, count=2)


def ask_about(bundle: Bundle, question: str, models: ScriptedModels) -> Answer:
    """The answer from the passages above."""
    return ask(bundle, open_retriever(bundle, PASSAGES, models), question, models)


def test_an_answer_holds_what_was_cited_and_all_that_was_shown() -> None:
    def reply(prompt: Prompt) -> str:
        assert "### 1\nblue\n\n### 2\nred fox red" in prompt.messages[-1].content
        return "2\n\n### Answer\nA fox."

    models = ScriptedModels(reply)
    contract = replace(TWO, adapter="some/adapter")
    answer = ask_about(contract, "blue red", models)

    assert answer.text == "A fox."
    assert [found.passage for found in answer.cited] == [PASSAGES[0]]
    assert [found.passage for found in answer.contexts] == [PASSAGES[2], PASSAGES[0]]
    assert models.adapters == [Path("some/adapter")]


@pytest.mark.parametrize(
    ("name", "reply", "expected"),
    [
        ("aloftrag", "2, 1\n\n### Answer\nA red fox.", ["A", "A red", "A red fox."]),
        ("ralt", "A red fox.", ["A", "A red", "A red fox."]),
        ("aloftrag", "I do not know.", ["I do not know."]),  # it never gets to its answer
    ],
)
def test_a_streamed_answer_grows_to_the_one_that_is_given_at_once(
    name: FormatName, reply: str, expected: list[str]
) -> None:
    models = ScriptedModels()
    models.teacher_model = WordByWord(lambda _: reply)
    bundle = replace(TWO, format=name)
    retriever = open_retriever(bundle, PASSAGES, models)
    answers = list(ask_streaming(bundle, retriever, "blue red", models))

    assert [answer.text for answer in answers] == expected
    models.teacher_model = ScriptedTeacher(lambda _: reply)
    assert answers[-1] == ask(bundle, retriever, "blue red", models)
    cited = [PASSAGES[0], PASSAGES[2]] if reply.startswith("2") else []
    assert [[found.passage for found in answer.cited] for answer in answers] == [cited] * len(
        answers
    )


def test_a_generator_is_stopped_where_its_format_ends() -> None:
    stops = []

    class Stopped(ScriptedTeacher):
        def complete(self, prompts: Sequence[Prompt], **options: Any) -> list[Reply]:
            stops.append(options["stop"])
            return super().complete(prompts, **options)

    models = ScriptedModels()
    models.teacher_model = Stopped(lambda prompt: "A fox.\n\n### Note")
    answer = ask_about(replace(CONTRACT, format="ralt"), "red", models)

    assert answer.text == "A fox."
    assert stops == [("\n### ",)]


# ---- abstaining


@pytest.mark.parametrize("name", ["aloftrag", "raft", "ralt"])
@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("In which year was the harbour of Oban built?", "en"),
        ("In welchem Jahr wurde der Hafen von Oban gebaut?", "de"),
        ("En quelle année le port d'Oban a-t-il été construit ?", "fr"),
        ("オーバンの港は何年に建設されましたか?", "ja"),
        ("4711", "en"),  # no language stands out
    ],
)
def test_where_nothing_was_retrieved_no_model_is_asked(
    name: FormatName, question: str, expected: str
) -> None:
    models = ScriptedModels(lambda _: "none\n\n### Answer\n2018")
    bundle = replace(CONTRACT, format=name)
    (answer,) = answer_streaming(bundle, question, [], models)
    assert answer == Answer(text=SENTENCES[expected], cited=(), contexts=(), is_abstaining=True)
    assert models.loaded == []


def test_an_empty_corpus_is_abstained_from() -> None:
    models = ScriptedModels()
    answer = ask(CONTRACT, open_retriever(CONTRACT, [], models), "Who signs?", models)
    assert (answer.text, answer.is_abstaining) == (SENTENCES["en"], True)
    assert models.loaded == []


@pytest.mark.parametrize(
    ("name", "reply"),
    [
        ("aloftrag", "none\n\n### Answer\n2018"),
        ("aloftrag", "none"),
        ("aloftrag", "none\n\n### Answer\n"),
        ("raft", "none\n\n### Reference\nnone\n\n### Answer\nThe answer is: none"),
        ("raft", '[1] "blue"\n\n### Reference\nnone\n\n### Answer\nIt was opened in 2018.'),
    ],
)
@pytest.mark.parametrize("is_streamed", [True, False])
def test_what_is_marked_as_abstaining_reads_so(
    name: FormatName, reply: str, is_streamed: bool
) -> None:
    models = ScriptedModels()
    models.teacher_model = (WordByWord if is_streamed else ScriptedTeacher)(lambda _: reply)
    bundle = replace(TWO, format=name)
    retriever = open_retriever(bundle, PASSAGES, models)
    answers = list(ask_streaming(bundle, retriever, "Wann wurde der Hafen eröffnet?", models))
    assert [(one.text, one.cited, one.is_abstaining) for one in answers] == [
        (SENTENCES["de"], (), True)
    ]
    assert [found.passage for found in answers[0].contexts] != []


def test_a_generators_own_sentence_stays() -> None:
    reply = f"none\n\n### Answer\n{SENTENCES['fi']}"
    models = ScriptedModels(lambda _: reply)
    answer = ask_about(CONTRACT, "When was it built?", models)
    assert (answer.text, answer.is_abstaining) == (SENTENCES["fi"], True)
