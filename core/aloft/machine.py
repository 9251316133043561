"""Turns this machine and process into the facts that stand beside every figure."""

import os
import platform
import resource
import sys
from pathlib import Path
from typing import Any

_CPU = Path("/proc/cpuinfo")  # Linux alone has it
_BF16 = ("amx_bf16", "avx512_bf16")  # what multiplies the format that models are run in


def describe_machine() -> dict[str, Any]:
    """What figures were taken on; no host name."""
    machine: dict[str, Any] = {
        "processor": _name_processor(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
    }
    torch = sys.modules.get("torch")
    if torch is not None:
        machine["torch"] = torch.__version__
        if torch.cuda.is_available():
            machine["gpu"] = torch.cuda.get_device_name()
    return machine


def _name_processor() -> str:
    if not _CPU.is_file():
        return platform.processor() or platform.machine()
    lines = (line.partition(":") for line in _CPU.read_text(encoding="utf-8").splitlines())
    facts = {key.strip(): value.strip() for key, _, value in lines}
    known = facts.get("flags", "").split()
    name = facts.get("model name") or platform.machine()
    return ", ".join([name, *[flag for flag in _BF16 if flag in known][:1]])


def peak_memory_megabytes() -> int:
    """The most that this process has held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10))
