"""Trains on all GPUs of this machine: a process for each, which together do what one would do.

Batch sizes are those of all processes together. Each process takes an equal share of every batch,
negatives within a batch are those of the whole batch, and gradients are averaged (PyTorch's
distributed data parallel), so that losses, steps and learning rates are those of one GPU, and
weights are to rounding. What an uneven batch has too many, fewer rows than processes, is left out
of an epoch.
"""

import logging
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import wraps
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any, TypeVar, cast

import torch
from sentence_transformers.base.sampler import ProportionalBatchSampler
from torch import distributed
from torch.multiprocessing.spawn import ProcessException, start_processes
from torch.utils.data import BatchSampler

from aloft.backends.device import best_device
from aloft.errors import AloftError, ModelError
from aloft.network_guard import allowed_hosts, count_refused, forbid_telemetry, local_only
from aloft.protocols import Progress, no_progress

ValueT = TypeVar("ValueT")
TrainT = TypeVar("TrainT", bound=Callable[..., Any])

_FEWEST_STEPS = 200  # worth the seconds in which processes start
_INDIVISIBLE = ("graded", "listwise")  # losses that are no mean over the rows of a batch
_POLL = 0.1  # seconds
_PATIENCE = timedelta(hours=2)  # of processes while the first one scores or saves
# Errors, kept so that nothing in their frames is freed before the process ends. A thread of gloo
# needs Python's lock to free a tensor. While the interpreter frees a process group, it holds that
# lock and waits for the thread, and the process hangs; after the interpreter has ended, the thread
# aborts it.
_kept: list[Exception] = []
logger = logging.getLogger(__name__)


def process_count() -> int:
    """The processes that train together; 1: this one alone."""
    is_one = not distributed.is_available() or not distributed.is_initialized()
    return 1 if is_one else distributed.get_world_size()


def from_first(work: Callable[[], ValueT]) -> ValueT:
    """What a function returns in the first process of a training; the others wait for it."""
    if process_count() == 1:
        return work()
    found: list[Any] = [work() if distributed.get_rank() == 0 else None]
    broadcast: Any = distributed.broadcast_object_list  # untyped
    broadcast(found)
    value: ValueT = found[0]
    return value


class EvenShares(BatchSampler):
    """Splits each batch among the processes of a training, in equal shares.

    Of a sampler's batches accelerate gives each process every n-th one: here the shares of a batch
    follow each other.

    Args:
        whole: The batches of one process.
        steps: Batches that have a row for each process.
    """

    sampler: Any  # by this name it is told the epoch

    def __init__(self, whole: Any, steps: int) -> None:
        self.sampler = whole
        self.batch_size = None  # type: ignore[assignment]
        self.drop_last = False
        self._steps = steps

    def __iter__(self) -> Iterator[list[int]]:
        count = process_count()
        for batch in self.sampler:
            size = len(batch) // count
            yield from (batch[size * i : size * (i + 1)] for i in range(count) if size)

    def __len__(self) -> int:
        return process_count() * self._steps


def shared_batches(dataset: Any, *, batch_samplers: list[Any], generator: Any, seed: int) -> Any:
    """Batches of several datasets in proportion to their sizes, shared among the processes."""
    whole = ProportionalBatchSampler(dataset, batch_samplers, generator, seed)
    if process_count() == 1:
        return whole
    return EvenShares(whole, sum(map(full_steps, batch_samplers)))


def full_steps(batches: Any) -> int:
    """Batches of an epoch that have a row for each process."""
    whole, rest = divmod(len(batches.sampler), int(batches.batch_size))
    return whole + (rest >= process_count())


def on_all_gpus(train: TrainT) -> TrainT:
    """Let a training use all GPUs of this machine, where it is long enough to gain by it.

    The number of processes divides the batch size. `CUDA_VISIBLE_DEVICES` limits the GPUs.
    """

    @wraps(train)
    def run(rows: Sequence[Any], model: str, folder: Path, config: Any, **options: Any) -> Any:
        count = useful_processes(len(rows), config)
        if count == 1:
            return train(rows, model, folder, config, **options)
        progress = options.pop("progress", no_progress)
        return train_together(count, run, rows, model, folder, config, progress=progress, **options)

    return cast(TrainT, run)


def useful_processes(rows: int, config: Any) -> int:
    """The processes by which a training of so many rows is best done."""
    size: int = config.per_device_train_batch_size
    is_short = rows * (config.num_train_epochs or 1) < size * _FEWEST_STEPS
    is_whole = getattr(config, "loss", "") in _INDIVISIBLE
    is_part = process_count() > 1 or multiprocessing.current_process().daemon
    if is_short or is_whole or is_part or not sys.platform.startswith("linux"):
        return 1
    return max(n for n in range(1, max(1, torch.cuda.device_count()) + 1) if size % n == 0)


@dataclass(frozen=True, slots=True)
class _Job:
    """What each process of a training is given.

    Attributes:
        count: Of the processes.
        meeting: A file by which they find one another.
        allowed: Other machines that may be reached.
        train: Called with `arguments` and `options`.
    """

    count: int
    meeting: Path
    allowed: frozenset[str]
    train: Callable[..., Any]
    arguments: tuple[Any, ...]
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Done:
    """What a training returned, and the machines that something tried to reach in vain."""

    value: Any
    refused: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Said:
    """A line of the log."""

    name: str
    level: int
    line: str


def train_together(
    count: int, train: Callable[..., Any], *arguments: Any, progress: Progress, **options: Any
) -> Any:
    """Train by several processes of this machine, on a GPU each where it has any.

    Args:
        count: Of the processes.
        train: A function of a module, which returns the same in each of them.
        *arguments: What it is called with.
        **options: What it is called with by name.
        progress: Called here with the first process's progress.

    Raises:
        AloftError: as `train` does.
        ModelError: a process failed or was killed.
    """
    receiver, sender = multiprocessing.get_context("spawn").Pipe(duplex=False)
    with TemporaryDirectory(prefix="aloft-") as folder, receiver:
        meeting = Path(folder) / "processes"
        job = _Job(count, meeting, allowed_hosts(), train, arguments, options)
        start: Any = start_processes  # untyped
        with _bare_main(), sender:
            started = start(_take_part, (job, sender), count, join=False)
        done: list[_Done] = []
        try:
            while not started.join(timeout=_POLL):
                done += _received(receiver, progress)
            done += _received(receiver, progress)
        except ProcessException as error:
            _received(receiver, progress)
            if any(process.exitcode == -signal.SIGKILL for process in started.processes):
                raise ModelError(
                    "A process of the training was killed: it may have lacked memory. Run the "
                    "same command again to resume."
                ) from error
            reason = str(error).strip().splitlines()[-1][:200]
            raise ModelError(
                f"A training by {count} processes failed ({reason}). To train on one GPU, set "
                "CUDA_VISIBLE_DEVICES=0 and run the same command again."
            ) from error
        finally:
            for process in started.processes:
                process.kill()
    count_refused(done[0].refused)
    return done[0].value


def _received(receiver: Connection, progress: Progress) -> list[_Done]:
    """Pass on what the first process has sent; returns its result where that is among it.

    Raises:
        AloftError: the training did.
    """
    done = []
    try:
        while receiver.poll():
            item = receiver.recv()
            if isinstance(item, AloftError):
                raise item
            if isinstance(item, _Said):
                logging.getLogger(item.name).log(item.level, "%s", item.line)
            elif isinstance(item, _Done):
                done.append(item)
            else:
                progress(*item)
    except EOFError:
        pass  # it has ended
    return done


@contextmanager
def _bare_main() -> Iterator[None]:
    """Processes that start meanwhile do not run the application's main script once more."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _take_part(rank: int, job: _Job, sender: Connection) -> None:
    """Train as one of several processes; the first one reports."""
    forbid_telemetry()
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(job.count),
        LOCAL_WORLD_SIZE=str(job.count),
    )
    for library in ("GLOO", "NCCL"):  # they are on one machine
        os.environ.setdefault(f"{library}_SOCKET_IFNAME", "lo")
    backend = "gloo"
    if best_device() == "cuda":
        torch.cuda.set_device(rank)
        backend = "nccl"
    distributed.init_process_group(
        backend,
        init_method=job.meeting.as_uri(),
        rank=rank,
        world_size=job.count,
        timeout=_PATIENCE,
    )
    ours = logging.getLogger("aloft")
    ours.propagate = False
    ours.addHandler(logging.NullHandler() if rank else _Sending(sender))
    progress = no_progress if rank else lambda *what: sender.send(what)
    try:
        with local_only(job.allowed) as guard:
            value = job.train(*job.arguments, progress=progress, **job.options)
    except Exception as error:
        _kept.append(error)
        if rank == 0 and isinstance(error, AloftError):
            sender.send(error)
        raise
    if rank == 0:
        sender.send(_Done(value, tuple(guard.refused)))
    if backend == "nccl":
        distributed.destroy_process_group()  # waits until the others have what this one sent
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # before the interpreter frees the process group: see `_kept`


class _Sending(logging.Handler):
    """Sends lines of the log to the process that started the training."""

    def __init__(self, sender: Connection) -> None:
        super().__init__()
        self._sender = sender

    def emit(self, record: logging.LogRecord) -> None:
        self._sender.send(_Said(record.name, record.levelno, record.getMessage()))
