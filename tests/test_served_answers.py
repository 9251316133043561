"""What ships answers through the command line and both hosts as the evaluator measured."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scripted import long_words, still_models, write_topics

from aloft.cli import main
from aloft.config import RunConfig, check_config
from aloft.evaluation.answer_metrics import UNANSWERABLE
from aloft.evaluation.evaluator import Evaluator
from aloft.evaluation.splits import Fold
from aloft.evaluation.systems import SystemVariant
from aloft.prompts.abstention import abstain_in, is_abstention
from aloft.prompts.citation import CitedAnswer
from aloft.run.job import open_run
from aloft.serving.answering import ask_run
from aloft.serving.bundle import write_bundle
from aloft.testing import ScriptedTeacher
from aloft.text.language import language_of

pytestmark = pytest.mark.model
CONTEXTS = 8


NOWHERE = ("What is the harbour of Oban?", "Which yield is meant?", "Who runs the lambda shop?")


def measured_answers(
    evaluator: Evaluator, variant: SystemVariant
) -> dict[str, tuple[str, list[str], bool]]:
    """By question, what the evaluator reads in the replies that it measures, and what it cites."""
    said: dict[str, CitedAnswer] = {}
    form, reply = evaluator.form, evaluator.reply
    asked = [one.question for one in evaluator.questions["synthetic"]]

    def remember(which: str, prompts: Any) -> list[str]:
        replies = reply(which, prompts)
        for prompt, text in zip(prompts, replies, strict=True):
            question = prompt.messages[-1].content.rpartition("### Question\n")[2]
            number = prompt.prefix.removeprefix(form.prefix)
            said[question] = form.parse(number + text, ["?"] * CONTEXTS)
        return replies

    ranking = evaluator.retriever(variant.system).rank(asked)
    remembering = replace(evaluator, reply=remember)
    remembering.measure_end_to_end("synthetic", variant.system, ranking, "tuned", None)
    columns = dict(zip(asked, ranking.columns.tolist(), strict=True))
    return {
        question: (
            said_plainly(question, answer),
            [evaluator.passages[columns[question][number - 1]].id for number in answer.ordinals],
            answer.is_abstaining,
        )
        for question, answer in said.items()
    }


def said_plainly(question: str, answer: CitedAnswer) -> str:
    """An answer; beside "none" it is made up, and the sentence that says so takes its place."""
    if answer.is_abstaining and not is_abstention(answer.answer):
        return abstain_in(language_of(question))
    return answer.answer


@pytest.mark.parametrize("abstains", [False, True])
def test_answers_are_served_as_they_were_measured(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    abstains: bool,
) -> None:
    from langchain_aloft import create_citation_chain
    from llama_index_aloft import AloftCitationQueryEngine

    models = still_models(tmp_path, monkeypatch)
    config = check_config(
        {
            "teacher": str(models / "language-model"),
            "embedder": str(models / "encoder"),
            "parts": ("embedder", "generator"),
            "pairs": {"form": "examples", "per_passage": 1, "max_passages": 24},
            "passages": {"max_tokens": 60},
            "filters": {"use": ["duplicate"]},
            "training_sets": {
                "contexts": CONTEXTS,
                "max_generator_rows": 8,
                "abstaining_share": 0.25 if abstains else 0.0,
            },
            "embedder_training": {"num_train_epochs": 1.0, "max_seq_length": 64},
            "generator_training": {"learning_rate": 2e-3, "r": 4},
            "evaluation": {"rerank_depth": 5, "max_new_tokens": 48, "answered_share": 0.1},
        }
    )
    folder = tmp_path / "run"
    with open_run(folder, config, ScriptedTeacher(long_words)) as run:
        run.give(write_topics(tmp_path / "docs"))
        run.train()
        evaluator = undivided(run.evaluator)
        (variant,) = [v for v in evaluator.measure_variants(["embedder"]) if v.parts]
        expected = measured_answers(evaluator, variant)
        ship(folder, config, evaluator, variant)
        passages = {passage.id: passage for passage in evaluator.passages}
        rule = evaluator.citation_rule("tuned")
        declined = rule and evaluator.measure_declined(variant.system, "tuned", rule)
    assert len({text for text, *_ in expected.values()}) > 1
    assert len({tuple(cited) for _, cited, _ in expected.values()}) > 1
    assert {is_abstaining for *_, is_abstaining in expected.values()} == {False, abstains}

    engine, chain = AloftCitationQueryEngine.from_run(folder), create_citation_chain(folder)
    for question, (text, cited, is_abstaining) in expected.items():
        *_, answer = ask_run(folder, question)
        assert (answer.text, [found.passage.id for found in answer.cited]) == (text, cited)
        assert answer.is_abstaining == is_abstaining

        response: Any = engine.query(question)
        assert (response.response or "") == text
        assert response.metadata["is_abstaining"] == is_abstaining
        assert [node.get_content() for node in response.source_nodes] == [
            passages[i].text for i in cited
        ]

        told = chain.invoke(question)
        assert (told["answer"], told["is_abstaining"]) == (text, is_abstaining)
        assert [one.page_content for one in told["citations"]] == [passages[i].text for i in cited]

        capsys.readouterr()
        assert main(["ask", str(folder), question]) == 0
        shown = letters(capsys.readouterr().out)
        assert letters(text) in shown
        assert all(letters(passages[i].content) in shown for i in cited)
    assert (declined is not None) == abstains
    as_measured = declined.values[UNANSWERABLE] if declined else []
    for question, is_declined in zip(NOWHERE, as_measured, strict=False):
        *_, answer = ask_run(folder, question)
        assert answer.is_abstaining == bool(is_declined)


def letters(text: str) -> str:
    """A text as any terminal shows it: line breaks and what acts on a terminal aside."""
    return "".join(re.findall(r"\w", re.sub(r"\\x[0-9a-f]{2}", "", text)))


def undivided(evaluator: Evaluator) -> Evaluator:
    """All questions are measured with what is chosen on all of them, as what ships is."""
    rows = tuple(range(len(evaluator.questions["synthetic"])))
    split = replace(evaluator.splits["synthetic"], folds=(Fold(choosing=rows, reported=rows),))
    return replace(evaluator, splits={"synthetic": split}, unanswerable=NOWHERE)


def ship(folder: Path, config: RunConfig, evaluator: Evaluator, variant: SystemVariant) -> None:
    """Ship both trained parts, whatever they are worth."""
    rule = evaluator.citation_rule("tuned")
    assert rule is not None
    assert (rule.threshold is not None) == config.training_sets.abstains
    assert (rule.relevance is not None) == config.training_sets.abstains
    answering = {
        "order_weight": rule.order_weight,
        "abstention_threshold": rule.threshold,
        "abstention_relevance": rule.relevance,
    }
    write_bundle(folder, config, replace(variant, parts=("embedder", "generator"), **answering))
