"""Describes this machine and process, for reports of what was measured on them."""

import os
import platform
import shlex
import sys
from pathlib import Path
from typing import Any

_CPU = Path("/proc/cpuinfo")  # on Linux
_BF16 = ("amx_bf16", "avx512_bf16")  # instructions for the number format that models run in


def describe_machine() -> dict[str, Any]:
    """Processor, cores, system and library versions; no host name."""
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


def describe_command() -> str:
    """This process's command line, as it can be typed again.

    Of another program than `aloft` its name alone: what it was given may be a key.
    """
    program, *arguments = sys.argv
    name = Path(program).name
    return shlex.join([name, *arguments]) if Path(program).stem == "aloft" else name


def _name_processor() -> str:
    if not _CPU.is_file():
        return platform.processor() or platform.machine()
    lines = (line.partition(":") for line in _CPU.read_text(encoding="utf-8").splitlines())
    facts = {key.strip(): value.strip() for key, _, value in lines}
    known = facts.get("flags", "").split()
    name = facts.get("model name") or platform.machine()
    return ", ".join([name, *[flag for flag in _BF16 if flag in known][:1]])


def peak_memory_megabytes() -> int:
    """The most memory that this process has held at a time."""
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset) >> 20
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS, else kilobytes
    return int(peak) >> (20 if sys.platform == "darwin" else 10)
