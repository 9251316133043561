"""Turns conversations into a LoRA adapter on trl's trainer; the loss is the last turn's."""

import logging
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset, disable_progress_bars
from peft import LoraConfig, PeftModel
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from aloft.backends.device import best_device, has_bf16, quiet_libraries
from aloft.backends.embedded import resolve_model
from aloft.backends.transformers import encode_prompt, encode_text, load_tokenizer
from aloft.config import GeneratorTrainingConfig
from aloft.errors import DataError
from aloft.models import Progress, Prompt, no_progress
from aloft.records import Artifact, GeneratorRow
from aloft.training import trainer as shared

IGNORED = -100  # label of what is not trained on
logger = logging.getLogger(__name__)


class _ReplyTrainer(SFTTrainer):
    """Computes the vocabulary's logits from the first target on: trl's own, without Triton, does
    so for the whole prompt, a third of a step on a processor.
    """

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Mean cross-entropy of the target tokens."""
        labels = inputs.pop("labels")[:, 1:]  # each is predicted one place before it
        kept = labels.shape[1] - int((labels != IGNORED).any(0).nonzero()[0])
        outputs = model(**inputs, use_cache=False, logits_to_keep=kept + 1)
        targets = labels[:, -kept:]
        loss = cross_entropy(
            outputs.logits[:, :-1].flatten(0, 1).float(),
            targets.flatten(),
            ignore_index=IGNORED,
            reduction="sum",
        )
        count = (targets != IGNORED).sum() if num_items_in_batch is None else num_items_in_batch
        return (loss / count, outputs) if return_outputs else loss / count


def train_generator(
    rows: Sequence[GeneratorRow],
    model: str,
    folder: Path,
    config: GeneratorTrainingConfig,
    *,
    seed: int,
    progress: Progress = no_progress,
) -> Artifact:
    """Train an adapter on all linear layers, or go on with one; save it to `folder`.

    Rows are tokenized as prompts are when the model is used, so a control token in a document is
    text here too.

    Raises:
        ModelError: the model is not on this machine or has no chat template.
        DataError: no row fits into `config.max_length` tokens.

    Source: step 5 and Appendix C of ALoFTRAG (arXiv:2501.11929).
    """
    started = time.monotonic()
    quiet_libraries()
    disable_progress_bars()
    base = Path(resolve_model(model))
    tokenizer = load_tokenizer(base)
    encoded = encode_rows(rows, tokenizer, config.max_length)
    checkpoints = folder.parent / "work" / f"{folder.name}-checkpoints"
    size = config.per_device_train_batch_size
    steps = shared.steps_of(len(encoded), size, config.num_train_epochs)
    with shared.seeded(seed):
        trainer = _ReplyTrainer(
            model=load_base(base, config),
            processing_class=tokenizer,
            train_dataset=Dataset.from_list(encoded),
            peft_config=None if config.start else new_adapter(config),
            args=SFTConfig(
                **shared.shared_arguments(checkpoints, steps, seed),
                num_train_epochs=config.num_train_epochs,
                per_device_train_batch_size=size,
                learning_rate=config.learning_rate,
                lr_scheduler_type="cosine",
                warmup_steps=config.warmup_share,
                weight_decay=0.0,
                max_length=None,
                activation_checkpointing=config.gradient_checkpointing,
                train_sampling_strategy="group_by_length" if size > 1 else "random",
            ),
        )
        losses = shared.run_trainer(trainer, checkpoints, "training the generator", progress)
    adapter: Any = trainer.model

    done = shared.Trained(
        kind="generator", base_model=model, losses=losses, seconds=time.monotonic() - started
    )
    return shared.finish_training(done, folder, checkpoints, partial(save_adapter, adapter))


def load_base(folder: Path, config: GeneratorTrainingConfig) -> Any:
    """A language model, with the adapter that is gone on with where there is one."""
    whole: Any = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=torch.bfloat16 if has_bf16(best_device()) else torch.float32,
        local_files_only=True,
        use_safetensors=True,
    )
    if config.start:
        whole = PeftModel.from_pretrained(whole, config.start, is_trainable=True)
    return whole


def save_adapter(adapter: Any, path: Path) -> None:
    """The adapter's weights and settings alone."""
    adapter.save_pretrained(str(path), safe_serialization=True)
    (path / "README.md").unlink(missing_ok=True)  # peft's empty model card


def new_adapter(config: GeneratorTrainingConfig) -> LoraConfig:
    """A new one, as in arXiv:2106.09685, arXiv:2312.03732 (rsLoRA) or arXiv:2402.09353 (DoRA)."""
    return LoraConfig(
        r=config.r,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
        use_rslora=config.trains == "rslora",
        use_dora=config.trains == "dora",
    )


def encode_rows(
    rows: Sequence[GeneratorRow], tokenizer: Any, max_length: int
) -> list[dict[str, list[int]]]:
    """Token ids and labels, -100 on the prompt; rows that do not fit are left out and told.

    Raises:
        DataError: no row fits.
    """
    encoded = []
    for row in rows:
        prompt = encode_prompt(tokenizer, Prompt(messages=row.prompt))
        target = row.completion.removeprefix(row.prefix)
        # the prefix is encoded apart, as it is when a reply is asked for
        completion = encode_text(tokenizer, row.prefix) + encode_text(tokenizer, target)
        completion.append(tokenizer.eos_token_id)
        if len(prompt) + len(completion) <= max_length:
            labels = [IGNORED] * len(prompt) + completion
            encoded.append({"input_ids": prompt + completion, "labels": labels})
    if len(encoded) < len(rows):
        logger.warning(
            "%d of %d generator rows are longer than %d tokens and are left out.",
            len(rows) - len(encoded),
            len(rows),
            max_length,
        )
    if not encoded:
        raise DataError(
            f"No generator row fits into {max_length} tokens. Raise generator_training.max_length "
            "or lower training_sets.contexts."
        )
    return encoded
