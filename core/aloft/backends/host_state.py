"""Lets model libraries work in a host's process, and leaves that process as it was.

Log levels, warning filters, progress bars, environment variables and the global random generators
belong to the whole process. Each change here lasts while any thread needs it: the first one applies
it, the last one undoes it. Threads of the host that use the same state meanwhile see the change.
"""

import logging
import os
import random
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

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


class _SharedChange:
    """A change of the process that is undone once no thread needs it any more.

    Args:
        apply: Makes the change and returns what undoes it.
    """

    def __init__(self, apply: Callable[[], ExitStack]) -> None:
        self._apply = apply
        self._lock = threading.Lock()
        self._users = 0
        self._undo = ExitStack()

    @contextmanager
    def held(self) -> Iterator[None]:
        with self._lock:
            if not self._users:
                self._undo = self._apply()
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    self._undo.close()


def _silence() -> ExitStack:
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, enable_progress_bars
    from transformers.utils import logging as library_logging

    transformers_logging: Any = library_logging  # untyped
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
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(transformers|trl|peft)\.")
    return undo


def _contain_training() -> ExitStack:
    import datasets
    import torch
    from accelerate import state

    undo = ExitStack()
    undo.enter_context(_quiet.held())
    _restore_levels(undo)
    _restore_variables(undo)
    undo.callback(random.setstate, random.getstate())
    undo.callback(np.random.set_state, np.random.get_state())
    undo.enter_context(torch.random.fork_rng(range(torch.cuda.device_count())))
    if torch.backends.mps.is_available():
        undo.callback(torch.mps.set_rng_state, torch.mps.get_rng_state())
    for shared in (state.PartialState, state.AcceleratorState, state.GradientState):
        undo.callback(_refill, shared._shared_state, dict(shared._shared_state))
    if not datasets.are_progress_bars_disabled():
        undo.callback(datasets.enable_progress_bars)
        datasets.disable_progress_bars()
    return undo


_quiet = _SharedChange(_silence)
_contained = _SharedChange(_contain_training)


def quiet_libraries() -> Any:
    """A context in which model libraries show no progress bars and log errors only."""
    return _quiet.held()


def contained_training() -> Any:
    """A context for a training, which seeds and configures the whole process.

    Afterwards Python's, NumPy's and torch's random generators, environment variables, accelerate's
    state, log levels, warning filters and progress bars are as they were before, also where the
    training fails or is interrupted. Trainings in several threads share all of these while they
    run, so their results depend on each other; the process is as before once the last has ended.
    """
    return _contained.held()


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
