"""A run that is killed at fifty random points ends as one that never was, and repeats nothing."""

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random

import pytest

KILLS = 50
FILES = ("documents", "passages", "ratings", "pairs", "filtered", "negatives", "human")
SETS = ("train", "held_out", "embedder", "reranker", "generator")
DRIVER = Path(__file__).with_name("randomly_killed.py")


def start(out: Path, encoder: Path, log: Path, points: int) -> subprocess.CompletedProcess[str]:
    """Run the driver, which dies after so many points; 0: it ends by itself."""
    command = [sys.executable, str(DRIVER), str(out), str(encoder), str(log), str(points)]
    return subprocess.run(command, capture_output=True, text=True, env=dict(os.environ))


def contents(out: Path) -> dict[str, bytes]:
    names = [*FILES, *(f"sets/{name}" for name in SETS)]
    return {name: (out / f"{name}.jsonl").read_bytes() for name in names}


@pytest.mark.model
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows cannot kill a process so")
def test_killed_at_random_points_it_ends_the_same_and_repeats_nothing(
    tmp_path: Path, encoder: Path
) -> None:
    whole, log = tmp_path / "whole", tmp_path / "whole.log"
    finished = start(whole, encoder, log, 0)
    assert finished.returncode == 0, finished.stderr[-3000:]
    killed, killed_log = tmp_path / "killed", tmp_path / "killed.log"
    rng, kills = Random(20), 0
    while kills < KILLS:
        died = start(killed, encoder, killed_log, rng.randint(1, 40))
        if died.returncode == 0:  # it came to its end: from the start once more
            assert contents(killed) == contents(whole)
            assert requests(killed_log) == requests(log)
            killed, killed_log = tmp_path / f"killed-{kills}", tmp_path / f"killed-{kills}.log"
            continue
        assert died.returncode == -signal.SIGKILL, died.stderr[-3000:]
        kills += 1
    finished = start(killed, encoder, killed_log, 0)
    assert finished.returncode == 0, finished.stderr[-3000:]
    assert contents(killed) == contents(whole)
    assert requests(killed_log) == requests(log)
    assert not list((killed / "work").rglob("*.tmp"))


def requests(log: Path) -> Counter[str]:
    """What the teacher replied and was kept."""
    return Counter(log.read_text(encoding="utf-8").splitlines())
