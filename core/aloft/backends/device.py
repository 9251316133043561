"""Turns the machine into the number format and device that models run in."""

import psutil
import torch

from aloft._extras import require
from aloft.errors import ConfigError


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


def memory_of(device: str) -> int:
    """Bytes that there are for models, others' share of them included."""
    if device == "cuda":
        return int(torch.cuda.mem_get_info()[1])
    if device == "mps":
        return int(torch.mps.recommended_max_memory())
    return int(psutil.virtual_memory().total)


def check_four_bits() -> None:
    """See that weights can be held in 4 bits here.

    Raises:
        ConfigError: there is no GPU that does so.
        MissingExtraError: what does so is not installed.
    """
    if best_device() != "cuda":
        raise ConfigError(
            'generator_training.method is "qlora", which takes an NVIDIA GPU, and there is none '
            'here. Set it to "lora".'
        )
    require("bitsandbytes", extra="qlora")
