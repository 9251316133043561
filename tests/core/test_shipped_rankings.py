"""On a real corpus the retriever that ships ranks as the evaluator measured."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from scripted import long_words

from aloft.config import RunConfig, check_config
from aloft.evaluation.evaluator import Evaluator
from aloft.evaluation.systems import System, SystemVariant
from aloft.retrieval import approximate
from aloft.retrieval.retriever import RetrieverName
from aloft.run.job import open_run
from aloft.serving.bundle import open_run_retriever, write_bundle
from aloft.testing import ScriptedTeacher, tiny_encoder, tiny_language_model

pytestmark = pytest.mark.model

SOURCE = Path(__file__).parents[3] / "shared" / "data" / "pira_en"


@pytest.mark.skipif(not SOURCE.exists(), reason="the set pira_en is not here")
@pytest.mark.parametrize(
    ("method", "large", "reads"),
    [("all", 10**5, False), ("query_adapter", 10**5, False), ("all", 9, False), ("all", 9, True)],
)
def test_what_ships_ranks_as_was_measured(
    tmp_path: Path, method: str, large: int, reads: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trained encoder, windows, BM25, measured shares; a reranker trained, or a body as it is.

    The same of a corpus that is large enough to be searched approximately, and of a language model
    that reads what the body has ordered.
    """
    monkeypatch.setattr(approximate, "LARGE", large)
    monkeypatch.setattr(approximate, "_CANDIDATES", 20)
    monkeypatch.setattr(approximate, "_PER_RANK", 0)
    (tmp_path / "docs").mkdir()
    documents = rows("corpus")[:80]
    known = {row["id"] for row in documents}
    questions = [row for row in rows("qa") if row["doc_id"] in known]
    write(tmp_path / "docs" / "corpus.jsonl", documents)
    write(tmp_path / "questions.jsonl", questions)
    encoder = str(tiny_encoder(tmp_path / "encoder"))
    steps = {"num_train_epochs": 1.0, "max_seq_length": 128}
    language_model = str(tiny_language_model(tmp_path / "language-model"))
    config = check_config(
        {
            "teacher": language_model,
            "reranker": language_model if reads else None,
            "embedder": encoder,
            "parts": ("embedder", "reranker"),
            "pairs": {"form": "examples", "per_passage": 1, "max_passages": 40},
            "filters": {"use": ["duplicate"]},
            "embedder_training": {**steps, "method": method},
            "reranker_training": steps,
            "evaluation": {"rerank_depth": 5, "read_depth": 3},
        }
    )
    folder = tmp_path / "run"
    retrievers: list[tuple[RetrieverName, str]] = [
        ("dense", "none"),
        ("hybrid", "tuned"),
        ("hybrid", "base"),
        *([("hybrid", "body")] if reads else []),
    ]
    with open_run(folder, config, ScriptedTeacher(long_words)) as run:
        run.give(tmp_path / "docs", tmp_path / "questions.jsonl")
        run.train()
        evaluator = run.evaluator
        asked = [one.question for one in evaluator.questions["human"]]
        for retriever, reranker in retrievers:
            system = System(retriever, "tuned", reranker)
            measured = evaluator.retriever(system).rank(asked)
            ship(folder, config, system, evaluator)
            found = open_run_retriever(folder).rank(asked)

            assert found.columns.tolist() == measured.columns.tolist()
            # cosines that lie close together are stretched to 0-1, and their rounding with them
            assert found.scores == pytest.approx(measured.scores, abs=3e-5)
    assert asked == [row["question"] for row in questions]


def rows(name: str) -> list[Any]:
    lines = gzip.decompress((SOURCE / f"{name}.jsonl.gz").read_bytes()).splitlines()
    return [json.loads(line) for line in lines]


def write(file: Path, lines: list[Any]) -> None:
    file.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")


def ship(folder: Path, config: RunConfig, system: System, evaluator: Evaluator) -> None:
    parts: Any = ("embedder", "reranker") if system.reranker == "tuned" else ("embedder",)
    variant = SystemVariant(
        parts=parts,
        system=system,
        dense_share=evaluator.dense_share("tuned"),
        rerank_share=evaluator.rerank_share(system),
        late_share=evaluator.late_share(system),
        question_set="human",
        metrics={},
        n=3,
    )
    write_bundle(folder, config, variant)
