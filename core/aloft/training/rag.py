"""Trains a query encoder, a generator, or both, on questions and their retrieved passages.

Neither gets to know which passage is correct; one loss is backpropagated through both. What is not
trained does not stay in memory: the scores of a fixed encoder are those of the retrieval, and the
log-probabilities of a fixed generator have been computed before.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn
from transformers import Trainer, TrainingArguments

from aloft.backends.encoding import encode_prompt, encode_text, load_tokenizer
from aloft.backends.packaged import resolve_model
from aloft.backends.sentence_transformers import load_encoder
from aloft.config import RagTrainingConfig, RunConfig, plain_name
from aloft.config.strategies import Phase
from aloft.errors import DataError
from aloft.protocols import Floats, Progress, Prompt, no_progress
from aloft.records import Artifact, RetrievedRow
from aloft.training import trainer as shared
from aloft.training import tuning
from aloft.training.collapse_guard import WATCHED
from aloft.training.generator import load_base, new_adapter, save_generator, without_casts
from aloft.training.losses import natural_scale
from aloft.training.marginal import lsr_loss, rag_sequence_loss, rag_token_loss

logger = logging.getLogger(__name__)


def train_rag(  # noqa: PLR0913 - two folders, and what every training takes
    rows: Sequence[RetrievedRow],
    vectors: Floats,
    phase: Phase,
    config: RunConfig,
    folder: Path,
    *,
    checkpoints: Path | None = None,
    progress: Progress = no_progress,
) -> list[Artifact]:
    """Train the parts of a phase with its loss, and save each to its own folder in `folder`.

    Where the generator is trained, only one question with its k prompts is in memory at a time,
    whatever the batch size.

    Args:
        rows: Questions with retrieved passages, and with `logs` where the generator is fixed.
        vectors: Unit vectors of the corpus by the untuned embedder; (windows, dimensions).
        phase: The strategy's phase.
        config: The run's configuration.
        folder: Where the parts' folders go: `embedder`, `generator`.
        checkpoints: Where a killed training resumes from; deleted once the parts are saved.
            None: it cannot be resumed.
        progress: Called after each step.

    Returns:
        An artifact per part; of two trained together, the first has the seconds.

    Raises:
        ModelError: a model is not on this machine.
        DataError: no row fits into `generator_training.max_length` tokens.
    """
    started = time.monotonic()
    with shared.seeded_training(config.seed):
        rag = _load(rows, vectors, phase, config)
        examples, pad = _lay_out(rows, rag, config)
        arguments = _arguments(phase, config, checkpoints, len(examples))
        shared.keep_to_device(arguments)
        trainer = _RagTrainer(
            model=rag,
            args=arguments,
            train_dataset=examples,
            data_collator=_Collator(vectors, rag.encoder, pad),
            optimizers=(_optimizer(rag, config), None),
        )
        stage = f"training the {phase.name}"
        with without_casts(rag.generator):
            losses = shared.run_trainer(trainer, checkpoints, stage, progress)
        artifacts: list[Artifact] = []
        for part, base, save in _parts(rag, config):
            seconds = 0.0 if artifacts else time.monotonic() - started
            done = shared.Trained(kind=part, base_model=base, losses=losses, seconds=seconds)
            artifacts.append(shared.save_part(done, folder / part, save))
        shared.delete_checkpoints(checkpoints)
    return artifacts


class Rag(nn.Module):
    """A query encoder, a generator, or both, under one loss.

    Args:
        encoder: Prepared for training; None: fixed.
        generator: Prepared for training; None: fixed.
        loss: From scores, log-probabilities and lengths of answers to losses; (questions,).
        scale: Of cosines, which gives the scores.
    """

    _keys_to_ignore_on_save = None  # read by the trainer when it resumes

    def __init__(
        self,
        encoder: SentenceTransformer | None,
        generator: nn.Module | None,
        loss: Callable[[Tensor, Tensor, Tensor], Tensor],
        scale: float,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.generator = generator
        self._loss = loss
        self._scale = scale

    def forward(self, batch: Mapping[str, Any]) -> Tensor:
        """Mean loss of a batch from `_Collator`."""
        cosines = batch["cosines"] if self.encoder is None else self._ask(self.encoder, batch)
        logs = batch["logs"] if self.generator is None else self._read(self.generator, batch)
        return self._loss(self._scale * cosines, logs, batch["lengths"]).mean()

    def _ask(self, encoder: nn.Module, batch: Mapping[str, Any]) -> Tensor:
        """Cosines of questions and passages; (questions, k)."""
        vectors: Tensor = encoder(dict(batch["questions"]))["sentence_embedding"]
        asked = nn.functional.normalize(vectors.float(), dim=1)
        passages: Tensor = batch["passages"]
        return (asked[:, None] * passages).sum(-1)

    def _read(self, generator: nn.Module, batch: Mapping[str, Any]) -> Tensor:
        """Log-probabilities of the answers' tokens, which come last; (questions, k, tokens)."""
        ids: Tensor = batch["input_ids"]
        mask: Tensor = batch["attention_mask"]
        lengths: Tensor = batch["lengths"]
        longest = int(lengths.max())
        logits: Tensor = generator(
            input_ids=ids,
            attention_mask=mask,
            position_ids=(mask.cumsum(1) - 1).clamp(min=0),
            use_cache=False,
            logits_to_keep=longest + 1,
        ).logits[:, :-1]
        logs = logits.float().log_softmax(-1).gather(2, ids[:, -longest:, None])[..., 0]
        logs = logs.reshape(len(lengths), -1, longest)
        before = torch.arange(longest, 0, -1, device=ids.device) > lengths[:, None]
        return logs.masked_fill(before[:, None], 0.0)


def _load(rows: Sequence[RetrievedRow], vectors: Floats, phase: Phase, config: RunConfig) -> Rag:
    encoder = generator = None
    loaded = load_encoder(Path(resolve_model(config.embedder)))
    scale = _scale(rows, vectors, loaded)
    if "embedder" in phase.trains:
        encoder = tuning.prepare(loaded, config.embedder_training)
        shared.disable_card_examples(encoder)
    if "generator" in phase.trains:
        settings = config.generator_training
        generator = load_base(Path(resolve_model(plain_name(config.generator_model))), settings)
        if settings.gradient_checkpointing:
            generator.gradient_checkpointing_enable({"use_reentrant": False})
        adapter = new_adapter(settings)
        if adapter is not None:
            generator = get_peft_model(generator, adapter)
    return Rag(encoder, generator, _loss(phase, config.rag_training), scale)


def _scale(rows: Sequence[RetrievedRow], vectors: Floats, encoder: SentenceTransformer) -> float:
    """Of cosines before the softmax over what was retrieved; see `natural_scale`."""
    some = [row.question for row in rows[:: max(1, len(rows) // WATCHED)][:WATCHED]]
    asked = encoder.encode_query(some, normalize_embeddings=True, show_progress_bar=False)
    cosines: Floats = asked @ vectors.T
    return natural_scale(cosines, cosines.argmax(axis=1).tolist())


def _loss(phase: Phase, config: RagTrainingConfig) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    if phase.by == "lsr":
        return lambda scores, logs, lengths: lsr_loss(
            scores, logs.sum(-1) / lengths[:, None], config.temperature
        )
    marginal = {"sequence": rag_sequence_loss, "token": rag_token_loss}[config.marginal]
    return lambda scores, logs, _lengths: marginal(scores, logs)


@dataclass(frozen=True, slots=True)
class _Example:
    """A tokenized row.

    Attributes:
        ids: Each prompt followed by the answer and the end token; empty for a fixed generator.
        length: Number of tokens of the answer.
    """

    row: RetrievedRow
    ids: Sequence[Sequence[int]]
    length: int


def _lay_out(
    rows: Sequence[RetrievedRow], rag: Rag, config: RunConfig
) -> tuple[list[_Example], int]:
    """Tokenize the rows that fit, and return the pad token."""
    if rag.generator is None:
        return [_Example(row, (), len(row.logs[0])) for row in rows], 0
    tokenizer = load_tokenizer(Path(resolve_model(plain_name(config.generator_model))))
    limit = config.generator_training.max_length
    examples = []
    for row in rows:
        answer = [*encode_text(tokenizer, row.answer), tokenizer.eos_token_id]
        asked = [Prompt(messages=messages, prefix=row.prefix) for messages in row.prompts]
        ids = [[*encode_prompt(tokenizer, prompt), *answer] for prompt in asked]
        if max(map(len, ids)) <= limit:
            examples.append(_Example(row, ids, len(answer)))
    if len(examples) < len(rows):
        left = len(rows) - len(examples)
        message = "%d of %d questions have prompts longer than %d tokens and are left out."
        logger.warning(message, left, len(rows), limit)
    if not examples:
        raise DataError(
            f"No question with a passage fits into {limit} tokens. Raise "
            "generator_training.max_length or lower passages.max_tokens."
        )
    return examples, tokenizer.pad_token_id


@dataclass(frozen=True, slots=True)
class _Collator:
    """Builds a batch: texts for what is trained, precomputed numbers for what is fixed."""

    vectors: Floats
    encoder: SentenceTransformer | None
    pad: int

    def __call__(self, examples: Sequence[_Example]) -> dict[str, Any]:
        rows = [example.row for example in examples]
        batch: dict[str, Any] = {"lengths": torch.tensor([one.length for one in examples])}
        if self.encoder is None:
            batch["cosines"] = torch.tensor([row.scores for row in rows])
        else:
            prompt = self.encoder.prompts.get("query")
            asked = [row.question for row in rows]
            batch["questions"] = self.encoder.preprocess(asked, prompt=prompt)
            batch["passages"] = torch.from_numpy(
                self.vectors[[list(row.windows or row.columns) for row in rows]]
            )
        ids = [one for example in examples for one in example.ids]
        width = max(map(len, ids), default=0)
        if ids:  # padded on the left, so that all answers end in the last column
            filled = [[self.pad] * (width - len(one)) + list(one) for one in ids]
            shown = [[0] * (width - len(one)) + [1] * len(one) for one in ids]
            return batch | {
                "input_ids": torch.tensor(filled),
                "attention_mask": torch.tensor(shown),
            }
        longest = max(example.length for example in examples)
        read = [[[*logs, *[0.0] * (longest - len(logs))] for logs in row.logs] for row in rows]
        return batch | {"logs": torch.tensor(read)}


class _RagTrainer(Trainer):
    """Saves only trained weights in checkpoints."""

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Mean loss of the questions."""
        loss = model(inputs)
        return (loss, None) if return_outputs else loss

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        model: Any = self.model
        named = model.named_parameters()
        super()._save(output_dir, {name: w.detach() for name, w in named if w.requires_grad})


def _arguments(
    phase: Phase, config: RunConfig, checkpoints: Path | None, rows: int
) -> TrainingArguments:
    is_read = "generator" not in phase.trains
    settings: Any = getattr(config, f"{phase.paced_by}_training")
    size, epochs = settings.per_device_train_batch_size, settings.num_train_epochs
    steps = shared.steps_of(rows, size, epochs)
    return TrainingArguments(
        **shared.shared_arguments(checkpoints, steps, config.seed),
        num_train_epochs=epochs,
        per_device_train_batch_size=size if is_read else 1,
        gradient_accumulation_steps=1 if is_read else size,
        lr_scheduler_type="linear" if is_read else "cosine",
        warmup_steps=settings.warmup_share,
        remove_unused_columns=False,
    )


def _optimizer(rag: Rag, config: RunConfig) -> torch.optim.Optimizer:
    """AdamW with each part's own learning rate."""
    rates = (
        (rag.encoder, config.embedder_training.learning_rate),
        (rag.generator, config.generator_training.learning_rate),
    )
    return torch.optim.AdamW(
        [
            {"params": [w for w in model.parameters() if w.requires_grad], "lr": rate}
            for model, rate in rates
            if model is not None
        ],
        weight_decay=0.0,
    )


def _parts(rag: Rag, config: RunConfig) -> Sequence[tuple[Any, str, Callable[[Path], None]]]:
    """Name, base model and save function of each trained part."""
    encoder, generator = rag.encoder, rag.generator
    parts: list[tuple[Any, str, Callable[[Path], None]]] = []
    if encoder is not None:
        save = partial(_save_encoder, encoder, config)
        parts.append(("embedder", config.embedder, save))
    if generator is not None:
        name = plain_name(config.generator_model)
        base = Path(resolve_model(name))
        parts.append(("generator", name, partial(save_generator, generator, base)))
    return parts


def _save_encoder(encoder: SentenceTransformer, config: RunConfig, path: Path) -> None:
    source = Path(resolve_model(config.embedder))
    whole = tuning.finish(encoder, source, config.embedder_training)
    shared.disable_card_examples(whole)
    whole.save(str(path), create_model_card=False, safe_serialization=True)
