"""Trains a generator with trl's trainer, with the loss on the last turn of each conversation."""

import json
import logging
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel
from peft.helpers import disable_input_dtype_casting
from torch.nn.functional import cross_entropy
from torch.utils.data import RandomSampler
from transformers import AutoModelForCausalLM, BitsAndBytesConfig
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from aloft.backends.device import (
    best_device,
    check_four_bits,
    has_bf16,
    memory_of,
)
from aloft.backends.encoding import encode_located, encode_prompt, encode_text, load_tokenizer
from aloft.backends.packaged import resolve_model
from aloft.config import GeneratorTrainingConfig
from aloft.errors import DataError
from aloft.prompts.citation import named_in
from aloft.protocols import Progress, Prompt, no_progress
from aloft.records import Artifact, GeneratorRow
from aloft.training import trainer as shared
from aloft.training.distributed import on_all_gpus, process_count
from aloft.training.memory import Load, Plan, plan_training, read_body
from aloft.training.merging import save_whole
from aloft.training.start import Start

IGNORED = -100  # label of tokens without a loss
logger = logging.getLogger(__name__)


class _ReplyTrainer(SFTTrainer):
    """Computes logits only from the first target on.

    Without Triton trl computes them for the whole prompt, a third of a step on a CPU. Tokens that
    name passages are weighted by `citation_weight`. Rows of a batch are processed one by one with
    their gradients summed, so nothing is padded and only one row is in memory.
    """

    citation_weight = 1.0

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Weighted sum of the target tokens' cross-entropy, divided by their number."""
        labels = inputs.pop("labels")[:, 1:]  # each is predicted one position earlier
        named = inputs.pop("named")[:, 1:]
        kept = labels.shape[1] - int((labels != IGNORED).any(0).nonzero()[0])
        outputs = model(**inputs, use_cache=False, logits_to_keep=kept + 1)
        targets = labels[:, -kept:]
        losses = cross_entropy(
            outputs.logits[:, :-1].flatten(0, 1).float(),
            targets.flatten(),
            ignore_index=IGNORED,
            reduction="none",
        )
        loss = losses @ (1 + (self.citation_weight - 1) * named[:, -kept:].flatten())
        if num_items_in_batch is None:
            loss = loss / (targets != IGNORED).sum()
        else:  # those of all processes, whose gradients are averaged
            loss = loss / num_items_in_batch * process_count()
        return (loss, outputs) if return_outputs else loss

    def _get_train_sampler(self, *_: Any) -> RandomSampler:
        """As many rows for each process."""
        rows: Any = self.train_dataset
        return RandomSampler(rows, num_samples=len(rows) - len(rows) % process_count())

    def _send_telemetry(self) -> None:
        """Send no usage counts, which trl does by way of a thread that the host may share."""


@on_all_gpus
def train_generator(  # noqa: PLR0913 - two folders, and what every training takes
    rows: Sequence[GeneratorRow],
    model: str,
    folder: Path,
    config: GeneratorTrainingConfig,
    *,
    seed: int,
    checkpoints: Path | None = None,
    progress: Progress = no_progress,
) -> Artifact:
    """Train a new adapter on all linear layers, an existing one further, or all weights.

    Rows are tokenized as prompts are when the model is used, so control tokens in documents stay
    plain text.

    Args:
        rows: Prompts with the replies to learn.
        model: Name of the model to start from.
        folder: Where the adapter alone, or the whole model, is saved.
        config: Method, epochs, learning rate, lengths.
        seed: The run's seed.
        checkpoints: Where a killed training resumes from; deleted once the model is saved.
            None: it cannot be resumed.
        progress: Called after each step.

    Raises:
        ModelError: the model is not on this machine or has no chat template.
        ConfigError: 4 bits are asked for on a machine that has no GPU for them.
        DataError: no row fits into `config.max_length` tokens.

    Source: step 5 and Appendix C of ALoFTRAG (arXiv:2501.11929).
    """
    started = time.monotonic()
    with shared.seeded_training(seed):
        fitted = fit_generator(
            rows, model, config, seed=seed, checkpoints=checkpoints, progress=progress
        )
        done = shared.Trained(
            kind="generator",
            base_model=model,
            losses=fitted.losses,
            seconds=time.monotonic() - started,
        )
        save = partial(save_generator, fitted.model, Path(resolve_model(model)))
        return shared.finish_training(done, folder, checkpoints, save)


def fit_generator(  # noqa: PLR0913 - what every training takes
    rows: Sequence[GeneratorRow],
    model: str,
    config: GeneratorTrainingConfig,
    *,
    seed: int,
    checkpoints: Path | None = None,
    progress: Progress = no_progress,
    start: Start | None = None,
) -> shared.Fitted:
    """The trained model, before it is saved; see `train_generator`.

    Its adapter begins with the weights of `start`, or with newly drawn ones.
    """
    base = Path(resolve_model(model))
    tokenizer = load_tokenizer(base)
    encoded = encode_rows(rows, tokenizer, config.max_length)
    size = config.per_device_train_batch_size
    steps = shared.steps_of(len(encoded), size, config.num_train_epochs)
    plan = _plan(encoded, base, config)
    arguments = SFTConfig(
        **shared.shared_arguments(checkpoints, steps, seed),
        num_train_epochs=config.num_train_epochs,
        per_device_train_batch_size=1,  # measured: faster, with the memory of one row
        gradient_accumulation_steps=size // process_count(),
        learning_rate=config.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=config.warmup_share,
        weight_decay=0.0,
        max_length=None,
        remove_unused_columns=False,
        activation_checkpointing=plan is None or plan.has_checkpoints,
        ddp_find_unused_parameters=False,
    )
    shared.keep_to_device(arguments)
    trainer = _ReplyTrainer(
        model=load_base(base, config),
        processing_class=tokenizer,
        train_dataset=Dataset.from_list(encoded),
        data_collator=_as_batch,
        peft_config=new_adapter(config),
        args=arguments,
    )
    trainer.citation_weight = config.citation_weight
    adapted: Any = trainer.model
    held = start.load(adapted) if start else []
    with without_casts(adapted):
        logged = shared.run_trainer(trainer, checkpoints, "training the generator", progress, *held)
    return shared.Fitted(model=trainer.model, losses=logged)


def _as_batch(rows: Sequence[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    (row,) = rows
    batch = {name: torch.tensor([values]) for name, values in row.items()}
    return {**batch, "attention_mask": torch.ones_like(batch["input_ids"])}


def load_base(folder: Path, config: GeneratorTrainingConfig) -> Any:
    """Load the model to train, with the adapter to continue from where one is configured."""
    is_whole = config.method == "full"  # half precision would lose small updates
    dtype = torch.bfloat16 if has_bf16(best_device()) and not is_whole else torch.float32
    held: dict[str, Any] = {}
    if config.method == "qlora":
        check_four_bits()
        four_bits: Any = BitsAndBytesConfig  # untyped
        held["device_map"] = {"": torch.cuda.current_device()}
        held["quantization_config"] = four_bits(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
    whole: Any = AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, local_files_only=True, use_safetensors=True, **held
    )
    if not config.init_adapter:
        return whole
    adapted: Any = PeftModel.from_pretrained(whole, config.init_adapter, is_trainable=True)
    return adapted.merge_and_unload().requires_grad_(True) if is_whole else adapted


def without_casts(model: Any) -> AbstractContextManager[None]:
    """Disable peft's casts of adapter inputs to 32 bits, which autocast reverts to 16 bits.

    All training here runs under autocast; the casts take a seventh of a step on a CPU.
    """
    return disable_input_dtype_casting(model) if isinstance(model, PeftModel) else nullcontext()


def save_generator(model: Any, base: Path, path: Path) -> None:
    """Save an adapter alone, or the whole model."""
    if not isinstance(model, PeftModel):
        save_whole(model, base, path)
        return
    settings: Any
    for settings in model.peft_config.values():
        if isinstance(settings.target_modules, set):  # which every process lists in another order
            settings.target_modules = sorted(settings.target_modules)
    model.save_pretrained(str(path), safe_serialization=True)
    (path / "README.md").unlink(missing_ok=True)  # peft's empty model card


def plan_generator(
    rows: Sequence[GeneratorRow], model: str, config: GeneratorTrainingConfig
) -> Plan | None:
    """Estimate the memory of a training on this machine; None for unknown architectures.

    Raises:
        ModelError: the model is not on this machine or has no chat template.
        DataError: no row fits into `config.max_length` tokens.
    """
    base = Path(resolve_model(model))
    return _plan(encode_rows(rows, load_tokenizer(base), config.max_length), base, config)


def _plan(
    encoded: Sequence[dict[str, list[int]]], base: Path, config: GeneratorTrainingConfig
) -> Plan | None:
    body = read_body(json.loads((base / "config.json").read_bytes()))
    if body is None:
        return None
    device = best_device()
    load = Load(
        tokens=max(len(row["input_ids"]) for row in encoded),
        targets=max(sum(label != IGNORED for label in row["labels"]) for row in encoded),
        number_bytes=2 if has_bf16(device) else 4,
        is_on_processor=device == "cpu",
    )
    return plan_training(body, load, config, memory_of(device))


def new_adapter(config: GeneratorTrainingConfig) -> LoraConfig | None:
    """Configuration of a new adapter; None where one is continued or all weights are trained.

    Source: LoRA (arXiv:2106.09685), rsLoRA (2312.03732), DoRA (2402.09353), QLoRA (2305.14314).
    """
    if config.init_adapter or config.method == "full":
        return None
    return LoraConfig(
        r=config.r,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
        use_rslora=config.method == "rslora",
        use_dora=config.method == "dora",
    )


def encode_rows(
    rows: Sequence[GeneratorRow], tokenizer: Any, max_length: int
) -> list[dict[str, list[int]]]:
    """Token ids, labels (-100 on the prompt), and a mask of the tokens that name passages.

    Rows that exceed `max_length` are left out with a warning.

    Raises:
        DataError: no row fits.
    """
    encoded = []
    for row in rows:
        prompt = encode_prompt(tokenizer, Prompt(messages=row.prompt))
        target = row.completion.removeprefix(row.prefix)
        # the prefix is encoded separately, as it is for a reply
        before = encode_text(tokenizer, row.prefix)
        behind, places = encode_located(tokenizer, target)
        completion = [*before, *behind, tokenizer.eos_token_id]
        if len(prompt) + len(completion) <= max_length:
            labels = [IGNORED] * len(prompt) + completion
            start, end = named_in(target, row.prefix)
            named = [0] * (len(prompt) + len(before))
            named += [int(first < end and start < last) for first, last in [*places, (0, 0)]]
            encoded.append({"input_ids": prompt + completion, "labels": labels, "named": named})
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
