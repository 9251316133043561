"""A run that is killed in every stage ends as one that never was, and asks nothing twice."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from pydoc_data.topics import topics

import pytest

pytestmark = pytest.mark.model

STAGES = [
    "reading documents",
    "cutting passages",
    "embedding passages",
    "rating passages",
    "embedding questions",
    "reading answers",
    "training the embedder",
    "training the generator",
    "training the reranker",
    "reranking (tuned reranker)",
    "answering (base generator)",
    "answering (tuned generator)",
    "reading (base generator)",
]
FILES = ["documents", "passages", "ratings", "pairs", "filtered", "negatives"]
SETS = ["embedder", "reranker", "generator", "held_out"]
REMINED = [f"remined/{name}.jsonl" for name in ("reranker", "generator", "negatives")]


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What `make_given` makes, once."""
    return make_given(tmp_path_factory.mktemp("given"))


def make_given(folder: Path) -> list[str]:
    """A small real corpus and tiny models; the driver's first, third and fourth argument."""
    from aloft.testing import tiny_encoder, tiny_language_model

    corpus = folder / "corpus"
    corpus.mkdir()
    for name in ("assert", "pass", "del", "return", "raise", "break", "global", "lambda", "yield",
                 "integers", "power", "unary"):  # fmt: skip
        (corpus / f"{name}.txt").write_text(topics[name], encoding="utf-8")
    tiny_encoder(folder / "encoder")
    tiny_language_model(folder / "language-model")
    return [str(corpus), str(folder / "encoder"), str(folder / "language-model")]


def start(
    given: list[str], out: Path, log: Path, deadly: str, executor: str = "local", dies: str = "self"
) -> subprocess.CompletedProcess[str]:
    corpus, encoder, language_model = given
    driver = Path(__file__).with_name("killed_run.py")
    arguments = [corpus, str(out), encoder, language_model, str(log), deadly, executor, dies]
    return subprocess.run(
        [sys.executable, str(driver), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def accounts(run: Path) -> dict[str, tuple[int, int, int]]:
    """What each stage's teacher was asked, its calls and tokens; seconds are the machine's."""
    found = json.loads((run / "report.json").read_bytes())["funnel"]
    return {
        name: (one["calls"], one["tokens_in"], one["tokens_out"])
        for stage in found
        for name, one in stage.get("teacher", {}).items()
    }


def weights(folder: Path) -> dict[str, object]:
    from safetensors.torch import load_file

    return {
        k: v for file in sorted(folder.glob("*.safetensors")) for k, v in load_file(file).items()
    }


def assert_alike(run: Path, whole: Path) -> None:
    """Records and weights of two runs are the same."""
    import torch

    for name in [f"{f}.jsonl" for f in FILES] + [f"sets/{s}.jsonl" for s in SETS] + REMINED:
        assert (run / name).read_bytes() == (whole / name).read_bytes(), name
    for part in ("embedder", "reranker", "generator"):
        ours, theirs = weights(run / part), weights(whole / part)
        assert ours.keys() == theirs.keys()
        for name in ours:
            torch.testing.assert_close(ours[name], theirs[name], atol=1e-5, rtol=1e-4)


def requests(log: Path) -> Counter[str]:
    """What the teacher was asked."""
    return Counter(log.read_text(encoding="utf-8").splitlines())


def test_killed_in_every_stage_it_ends_the_same_and_repeats_nothing(
    given: list[str], tmp_path: Path
) -> None:
    whole, log = tmp_path / "whole", tmp_path / "whole.log"
    finished = start(given, whole, log, "never")
    assert finished.returncode == 0, finished.stderr[-3000:]

    killed, killed_log = tmp_path / "killed", tmp_path / "killed.log"
    for stage in STAGES:
        died = start(given, killed, killed_log, stage)
        assert died.returncode == -signal.SIGKILL, (stage, died.returncode, died.stderr[-3000:])
    finished = start(given, killed, killed_log, "never")
    assert finished.returncode == 0, finished.stderr[-3000:]

    assert_alike(killed, whole)
    assert requests(killed_log) == requests(log)
    assert accounts(killed) == accounts(whole) != {}
    reports = [json.loads((run / "report.json").read_bytes()) for run in (whole, killed)]
    assert reports[0]["retrieval"] == reports[1]["retrieval"]
    assert reports[0]["connections_refused"] == reports[1]["connections_refused"] == []


@pytest.mark.timeout(900)
@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")
def test_by_ray_with_its_workers_and_its_driver_killed_it_ends_the_same(
    given: list[str], tmp_path: Path
) -> None:
    whole, log = tmp_path / "whole", tmp_path / "whole.log"
    finished = start(given, whole, log, "never")
    assert finished.returncode == 0, finished.stderr[-3000:]

    killed, killed_log = tmp_path / "killed", tmp_path / "killed.log"
    for stage in ("rating passages", "training the embedder"):
        died = start(given, killed, killed_log, stage, "ray")
        assert died.returncode == -signal.SIGKILL, (stage, died.stderr[-3000:])
    stages = "embedding questions,training the generator,answering (tuned generator)"
    finished = start(given, killed, killed_log, stages, "ray", "workers")
    assert finished.returncode == 0, finished.stderr[-3000:]
    assert finished.stderr.count("was lost; its work starts again") >= 2

    assert_alike(killed, whole)
    assert requests(killed_log) == requests(log)  # nothing is asked twice
    assert accounts(killed) == accounts(whole) != {}
    assert not list((killed / "work").glob("*-wal"))  # the cache is one file again
