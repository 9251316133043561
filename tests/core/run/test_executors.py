"""Another executor gives the same records, byte for byte."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
import pytest

from aloft.backends.loading import Models
from aloft.config import RunConfig, load_config
from aloft.protocols import Embedder
from aloft.records import Document
from aloft.run.context import Shared
from aloft.run.executors.local import Executor, LocalExecutor
from aloft.run.executors.worker import PartResult, Task, perform
from aloft.run.graph import Graph
from aloft.run.runner import Runner
from aloft.run.stage import Setup
from aloft.run.store import RunStore
from aloft.testing import HashingEmbedder, ScriptedTeacher

NAMES = sorted(topics)[:24]
DOCUMENTS = [Document(id=f"{name}.txt", text=topics[name]) for name in NAMES]
COMPARED = ("documents", "passages", "ratings", "pairs", "filtered", "negatives")


class Scripted(Models):
    """A teacher and an embedder without weights, in whatever process."""

    def __init__(self) -> None:
        super().__init__(ScriptedTeacher(long_words))

    def embedder(self, name: str) -> Embedder:
        return HashingEmbedder()


def long_words(prompt: object) -> str:
    """A question about a passage's longest words."""
    text = prompt.messages[-1].content  # type: ignore[attr-defined]
    words = sorted(set(text.split("Text: ")[-1].split()), key=lambda w: (-len(w), w))
    return f" What is meant by {' and '.join(words[1:4])}?\nAnswer: {words[0]}"


def perform_there(run: Path, config: RunConfig, task: Task) -> PartResult:
    """What a worker process does: nothing but the task and the folder's path comes to it."""
    shared = Shared(RunStore(run), Scripted())
    return perform(task, Graph(Setup(config)), shared)


class Pool(LocalExecutor):
    """Works partitions out in two other processes, the last one first."""

    def __init__(self, run: Path, config: RunConfig) -> None:
        self._run = run
        self._config = config
        self._pool = ProcessPoolExecutor(2, mp_context=get_context("spawn"))
        self.tasks: list[Task] = []

    def run(self, tasks: Iterable[Task], graph: Graph, shared: Shared) -> Iterator[PartResult]:
        tasks = list(tasks)
        self.tasks += tasks
        ask = partial(self._pool.submit, perform_there, self._run, self._config)
        for future in reversed([ask(task) for task in tasks]):
            yield future.result()

    def close(self) -> None:
        self._pool.shutdown()


def work_out(run: Path, config: RunConfig, executor: Executor) -> dict[str, bytes]:
    """The records of a run, up to its negatives."""
    with RunStore(run) as store:
        shared = Shared(store, Scripted(), calling=executor.call)
        runner = Runner(Setup(config), shared, executor)
        runner.take_in("documents", DOCUMENTS)
        runner.do("negatives")
        runner.shared.cache.close()
    return {name: (run / f"{name}.jsonl").read_bytes() for name in COMPARED}


@pytest.mark.model
def test_a_pool_of_processes_gives_the_same_records(
    tmp_path: Path, encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config(
        overrides={
            "teacher": "given",
            "embedder": str(encoder),
            "passages": {"max_tokens": 60},
            "pairs": {"form": "examples", "per_passage": 1, "max_passages": 200},
            "negatives": {"count": 9, "depth": 30},
        }
    )
    here = work_out(tmp_path / "here", config, LocalExecutor())
    pool = Pool(tmp_path / "there", config)
    there = work_out(tmp_path / "there", config, pool)
    pool.close()
    assert there == here
    assert all(here.values())
    divided = {task.stage for task in pool.tasks}
    assert {"split", "marks", "drafts", "screened", "negatives"} <= divided
    assert len(pool.tasks) > len(divided) + 3  # some had several partitions
    assert np.unique([task.part for task in pool.tasks]).size == len(pool.tasks)


def test_a_stage_is_shown_from_its_start_to_its_end_once(tmp_path: Path, encoder: Path) -> None:
    config = load_config(overrides={"teacher": "given", "embedder": str(encoder)})
    reported: list[tuple[str, int, int]] = []
    many = [Document(id=f"{i}.txt", text=f"The quay {i} is long. " * 9) for i in range(70)]
    with RunStore(tmp_path) as store:
        shared = Shared(store, Scripted(), lambda *what: reported.append(what))
        runner = Runner(Setup(config), shared)
        runner.take_in("documents", many)
        runner.do("passages")
        shared.cache.close()
    splitting = [what[1:] for what in reported if what[0] == "cutting passages"]
    assert splitting[0] == (0, 70)
    assert splitting[-1] == (70, 70)
    assert splitting == sorted(set(splitting))
