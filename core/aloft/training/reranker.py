"""Turns labelled rows into a tuned cross-encoder on sentence-transformers' trainer."""

import time
from collections.abc import Sequence
from pathlib import Path

import torch
from datasets import Dataset, disable_progress_bars
from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments
from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss

from aloft.backends.device import quiet_libraries
from aloft.backends.embedded import resolve_model
from aloft.backends.sentence_transformers import load_cross_encoder
from aloft.config import RerankerTrainingConfig
from aloft.models import Progress, no_progress
from aloft.records import Artifact, RerankerRow
from aloft.training import trainer as shared


def train_reranker(
    rows: Sequence[RerankerRow],
    model: str,
    folder: Path,
    config: RerankerTrainingConfig,
    *,
    seed: int,
    progress: Progress = no_progress,
) -> Artifact:
    """Train all weights pointwise; save the model to `folder`.

    Args:
        rows: One positive and its negatives per question.
        model: A cross-encoder, or an encoder body, which gets a new head.
        folder: Where the trained model goes.
        config: Epochs, learning rate, lengths.
        seed: The run's seed; it draws the head's first weights and the order of rows.
        progress: Told each step.

    Raises:
        ModelError: the model is not on this machine.

    Source: binary cross-entropy with the positives weighted by their rarity, as in
    sentence-transformers' guide to rerankers.
    """
    started = time.monotonic()
    quiet_libraries()
    disable_progress_bars()
    checkpoints = folder.parent / "work" / f"{folder.name}-checkpoints"
    steps = shared.steps_of(len(rows), config.per_device_train_batch_size, config.num_train_epochs)
    positives = sum(row.label > 0.5 for row in rows)
    weight = (len(rows) - positives) / max(1, positives)
    with shared.seeded(seed):
        encoder = load_cross_encoder(Path(resolve_model(model)), config.max_seq_length)
        shared.forgo_card(encoder)
        arguments = CrossEncoderTrainingArguments(
            **shared.shared_arguments(checkpoints, steps, seed),
            num_train_epochs=config.num_train_epochs,
            per_device_train_batch_size=config.per_device_train_batch_size,
            learning_rate=config.learning_rate,
            warmup_steps=config.warmup_share,
        )
        columns = [{"query": r.query, "passage": r.passage, "label": r.label} for r in rows]
        trainer = CrossEncoderTrainer(
            model=encoder,
            args=arguments,
            train_dataset=Dataset.from_list(columns),
            loss=BinaryCrossEntropyLoss(encoder, pos_weight=torch.tensor(max(weight, 1.0))),
        )
        losses = shared.run_trainer(trainer, checkpoints, "training the reranker", progress)

    def save(path: Path) -> None:
        encoder.save_pretrained(str(path), create_model_card=False, safe_serialization=True)

    done = shared.Trained(
        kind="reranker", base_model=model, losses=losses, seconds=time.monotonic() - started
    )
    return shared.finish_training(done, folder, checkpoints, save)
