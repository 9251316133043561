"""Two processes train as one does: the same steps and losses, and nearly the same weights."""

import atexit
import logging
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from scripted import still_models
from test_training import embedder_rows, generator_rows

from aloft.config import (
    EmbedderTrainingConfig,
    GeneratorTrainingConfig,
    RerankerTrainingConfig,
)
from aloft.errors import DataError, ModelError
from aloft.protocols import Progress, no_progress
from aloft.records import RerankerRow

pytestmark = pytest.mark.model

STEADY = {"num_train_epochs": 2, "learning_rate": 1e-3}


def train_in_float32(part: str, *arguments: Any, **options: Any) -> Any:
    """Train in whatever process without half precision, whose rounding depends on shapes."""
    from aloft import training

    with pytest.MonkeyPatch.context() as patch:
        for module in ("training.trainer", "training.generator"):
            patch.setattr(f"aloft.{module}.has_bf16", lambda device: False)
        return getattr(training, f"train_{part}")(*arguments, **options)


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    files = [*folder.rglob("*.safetensors")]
    return {f"{file.name}: {name}": w for file in files for name, w in load_file(file).items()}


def compare(part: str, rows: Sequence[Any], model: Path, config: Any, folder: Path) -> None:
    """Train by one process and by two, and compare all that comes of it."""
    from aloft.training.distributed import train_together

    steps: dict[str, list[tuple[int, int]]] = {"one": [], "two": []}

    def count(who: str) -> Callable[[str, int, int], None]:
        return lambda _doing, *done: steps[who].append(done)

    given = rows, str(model)
    one = train_in_float32(part, *given, folder / "one", config, seed=3, progress=count("one"))
    two = train_together(
        2, train_in_float32, part, *given, folder / "two", config, seed=3,
        checkpoints=folder / "checkpoints", progress=count("two"),
    )  # fmt: skip
    assert steps["one"] == steps["two"]
    assert len(steps["one"]) >= 3  # the watch may stop both
    assert one.losses[0] == pytest.approx(two.losses[0], abs=1e-4)  # they are rounded so
    assert one.losses == pytest.approx(two.losses, abs=3e-3)
    assert not (folder / "checkpoints").exists()
    before, after = weights_of(folder / "one"), weights_of(folder / "two")
    assert before.keys() == after.keys()
    for name, weight in before.items():
        torch.testing.assert_close(weight, after[name], rtol=0, atol=3e-4, msg=name)
    untuned = weights_of(model)
    if part != "generator":
        assert any((w - untuned[n]).abs().max() > 1e-5 for n, w in before.items() if n in untuned)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return still_models(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    "settings",
    [
        {"loss": "contrastive"},
        {"loss": "guided", "matryoshka": (16,)},
        {"loss": "triplet", "learning_rate": 1e-4},  # at more it collapses
        {"method": "query_lora", "r": 4},
    ],
)
def test_two_processes_train_an_embedder_as_one_does(
    folder: Path, settings: dict[str, Any]
) -> None:
    config = EmbedderTrainingConfig(per_device_train_batch_size=4, **STEADY | settings)
    compare("embedder", embedder_rows(), folder / "encoder", config, folder)


@pytest.mark.parametrize("settings", [{}, {"method": "lora", "r": 4}])
@pytest.mark.parametrize("kind", ["encoder", "cross-encoder"])
def test_two_processes_train_a_reranker_as_one_does(
    folder: Path, kind: str, settings: dict[str, Any]
) -> None:
    from aloft.training import start_cross_encoder

    model = folder / kind
    if kind == "cross-encoder":
        start_cross_encoder(str(folder / "encoder"), model, seed=1)
    rows = [  # no passage stands in two questions, which would make batches uneven
        RerankerRow(pair_id=row.pair_id, query=row.anchor, passage=text, label=label)
        for row in embedder_rows()
        for text, label in ((row.positive, 1.0), (row.negatives[0], 0.0))
    ]
    config = RerankerTrainingConfig(per_device_train_batch_size=4, **STEADY | settings)
    compare("reranker", rows, model, config, folder)


def test_an_uneven_last_batch_leaves_out_less_than_a_row_for_each() -> None:
    from torch.utils.data import BatchSampler

    from aloft.training import distributed

    def shares(rows: int, size: int, processes: int) -> tuple[list[list[int]], int]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(distributed, "process_count", lambda: processes)
            whole = BatchSampler(range(rows), size, drop_last=False)
            shared = distributed.EvenShares(whole, distributed.full_steps(whole))
            return list(shared), len(shared)

    assert shares(8, 4, 2) == ([[0, 1], [2, 3], [4, 5], [6, 7]], 4)
    assert shares(6, 4, 2) == ([[0, 1], [2, 3], [4], [5]], 4)
    assert shares(7, 4, 2) == ([[0, 1], [2, 3], [4], [5]], 4)  # the seventh has no fellow
    assert shares(5, 4, 2) == ([[0, 1], [2, 3]], 2)
    assert shares(9, 6, 3) == ([[0, 1], [2, 3], [4, 5], [6], [7], [8]], 6)


def fail(how: str, *, progress: Progress) -> int:
    """A training of one step that ends in some way."""
    rank = torch.distributed.get_rank()
    progress("training", 1, 2)
    logging.getLogger("aloft.training").warning("Row %d is long.", 7)
    if how == "fault":
        raise DataError("No row fits.")
    if how == "killed" and rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "broken":
        raise RuntimeError("no NCCL")
    if how == "aborts when it ends":
        atexit.register(os.abort)
    torch.distributed.barrier()
    return rank


def test_what_the_first_process_says_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from aloft.training.distributed import train_together

    steps: list[Any] = []
    assert train_together(2, fail, "not", progress=lambda *step: steps.append(step)) == 0
    assert steps == [("training", 1, 2)]
    assert caplog.messages == ["Row 7 is long."]
    with pytest.raises(DataError, match=r"^No row fits\.$"):
        train_together(2, fail, "fault", progress=no_progress)


def test_how_the_interpreter_of_a_process_ends_does_not_matter() -> None:
    from aloft.training.distributed import train_together

    assert train_together(2, fail, "aborts when it ends", progress=no_progress) == 0


def test_a_process_that_is_killed_ends_the_training_in_one_line() -> None:
    from aloft.training.distributed import train_together

    with pytest.raises(ModelError, match=r"^A process of the training was killed: .* to resume\.$"):
        train_together(2, fail, "killed", progress=no_progress)


def test_what_goes_wrong_in_a_process_is_one_line_that_says_how_to_train_by_one() -> None:
    from aloft.training.distributed import train_together

    wrong = (
        r"^A training by 2 processes failed \(RuntimeError: no NCCL\)\. .* CUDA_VISIBLE_DEVICES=0"
    )
    with pytest.raises(ModelError, match=wrong):
        train_together(2, fail, "broken", progress=no_progress)


@pytest.mark.parametrize(
    ("gpus", "rows", "size", "kind", "settings", "processes"),
    [
        (4, 20000, 64, EmbedderTrainingConfig, {}, 4),
        (3, 20000, 64, EmbedderTrainingConfig, {}, 2),  # three do not divide a batch of 64
        (8, 20000, 4, EmbedderTrainingConfig, {}, 4),
        (4, 2000, 64, EmbedderTrainingConfig, {}, 1),  # over before they have started
        (4, 20000, 64, EmbedderTrainingConfig, {"loss": "graded"}, 1),
        (0, 20000, 64, EmbedderTrainingConfig, {}, 1),
        (4, 20000, 64, RerankerTrainingConfig, {}, 4),
        (4, 20000, 64, RerankerTrainingConfig, {"num_train_epochs": None}, 4),  # which is one
        (4, 20000, 64, RerankerTrainingConfig, {"loss": "listwise"}, 1),
    ],
)
def test_a_long_training_uses_as_many_gpus_as_divide_its_batch(
    monkeypatch: pytest.MonkeyPatch,
    gpus: int,
    rows: int,
    size: int,
    kind: Callable[..., Any],
    settings: dict[str, Any],
    processes: int,
) -> None:
    from aloft.training import distributed

    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(distributed.sys, "platform", "linux")
    config = kind(**{"per_device_train_batch_size": size, "num_train_epochs": 1, **settings})
    assert distributed.useful_processes(rows, config) == processes


def test_two_processes_train_a_generator_as_one_does(folder: Path) -> None:
    config = GeneratorTrainingConfig(
        r=4, lora_dropout=0, max_length=4096, per_device_train_batch_size=2, **STEADY
    )
    rows = generator_rows() * 3
    compare("generator", rows, folder / "language-model", config, folder)


def test_two_processes_resume_where_they_were_killed(folder: Path) -> None:
    from aloft.training.distributed import train_together

    config = EmbedderTrainingConfig(per_device_train_batch_size=4, **STEADY)
    given = 2, train_in_float32, "embedder", embedder_rows(), str(folder / "encoder")
    whole = train_together(*given, folder / "whole", config, seed=3, progress=no_progress)
    seen: list[int] = []

    def stop(_doing: str, done: int, _total: int) -> None:
        seen.append(done)
        if len(seen) == 2:
            raise KeyboardInterrupt

    options: Any = {"seed": 3, "checkpoints": folder / "checkpoints", "progress": stop}
    with pytest.raises(KeyboardInterrupt):
        train_together(*given, folder / "killed", config, **options)
    assert not (folder / "killed").exists()
    resumed = train_together(*given, folder / "killed", config, **options)
    assert seen[:2] == [1, 2]
    assert seen[2] > 1
    assert resumed.fingerprint == whole.fingerprint
