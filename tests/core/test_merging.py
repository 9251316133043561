"""A generator that ships whole, by merging or by training it so, on tiny real models."""

from pathlib import Path
from typing import Any

import pytest
from scripted import long_words, write_topics

from aloft.backends.loading import Models
from aloft.backends.transformers import TransformersLanguageModel
from aloft.config import RunConfig, load_config
from aloft.evaluation.systems import System, SystemVariant
from aloft.jsonl import RecordFile
from aloft.records import GeneratorRow
from aloft.retrieval.fusion import CoverageShare
from aloft.run.job import open_run
from aloft.serving.answering import ask
from aloft.serving.bundle import Bundle, open_run_retriever, read_bundle, write_bundle
from aloft.testing import ScriptedTeacher, tiny_encoder, tiny_language_model

pytestmark = pytest.mark.model


def train(tmp_path: Path, **training: Any) -> tuple[Path, Bundle]:
    """A run whose trained generator ships, whatever the gate would say."""
    settings = {
        "generator": str(tiny_language_model(tmp_path / "language-model")),
        "embedder": str(tiny_encoder(tmp_path / "encoder")),
        "parts": ("generator",),
        "passages": {"max_tokens": 200},
        "pairs": {"form": "examples", "per_passage": 1, "max_passages": 8},
        "filters": {"use": ["duplicate"]},
        "training_sets": {"contexts": 2, "held_out_share": 0.25},
        "generator_training": {"num_train_epochs": 20.0, "learning_rate": 1e-2, **training},
        "evaluation": {"max_answer_questions": 3, "max_new_tokens": 8},
    }
    config: RunConfig = load_config("cpu", None, settings)
    run_folder = tmp_path / "run"
    with open_run(run_folder, config, ScriptedTeacher(long_words)) as run:
        run.give(write_topics(tmp_path / "docs"))
        run.train()
        measured = run.evaluator.measure_answers("synthetic", "tuned")["all"]
        assert measured.n == 2  # a quarter of eight
    stack = SystemVariant(
        parts=("generator",),
        system=System("dense", "base", "none"),
        dense_share=CoverageShare.constant(1.0),
        rerank_share=CoverageShare.constant(1.0),
        question_set="synthetic",
        metrics={},
        n=3,
    )
    write_bundle(run_folder, config, stack)
    return run_folder, read_bundle(run_folder / "models")


def test_an_adapter_becomes_a_model_that_replies_alike(tmp_path: Path) -> None:
    from aloft.training.merging import merge_adapter

    run, contract = train(tmp_path, r=8)
    assert contract.adapter is not None
    whole = tmp_path / "whole"
    rows = RecordFile(run / "sets" / "generator.jsonl", GeneratorRow)[:4]
    change = merge_adapter(contract.generator, Path(contract.adapter), whole, rows)
    assert 0 <= change < 0.1
    files = {file.name for file in (tmp_path / "language-model").iterdir()}
    assert {file.name for file in whole.iterdir()} == files
    TransformersLanguageModel(str(whole))


def test_a_generator_trained_whole_is_measured_ships_and_answers(tmp_path: Path) -> None:
    run, contract = train(tmp_path, method="full", learning_rate=1e-3)
    assert (contract.generator, contract.adapter) == (str(run / "models" / "generator"), None)
    models = Models()
    assert ask(contract, open_run_retriever(run, models), "What is told?", models).contexts
