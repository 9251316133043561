"""What all trainings share: trainer arguments, progress, resuming and saving the trained part."""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer, TrainerCallback, TrainingArguments, trainer_utils

from aloft.backends.device import best_device, has_bf16
from aloft.backends.fingerprint import fingerprint_folder
from aloft.backends.host_state import contained_training
from aloft.config import Part
from aloft.files import friendly_io_errors, write_folder
from aloft.protocols import Progress
from aloft.records import Artifact, Probe
from aloft.training.distributed import from_first

_WRITTEN_LAST = "trainer_state.json"  # of a checkpoint
PARTS_OF_TRAINING = 5  # with a checkpoint after each, a kill costs at most a fifth
_LOGGED = 40  # losses per training: enough for a curve


@contextmanager
def seeded_training(seed: int) -> Iterator[None]:
    """Seed torch for a training, and leave the host's process as it was.

    All that trains enters here: from the drawing of new weights to the saved model.
    """
    with contained_training():
        torch.manual_seed(seed)
        yield


def shared_arguments(checkpoints: Path | None, steps: int, seed: int) -> dict[str, Any]:
    """Trainer arguments that do not depend on the part.

    Args:
        checkpoints: Folder for what a resumed training needs; None: nothing is saved for one.
        steps: Optimizer steps in all.
        seed: The run's seed.
    """
    device = best_device()
    return {
        "output_dir": str(checkpoints or tempfile.gettempdir()),  # required; unused without saving
        "use_cpu": device == "cpu",
        "bf16": has_bf16(device),
        "seed": seed,
        "data_seed": seed,
        "save_strategy": "steps" if checkpoints else "no",
        "save_steps": max(1, steps // PARTS_OF_TRAINING),
        "save_total_limit": 1,
        "logging_steps": max(1, steps // _LOGGED),
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": device == "cuda",
    }


def keep_to_device(arguments: TrainingArguments) -> None:
    """Let a process use its own GPU alone; the library would copy the model to all of them."""
    arguments._n_gpu = min(1, arguments.n_gpu)
    arguments.dataloader_drop_last = False  # shares of a batch are even


def disable_card_examples(encoder: Any) -> None:
    """Keep the library from drawing examples for a model card from the user's rows."""
    encoder.model_card_data.generate_widget_examples = False
    encoder.model_card_data.widget = [{"text": ""}]  # it draws none where there is one


class _ReportSteps(TrainerCallback):
    """Reports each step."""

    def __init__(self, stage: str, progress: Progress) -> None:
        self._stage = stage
        self._progress = progress

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._progress(self._stage, state.global_step, state.max_steps)


def run_trainer(
    trainer: Trainer,
    checkpoints: Path | None,
    stage: str,
    progress: Progress,
    *callbacks: TrainerCallback,
) -> tuple[float, ...]:
    """Train, from the last checkpoint where there is one; returns the logged losses."""
    from transformers.trainer_callback import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    for callback in (_ReportSteps(stage, progress), *callbacks):
        trainer.add_callback(callback)
    last = from_first(lambda: last_checkpoint(checkpoints))
    with friendly_io_errors(checkpoints) if checkpoints else nullcontext():
        trainer.train(resume_from_checkpoint=last)
    return tuple(round(entry["loss"], 4) for entry in trainer.state.log_history if "loss" in entry)


def last_checkpoint(checkpoints: Path | None) -> str | None:
    """The newest whole checkpoint of a folder; one that a kill left unfinished is deleted."""
    if checkpoints is None or not checkpoints.is_dir():
        return None
    newest: Any = trainer_utils.get_last_checkpoint  # untyped
    while (found := newest(str(checkpoints))) is not None:
        try:
            json.loads((Path(found) / _WRITTEN_LAST).read_bytes())
        except (OSError, ValueError):
            shutil.rmtree(found)
        else:
            return str(found)
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A model after its training, with what was logged on the way; see `Artifact`."""

    model: Any
    losses: tuple[float, ...]
    probes: tuple[Probe, ...] = ()
    event: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What a training reports when it ends; see `Artifact`."""

    kind: Part
    base_model: str
    losses: tuple[float, ...]
    seconds: float
    probes: tuple[Probe, ...] = ()
    event: str = ""


def finish_training(
    trained: Trained, folder: Path, checkpoints: Path | None, save: Callable[[Path], None]
) -> Artifact:
    """Save the part in one step, then delete its checkpoints."""
    artifact = save_part(trained, folder, save)
    delete_checkpoints(checkpoints)
    return artifact


def delete_checkpoints(checkpoints: Path | None) -> None:
    """Delete what only a resumed training needs."""
    if checkpoints is not None:
        from_first(lambda: shutil.rmtree(checkpoints, ignore_errors=True))


def save_part(trained: Trained, folder: Path, save: Callable[[Path], None]) -> Artifact:
    """Save the part in one step: its folder appears when it is complete."""

    def save_here() -> str:
        write_folder(folder, save)
        return fingerprint_folder(folder)

    return Artifact(
        kind=trained.kind,
        path=folder.name,
        base_model=trained.base_model,
        fingerprint=from_first(save_here),
        seconds=round(trained.seconds, 1),
        losses=trained.losses,
        probes=trained.probes,
        event=trained.event,
    )


def steps_of(rows: int, batch_size: int, epochs: float) -> int:
    """Optimizer steps of a training."""
    return max(1, int(-(-rows // batch_size) * epochs))
