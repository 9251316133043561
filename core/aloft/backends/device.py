"""Chooses the device, number format and kind of attention that models run with on this machine."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

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


class _CudnnAttention:
    """Whether this process may attend by cuDNN, which its threads share."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._was_allowed = False

    @contextmanager
    def off(self) -> Iterator[None]:
        """Off until the last of those who want it so has done; then as it was."""
        flags: Any = torch.backends.cuda  # untyped
        with self._lock:
            if not self._users:
                self._was_allowed = flags.cudnn_sdp_enabled()
                flags.enable_cudnn_sdp(False)
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    flags.enable_cudnn_sdp(self._was_allowed)


# On Hopper torch prefers cuDNN's attention. It plans anew for each shape, and here nearly every
# batch and every token of a reply has a new one: 300 replies of 64 tokens took 14.8 s with it and
# 1.6 s without (H200, torch 2.11). Its gradients of padded batches may be NaN (pytorch issue
# 196678).
without_cudnn_attention = _CudnnAttention().off


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
