"""Trains a late-interaction model or a cross-encoder with sentence-transformers' trainer."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from datasets import Dataset
from sentence_transformers.base.sampler import BatchSamplers
from sentence_transformers.cross_encoder import (
    CrossEncoder,
    CrossEncoderTrainer,
    CrossEncoderTrainingArguments,
)
from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss, LambdaLoss
from sentence_transformers.multi_vector_encoder import (
    MultiVectorEncoderTrainer,
    MultiVectorEncoderTrainingArguments,
)
from sentence_transformers.multi_vector_encoder.losses import (
    CachedMultiVectorMultipleNegativesRankingLoss,
)
from sentence_transformers.multi_vector_encoder.scoring import mean_colbert_scores
from torch import nn

from aloft.backends.checking import reads_pairs
from aloft.backends.late_interaction import load_late_interaction
from aloft.backends.packaged import resolve_model
from aloft.backends.sentence_transformers import load_cross_encoder
from aloft.config import RerankerTrainingConfig
from aloft.protocols import Floats, Progress, no_progress
from aloft.records import Artifact, RerankerRow
from aloft.training import trainer as shared
from aloft.training import tuning
from aloft.training.collapse_guard import WATCHED, CollapseGuard
from aloft.training.distributed import on_all_gpus, process_count, shared_batches
from aloft.training.embedder import AT_ONCE, prompts_of
from aloft.training.losses import by_columns, contrasted

LATE_SCALE = 40.0  # of mean cosines of matched tokens before the softmax
RIGHT = 0.5  # labels above it are of passages that answer


@on_all_gpus
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
    """Train a reranker with the configured method and save it to `folder`.

    A cross-encoder is trained with the configured loss, and so is a causal language model, which
    learns to say yes or no and is saved as a cross-encoder; anything else by late interaction,
    with one contrastive loss over the mined negatives and the other passages of a batch.

    Args:
        rows: One positive and its negatives per question.
        model: A cross-encoder or a causal language model; or a multi-vector model or an embedder,
            for late interaction.
        folder: Where the trained model is saved.
        config: Loss, method, epochs, learning rate, lengths.
        seed: The run's seed, for the order of rows.
        checkpoints: Where a killed training resumes from; deleted once the model is saved.
            None: it cannot be resumed.
        progress: Called after each step.

    Raises:
        ModelError: the model is not on this machine.

    Source: binary cross-entropy with positives weighted by their rarity, as in
    sentence-transformers' guide to rerankers; LambdaLoss (Wang et al., 2018, NDCG-Loss2++);
    late interaction, ColBERT (arXiv:2004.12832) with cached gradients (GradCache,
    arXiv:2101.06983).
    """
    started = time.monotonic()
    folder_of_base = Path(resolve_model(model))
    with shared.seeded_training(seed):
        kind = _CrossEncoding if reads_pairs(str(folder_of_base)) else _LateInteraction
        trained: _Kind = kind(folder_of_base, rows, config)
        encoder = trained.encoder
        own = encoder.max_seq_length
        tuning.cut_texts(encoder, config.max_seq_length)
        if config.method == "lora":
            tuning.add_updates(encoder, config.r)
        shared.disable_card_examples(encoder)
        steps = shared.steps_of(trained.examples, trained.batch_size, config.epochs)
        trainer = trained.trainer(
            **shared.shared_arguments(checkpoints, steps, seed),
            num_train_epochs=config.epochs,
            per_device_train_batch_size=trained.batch_size,
            multi_dataset_batch_sampler=shared_batches,
            learning_rate=config.learning_rate,
            warmup_steps=config.warmup_share,
        )
        watch = _watch(trained, rows, steps)
        losses = shared.run_trainer(trainer, checkpoints, "training the reranker", progress, watch)

        def save(path: Path) -> None:
            if config.method == "lora":
                tuning.merge_updates(encoder)
            tuning.average_weights(encoder, kind.load(folder_of_base), config.tuned_share)
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


def take_body(embedder: Path, folder: Path) -> Artifact:
    """Save an embedder's body as a late-interaction model, as it is.

    Args:
        embedder: The tuned embedder's folder.
        folder: Where the model is saved.

    Raises:
        ModelError: the embedder has no vectors of tokens.
    """
    started = time.monotonic()
    with shared.seeded_training(0):
        body = load_late_interaction(embedder)

        def save(path: Path) -> None:
            body.save_pretrained(str(path), create_model_card=False, safe_serialization=True)

        seconds = time.monotonic() - started
        taken = shared.Trained(
            kind="reranker", base_model=str(embedder), losses=(), seconds=seconds
        )
        return shared.save_part(taken, folder, save)


def start_cross_encoder(model: str, folder: Path, *, seed: int) -> str:
    """A cross-encoder to train: the model itself or, of an encoder, a copy with a new head.

    Args:
        model: Name of the model.
        folder: Where the copy is saved.
        seed: Of the new head's weights.

    Returns:
        The name of the cross-encoder.

    Raises:
        ModelError: the model is not on this machine.
    """
    source = Path(resolve_model(model))
    if reads_pairs(str(source)):
        return model
    with shared.seeded_training(seed):
        load_cross_encoder(source).save_pretrained(str(folder), create_model_card=False)
    return str(folder)


class _Kind(Protocol):
    """A kind of reranker, ready to be trained on some rows.

    Attributes:
        examples: What a step takes `batch_size` of.
    """

    encoder: Any
    examples: int
    batch_size: int

    def trainer(self, **arguments: Any) -> Any:
        """The library's trainer."""
        ...

    def score(self, pairs: list[tuple[str, str]]) -> Floats:
        """Scores as they are now; (pairs,)."""
        ...


class _CrossEncoding:
    """A cross-encoder, which reads a question and a passage together."""

    load = staticmethod(load_cross_encoder)

    def __init__(
        self, folder: Path, rows: Sequence[RerankerRow], config: RerankerTrainingConfig
    ) -> None:
        self.encoder = self.load(folder)
        self._dataset, self.batch_size = _lay_out(rows, config)
        self.examples = len(self._dataset)
        self._loss = _loss(self.encoder, rows, config)

    def trainer(self, **arguments: Any) -> CrossEncoderTrainer:
        # several processes look for unused weights in what a model returns, but not in the class
        # of a tokenizer's output, which this one returns; there are none
        settings = CrossEncoderTrainingArguments(**arguments, ddp_find_unused_parameters=False)
        shared.keep_to_device(settings)
        return CrossEncoderTrainer(
            model=self.encoder,
            args=settings,
            train_dataset={"rows": self._dataset},  # only of several are batches shared out
            loss=self._loss,
        )

    def score(self, pairs: list[tuple[str, str]]) -> Floats:
        scores: Floats = self.encoder.predict(pairs, show_progress_bar=False)
        return scores


class _LateInteraction:
    """A late-interaction model: each row a question with a right passage and wrong ones.

    The right passage is to score higher than the wrong ones and than all passages of the batch.
    """

    load = staticmethod(load_late_interaction)

    def __init__(
        self, folder: Path, rows: Sequence[RerankerRow], config: RerankerTrainingConfig
    ) -> None:
        self.encoder = self.load(folder)
        self.batch_size = config.per_device_train_batch_size
        self._datasets = by_columns(_lay_out_contrast(rows))
        self.examples = sum(map(len, self._datasets.values()))

    def trainer(self, **arguments: Any) -> MultiVectorEncoderTrainer:
        loss = CachedMultiVectorMultipleNegativesRankingLoss(
            self.encoder,
            scale=LATE_SCALE,
            similarity_fct=mean_colbert_scores,
            mini_batch_size=AT_ONCE,
            gather_across_devices=process_count() > 1,
        )
        settings = MultiVectorEncoderTrainingArguments(
            **arguments,
            batch_sampler=BatchSamplers.NO_DUPLICATES,
            prompts=prompts_of(self.encoder, self._datasets),
        )
        shared.keep_to_device(settings)
        return MultiVectorEncoderTrainer(
            model=self.encoder,
            args=settings,
            train_dataset=self._datasets,
            loss=loss,
        )

    def score(self, pairs: list[tuple[str, str]]) -> Floats:
        asked, texts = [query for query, _ in pairs], [text for _, text in pairs]
        questions = self.encoder.encode_query(asked, show_progress_bar=False)
        passages = self.encoder.encode_document(texts, show_progress_bar=False)
        scores: Floats = self.encoder.similarity_pairwise(questions, passages).cpu().numpy()
        return scores


def _lay_out_contrast(rows: Sequence[RerankerRow]) -> Iterator[dict[str, Any]]:
    """A question with each of its right passages and all wrong ones."""
    for some in _by_question(rows):
        wrong = [row.passage for row in some if row.label <= RIGHT]
        right = (row for row in some if row.label > RIGHT)
        yield from (contrasted(row.query, row.passage, wrong) for row in right)


def _watch(trained: _Kind, rows: Sequence[RerankerRow], steps: int) -> CollapseGuard:
    """Watch the scores of a few questions for their own passages."""
    lists = _by_question(rows)
    watched = lists[:: max(1, len(lists) // WATCHED)][:WATCHED]
    width = max(map(len, watched))
    pairs = [(row.query, row.passage) for question in watched for row in question]
    held = np.array([[place < len(question) for place in range(width)] for question in watched])

    def score() -> Floats:
        table = np.full(held.shape, np.nan, np.float32)
        table[held] = trained.score(pairs)
        # empty places of short lists get their question's mean, which changes no statistic
        scores: Floats = np.where(held, table, np.nanmean(table, axis=1, keepdims=True))
        return scores

    right = [max(range(len(q)), key=lambda place: q[place].label) for q in watched]
    return CollapseGuard(trained.encoder, score, right, steps)


def _by_question(rows: Sequence[RerankerRow]) -> list[list[RerankerRow]]:
    """The rows of each question; of one that is repeated, as a log's are, for each time."""
    lists: dict[tuple[str, str], list[RerankerRow]] = {}
    for row in rows:
        lists.setdefault((row.pair_id, row.query), []).append(row)
    return [once for some in lists.values() for once in _repetitions(some)]


def _repetitions(rows: list[RerankerRow]) -> Iterator[list[RerankerRow]]:
    """The shortest part that rows are repetitions of, as often as it is repeated."""
    whole = len(rows)
    size = next(n for n in range(1, whole + 1) if rows[:n] * (whole // n) == rows)
    return (rows[start : start + size] for start in range(0, whole, size))


def _lay_out(rows: Sequence[RerankerRow], config: RerankerTrainingConfig) -> tuple[Dataset, int]:
    """The dataset that the loss reads, and its batch size for the configured passages."""
    size = config.per_device_train_batch_size
    if config.loss == "binary":
        columns = [{"query": r.query, "passage": r.passage, "label": r.label} for r in rows]
        return Dataset.from_list(columns), size
    lists = _by_question(rows)
    ordered = [
        {
            "query": some[0].query,
            "docs": [row.passage for row in some],
            "labels": [row.label for row in some],
        }
        for some in lists
    ]
    return Dataset.from_list(ordered), max(1, size * len(lists) // len(rows))


def _loss(
    encoder: CrossEncoder, rows: Sequence[RerankerRow], config: RerankerTrainingConfig
) -> nn.Module:
    if config.loss == "listwise":
        return LambdaLoss(encoder, mini_batch_size=config.per_device_train_batch_size)
    positives = sum(row.label > RIGHT for row in rows)
    weight = (len(rows) - positives) / max(1, positives)
    return BinaryCrossEntropyLoss(encoder, pos_weight=torch.tensor(max(weight, 1.0)))
