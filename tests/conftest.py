"""What all tests share: no network, a home of their own, and no usage counts."""

import os
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["DO_NOT_TRACK"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import pytest


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Models and caches of a test lie in its own folder."""
    home = tmp_path / "home"
    monkeypatch.setenv("ALOFT_HOME", str(home))
    return home
