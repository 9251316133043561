"""Chooses the device and number format that models run in on this machine."""

import psutil
import torch

from aloft._extras import require
from aloft.errors import ConfigError


def best_device() -> str:
    """The available accelerator, or else the CPU."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def has_bf16(device: str) -> bool:
    """Whether the device computes bfloat16 natively; emulated, it is slower than float32."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device == "cpu":
        able = torch.cpu.get_capabilities()
        return bool(able.get("avx512_bf16") or able.get("amx_bf16") or able.get("bf16"))
    return False


def memory_of(device: str) -> int:
    """Total memory of a device in bytes, including what other processes use."""
    if device == "cuda":
        return int(torch.cuda.mem_get_info()[1])
    if device == "mps":
        return int(torch.mps.recommended_max_memory())
    return int(psutil.virtual_memory().total)


def check_four_bits() -> None:
    """Check that this machine can hold weights in 4 bits.

    Raises:
        ConfigError: there is no NVIDIA GPU.
        MissingExtraError: bitsandbytes is not installed.
    """
    if best_device() != "cuda":
        raise ConfigError(
            'generator_training.method is "qlora", which needs an NVIDIA GPU, and this machine has '
            'none. Set it to "lora".'
        )
    require("bitsandbytes", extra="qlora")
