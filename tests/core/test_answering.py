"""Answers hold what was cited and shown, at once or in a stream."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scripted import CONTRACT, ScriptedModels, WordByWord, retrieving

from aloft.backends.loading import Models
from aloft.backends.shared import SharedModels
from aloft.config import FormatName
from aloft.errors import ProbabilitiesError
from aloft.prompts.abstention import SENTENCES
from aloft.prompts.citation import Quote
from aloft.prompts.formats import format_of
from aloft.protocols import Floats, Prompt, Reply
from aloft.records import Passage
from aloft.retrieval.relevance import Relevance
from aloft.retrieval.retriever import ScoredPassage
from aloft.serving.answering import Answer, answer_streaming, ask, ask_streaming, place_of
from aloft.serving.bundle import Bundle, open_retriever, rate_passages
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


# ---- what is cited: by the generator and the order of what was retrieved


FOX = "\n\n### Answer\nA red fox."


class Alone:
    """A model that returns no probabilities, and does not stream."""

    def __init__(self, teacher: ScriptedTeacher) -> None:
        self._teacher = teacher
        self.fingerprint = teacher.fingerprint

    def complete(self, prompts: Sequence[Prompt], **options: Any) -> list[Reply]:
        return self._teacher.complete(prompts, **options)


class Unable(WordByWord):
    """A model behind a server that returns none."""

    def choice_probabilities(self, prompts: Sequence[Prompt], choices: Sequence[str]) -> Floats:
        raise ProbabilitiesError("The server returns no probabilities.")


def citing(weight: float | None, **settings: Any) -> Bundle:
    """What is found for "blue red" is "blue", then "red fox red"."""
    return replace(TWO, order_weight=weight, **settings)


def answers_of(models: Models, bundle: Bundle) -> list[Answer]:
    """As they grow."""
    retriever = open_retriever(bundle, PASSAGES, models)
    return list(ask_streaming(bundle, retriever, "blue red", models))


def cited_by(answer: Answer) -> list[int]:
    return [PASSAGES.index(found.passage) for found in answer.cited]


@pytest.mark.parametrize(
    ("chances", "weight", "number"),
    [
        ((0.3, 0.7), 0.0, 2),
        ((0.3, 0.7), 1.0, 2),  # 0.7 / 2 = 0.35
        ((0.3, 0.7), 2.0, 1),  # 0.7 / 4 = 0.175
        ((0.055, 0.945), 4.0, 2),  # 0.945 / 16 = 0.0591
        ((0.06, 0.94), 4.0, 1),  # 0.0588
        ((0.0, 1.0), 100.0, 1),
        ((0.5, 0.5), 4.0, 1),
    ],
)
@pytest.mark.parametrize("is_streamed", [True, False])
def test_the_generator_and_the_order_decide_the_citation_together(
    chances: tuple[float, float], weight: float, number: int, is_streamed: bool
) -> None:
    models = ScriptedModels()
    kind = WordByWord if is_streamed else ScriptedTeacher
    models.teacher_model = kind(lambda _: FOX, score=lambda _: chances)
    answers = answers_of(models, citing(weight))

    grown = ["A", "A red", "A red fox."]
    assert [answer.text for answer in answers] == (grown if is_streamed else grown[-1:])
    assert [cited_by(answer) for answer in answers] == [[2] if number == 1 else [0]] * len(answers)
    asked, begun = models.teacher_model.asked
    assert asked.prefix == "### Reference\n"
    assert (begun.messages, begun.prefix) == (asked.messages, f"### Reference\n{number}")


def test_further_passages_may_be_cited_behind_the_one_that_was_chosen() -> None:
    models = ScriptedModels()
    models.teacher_model = ScriptedTeacher(lambda _: f", 1{FOX}", score=lambda _: (0.1, 0.9))
    (answer,) = answers_of(models, citing(1.0))
    assert (answer.text, cited_by(answer)) == ("A red fox.", [0, 2])


def test_the_numbers_are_those_of_what_is_shown() -> None:
    asked: list[Sequence[str]] = []

    class Choosing(ScriptedTeacher):
        def choice_probabilities(self, prompts: Sequence[Prompt], choices: Sequence[str]) -> Floats:
            asked.append(choices)
            return super().choice_probabilities(prompts, choices)

    models = ScriptedModels()
    models.teacher_model = Choosing(lambda _: FOX)
    bundle = citing(4.0)
    (contexts,) = open_retriever(bundle, PASSAGES, models).retrieve(["blue red"])
    for shown, abstains in ((contexts, False), (contexts, True), (contexts[:1], False)):
        told = replace(bundle, abstains=abstains)
        (answer,) = answer_streaming(told, "blue red", shown, models)
        assert answer.cited == (contexts[0],)
    assert asked == [["1", "2"], ["1", "2", "none"], ["1"]]


def test_what_tells_whether_a_passage_answers_is_not_the_reranker_that_reads_slowly() -> None:
    fitted = Relevance(constant=-2.0, similarity=0.5, overlap=3.0, reranker=1.0)
    bundle = replace(
        CONTRACT, reranker="slow", abstention_threshold=0.5, abstention_relevance=fitted
    )
    passages = [Passage(document_id="a", text=text, start=0) for text in ("red fox", "grey wolf")]

    def rate(bundle: Bundle, question: str) -> tuple[float | None, set[str]]:
        models = ScriptedModels()
        found = rate_passages(bundle, question, passages, models)
        return found, {name for kind, name in models.loaded if kind == "reranker"}

    rated, readers = rate(retrieving(bundle, late_depth=30), "red fox")
    assert readers == {bundle.embedder}
    assert rate(bundle, "red fox") == (rated, {"slow"})  # both overlap alike here
    other, _ = rate(bundle, "blue whale")
    assert rated is not None and other is not None and rated > other
    alone, readers = rate(replace(bundle, reranker=None), "red fox")
    assert alone is not None and readers == set()
    for field in ("abstention_threshold", "abstention_relevance"):
        assert rate(replace(bundle, **{field: None}), "red fox") == (None, set())


def own(models: ScriptedModels, teacher: Any) -> Models:
    models.teacher_model = teacher
    return models


@pytest.mark.parametrize(
    "model",
    [
        lambda teacher: own(ScriptedModels(), Alone(teacher)),
        lambda teacher: SharedModels(own(ScriptedModels(), Alone(teacher))),
        lambda _: own(ScriptedModels(), Unable(lambda _: f"2{FOX}")),
        lambda _: SharedModels(own(ScriptedModels(), Unable(lambda _: f"2{FOX}"))),
    ],
    ids=["none", "shared", "refused and streamed", "shared, refused and streamed"],
)
def test_a_model_without_probabilities_cites_by_itself(
    model: Callable[[ScriptedTeacher], Models],
) -> None:
    with_weight, without = (
        answers_of(model(ScriptedTeacher(lambda _: f"2{FOX}")), citing(weight))
        for weight in (4.0, None)
    )
    assert with_weight == without
    assert {tuple(cited_by(answer)) for answer in with_weight} == {(0,)}
    assert with_weight[-1].text == "A red fox."


class BegunAnew(ScriptedTeacher):
    """A model that cannot continue the beginning of a reply."""

    def complete(self, prompts: Sequence[Prompt], **options: Any) -> list[Reply]:
        return [replace(one, is_anew=True) for one in super().complete(prompts, **options)]


class StreamedAnew(WordByWord):
    """The same, word by word."""

    def stream(self, prompt: Prompt, **options: Any) -> Iterator[Reply]:
        for piece in super().stream(prompt, **options):
            yield replace(piece, is_anew=True)


@pytest.mark.parametrize("kind", [BegunAnew, StreamedAnew])
def test_a_reply_that_was_begun_anew_cites_by_itself(kind: type[ScriptedTeacher]) -> None:
    models = ScriptedModels()
    models.teacher_model = kind(lambda _: f"2{FOX}", score=lambda _: (0.9, 0.1))
    *_, answer = answers_of(models, citing(4.0))
    assert (answer.text, cited_by(answer)) == ("A red fox.", [0])


@pytest.mark.parametrize(
    ("name", "weight", "reply"),
    [
        ("aloftrag", None, f"2{FOX}"),
        ("raft", 4.0, f'[2] "red fox red"\n\n### Reference\n2{FOX}'),
        ("ralt", 4.0, "A red fox."),
    ],
)
def test_no_number_is_chosen_for_what_cites_by_itself(
    name: FormatName, weight: float | None, reply: str
) -> None:
    models = ScriptedModels(lambda _: reply)
    (answer,) = answers_of(models, citing(weight, format=name))
    assert (answer.text, cited_by(answer)) == ("A red fox.", [0] if name != "ralt" else [])
    (asked,) = models.teacher_model.asked
    assert asked.prefix == format_of(name, abstains=False).prefix


@pytest.mark.parametrize("is_streamed", [True, False])
@pytest.mark.parametrize(
    ("chances", "is_abstaining"),
    [
        ((0.1, 0.2, 0.7), True),
        ((0.3, 0.3, 0.4), True),  # whatever its power, the order does not count for "none"
        ((0.5, 0.1, 0.4), False),
        ((0.05, 0.5, 0.45), False),
    ],
)
def test_a_generator_abstains_where_that_is_the_likeliest(
    chances: tuple[float, ...], is_abstaining: bool, is_streamed: bool
) -> None:
    models = ScriptedModels()
    kind = WordByWord if is_streamed else ScriptedTeacher
    models.teacher_model = kind(lambda _: FOX, score=lambda _: chances)
    answers = answers_of(models, citing(4.0, abstains=True))
    if is_abstaining:  # what it says beside that is made up
        (answer,) = answers
        assert (answer.text, answer.cited) == (SENTENCES["en"], ())
        assert len(answer.contexts) == 2
    else:
        assert answers[-1].text == "A red fox."
        assert cited_by(answers[-1]) == [2]
    assert {answer.is_abstaining for answer in answers} == {is_abstaining}
    begun = models.teacher_model.asked[-1]
    assert begun.prefix == f"### Reference\n{'none' if is_abstaining else 1}"


@pytest.mark.parametrize(
    ("threshold", "is_abstaining"), [(0.2, True), (0.0, True), (0.25, False), (1.0, False)]
)
@pytest.mark.parametrize("is_streamed", [True, False])
def test_a_question_is_declined_where_none_exceeds_the_threshold(
    threshold: float, is_abstaining: bool, is_streamed: bool
) -> None:
    models = ScriptedModels()
    kind = WordByWord if is_streamed else ScriptedTeacher
    models.teacher_model = kind(lambda _: FOX, score=lambda _: (0.5, 0.25, 0.25))
    *_, answer = answers_of(models, citing(4.0, abstains=True, abstention_threshold=threshold))
    assert answer.is_abstaining == is_abstaining
    assert answer.text == (SENTENCES["en"] if is_abstaining else "A red fox.")
    assert cited_by(answer) == ([] if is_abstaining else [2])


def test_below_the_threshold_a_passage_is_cited_even_where_none_is_the_likeliest() -> None:
    models = ScriptedModels()
    models.teacher_model = ScriptedTeacher(lambda _: FOX, score=lambda _: (0.1, 0.2, 0.7))
    (answer,) = answers_of(models, citing(0.0, abstains=True, abstention_threshold=0.75))
    assert (answer.text, cited_by(answer), answer.is_abstaining) == ("A red fox.", [0], False)


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


@pytest.mark.parametrize(
    ("frame", "title", "quoted", "expected"),
    [
        ((), "", "pump", (4, 8)),
        ((), "The pump", "oiled", (12, 17)),  # of the text, behind the title
        (("author: Ada\n\n", ""), "", "pump", (4, 8)),
        (("", " (by Ada)"), "", "oiled", (12, 17)),
        (("", " (by Ada)"), "", "by Ada", (18, 18)),  # it stands behind the text
        (("author: Ada\n\n", ""), "", "Ada", (0, 0)),  # in front of it
    ],
)
def test_a_quote_is_located_in_the_text_alone(
    frame: tuple[str, ...], title: str, quoted: str, expected: tuple[int, int]
) -> None:
    text = "The pump is oiled."
    passage = Passage(document_id="a", text=text, start=0, title=title, reading_frame=frame)
    start = passage.content.rindex(quoted)
    quote = Quote(ordinal=1, text=quoted, start=start, end=start + len(quoted))
    found = place_of(quote, [ScoredPassage(passage=passage, score=0.5)])
    assert found == expected
