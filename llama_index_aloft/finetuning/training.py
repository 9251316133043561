"""What the engines share: checked arguments, an output folder, and what training gained."""

import json
import logging
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from llama_index.core.bridge.pydantic import BaseModel, ValidationError

from aloft.api import (
    Comparison,
    ConfigError,
    DataError,
    Progress,
    RunFolderError,
    Values,
    compare,
    content_id,
    is_whole,
    local_only,
    read_json_object,
    require,
    shown_progress,
    write_text,
)
from aloft.config import read_path

SEED = 0
_RESAMPLES = 10_000
_NOTE = ".aloft-training.json"  # in an output folder: who wrote it, and from what
_NOTED = 256  # ids of texts
_MIN_KEPT = 0.5  # as of a run's documents
_ARGUMENTS = {"num_train_epochs": "epochs", "per_device_train_batch_size": "batch_size"}

logger = logging.getLogger(__name__)
ConfigT = TypeVar("ConfigT", bound=BaseModel)


def check_settings(kind: type[ConfigT], **values: Any) -> ConfigT:
    """The settings of a training.

    Raises:
        ConfigError: one is out of range; the message names it as engines do.
    """
    try:
        return kind(**values)
    except ValidationError as error:
        fault = error.errors()[0]
        name = str(fault["loc"][0]) if fault["loc"] else "the settings"
        raise ConfigError(
            f"{_ARGUMENTS.get(name, name)} is {fault['input']!r}: {fault['msg']}."
        ) from error


def check_loss(loss: Any, usual: str) -> str:
    """The name of a loss.

    Raises:
        ConfigError: the loss is an object.
    """
    if loss is None or isinstance(loss, str):
        return loss or usual
    raise ConfigError(f'loss is a {type(loss).__name__}. Name it, as in loss="{usual}".')


def check_batch(batch_size: Any) -> int:
    """How many rows a batch has: at least two, which are each other's negatives.

    Raises:
        ConfigError: it is no positive number.
    """
    if not is_whole(batch_size) or batch_size < 1:
        raise ConfigError(f"batch_size is {batch_size!r}, but must be a number from 1.")
    return max(2, int(batch_size))


def check_device(device: Any) -> None:
    """Check that a device is none or the one that models are trained on.

    Raises:
        ConfigError: it is another.
    """
    if device is None:
        return
    require("torch", extra="train")
    from aloft.api import best_device

    best = best_device()
    if str(device).partition(":")[0] != best:
        raise ConfigError(f'device is "{device}", but models are trained on "{best}" here.')


def check_no_settings(given: Mapping[str, Any]) -> None:
    """Check that `finetune` is given no settings, which the retired engines ignored.

    Raises:
        ConfigError: it is given some.
    """
    if given:
        raise ConfigError(f"finetune() takes no settings ({', '.join(given)}). Set up the engine.")


def warn_of_overlap(trained: Iterable[str], measured: Iterable[str]) -> None:
    """Warn if questions that a model is measured on are trained on, so that gains are too large."""
    known, asked = set(trained), list(measured)
    shared = sum(question in known for question in asked)
    if shared:
        logger.warning(
            "val_dataset: %d of %d questions are trained on, so gains will be too large.",
            *(shared, len(asked)),
        )


@contextmanager
def local_work(show_progress: bool) -> Iterator[Progress]:
    """Refuse connections to other machines, and yield a callback that shows progress if asked."""
    with local_only(), shown_progress(show_progress) as progress:
        yield progress


def measure_gains(
    measure: Callable[[str], Values], model: str, tuned: Path, clusters: Sequence[str]
) -> list[Comparison]:
    """Compare a model before and after training; questions of a cluster are resampled together."""
    before, after = measure(model), measure(str(tuned))
    return [
        compare(metric, column, after[metric], clusters, resamples=_RESAMPLES, seed=SEED)
        for metric, column in before.items()
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """An engine's output folder.

    Attributes:
        folder: Its path.
        engine: Class of the engine.
        overwrite: Whether anything that stands there may be replaced.
    """

    folder: Path
    engine: str
    overwrite: bool

    @classmethod
    def of(cls, engine: object, path: str, *, overwrite: bool) -> Self:
        """That of an engine, wherever the process's working directory moves afterwards.

        Raises:
            ConfigError: the path is none, or an empty one.
        """
        folder = read_path("model_output_path", path)
        return cls(folder=folder, engine=type(engine).__name__, overwrite=overwrite)

    def claim(self, texts: Iterable[str]) -> None:
        """Check that training replaces nothing but this engine's own work on these texts.

        Args:
            texts: Those of the dataset.

        Raises:
            RunFolderError: the folder holds something else, such as another corpus' model.
        """
        if self.overwrite or not self.folder.exists():
            return
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            return
        path = self.folder / _NOTE
        what = f"files that no {self.engine} wrote"
        if path.exists():
            known = read_json_object(path, missing="", repair="Delete it, and pass overwrite=True.")
            ids = {content_id(text) for text in texts}
            kept = sum(one in ids for one in known["texts"]) >= _MIN_KEPT * len(known["texts"])
            if known["engine"] == self.engine and kept:
                return
            if known["engine"] == self.engine:
                what = "a model that was trained on another corpus"
        raise RunFolderError(
            f"{self.folder} holds {what}. Choose another model_output_path, or replace it by "
            "overwrite=True."
        )

    def note(self, texts: Iterable[str]) -> None:
        """Note in the folder who wrote it, and from which texts."""
        known = sorted({content_id(text) for text in texts})[:_NOTED]  # hashes: drawn at random
        write_text(self.folder / _NOTE, json.dumps({"engine": self.engine, "texts": known}))

    def checkpoints(self, *key: str) -> Path:
        """Folder of the checkpoints of the training that a key identifies; others are deleted."""
        above = self.folder.parent / "work" / f"{self.folder.name}-checkpoints"
        name = content_id(*key)
        for other in above.glob("*"):
            if other.name != name:
                shutil.rmtree(other, ignore_errors=True)
        return above / name

    @property
    def finished(self) -> Path:
        """The folder, once it holds a trained model.

        Raises:
            DataError: `finetune` has not finished.
        """
        if not self.folder.is_dir():
            raise DataError(f"{self.folder} does not exist yet. Call finetune() first.")
        return self.folder
