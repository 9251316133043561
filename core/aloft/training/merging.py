"""Merges a language model with its adapter, and verifies that the merged model replies alike."""

import json
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from aloft.backends.host_state import quiet_libraries
from aloft.backends.packaged import resolve_model
from aloft.backends.transformers import TransformersLanguageModel
from aloft.errors import ModelError
from aloft.files import write_folder
from aloft.protocols import Prompt
from aloft.records import GeneratorRow

_ALIKE = 0.05  # nats per token; rounding merged weights to half precision changes less
_WEIGHTS = (".safetensors", ".bin", ".gguf", ".pt", ".pth", ".index.json")


def merge_adapter(model: str, adapter: Path, folder: Path, rows: Sequence[GeneratorRow]) -> float:
    """Save a model with its adapter merged to `folder`, and compare the two.

    Args:
        model: Base model of the adapter.
        adapter: Folder of the adapter.
        folder: Where the merged model is saved: safetensors, tokenizer and chat template.
        rows: Prompts with replies that both models score.

    Returns:
        Largest change of a reply's log-probability, in nats per token.

    Raises:
        ModelError: the model is not on this machine, or the merged model scores replies
            differently, for example because its number format is too coarse; nothing is written.
    """
    base = Path(resolve_model(model))
    change = 0.0

    def write(path: Path) -> None:
        nonlocal change
        _merge(base, adapter, path)  # released before the two models are loaded
        change = _compare(model, adapter, path, rows)
        if not change <= _ALIKE:
            raise ModelError(
                f"The merged model does not reply like {model} with its adapter: log-probabilities "
                f"differ by {change:.2f} nats per token. Use the adapter as it is: {adapter}"
            )

    with quiet_libraries():
        write_folder(folder, write)
    return change


def _merge(base: Path, adapter: Path, path: Path) -> None:
    load: Any = AutoModelForCausalLM.from_pretrained
    whole = load(base, dtype=torch.float32, local_files_only=True, use_safetensors=True)
    adapted: Any = PeftModel.from_pretrained(whole, str(adapter))
    save_whole(adapted.merge_and_unload(safe_merge=True), base, path)


def save_whole(model: Any, base: Path, path: Path) -> None:
    """Save all weights in the base model's number format, with its other files."""
    facts = json.loads((base / "config.json").read_bytes())
    dtype = getattr(torch, str(facts.get("dtype") or facts.get("torch_dtype") or "float32"))
    model.to(dtype).save_pretrained(str(path), safe_serialization=True)
    for file in base.iterdir():
        is_weights = file.name.endswith(_WEIGHTS)
        if file.is_file() and not is_weights and not (path / file.name).exists():
            shutil.copy2(file, path / file.name)


def _compare(model: str, adapter: Path, whole: Path, rows: Sequence[GeneratorRow]) -> float:
    prompts = [Prompt(messages=row.prompt, prefix=row.prefix) for row in rows]
    replies = [row.completion.removeprefix(row.prefix) for row in rows]
    loads = (
        partial(TransformersLanguageModel, model, adapter),
        partial(TransformersLanguageModel, str(whole)),
    )
    before, after = (load().score_replies(prompts, replies) for load in loads)
    return float(np.abs(after - before).max(initial=0.0))
