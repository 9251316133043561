"""What ships answers through the command line and both hosts as the evaluator measured."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scripted import long_words, still_models, write_topics

from aloft.cli import main
from aloft.config import RunConfig, check_config
from aloft.evaluation.evaluator import Evaluator, SystemVariant
from aloft.prompts.citation import CitedAnswer
from aloft.run.job import open_run
from aloft.serving.answering import ask_run
from aloft.serving.bundle import write_bundle
from aloft.testing import ScriptedTeacher

pytestmark = pytest.mark.model
CONTEXTS = 3


def measured_answers(evaluator: Evaluator, variant: SystemVariant) -> dict[str, tuple[str, Any]]:
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
    remembering.measure_end_to_end("synthetic", ranking, "tuned", None)
    columns = dict(zip(asked, ranking.columns.tolist(), strict=True))
    return {
        question: (
            answer.answer,
            [evaluator.passages[columns[question][number - 1]].id for number in answer.ordinals],
        )
        for question, answer in said.items()
    }


def test_answers_are_served_as_they_were_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
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
            "training_sets": {"contexts": CONTEXTS, "max_generator_rows": 8},
            "embedder_training": {"num_train_epochs": 1.0, "max_seq_length": 64},
            "generator_training": {"learning_rate": 2e-3, "r": 4},
            "evaluation": {"rerank_depth": 5, "max_new_tokens": 48},
        }
    )
    folder = tmp_path / "run"
    with open_run(folder, config, ScriptedTeacher(long_words)) as run:
        run.give(write_topics(tmp_path / "docs"))
        run.train()
        evaluator = run.evaluator
        variant = ship(folder, config, evaluator)
        expected = measured_answers(evaluator, variant)
        passages = {passage.id: passage for passage in evaluator.passages}
    assert len({text for text, _ in expected.values()}) > 1
    assert any(cited != expected[next(iter(expected))][1] for _, cited in expected.values())

    engine, chain = AloftCitationQueryEngine.from_run(folder), create_citation_chain(folder)
    for question, (text, cited) in expected.items():
        *_, answer = ask_run(folder, question)
        assert (answer.text, [found.passage.id for found in answer.cited]) == (text, cited)

        response: Any = engine.query(question)
        assert (response.response or "") == text
        assert [node.get_content() for node in response.source_nodes] == [
            passages[i].text for i in cited
        ]

        told = chain.invoke(question)
        assert told["answer"] == text
        assert [one.page_content for one in told["citations"]] == [passages[i].text for i in cited]

        capsys.readouterr()
        assert main(["ask", str(folder), question]) == 0
        shown = letters(capsys.readouterr().out)
        assert letters(text) in shown
        assert all(letters(passages[i].content) in shown for i in cited)


def letters(text: str) -> str:
    """A text as any terminal shows it: line breaks and what acts on a terminal aside."""
    return "".join(re.findall(r"\w", re.sub(r"\\x[0-9a-f]{2}", "", text)))


def ship(folder: Path, config: RunConfig, evaluator: Evaluator) -> SystemVariant:
    """Ship both trained parts, whatever they are worth."""
    (variant,) = [v for v in evaluator.measure_variants(["embedder"]) if v.parts == ("embedder",)]
    weight = evaluator.order_weight("tuned")
    assert weight is not None
    variant = replace(variant, parts=("embedder", "generator"), order_weight=weight)
    write_bundle(folder, config, variant)
    return variant
