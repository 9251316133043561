"""Settings and processes of sites with tiny models and documents of their own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np

from aloft.api import SharedWeights, write_weights
from aloft.config import FederationConfig, RunConfig, check_config

NAMES = ("berlin", "oslo", "paris")
TOPICS = sorted(name for name, text in topics.items() if 1200 < len(text) < 6000)
COMMAND = "from aloft.cli import main; raise SystemExit(main())"


def configure(models: Path, **federation: object) -> RunConfig:
    """Everything small."""
    lora = {"method": "lora", "r": 4, "num_train_epochs": 1.0, "learning_rate": 1e-3}
    return check_config(
        {
            "teacher": str(models / "language-model"),
            "embedder": str(models / "encoder"),
            "parts": ["embedder"],
            "passages": {"max_tokens": 60},
            "ratings": {"method": "none"},
            "pairs": {"form": "examples", "max_passages": 12, "multi_hop": 0.0},
            "filters": {"use": ["duplicate"]},
            "negatives": {"count": 4, "depth": 20},
            "training_sets": {"contexts": 2, "held_out_share": 0.4},
            "embedder_training": {**lora, "per_device_train_batch_size": 4, "max_seq_length": 32},
            "generator_training": {**lora, "lora_dropout": 0.0, "max_length": 4096},
            "evaluation": {
                "min_human_questions": 4,
                "resamples": 100,
                "max_stack_questions": 2,
                "max_answer_questions": 2,
                "max_new_tokens": 8,
                "rerank_depth": 5,
            },
            "federation": {"rounds": 2, "min_sites": 3, "timeout": 300.0, **federation},
        }
    )


def write_questions(file: Path, texts: Sequence[str]) -> None:
    """Four labelled questions about each text, which end with the longest words of a stretch."""
    rows = []
    for text in texts:
        for start in range(100, 900, 200):
            stretch = text[start : start + 150]
            words = sorted(set(stretch.split()), key=lambda word: (-len(word), word))
            rows.append({"question": f"Whatever of {' '.join(words[:3])}?", "passage": stretch})
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def spawn(stack: ExitStack, log: Path, *arguments: str) -> "subprocess.Popen[bytes]":
    """A process that ends with the test."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "ALOFT_HOME": str(log.parent)}
    file = stack.enter_context(log.open("ab"))
    process = subprocess.Popen([sys.executable, *arguments], stdout=file, stderr=file, env=env)
    stack.callback(end, process)
    return process


def spawn_scripted(
    stack: ExitStack, folder: Path, rows: int, added: float, script: str
) -> "subprocess.Popen[bytes]":
    """A site without models that joins from its folder; see `scripted_site`."""
    file = Path(__file__).parent / "scripted_site.py"
    arguments = (str(file), str(folder), str(rows), str(added), script)
    return spawn(stack, folder / "site.log", *arguments)


def start_rounds(folder: Path, config: FederationConfig) -> list[dict]:
    """Rounds over a few numbers, which are zero at first."""
    from aloft_flower.server import follow_rounds

    zeros = {"one": np.zeros((2, 3), np.float32), "two": np.zeros((4, 1), np.float32)}
    write_weights(folder / "embedder.safetensors", SharedWeights(base="none", tensors=zeros))
    return follow_rounds(folder, config, ["embedder"], lambda one: None)


def end(process: "subprocess.Popen[bytes]") -> None:
    """End a process and those that it has started."""
    import psutil

    try:
        family = [*psutil.Process(process.pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        family = []
    process.kill()
    process.wait()
    for one in family:
        try:
            one.kill()
        except psutil.NoSuchProcess:
            continue


def wait_until(holds: Callable[[], bool], seconds: float = 90) -> None:
    """Wait for what a process does."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it has not come"
        time.sleep(0.2)
