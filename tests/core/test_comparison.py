"""All strategies on one small corpus, with tiny real models: the work they share is done once."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from scripted import long_words, write_topics

from aloft.backends.loading import Models
from aloft.backends.sentence_transformers import SentenceTransformersEmbedder
from aloft.config import RunConfig, check_config, read_run_config
from aloft.config.strategies import STRATEGIES
from aloft.jsonl import RecordFile
from aloft.protocols import LanguageModel
from aloft.records import Passage
from aloft.run.comparison import METRICS, compare_strategies
from aloft.run.job import open_run, read_funnel
from aloft.testing import ScriptedTeacher, tiny_encoder, tiny_language_model

pytestmark = pytest.mark.model


@pytest.fixture
def teacher(monkeypatch: pytest.MonkeyPatch) -> ScriptedTeacher:
    """Stands in for the model that the configuration names."""
    scripted = ScriptedTeacher(long_words)

    def given(models: Models, name: str) -> LanguageModel:
        return scripted

    monkeypatch.setattr(Models, "teacher", given)
    return scripted


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_topics(tmp_path / "docs")


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    """Everything small."""
    steps: dict[str, Any] = {"num_train_epochs": 1.0, "per_device_train_batch_size": 4}
    return check_config(
        {
            "teacher": str(tiny_language_model(tmp_path / "language-model")),
            "embedder": str(tiny_encoder(tmp_path / "encoder")),
            "passages": {"max_tokens": 200},
            "ratings": {"method": "none"},
            "pairs": {"form": "examples", "per_passage": 1, "max_passages": 16},
            "filters": {"use": ["duplicate"]},
            "negatives": {"count": 4, "depth": 20},
            "training_sets": {"contexts": 2, "held_out_share": 0.25, "max_generator_rows": 8},
            "embedder_training": {**steps, "learning_rate": 1e-3},
            "generator_training": {**steps, "r": 4, "max_length": 4096},
            "rag_training": {"k": 2},
            "evaluation": {"max_answer_questions": 3, "max_new_tokens": 8, "resamples": 200},
        }
    )


def test_all_strategies_run_to_the_end_on_the_same_pairs(
    tmp_path: Path, corpus: Path, config: RunConfig, teacher: ScriptedTeacher
) -> None:
    out = tmp_path / "out"
    compared = compare_strategies(corpus, out, config, list(STRATEGIES))
    assert [row["strategy"] for row in compared["rows"]] == ["base", *STRATEGIES]
    assert all(set(row["metrics"]) == set(METRICS.values()) for row in compared["rows"])
    assert json.loads((out / "compare.json").read_bytes())["rows"] == compared["rows"]
    assert (out / "compare.md").read_text().count("\n| ") == 2 + 1 + len(STRATEGIES)
    asked = len(teacher.asked)
    sets = {(out / name / "sets" / "train.jsonl").read_bytes() for name in ("base", *STRATEGIES)}
    assert asked == 16 and len(sets) == 1

    texts = [p.content for p in RecordFile(out / "base" / "passages.jsonl", Passage)[:4]]
    before = SentenceTransformersEmbedder(config.embedder).encode_passages(texts)
    for name in STRATEGIES:
        trained = SentenceTransformersEmbedder(str(out / name / "embedder"))
        assert (trained.encode_passages(texts) == before).all(), name
        assert (out / name / "generator").is_dir() == (name != "lsr")
        assert read_run_config(out / name).strategy == name


def test_it_goes_on_where_it_stopped_and_each_can_be_shipped(
    tmp_path: Path, corpus: Path, config: RunConfig, teacher: ScriptedTeacher
) -> None:
    out = tmp_path / "out"

    class StoppedError(Exception):
        pass

    told: list[str] = []

    def stop(stage: str, _done: int, _total: int) -> None:
        told.append(stage)
        if stage == "training the embedder" and "training the embedder and generator" in told:
            raise StoppedError

    with pytest.raises(StoppedError):
        compare_strategies(corpus, out, config, ["joint", "lsr"], None, stop)
    asked, trained = len(teacher.asked), (out / "joint" / "embedder.jsonl").read_bytes()
    first = compare_strategies(corpus, out, config, ["joint", "lsr"])
    assert len(teacher.asked) == asked
    assert (out / "joint" / "embedder.jsonl").read_bytes() == trained
    again = compare_strategies(corpus, out, config, ["joint", "lsr"], None, stop)
    assert again["rows"] == first["rows"]

    with open_run(out / "joint") as run:
        report = run.report()
    assert [verdict.part for verdict in report.verdicts] == ["embedder", "generator"]
    assert report.parts["generator"].seconds == 0  # told once, of both
    assert "embedder" in {row.stage for row in read_funnel(out / "joint")}  # one line for both
    with open_run(out / "lsr") as run:
        assert not run.runner.plan(["sets", "embedder"]).missing


def test_other_rates_train_again_and_ask_nothing(
    tmp_path: Path, corpus: Path, config: RunConfig, teacher: ScriptedTeacher
) -> None:
    def fingerprints(settings: RunConfig, names: Sequence[Any]) -> list[str]:
        compare_strategies(corpus, tmp_path / "out", settings, names)
        files = [tmp_path / "out" / name / "embedder.jsonl" for name in names]
        return [json.loads(file.read_bytes())["fingerprint"] for file in files]

    (first,) = fingerprints(config, ["lsr"])
    asked = len(teacher.asked)
    hotter = config.rag_training.model_copy(update={"temperature": 5.0})
    (second,) = fingerprints(config.model_copy(update={"rag_training": hotter}), ["lsr"])
    assert first != second
    assert len(teacher.asked) == asked
