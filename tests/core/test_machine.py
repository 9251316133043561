"""The machine is described on every system, without a library that only some have."""

import os
import subprocess
import sys

import pytest

from aloft.machine import describe_command, describe_machine, peak_memory_megabytes

POSIX_ONLY = ("resource", "fcntl", "pwd", "grp", "termios")
MODULES = (
    "aloft.machine",
    "aloft.network_guard",
    "aloft.cli",
    "aloft.api",
    "aloft.backends.loading",
    "aloft.backends.server",
    "aloft.backends.vllm",
    "aloft.backends.checking",
)


def test_facts_of_this_machine() -> None:
    facts = describe_machine()
    assert facts["cores"] == os.cpu_count()
    assert facts["processor"]
    assert facts["python"] == sys.version.split()[0]


@pytest.mark.parametrize(
    ("given", "described"),
    [
        (["/usr/bin/aloft", "run", "my docs", "--out", "RUN"], "aloft run 'my docs' --out RUN"),
        (["aloft.exe", "evaluate", "RUN"], "aloft.exe evaluate RUN"),
        (["/srv/app.py", "--api-key", "a-secret"], "app.py"),
        ([""], ""),
    ],
)
def test_a_command_can_be_typed_again_and_holds_no_key_of_another_program(
    given: list[str], described: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", given)
    assert describe_command() == described


def test_the_peak_grows_with_what_is_held() -> None:
    before = peak_memory_megabytes()
    held = bytearray(300 << 20)
    held[:: 1 << 12] = b"\x01" * len(held[:: 1 << 12])  # touched, page by page
    assert before > 10
    assert peak_memory_megabytes() >= 300


def test_importing_needs_no_module_of_posix_alone() -> None:
    """As on Windows."""
    program = (
        "import sys\n"
        f"for name in {POSIX_ONLY}: sys.modules[name] = None\n"
        "import importlib\n"
        f"for module in {MODULES}: importlib.import_module(module)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
