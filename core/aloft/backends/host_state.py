"""Lets model libraries work in a host's process, and leaves that process as it was.

Log levels, warning filters, progress bars, environment variables and the global random generators
belong to the whole process, so loadings and trainings take turns, and each undoes its changes.
Threads of the host that use the same state meanwhile see the change.
"""

import logging
import os
import random
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any

import numpy as np

logger = logging.getLogger(__name__)
# set by accelerate and the trainers while they run; whatever else a host sets meanwhile stays
_LIBRARY_VARIABLES = (
    *("ACCELERATE_", "CUBLAS_", "CUDA_", "DATASETS_", "FSDP_", "HF_", "KMP_", "MASTER_", "NCCL_"),
    *("OMP_", "PYTORCH_", "TF_", "TOKENIZERS_", "TORCH", "TRANSFORMERS_", "TRL_", "WANDB_", "XLA_"),
)
_LIBRARY_LOGGERS = (
    "transformers",
    "sentence_transformers",
    "datasets",
    "accelerate",
    "trl",
    "peft",
)


class _LibraryTurn:
    """Lets one thread of the process at a time load or train; the same thread may enter again."""

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            logger.info("Waiting until another thread has loaded or trained its model.")
            self._lock.acquire()

    def __exit__(self, *_fault: object) -> None:
        self._lock.release()


library_turn = _LibraryTurn()
"""Held while a model is imported for, loaded or trained.

Meanwhile libraries exchange torch's initialisers and default number format, draw from the global
generators and set variables, all for the whole process: a second thread would build its model from
the first one's.
"""


@cache  # once is enough
def _stay_usable_in_forks() -> None:
    """Have processes that are forked from now on compute in one thread.

    OpenMP's threads do not come along, and a forked process that asks for them waits for ever.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_compute_alone)


def _compute_alone() -> None:
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(1)
    if (faiss := sys.modules.get("faiss")) is not None:
        faiss.omp_set_num_threads(1)


def _silence() -> ExitStack:
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, enable_progress_bars
    from transformers.utils import logging as library_logging

    transformers_logging: Any = library_logging  # untyped
    _stay_usable_in_forks()
    undo = ExitStack()
    _restore_levels(undo)
    if not are_progress_bars_disabled():
        undo.callback(enable_progress_bars)
    if transformers_logging.is_progress_bar_enabled():
        undo.callback(transformers_logging.enable_progress_bar)
        transformers_logging.disable_progress_bar()  # those of the hub as well
    for name in ("transformers", "sentence_transformers"):
        logging.getLogger(name).setLevel(logging.ERROR)
    undo.enter_context(warnings.catch_warnings())
    # deprecations between these libraries: nothing that a user could act on
    warnings.filterwarnings(
        "ignore", category=FutureWarning, module=r"(transformers|trl|peft|accelerate)\."
    )
    return undo


def _contain_training() -> ExitStack:
    import datasets
    import torch
    from accelerate import state

    from aloft.backends.device import without_cudnn_attention

    undo = ExitStack()
    undo.enter_context(_silence())
    _restore_variables(undo)
    undo.callback(random.setstate, random.getstate())
    undo.callback(np.random.set_state, np.random.get_state())
    undo.enter_context(torch.random.fork_rng(range(torch.cuda.device_count())))
    if torch.backends.mps.is_available():
        undo.callback(torch.mps.set_rng_state, torch.mps.get_rng_state())
    undo.enter_context(without_cudnn_attention())
    for shared in (state.PartialState, state.AcceleratorState, state.GradientState):
        undo.callback(_refill, shared._shared_state, dict(shared._shared_state))
    if not datasets.are_progress_bars_disabled():
        undo.callback(datasets.enable_progress_bars)
        datasets.disable_progress_bars()
    return undo


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """A turn in which model libraries show no progress bars and log errors only."""
    with library_turn, _silence():
        yield


@contextmanager
def contained_loading() -> Iterator[None]:
    """A turn in which a model is loaded to be used: what is drawn at random is not the host's."""
    import torch

    with quiet_libraries(), torch.random.fork_rng(range(torch.cuda.device_count())):
        yield


@contextmanager
def contained_training() -> Iterator[None]:
    """A turn for a training, which seeds and configures the whole process.

    Afterwards Python's, NumPy's and torch's random generators and kinds of attention, environment
    variables, accelerate's state, log levels, warning filters and progress bars are as they were
    before, also where the training fails or is interrupted.
    """
    with library_turn, _contain_training():
        yield


def _restore_levels(undo: ExitStack) -> None:
    for name in _LIBRARY_LOGGERS:
        logger = logging.getLogger(name)
        undo.callback(logger.setLevel, logger.level)


def _restore_variables(undo: ExitStack) -> None:
    before = {name: value for name, value in os.environ.items() if _is_librarys(name)}

    def restore() -> None:
        for name in [name for name in os.environ if _is_librarys(name)]:
            if name not in before:
                del os.environ[name]
        os.environ.update(before)

    undo.callback(restore)


def _is_librarys(name: str) -> bool:
    return name.startswith(_LIBRARY_VARIABLES)


def _refill(state: dict[str, Any], before: dict[str, Any]) -> None:
    state.clear()
    state.update(before)
