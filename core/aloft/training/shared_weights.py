"""The weights that sites of a federation share, as arrays and as a file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aloft.errors import DataError
from aloft.files import write_atomically
from aloft.protocols import Floats

State = Mapping[str, Floats]
"""Trained weights by name; float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedWeights:
    """Weights that are trained together.

    Attributes:
        base: Fingerprint of the model that they are added to.
        tensors: By name.
    """

    base: str
    tensors: State


def write_weights(path: Path, weights: SharedWeights) -> None:
    """Write weights to a safetensors file, in one step."""
    from safetensors.numpy import save_file

    tensors = {name: np.ascontiguousarray(values) for name, values in weights.tensors.items()}
    metadata = {"base": weights.base}
    write_atomically(path, lambda temporary: save_file(tensors, temporary, metadata))


def read_weights(path: Path) -> SharedWeights:
    """Read weights from the file that `write_weights` wrote.

    Raises:
        DataError: the file is damaged, or holds something else.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            base = (file.metadata() or {}).get("base")
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path} cannot be read ({error}). Delete it to begin anew.") from error
    if base is None:
        raise DataError(f"{path} holds no weights of a federation. Delete it to begin anew.")
    return SharedWeights(base=base, tensors=tensors)
