"""Trains an embedder with sentence-transformers' trainer."""

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from datasets import Dataset
from sentence_transformers import (
    MultiVectorEncoder,
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.base.sampler import BatchSamplers

from aloft.backends.device import best_device
from aloft.backends.packaged import resolve_model
from aloft.backends.sentence_transformers import load_encoder, passage_prompt
from aloft.config import EmbedderTrainingConfig
from aloft.errors import DataError
from aloft.protocols import Floats, Progress, no_progress
from aloft.records import Artifact, EmbedderRow
from aloft.training import losses, tuning
from aloft.training import trainer as shared
from aloft.training.collapse_guard import WATCHED, CollapseGuard
from aloft.training.distributed import from_first, on_all_gpus, shared_batches
from aloft.training.start import Start

AT_ONCE = 16  # texts in memory for the backward pass; a batch may have any size


@on_all_gpus
def train_embedder(  # noqa: PLR0913 - two folders, and what every training takes
    rows: Sequence[EmbedderRow],
    model: str,
    folder: Path,
    config: EmbedderTrainingConfig,
    *,
    seed: int,
    checkpoints: Path | None = None,
    progress: Progress = no_progress,
) -> Artifact:
    """Train an embedder with the configured loss and method, and save it to `folder`.

    For losses with in-batch negatives no text occurs twice in a batch: a passage asked about twice
    would be its own negative. The model's own query and passage prompts are used as at retrieval.

    Args:
        rows: A question, its passage, and hard negatives or grades as the loss needs them.
        model: Name of the model to start from.
        folder: Where the trained model is saved.
        config: Loss, method, epochs, learning rate, lengths.
        seed: The run's seed.
        checkpoints: Where a killed training resumes from; deleted once the model is saved.
            None: it cannot be resumed.
        progress: Called after each step.

    Raises:
        ModelError: the model is not on this machine.
        DataError: no row has the negatives that the loss compares.

    Source: see `aloft.training.losses`.
    """
    started = time.monotonic()
    with shared.seeded_training(seed):
        fitted = fit_embedder(
            rows, model, config, seed=seed, checkpoints=checkpoints, progress=progress
        )
        done = shared.Trained(
            kind="embedder",
            base_model=model,
            losses=fitted.losses,
            seconds=time.monotonic() - started,
            probes=fitted.probes,
            event=fitted.event,
        )
        save = partial(save_embedder, fitted.model, Path(resolve_model(model)), config)
        return shared.finish_training(done, folder, checkpoints, save)


def fit_embedder(  # noqa: PLR0913 - what every training takes
    rows: Sequence[EmbedderRow],
    model: str,
    config: EmbedderTrainingConfig,
    *,
    seed: int,
    checkpoints: Path | None = None,
    progress: Progress = no_progress,
    start: Start | None = None,
) -> shared.Fitted:
    """The prepared and trained model, before it is made whole; see `train_embedder`.

    It begins with the weights of `start`, or with those that `tuning.prepare` draws.
    """
    source = Path(resolve_model(model))
    at_once = AT_ONCE if best_device() == "cpu" else config.per_device_train_batch_size
    loaded = load_encoder(source)
    own = loaded.max_seq_length
    if not config.keeps_index:
        tuning.cut_texts(loaded, config.max_seq_length)
    watched = _Watched(rows)
    untuned = from_first(lambda: watched.embed(loaded))
    scale = losses.natural_scale(from_first(lambda: watched.score(loaded, untuned)), watched.right)
    encoder = tuning.prepare(loaded, config)
    shared.disable_card_examples(encoder)
    held = start.load(encoder) if start else []
    datasets = losses.datasets_for(rows, config)
    if not datasets:
        raise DataError(
            f'The loss "{config.loss}" compares positives with negatives, but none of '
            f"{len(rows)} rows has a negative. Lower negatives.margin or choose another loss."
        )
    count = sum(map(len, datasets.values()))
    steps = shared.steps_of(count, config.per_device_train_batch_size, config.num_train_epochs)
    arguments = SentenceTransformerTrainingArguments(
        **shared.shared_arguments(checkpoints, steps, seed),
        num_train_epochs=config.num_train_epochs,
        per_device_train_batch_size=config.per_device_train_batch_size,
        learning_rate=config.learning_rate,
        warmup_steps=config.warmup_share,
        batch_sampler=_sampler(config),
        multi_dataset_batch_sampler=shared_batches,
        prompts=prompts_of(encoder, datasets),
    )
    shared.keep_to_device(arguments)
    trainer = SentenceTransformerTrainer(
        model=encoder,
        args=arguments,
        train_dataset=datasets,
        loss=losses.loss_for(encoder, rows, source, config, scale=scale, at_once=at_once),
    )
    kept = untuned if config.keeps_index else None
    watch = CollapseGuard(encoder, lambda: watched.score(encoder, kept), watched.right, steps)
    logged = shared.run_trainer(
        trainer, checkpoints, "training the embedder", progress, watch, *held
    )
    if not config.keeps_index:
        encoder.max_seq_length = own
    return shared.Fitted(
        model=encoder, losses=logged, probes=tuple(watch.probes), event=watch.event
    )


def save_embedder(
    encoder: SentenceTransformer, source: Path, config: EmbedderTrainingConfig, path: Path
) -> None:
    """Save a prepared and trained model as a whole one.

    Args:
        encoder: The model.
        source: Folder of the untuned model.
        config: As it was prepared.
        path: Where it is saved.
    """
    whole = tuning.finish(encoder, source, config)
    shared.disable_card_examples(whole)
    whole.save(str(path), create_model_card=False, safe_serialization=True)


class _Watched:
    """A few questions, and all of their passages, positive and negative.

    Args:
        rows: The training rows.

    Attributes:
        passages: Each once.
        right: Among them the place of each question's positive.
    """

    def __init__(self, rows: Sequence[EmbedderRow]) -> None:
        some = rows[:: max(1, len(rows) // WATCHED)][:WATCHED]
        self.questions = [row.anchor for row in some]
        self.passages = list({t: None for row in some for t in (row.positive, *row.negatives)})
        places = {text: place for place, text in enumerate(self.passages)}
        self.right = [places[row.positive] for row in some]

    def score(self, encoder: SentenceTransformer, passages: Floats | None = None) -> Floats:
        """Cosines by an encoder; of passages the vectors where they are known."""
        if passages is None:
            passages = self.embed(encoder)
        asked: Floats = encoder.encode_query(
            self.questions, normalize_embeddings=True, show_progress_bar=False
        )
        scores: Floats = asked @ passages.T
        return scores

    def embed(self, encoder: SentenceTransformer) -> Floats:
        """Vectors of the passages by an encoder."""
        found: Floats = encoder.encode_document(
            self.passages, normalize_embeddings=True, show_progress_bar=False
        )
        return found


def _sampler(config: EmbedderTrainingConfig) -> BatchSamplers:
    """Batches without duplicates where every text serves as a negative for the others."""
    is_apart = config.loss in ("contrastive", "guided") and not config.keeps_index
    return BatchSamplers.NO_DUPLICATES if is_apart else BatchSamplers.BATCH_SAMPLER


def prompts_of(
    encoder: SentenceTransformer | MultiVectorEncoder, datasets: dict[str, Dataset]
) -> dict[str, Any]:
    """Prompt of each column, the same as `encode_query` and `encode_document` use."""
    names = {name for dataset in datasets.values() for name in dataset.column_names}
    query = encoder.prompts.get("query")
    passage = passage_prompt(encoder)
    prompts = {name: query if name == "anchor" else passage for name in names - {"label"}}
    return {name: prompt for name, prompt in prompts.items() if prompt}
