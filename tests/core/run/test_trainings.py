"""Trainings are given to an executor together as soon as they need nothing of one another."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from test_executors import DOCUMENTS, Scripted

from aloft.config import Part, RunConfig, load_config
from aloft.jsonl import RecordFile
from aloft.protocols import Progress, no_progress
from aloft.records import Artifact
from aloft.run.context import Shared
from aloft.run.executors.local import Executor, LocalExecutor
from aloft.run.executors.worker import PartResult, Task
from aloft.run.graph import Graph
from aloft.run.runner import Runner
from aloft.run.stage import Setup
from aloft.run.store import RunStore

TRAINED: tuple[Part, ...] = ("embedder", "reranker", "generator")


def tiny_settings(encoder: Path, language_model: Path) -> dict[str, Any]:
    """A run of a scripted teacher that trains all parts of tiny models."""
    training = {"num_train_epochs": 2.0, "per_device_train_batch_size": 4}
    return {
        "teacher": "given",
        "generator": str(language_model),
        "embedder": str(encoder),
        "parts": TRAINED,
        "passages": {"max_tokens": 60},
        "pairs": {"form": "examples", "per_passage": 1, "max_passages": 24},
        "negatives": {"count": 4, "depth": 10},
        "training_sets": {"contexts": 2},
        "embedder_training": training,
        "reranker_training": training,
        "generator_training": {**training, "r": 2, "max_length": 4096},
    }


def train(
    run: Path, config: RunConfig, executor: Executor, progress: Progress = no_progress
) -> dict[str, Any]:
    """Train the parts of a run on a few documents, and say what came of each."""
    with RunStore(run) as store:
        shared = Shared(store, Scripted(), progress, calling=executor.call)
        runner = Runner(Setup(config), shared, executor)
        runner.take_in("documents", DOCUMENTS[:6])
        try:
            runner.do(*config.parts)
        finally:
            shared.cache.close()
    return outcome_of(run, config.parts)


def outcome_of(run: Path, parts: Iterable[str]) -> dict[str, Any]:
    """Each part's rows, and its weights and losses."""
    found: dict[str, Any] = {}
    for part in parts:
        (artifact,) = RecordFile(run / f"{part}.jsonl", Artifact)
        rows = [file.read_bytes() for file in sorted(run.glob(f"*/{part}.jsonl"))]
        found[part] = artifact.fingerprint, artifact.losses, rows
    return found


class Pretending(LocalExecutor):
    """Notes what is given to it together, and saves a folder for each training."""

    def __init__(self) -> None:
        self.given: list[set[str]] = []

    def whole(self, tasks: Iterable[Task], graph: Graph, shared: Shared) -> Iterator[PartResult]:
        tasks = list(tasks)
        self.given.append({task.stage for task in tasks})
        for task in reversed(tasks):
            part: Any = task.stage
            (shared.store.path / part).mkdir()
            (shared.store.path / part / "config.json").write_text("{}")
            done = Artifact(kind=part, path=part, base_model="", fingerprint="1")
            yield PartResult(task, [done], {}, 7.0)


@pytest.mark.parametrize(
    ("parts", "given"),
    [
        (TRAINED, [{"embedder"}, {"reranker", "generator"}]),
        (TRAINED[1:], [{"reranker", "generator"}]),
        (TRAINED[:1], [{"embedder"}]),
    ],
)
def test_trainings_that_need_nothing_of_one_another_are_given_together(
    tmp_path: Path, encoder: Path, parts: tuple[Part, ...], given: list[set[str]]
) -> None:
    config = load_config(overrides={**tiny_settings(encoder, encoder), "parts": parts})
    executor = Pretending()
    done = train(tmp_path / "run", config, executor)
    assert executor.given == given
    assert done == {part: ("1", (), done[part][2]) for part in parts}
    store = RunStore(tmp_path / "run")
    assert [store.facts(part)["seconds"] for part in parts] == [7.0] * len(parts)
    train(tmp_path / "run", config, executor)
    assert executor.given == given  # nothing twice
