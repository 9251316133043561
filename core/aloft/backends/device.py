"""Turns the machine into the number format and device that models run in."""

import logging
import warnings
from typing import Any

import torch


def best_device() -> str:
    """The accelerator that is present, or the processor."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def has_bf16(device: str) -> bool:
    """Whether bfloat16 is computed natively: emulated it is slower than float32."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device == "cpu":
        able = torch.cpu.get_capabilities()
        return bool(able.get("avx512_bf16") or able.get("amx_bf16") or able.get("bf16"))
    return False


def quiet_libraries() -> None:
    """Silence the progress bars and notices of the libraries below: ours tell of the whole."""
    from transformers.utils import logging as library_logging

    transformers_logging: Any = library_logging  # untyped
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    logging.getLogger("sentence_transformers").setLevel(logging.ERROR)
    # what they tell one another about names that go: nothing that a user of ours could put right
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(transformers|trl|peft)\.")
