"""Turns contrastive rows into a tuned embedder on sentence-transformers' trainer."""

import time
from collections.abc import Sequence
from pathlib import Path

from datasets import Dataset, disable_progress_bars
from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.base.sampler import BatchSamplers
from sentence_transformers.sentence_transformer.losses import CachedMultipleNegativesRankingLoss

from aloft.backends.device import best_device, quiet_libraries
from aloft.backends.embedded import resolve_model
from aloft.backends.sentence_transformers import load_encoder
from aloft.config import EmbedderTrainingConfig
from aloft.models import Progress, no_progress
from aloft.records import Artifact, EmbedderRow
from aloft.training import trainer as shared

AT_ONCE = 16  # texts; against whole batches of 64: 2.9 GB of memory, not 13, and 11 % faster


def train_embedder(
    rows: Sequence[EmbedderRow],
    model: str,
    folder: Path,
    config: EmbedderTrainingConfig,
    *,
    seed: int,
    progress: Progress = no_progress,
) -> Artifact:
    """Train all weights with in-batch and hard negatives; save the model to `folder`.

    A batch holds no text twice: a passage asked about twice would be its own negative. A killed
    training goes on from its last checkpoint.

    Raises:
        ModelError: the model is not on this machine.

    Source: MultipleNegativesRankingLoss (arXiv:1705.00652), scale 20; its gradients are cached
    (GradCache, arXiv:2101.06983), so that a batch of any size is held a few texts at a time.
    """
    started = time.monotonic()
    quiet_libraries()
    disable_progress_bars()
    checkpoints = folder.parent / "work" / f"{folder.name}-checkpoints"
    at_once = AT_ONCE if best_device() == "cpu" else config.per_device_train_batch_size
    steps = shared.steps_of(len(rows), config.per_device_train_batch_size, config.num_train_epochs)
    with shared.seeded(seed):
        encoder = load_encoder(Path(resolve_model(model)), config.max_seq_length)
        shared.forgo_card(encoder)
        arguments = SentenceTransformerTrainingArguments(
            **shared.shared_arguments(checkpoints, steps, seed),
            num_train_epochs=config.num_train_epochs,
            per_device_train_batch_size=config.per_device_train_batch_size,
            learning_rate=config.learning_rate,
            warmup_steps=config.warmup_share,
            batch_sampler=BatchSamplers.NO_DUPLICATES,
        )
        trainer = SentenceTransformerTrainer(
            model=encoder,
            args=arguments,
            train_dataset=_datasets(rows),
            loss=CachedMultipleNegativesRankingLoss(encoder, mini_batch_size=at_once),
        )
        losses = shared.run_trainer(trainer, checkpoints, "training the embedder", progress)

    def save(path: Path) -> None:
        encoder.save(str(path), create_model_card=False, safe_serialization=True)

    done = shared.Trained(
        kind="embedder", base_model=model, losses=losses, seconds=time.monotonic() - started
    )
    return shared.finish_training(done, folder, checkpoints, save)


def _datasets(rows: Sequence[EmbedderRow]) -> dict[str, Dataset]:
    """One dataset per number of hard negatives: a short list is never padded."""
    by_count: dict[int, list[dict[str, str]]] = {}
    for row in rows:
        columns = {"anchor": row.anchor, "positive": row.positive}
        columns |= {f"negative_{i}": text for i, text in enumerate(row.negatives, start=1)}
        by_count.setdefault(len(row.negatives), []).append(columns)
    return {f"negatives_{n}": Dataset.from_list(by_count[n]) for n in sorted(by_count)}
