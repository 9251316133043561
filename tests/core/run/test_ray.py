"""A Ray cluster gives the records that this process gives, whatever dies meanwhile."""

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from test_executors import DOCUMENTS, Scripted, long_words, work_out

from aloft.cli import main
from aloft.cli.views import show_estimate
from aloft.config import RatingsConfig, RunConfig, load_config
from aloft.errors import ClusterError, ConfigError, ModelError
from aloft.protocols import Floats, LanguageModel, Prompt
from aloft.run.cluster_plan import plan_nodes
from aloft.run.context import Shared
from aloft.run.estimate import estimate_run
from aloft.run.executors.local import LocalExecutor
from aloft.run.executors.opening import open_executor
from aloft.run.executors.ray_executor import RayExecutor
from aloft.run.job import open_run
from aloft.run.model_calls import Call
from aloft.run.runner import Runner
from aloft.run.stage import Setup
from aloft.run.store import RunStore
from aloft.testing import ScriptedTeacher

needs_ray = pytest.mark.skipif(
    find_spec("ray") is None, reason='Ray is not installed: pip install "aloft-rag[ray]"'
)


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayExecutor]:
    """A cluster of this machine, started once; its workers import these tests too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        with RayExecutor() as executor:
            yield executor


@pytest.fixture
def config(encoder: Path) -> RunConfig:
    return load_config(
        overrides={
            "teacher": "given",
            "embedder": str(encoder),
            "passages": {"max_tokens": 60},
            "pairs": {"form": "examples", "per_passage": 1, "max_passages": 200},
            "negatives": {"count": 9, "depth": 30},
        }
    )


class Deadly(ScriptedTeacher):
    """Ends the process that asks it."""

    def choice_probabilities(self, prompts: Sequence[Prompt], choices: Sequence[str]) -> Floats:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


class Locked(ScriptedTeacher):
    """Holds what no other process can be sent."""

    def __init__(self) -> None:
        super().__init__(long_words)
        self.lock = threading.Lock()


class Mute(ScriptedTeacher):
    """Returns no probabilities."""

    choice_probabilities = None  # type: ignore[assignment]


def rate(run: Path, config: RunConfig, teacher: LanguageModel, executor: RayExecutor) -> None:
    """Have the passages rated."""
    models = Scripted()
    models.given = teacher
    config = config.model_copy(update={"ratings": RatingsConfig(method="expect")})
    with RunStore(run) as store:
        shared = Shared(store, models, calling=executor.call)
        runner = Runner(Setup(config), shared, executor)
        runner.take_in("documents", DOCUMENTS[:4])
        try:
            runner.do("ratings")
        finally:
            shared.cache.close()


@pytest.mark.model
@needs_ray
def test_partitions_give_the_same_records(
    tmp_path: Path, config: RunConfig, cluster: RayExecutor
) -> None:
    here = work_out(tmp_path / "here", config, LocalExecutor())
    there = work_out(tmp_path / "there", config, cluster)
    assert there == here
    assert all(here.values())


@pytest.mark.model
@needs_ray
def test_files_are_read_by_workers(tmp_path: Path, config: RunConfig, cluster: RayExecutor) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    for one in DOCUMENTS:
        (folder / one.id).write_text(one.text)
    (folder / "link.txt").symlink_to("nowhere.txt")
    asked: list[str] = []

    def noted(calls: Iterable[Call], shared: Shared) -> Iterator[tuple[int, Any]]:
        return cluster.call((asked.append(call.name) or call for call in calls), shared)

    found = []
    for name, calling in (("here", None), ("there", noted)):
        with RunStore(tmp_path / name) as store:
            shared = Shared(store, Scripted(), calling=calling)
            runner = Runner(Setup(config), shared, cluster)
            runner.take_in("documents", folder)
            found.append((tmp_path / name / "documents.jsonl").read_bytes())
            shared.cache.close()
    assert found[0] == found[1]
    assert asked == ["_read_some"] * (len(DOCUMENTS) + 1), "a file each, and the broken link"


@pytest.mark.model
@needs_ray
def test_a_fault_that_the_user_can_mend_comes_from_a_worker_in_one_line(
    tmp_path: Path, config: RunConfig, cluster: RayExecutor
) -> None:
    with pytest.raises(ModelError, match=r"^The teacher does not return token prob.*$") as caught:
        rate(tmp_path, config, Mute(long_words), cluster)
    assert type(caught.value) is ModelError


@pytest.mark.model
@needs_ray
def test_a_teacher_that_cannot_be_sent_to_workers_is_refused(
    tmp_path: Path, config: RunConfig, cluster: RayExecutor
) -> None:
    with pytest.raises(ClusterError, match=r"^The teacher of type Locked cannot be sent .*$"):
        rate(tmp_path, config, Locked(), cluster)


@pytest.mark.model
@needs_ray
def test_what_kills_every_worker_is_given_up_after_three_more(
    tmp_path: Path, config: RunConfig, cluster: RayExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ClusterError, match="stage marks was given to were lost 4 times"):
        rate(tmp_path, config, Deadly(long_words), cluster)
    lost = len([one for one in caplog.records if "was lost" in one.getMessage()])
    assert 3 <= lost <= 3 * 2  # of two tasks that a worker has been given, either may kill it


@pytest.mark.model
@needs_ray
@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1", "127.0.0.1:port"])
def test_an_address_without_a_cluster_is_told_in_one_line(address: str) -> None:
    with pytest.raises(ClusterError, match=rf"^No Ray cluster can be used at {address} \(.*$"):
        RayExecutor(address).__enter__()


@pytest.mark.model
@needs_ray
def test_another_cluster_than_the_host_is_connected_to_is_refused(
    cluster: RayExecutor, loopback: None
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(ClusterError, match=f"^This process is connected .*, not to {address}"):
            RayExecutor(address).__enter__()
    with RayExecutor() as same:
        assert same is not cluster


@pytest.mark.parametrize("name", ["dask", "ray:", "ray://", "local://here", ""])
def test_an_executor_that_there_is_not_is_refused(name: str) -> None:
    with (
        pytest.raises(ConfigError, match="but may be: local, ray, ray://HOST:PORT"),
        open_executor(name),
    ):
        pass


def test_a_cluster_on_a_public_network_is_refused_unless_allowed() -> None:
    with pytest.raises(ConfigError, match="documents would leave the building"):
        RayExecutor("8.8.8.8:6379")


@pytest.mark.model
@needs_ray
def test_a_single_stage_runs_on_a_cluster(
    tmp_path: Path, encoder: Path, cluster: RayExecutor
) -> None:
    (tmp_path / "docs").mkdir()
    for document in DOCUMENTS[:6]:
        (tmp_path / "docs" / f"{document.id}.txt").write_text(document.text)
    settings = tmp_path / "aloft.toml"
    settings.write_text(f'embedder = "{encoder}"\n')
    given = ["--config", str(settings), "--executor"]
    for executor in ("local", "ray"):
        out = str(tmp_path / executor)
        assert main(["passages", str(tmp_path / "docs"), "--out", out, *given, executor]) == 0
    kept = [(tmp_path / name / "passages.jsonl").read_bytes() for name in ("local", "ray")]
    assert kept[0] == kept[1] != b""


@pytest.mark.model
@needs_ray
def test_a_dry_run_measures_through_the_cluster(
    tmp_path: Path, config: RunConfig, cluster: RayExecutor, capsys: pytest.CaptureFixture[str]
) -> None:
    from aloft.testing import tiny_encoder

    encoder = str(tiny_encoder(tmp_path / "tiny"))
    config = config.model_copy(update={"embedder": encoder, "parts": ()})
    out, teacher = tmp_path / "run", ScriptedTeacher(long_words)
    with open_run(out, config, teacher, executor=cluster, dry_run=True) as run:
        run.give(DOCUMENTS[:4])
        estimate = estimate_run(run, passages=10**7)
    assert cluster.nodes == 1
    assert estimate.asked_about == 200
    assert {file.name for file in out.iterdir()} <= {".lock", "work"}
    assert [file.name for file in (out / "work").iterdir()] == ["calls.sqlite"]
    show_estimate(estimate, cluster.nodes)
    said = capsys.readouterr().out
    assert "1 (this cluster)" in said
    assert [line.stage for line in estimate.lines][:3] == ["documents", "split", "passages"]
    assert plan_nodes(estimate, (8,))[0].seconds.high < estimate.seconds.high
