"""What a training does to the process of its host: nothing that is left afterwards."""

import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aloft.config import (
    EmbedderTrainingConfig,
    GeneratorTrainingConfig,
    RerankerTrainingConfig,
    check_config,
)
from aloft.config.strategies import Phase
from aloft.records import EmbedderRow, GeneratorRow, Message, RerankerRow, RetrievedRow

pytestmark = pytest.mark.model

TOPICS = ("ferry", "market", "library", "lighthouse", "museum", "harbour")


def embed(folder: Path, **given: Any) -> None:
    from aloft.training import train_embedder

    rows = [
        EmbedderRow(pair_id=t, anchor=f"Where is the {t}?", positive=f"The {t}.", negatives=("x",))
        for t in TOPICS
    ]
    config = EmbedderTrainingConfig(num_train_epochs=1, per_device_train_batch_size=2)
    train_embedder(rows, str(folder / "encoder"), folder / "embedder", config, seed=3, **given)


def rerank(folder: Path, **given: Any) -> None:
    from aloft.training import train_reranker

    rows = [
        RerankerRow(pair_id=t, query=f"Where is the {t}?", passage=f"The {o}.", label=float(t == o))
        for t in TOPICS
        for o in TOPICS[:2]
    ]
    config = RerankerTrainingConfig(num_train_epochs=1, per_device_train_batch_size=4)
    train_reranker(rows, str(folder / "encoder"), folder / "reranker", config, seed=3, **given)


def write(folder: Path, **given: Any) -> None:
    from aloft.training import train_generator

    rows = [
        GeneratorRow(
            pair_id=t,
            prompt=(Message(role="user", content=f"Where is the {t}?"),),
            prefix="",
            completion=f"Behind the {t}.",
        )
        for t in TOPICS
    ]
    config = GeneratorTrainingConfig(num_train_epochs=1, per_device_train_batch_size=2, r=2)
    model = str(folder / "language-model")
    train_generator(rows, model, folder / "generator", config, seed=3, **given)


def train_both(folder: Path, **given: Any) -> None:
    from aloft.training import train_rag

    rows = [
        RetrievedRow(
            pair_id=t,
            question=f"Where is the {t}?",
            answer=f"Behind the {t}.",
            prefix="",
            columns=(0, 1),
            scores=(0.5, 0.4),
            prompts=((Message(role="user", content="a"),), (Message(role="user", content="b"),)),
        )
        for t in TOPICS
    ]
    config = check_config(
        {
            "teacher": str(folder / "language-model"),
            "embedder": str(folder / "encoder"),
            "strategy": "joint",
            "training_sets": {"format": "ralt"},
            "parts": ("embedder", "generator"),
            "embedder_training": {"method": "query_lora", "num_train_epochs": 1},
            "generator_training": {"num_train_epochs": 1, "per_device_train_batch_size": 2},
        }
    )
    phase = Phase(("embedder", "generator"), "marginal")
    vectors = np.eye(2, 32, dtype=np.float32)
    train_rag(rows, vectors, phase, config, folder / "joint", **given)


def map_queries(folder: Path, **given: Any) -> None:
    from aloft.training.query_map import train_query_map

    vectors = np.eye(6, dtype=np.float32)
    train_query_map(
        vectors, vectors, range(6), epochs=1, batch_size=2, learning_rate=0.1, seed=3, **given
    )


def load_new_head(folder: Path) -> None:
    """An encoder body as a reranker gets a head with random weights."""
    from aloft.backends.sentence_transformers import SentenceTransformersReranker

    SentenceTransformersReranker(str(folder / "encoder")).score([("a", "b")])


def reply(folder: Path) -> None:
    from aloft.backends.transformers import TransformersLanguageModel
    from aloft.protocols import Prompt

    prompt = Prompt(messages=(Message(role="user", content="a"),), seed=1)
    TransformersLanguageModel(str(folder / "language-model")).complete([prompt], max_new_tokens=4)


TRAININGS = (embed, rerank, write, train_both, map_queries)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    from aloft.testing import tiny_encoder, tiny_language_model

    tiny_encoder(tmp_path / "encoder")
    tiny_language_model(tmp_path / "language-model")
    return tmp_path


def host_state() -> dict[str, Any]:
    """What belongs to the whole process and a library could change."""
    import datasets
    import huggingface_hub.utils as hub
    import torch
    from accelerate.state import AcceleratorState, GradientState, PartialState
    from transformers.utils import logging as transformers_logging

    loggers = [
        logging.getLogger(),
        *map(logging.getLogger, sorted(logging.root.manager.loggerDict)),
    ]
    numpy_state = np.random.get_state()
    return {
        "random": random.getstate(),
        "numpy": tuple(numpy_state[1].tolist()) + tuple(numpy_state[2:]),  # type: ignore[index]
        "torch": torch.get_rng_state().tolist(),
        "environment": dict(os.environ),
        "working directory": str(Path.cwd()),
        "warning filters": list(warnings.filters),
        "levels": {one.name: one.level for one in loggers if one.level},
        "handlers": {one.name: list(one.handlers) for one in loggers if one.handlers},
        "disabled": {one.name for one in loggers if one.disabled},
        "signals": {name: signal.getsignal(name) for name in signal.valid_signals()},
        "hooks": (sys.excepthook, threading.excepthook, sys.displayhook),
        "path": list(sys.path),
        "errors": np.geterr(),
        "dtype": torch.get_default_dtype(),
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "precision": torch.get_float32_matmul_precision(),
        "cudnn": (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic),
        "gradients": torch.is_grad_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "bars": (
            datasets.are_progress_bars_disabled(),
            hub.are_progress_bars_disabled(),
            transformers_logging.is_progress_bar_enabled(),
        ),
        "accelerate": [
            dict(one._shared_state) for one in (PartialState, AcceleratorState, GradientState)
        ],
        "alive": {one.name for one in threading.enumerate() if not one.daemon},
    }


def changed(before: dict[str, Any]) -> list[str]:
    after = host_state()
    return [name for name in before if before[name] != after[name]]


@pytest.mark.parametrize("work", [*TRAININGS, load_new_head, reply], ids=lambda one: one.__name__)
def test_a_host_finds_its_process_as_it_was(folder: Path, work: Callable[..., None]) -> None:
    work(folder)  # what libraries do when they are first imported is not ours
    random.seed(11), np.random.seed(12)
    random.random(), np.random.random()
    before = host_state()
    work(folder)
    assert changed(before) == []


def test_trainings_attend_without_cudnn_whose_gradients_may_be_nan() -> None:
    import torch

    from aloft.backends.device import without_cudnn_attention
    from aloft.backends.host_state import contained_training

    allowed = torch.backends.cuda.cudnn_sdp_enabled
    before = allowed()
    with contained_training():
        assert not allowed()
        with without_cudnn_attention():  # as a language model reads meanwhile
            assert not allowed()
        assert not allowed()
    assert allowed() == before


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("train", TRAININGS, ids=lambda one: one.__name__)
def test_also_where_a_training_fails_or_is_interrupted(
    folder: Path, train: Callable[..., None], error: type[BaseException]
) -> None:
    def stop(_stage: str, _done: int, _total: int) -> None:
        raise error

    host_state()
    before = host_state()
    with pytest.raises(error):
        train(folder, progress=stop)
    assert changed(before) == []


def test_what_a_host_sets_while_a_training_runs_stays(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_APPLICATION", "before")

    def set_meanwhile(_stage: str, _done: int, _total: int) -> None:
        os.environ["MY_APPLICATION"] = "meanwhile"

    embed(folder, progress=set_meanwhile)
    assert os.environ["MY_APPLICATION"] == "meanwhile"


def test_a_second_training_waits_for_the_first(folder: Path) -> None:
    """And the process is as before after both."""
    map_queries(folder)
    before = host_state()
    order: list[str] = []

    def second_step(_stage: str, _done: int, _total: int) -> None:
        order.append("second")

    second = threading.Thread(target=map_queries, args=(folder,), kwargs={"progress": second_step})

    def first_step(_stage: str, done: int, total: int) -> None:
        if not order:
            second.start()
        second.join(0.2)  # time in which it would train if it did not wait
        order.append("first")

    map_queries(folder, progress=first_step)
    second.join()
    assert order == sorted(order)
    assert set(order) == {"first", "second"}
    assert changed(before) == []


PARTS = ("embedder", "reranker", "generator", "joint")


def take_parts(folder: Path) -> dict[str, str]:
    """Fingerprints of the trained parts, which are deleted."""
    from aloft.backends.fingerprint import fingerprint_folder

    prints = {part: fingerprint_folder(folder / part) for part in PARTS}
    for part in PARTS:
        shutil.rmtree(folder / part)
    return prints


def test_trainings_side_by_side_give_the_weights_of_each_alone(folder: Path) -> None:
    trainings = (embed, rerank, write, train_both)
    for train in trainings:
        train(folder)
    alone = take_parts(folder)

    with ThreadPoolExecutor(len(trainings)) as threads:
        list(threads.map(lambda train: train(folder), trainings))

    assert take_parts(folder) == alone


def test_what_threads_load_on_first_use_works_then_and_later(folder: Path) -> None:
    """Eight threads of a process that has imported no model library yet; a web app's start."""
    program = (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from aloft.api import SharedModels\n"
        "from aloft.protocols import Prompt\n"
        "from aloft.records import Message\n"
        "encoder, writer = (f'{sys.argv[1]}/{name}' for name in ('encoder', 'language-model'))\n"
        "prompt = Prompt(messages=(Message(role='user', content='a'),))\n"
        "def embed(): return SharedModels().embedder(encoder).encode_queries(['a']).tolist()\n"
        "def rank(): return SharedModels().reranker(encoder).score([('a', 'b')]).tolist()\n"
        "def write():\n"
        "    model = SharedModels().language_model(writer)\n"
        "    return [one.text for one in model.complete([prompt], max_new_tokens=3)]\n"
        "uses = [embed, rank, write, embed, write, rank, write, embed]\n"
        "with ThreadPoolExecutor(8) as threads:\n"
        "    first = list(threads.map(lambda use: use(), uses))\n"
        "print(first == [use() for use in uses])\n"
    )
    assert run_alone(program, folder) == "True"


def run_alone(program: str, folder: Path) -> str:
    """The last line that a program prints in a process without our tests' environment."""
    start = f"import os, sys, pathlib\nsys.path.insert(0, {str(Path(__file__).parent)!r})\n"
    own = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "DO_NOT_", "TOKENIZ"))}
    call = [sys.executable, "-c", start + program, str(folder)]
    done = subprocess.run(call, capture_output=True, text=True, env=own)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_a_first_training_sets_no_environment_variable(folder: Path) -> None:
    """In a process that has imported no model library yet."""
    program = (
        "before = dict(os.environ)\n"
        "import test_host_state\n"
        "test_host_state.embed(pathlib.Path(sys.argv[1]))\n"
        "print({k: os.environ.get(k) for k in before.keys() | os.environ.keys()"
        " if before.get(k) != os.environ.get(k)})\n"
    )
    assert run_alone(program, folder) == "{}"


def test_models_try_no_connection_although_the_hub_is_online(folder: Path) -> None:
    """A run sets no variable that keeps libraries offline: they need no network by themselves."""
    program = (
        "from aloft.network_guard import local_only\n"
        "import test_host_state as here\n"
        "with local_only() as guard:\n"
        "    for work in (*here.TRAININGS, here.load_new_head, here.reply):\n"
        "        work(pathlib.Path(sys.argv[1]))\n"
        "    from huggingface_hub import constants\n"
        "print(guard.refused, constants.HF_HUB_OFFLINE)\n"
    )
    assert run_alone(program, folder) == "[] False"
