"""The disk space that a run will take."""

from collections.abc import Sequence
from math import prod
from pathlib import Path

from aloft.backends.packaged import resolve_model
from aloft.config import Part, RunConfig
from aloft.run.pilot import Pilot

_CHECKPOINT = 3  # times the weights: they and the optimizer's two; the next is written beside it


def disk_of(pilot: Pilot, parts: Sequence[Part]) -> float:
    """Bytes of what lies in the folder, of what will, and of the largest training's checkpoints."""
    run = pilot.run
    files = [path.stat() for path in run.shared.store.origin.rglob("*") if path.is_file()]
    held = float(sum({file.st_ino: file.st_size for file in files}.values()))
    held *= pilot.passages_in_all / len(run.records("passages"))
    if not parts:
        return float(held)
    weights = [weight_of(part, run.config) for part in parts]
    vector = pilot.embedder.encode_passages(["a"]).nbytes
    vectors = 2 * pilot.passages_in_all * vector
    return float(held + vectors + sum(weights) + 2 * _CHECKPOINT * max(weights))


def weight_of(part: Part, config: RunConfig) -> int:
    """Bytes of a trained part: an adapter of a language model, or else all weights."""
    training = config.generator_training
    if part == "generator" and training.method != "full":
        layers = _shapes(config.base_model(part))
        return sum(4 * training.r * sum(s) for n, s in layers.items() if _is_adapted(n, s))
    return sum(4 * prod(shape) for shape in _shapes(config.base_model(part)).values())


def _is_adapted(name: str, shape: Sequence[int]) -> bool:
    """Whether an adapter on all linear layers changes these weights."""
    return len(shape) == 2 and "embed" not in name and not name.startswith("lm_head")


def _shapes(model: str) -> dict[str, list[int]]:
    """Of a model's weights, by name; nothing of them is read."""
    from safetensors import safe_open

    shapes: dict[str, list[int]] = {}
    for file in sorted(Path(resolve_model(model)).glob("*.safetensors")):
        with safe_open(file, framework="np") as tensors:
            shapes |= {name: tensors.get_slice(name).get_shape() for name in tensors.keys()}  # noqa: SIM118
    return shapes
