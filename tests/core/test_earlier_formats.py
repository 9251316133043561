"""Run folders and bundles that earlier versions wrote are read, and answer."""

import json
import shutil
from pathlib import Path

import pytest

from aloft.cli import main
from aloft.config.loading import read_run_config
from aloft.jsonl import RecordFile
from aloft.records import Document, LabelledQuestion, Negatives, Passage, QAPair
from aloft.retrieval.fusion import CoverageShare
from aloft.retrieval.retriever import RetrievalSettings
from aloft.serving.bundle import open_retriever, open_run_retriever, read_bundle

QUESTION = "When was the lighthouse of Dunbar opened?"


@pytest.fixture
def format_0(tmp_path: Path) -> Path:
    """A copy, so that nothing is written beside the test."""
    source = Path(__file__).parents[1] / "fixtures" / "format-0"
    return Path(shutil.copytree(source, tmp_path / "format-0"))


def test_a_bundle_of_format_0_opens_with_its_parts(format_0: Path) -> None:
    bundle = read_bundle(format_0 / "run")
    models = format_0 / "run" / "models"
    assert bundle.embedder == str(models / "embedder")
    assert bundle.reranker == str(models / "reranker")
    assert bundle.adapter == str(models / "generator")
    assert bundle.generator == str(format_0 / "language-model")
    assert bundle.retrieval == RetrievalSettings(
        retriever="hybrid",
        dense_share=CoverageShare.constant(0.4),
        rerank_depth=4,
        rerank_share=CoverageShare.constant(1.0),
        count=2,
    )
    assert (bundle.contexts, bundle.max_new_tokens, bundle.format) == (2, 8, "aloftrag")


def test_a_bundle_of_format_0_without_trained_parts_finds_its_base_models(format_0: Path) -> None:
    bundle = read_bundle(format_0 / "bundle")
    assert bundle.embedder == str(format_0 / "encoder")
    assert bundle.generator == str(format_0 / "language-model")
    assert (bundle.reranker, bundle.adapter) == (None, None)


def test_a_run_of_format_0_reports(format_0: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(format_0 / "run")]) == 0
    shown = capsys.readouterr().out
    stages = ("documents", "passages", "ratings", "pairs", "filters", "negatives", "sets")
    assert all(stage in shown for stage in (*stages, "embedder", "reranker", "generator"))
    assert "refused" in shown.lower()


def test_records_and_settings_of_format_0_are_read(format_0: Path) -> None:
    run = format_0 / "run"
    assert len(list(RecordFile(run / "documents.jsonl", Document))) == 8
    assert len(list(RecordFile(run / "passages.jsonl", Passage))) == 8
    assert list(RecordFile(run / "filtered.jsonl", QAPair))
    assert list(RecordFile(run / "negatives.jsonl", Negatives))
    assert list(RecordFile(run / "sets" / "held_out.jsonl", LabelledQuestion))
    config = read_run_config(format_0 / "run")
    assert (config.embedder, config.seed, config.pairs.min_rating) == ("encoder", 3, 8.0)


@pytest.mark.model
def test_a_run_of_format_0_retrieves_and_answers(
    format_0: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (found,) = open_run_retriever(format_0 / "run").retrieve([QUESTION])
    assert len(found) == 2
    passages = RecordFile(format_0 / "run" / "passages.jsonl", Passage)
    (other,) = open_retriever(read_bundle(format_0 / "bundle"), passages).retrieve([QUESTION], 1)
    assert "Dunbar" in other[0].passage.text  # BM25 finds the name

    assert main(["ask", str(format_0 / "run"), QUESTION]) == 0
    assert capsys.readouterr().out.strip()


@pytest.mark.model
def test_a_run_continues_from_a_run_of_format_0(format_0: Path) -> None:
    from aloft.config import load_config
    from aloft.run.store import RunStore
    from aloft.run.warm_start import take_over

    settings = load_config(after=format_0 / "run")
    with RunStore(format_0 / "next") as store:
        config = take_over(settings, store)
    assert Path(config.embedder).is_dir()
    assert Path(config.generator_training.init_adapter or "").is_dir()
    assert json.loads((format_0 / "next" / "earlier" / "state.json").read_bytes())["passages"]
