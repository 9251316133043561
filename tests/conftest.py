"""What all tests share: no network, a home of their own, and no usage counts."""

import gc
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["DO_NOT_TRACK"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
if "PYTEST_XDIST_WORKER" in os.environ:  # workers share the cores, and threads wait busily
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

from aloft.backends.packaged import fetch_model, models_home
from aloft.config import RunConfig, load_config
from aloft.errors import ModelError

if TYPE_CHECKING:
    from openai_server import Answering, Serve

_SLOW_FILE = "\npytestmark = pytest.mark.model"
_FLOWER_FILE = "\npytestmark = pytest.mark.flower"
_USERS_HOME = models_home().parent  # before a test has a home of its own


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out files whose imports a tier does without: torch, and Flower, which is elsewhere."""
    chosen = config.option.markexpr
    if collection_path.suffix != ".py":
        return None
    text = collection_path.read_text(encoding="utf-8")
    is_slow = "not model" in chosen and _SLOW_FILE in text
    is_elsewhere = chosen != "flower" and _FLOWER_FILE in text
    return is_slow or is_elsewhere or None


def pytest_collection_finish() -> None:
    """Keep the libraries that were imported out of every garbage collection to come."""
    gc.freeze()


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Models and caches of a test lie in its own folder."""
    home = tmp_path / "home"
    monkeypatch.setenv("ALOFT_HOME", str(home))
    return home


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    """A folder that passes for an encoder until it is loaded: a tokenizer and some weights."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    folder = tmp_path / "encoder"
    folder.mkdir()
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00{}      ")
    return folder


@pytest.fixture(scope="session")
def loopback() -> None:
    """This machine can reach itself; in a fresh network namespace it can not."""
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname(), timeout=5).close()
    except OSError as error:
        pytest.skip(f"the loopback interface is down: {error}")


@pytest.fixture
def serve(loopback: None) -> "Iterator[Serve]":
    """Start a server that answers as it is told to."""
    from openai_server import Server

    started: list[Server] = []

    def start(answer: "Answering") -> Server:
        started.append(Server(answer))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="session")
def _fetched_models() -> Path:
    """The user's real cache, or the one ALOFT_TEST_MODELS names, with both default models in it."""
    home = Path(os.environ.get("ALOFT_TEST_MODELS") or _USERS_HOME)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALOFT_HOME", str(home))
        config = load_config("cpu")
        try:
            for name in (config.embedder, config.teacher):
                fetch_model(name)
        except ModelError as error:
            pytest.skip(f"the embedded models can not be had here: {error}")
    return home


@pytest.fixture
def embedded_models(
    own_home: Path, _fetched_models: Path, monkeypatch: pytest.MonkeyPatch
) -> RunConfig:
    """The CPU preset, whose models are here: the test sees the real cache as its home."""
    monkeypatch.setenv("ALOFT_HOME", str(_fetched_models))
    return load_config("cpu")
