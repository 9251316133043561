"""Trains a part at one site of a federation, and makes whole parts of what is shared.

It knows rows, weights and settings, and nothing of networks.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

import torch
from peft import PeftModel, get_peft_model

from aloft.backends.fingerprint import fingerprint_folder
from aloft.backends.packaged import resolve_model
from aloft.backends.sentence_transformers import load_encoder
from aloft.config import EmbedderTrainingConfig, GeneratorTrainingConfig
from aloft.files import write_folder
from aloft.protocols import Progress, no_progress
from aloft.records import EmbedderRow, GeneratorRow
from aloft.training import tuning
from aloft.training.embedder import fit_embedder, save_embedder
from aloft.training.generator import fit_generator, load_base, new_adapter, save_generator
from aloft.training.shared_weights import SharedWeights, State
from aloft.training.start import Start, trained_weights
from aloft.training.trainer import seeded_training

FederatedPart = Literal["embedder", "generator"]
TrainingConfig = EmbedderTrainingConfig | GeneratorTrainingConfig
_SEEDS = 2**32


def initial_weights(model: str, config: TrainingConfig, seed: int) -> SharedWeights:
    """The weights that a training by itself would begin with, for all sites.

    Args:
        model: Name of the base model.
        config: How its part is trained.
        seed: Of what is drawn at random.

    Raises:
        ModelError: the model is not on this machine.
    """
    base = Path(resolve_model(model))
    with seeded_training(seed):
        return SharedWeights(
            base=fingerprint_folder(base), tensors=trained_weights(_prepared(base, config))
        )


def local_update(  # noqa: PLR0913 - what is trained, with what, and its place in the federation
    rows: Sequence[EmbedderRow] | Sequence[GeneratorRow],
    model: str,
    config: TrainingConfig,
    weights: State,
    *,
    seed: int,
    round_number: int = 1,
    rounds: int = 1,
    proximal_mu: float = 0.0,
    progress: Progress = no_progress,
) -> tuple[State, int]:
    """Train shared weights further on a site's own rows.

    Each round has its share of the configured epochs, an order of the rows and a schedule of its
    own; one round is a whole training.

    Args:
        rows: The site's.
        model: Name of the base model.
        config: How the part is trained.
        weights: As they were sent.
        seed: The run's seed.
        round_number: From 1.
        rounds: Of the federation.
        proximal_mu: See `Start`.
        progress: Called after each step.

    Returns:
        The weights after training, and the number of rows.

    Raises:
        DataError: the weights do not fit the model.
        ModelError: the model is not on this machine.

    Source: FedAvg (arXiv:1602.05629); of low-rank updates FedIT (arXiv:2305.05644).
    """
    share = config.model_copy(update={"num_train_epochs": config.num_train_epochs / rounds})
    fit: Any = fit_embedder if isinstance(config, EmbedderTrainingConfig) else fit_generator
    own_seed = (seed + round_number - 1) % _SEEDS
    with seeded_training(own_seed):
        start = Start(weights=weights, proximal_mu=proximal_mu)
        fitted = fit(rows, model, share, seed=own_seed, progress=progress, start=start)
        return trained_weights(fitted.model), len(rows)


def save_shared(model: str, config: TrainingConfig, weights: State, folder: Path) -> None:
    """Save shared weights as a part: a whole embedder, or a generator's adapter.

    Raises:
        DataError: they do not fit the model.
        ModelError: the model is not on this machine.
    """
    base = Path(resolve_model(model))
    with seeded_training(0):
        prepared: Any = _prepared(base, config)
        Start(weights=weights).load(prepared)
        if isinstance(config, EmbedderTrainingConfig):
            save: Any = partial(save_embedder, prepared, base, config)
        else:
            save = partial(save_generator, prepared, base)
        write_folder(folder, save)


def save_blend(model: str, config: TrainingConfig, parts: Sequence[Path], folder: Path) -> None:
    """Save the average of two trained parts' updates.

    Args:
        model: Name of the base model.
        config: How they were trained.
        parts: Folders of the two.
        folder: Where the average is saved.

    Source: WiSE-FT (arXiv:2109.01903). Adapters are put side by side with half of their scale,
    which is the average of their updates; the average of their factors would be another one.
    """
    one, other = parts
    with seeded_training(0):
        if isinstance(config, EmbedderTrainingConfig):
            encoder = load_encoder(one)
            tuning.average_weights(encoder, load_encoder(other), 0.5)

            def save(path: Path) -> None:
                encoder.save(str(path), create_model_card=False, safe_serialization=True)

        else:
            base = Path(resolve_model(model))
            adapted: Any = PeftModel.from_pretrained(load_base(base, config), str(one), "one")
            adapted.load_adapter(str(other), "other")
            adapted.add_weighted_adapter(
                ["one", "other"], [0.5, 0.5], "default", combination_type="cat"
            )
            adapted.peft_config["default"].use_rslora = False  # the scale is within the factors now
            adapted.set_adapter("default")
            adapted.delete_adapter("one")
            adapted.delete_adapter("other")
            save = partial(save_generator, adapted, base)
        write_folder(folder, save)


def _prepared(base: Path, config: TrainingConfig) -> torch.nn.Module:
    """The model as its training begins, with weights to train and all others frozen."""
    if isinstance(config, EmbedderTrainingConfig):
        return tuning.prepare(load_encoder(base), config)
    adapter: Any = new_adapter(config)
    adapted: Any = get_peft_model(load_base(base, config), adapter)
    return cast(torch.nn.Module, adapted)
