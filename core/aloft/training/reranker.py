"""Trains a cross-encoder with sentence-transformers' trainer."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from sentence_transformers.cross_encoder import (
    CrossEncoder,
    CrossEncoderTrainer,
    CrossEncoderTrainingArguments,
)
from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss, LambdaLoss
from torch import nn

from aloft.backends.packaged import resolve_model
from aloft.backends.sentence_transformers import load_cross_encoder
from aloft.config import RerankerTrainingConfig
from aloft.protocols import Floats, Progress, no_progress
from aloft.records import Artifact, RerankerRow
from aloft.training import trainer as shared
from aloft.training import tuning
from aloft.training.collapse_guard import WATCHED, CollapseGuard


def train_reranker(  # noqa: PLR0913 - two folders, and what every training takes
    rows: Sequence[RerankerRow],
    model: str,
    folder: Path,
    config: RerankerTrainingConfig,
    *,
    seed: int,
    checkpoints: Path | None = None,
    progress: Progress = no_progress,
) -> Artifact:
    """Train a cross-encoder with the configured loss and save it to `folder`.

    Args:
        rows: One positive and its negatives per question.
        model: A cross-encoder, or an encoder body, which gets a new head.
        folder: Where the trained model is saved.
        config: Loss, method, epochs, learning rate, lengths.
        seed: The run's seed, for the weights of a new head and the order of rows.
        checkpoints: Where a killed training resumes from; deleted once the model is saved.
            None: it cannot be resumed.
        progress: Called after each step.

    Raises:
        ModelError: the model is not on this machine.

    Source: binary cross-entropy with positives weighted by their rarity, as in
    sentence-transformers' guide to rerankers; LambdaLoss (Wang et al., 2018, NDCG-Loss2++).
    """
    started = time.monotonic()
    with shared.seeded_training(seed):
        encoder = load_cross_encoder(Path(resolve_model(model)))
        own = encoder.max_seq_length
        tuning.cut_texts(encoder, config.max_seq_length)
        if config.method == "lora":
            tuning.add_updates(encoder, config.r)
        shared.disable_card_examples(encoder)
        dataset, size = _lay_out(rows, config)
        steps = shared.steps_of(len(dataset), size, config.num_train_epochs)
        arguments = CrossEncoderTrainingArguments(
            **shared.shared_arguments(checkpoints, steps, seed),
            num_train_epochs=config.num_train_epochs,
            per_device_train_batch_size=size,
            learning_rate=config.learning_rate,
            warmup_steps=config.warmup_share,
        )
        trainer = CrossEncoderTrainer(
            model=encoder, args=arguments, train_dataset=dataset, loss=_loss(encoder, rows, config)
        )
        watch = _watch(encoder, rows, steps)
        losses = shared.run_trainer(trainer, checkpoints, "training the reranker", progress, watch)

        def save(path: Path) -> None:
            if config.method == "lora":
                tuning.merge_updates(encoder)
            encoder.max_seq_length = own
            encoder.save_pretrained(str(path), create_model_card=False, safe_serialization=True)

        done = shared.Trained(
            kind="reranker",
            base_model=model,
            losses=losses,
            seconds=time.monotonic() - started,
            probes=tuple(watch.probes),
            event=watch.event,
        )
        return shared.finish_training(done, folder, checkpoints, save)


def _watch(encoder: CrossEncoder, rows: Sequence[RerankerRow], steps: int) -> CollapseGuard:
    """Watch the scores of a few questions for their own passages."""
    lists = list(_by_question(rows).values())
    watched = lists[:: max(1, len(lists) // WATCHED)][:WATCHED]
    width = max(map(len, watched))
    pairs = [(row.query, row.passage) for question in watched for row in question]
    held = np.array([[place < len(question) for place in range(width)] for question in watched])

    def score() -> Floats:
        table = np.full(held.shape, np.nan, np.float32)
        table[held] = encoder.predict(pairs, show_progress_bar=False)
        # empty places of short lists get their question's mean, which changes no statistic
        scores: Floats = np.where(held, table, np.nanmean(table, axis=1, keepdims=True))
        return scores

    right = [max(range(len(q)), key=lambda place: q[place].label) for q in watched]
    return CollapseGuard(encoder, score, right, steps)


def _by_question(rows: Sequence[RerankerRow]) -> dict[tuple[str, str], list[RerankerRow]]:
    lists: dict[tuple[str, str], list[RerankerRow]] = {}
    for row in rows:
        lists.setdefault((row.pair_id, row.query), []).append(row)
    return lists


def _lay_out(rows: Sequence[RerankerRow], config: RerankerTrainingConfig) -> tuple[Dataset, int]:
    """The dataset that the loss reads, and its batch size for the configured passages."""
    size = config.per_device_train_batch_size
    if config.loss == "binary":
        columns = [{"query": r.query, "passage": r.passage, "label": r.label} for r in rows]
        return Dataset.from_list(columns), size
    lists = _by_question(rows)
    ordered = [
        {"query": query, "docs": [r.passage for r in some], "labels": [r.label for r in some]}
        for (_, query), some in lists.items()
    ]
    return Dataset.from_list(ordered), max(1, size * len(lists) // len(rows))


def _loss(
    encoder: CrossEncoder, rows: Sequence[RerankerRow], config: RerankerTrainingConfig
) -> nn.Module:
    if config.loss == "listwise":
        return LambdaLoss(encoder, mini_batch_size=config.per_device_train_batch_size)
    positives = sum(row.label > 0.5 for row in rows)
    weight = (len(rows) - positives) / max(1, positives)
    return BinaryCrossEntropyLoss(encoder, pos_weight=torch.tensor(max(weight, 1.0)))
