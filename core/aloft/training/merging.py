"""Turns a language model and its adapter into one whole model, and proves that it replies alike."""

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

_ALIKE = 0.05  # nats a token; half precision rounds merged weights by less
_WEIGHTS = (".safetensors", ".bin", ".gguf", ".pt", ".pth", ".index.json")


def merge_adapter(model: str, adapter: Path, folder: Path, rows: Sequence[GeneratorRow]) -> float:
    """Write a model with its adapter's weights added to `folder`, and compare the two.

    Args:
        model: What the adapter was trained on.
        adapter: Its folder.
        folder: Where the whole model goes: safetensors, tokenizer and chat template.
        rows: Prompts with replies; both models read them, the whole one from its folder.

    Returns:
        By how much the log-probability of a reply changed at the most, in nats a token.

    Raises:
        ModelError: the model is not on this machine, or the two do not reply alike, as where its
            numbers are too coarse for the change; nothing is written then.
    """
    base = Path(resolve_model(model))
    change = 0.0

    def write(path: Path) -> None:
        nonlocal change
        _merge(base, adapter, path)  # and let it go before two more are loaded
        change = _compare(model, adapter, path, rows)
        if not change <= _ALIKE:
            raise ModelError(
                f"The merged model does not reply as {model} with its adapter: log-probabilities "
                f"are {change:.2f} nats a token apart. Use the adapter as it is: {adapter}"
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
    """All weights, in the number format of the model they came from, and the files beside them."""
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
