"""What `finetune()` of either host does to the application's process: nothing that stays."""

import os
import random
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scripted import long_words, write_topics

from aloft.backends.loading import Models
from aloft.config import RunConfig, load_config
from aloft.network_guard import NetworkRefusedError
from aloft.protocols import LanguageModel, Progress
from aloft.testing import ScriptedTeacher

pytestmark = pytest.mark.model


def tune_llama_index(texts: dict[str, str], out: Path, config: RunConfig) -> Callable[..., None]:
    from llama_index.core.schema import Document

    from llama_index_aloft import AloftFinetuneEngine

    documents = [Document(id_=name, text=text) for name, text in texts.items()]
    return AloftFinetuneEngine(documents, out, config=config).finetune


def tune_langchain(texts: dict[str, str], out: Path, config: RunConfig) -> Callable[..., None]:
    from langchain_core.documents import Document

    from langchain_aloft import AloftFinetuner

    documents = [Document(text, metadata={"source": name}) for name, text in texts.items()]
    return AloftFinetuner(documents, out, config=config).finetune


@pytest.fixture(params=[tune_llama_index, tune_langchain], ids=["LlamaIndex", "LangChain"])
def finetune(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Progress], None]:
    """Tunes a tiny embedder in a folder of its own, each time it is called."""
    from aloft.testing import tiny_encoder, tiny_language_model

    def scripted(models: Models, name: str) -> LanguageModel:
        return ScriptedTeacher(long_words)

    monkeypatch.setattr(Models, "teacher", scripted)
    settings: dict[str, Any] = {
        "teacher": str(tiny_language_model(tmp_path / "language-model")),
        "embedder": str(tiny_encoder(tmp_path / "encoder")),
        "parts": ("embedder",),
        "pairs": {"form": "examples", "per_passage": 1, "max_passages": 12},
        "filters": {"use": ["duplicate"]},
        "embedder_training": {"num_train_epochs": 1.0, "max_seq_length": 64},
    }
    config = load_config("cpu", None, settings)
    files = sorted(write_topics(tmp_path / "docs").iterdir())
    texts = {file.name: file.read_text(encoding="utf-8") for file in files}
    runs = iter(range(9))

    def run(progress: Progress) -> None:
        request.param(texts, tmp_path / f"run {next(runs)}", config)(progress)

    return run


def process_state() -> dict[str, Any]:
    """What belongs to the whole process."""
    import datasets.config
    import huggingface_hub.constants as hub
    import torch
    from transformers.utils import logging as transformers_logging

    numpy_state = np.random.get_state()
    return {
        "random": random.getstate(),
        "numpy": (*numpy_state[1].tolist(), *numpy_state[2:]),  # type: ignore[index]
        "torch": torch.get_rng_state().tolist(),
        "environment": dict(os.environ),
        "offline": (hub.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE),
        "telemetry": hub.HF_HUB_DISABLE_TELEMETRY,
        "bars": transformers_logging.is_progress_bar_enabled(),
        "verbosity": transformers_logging.get_verbosity(),
        "warning filters": list(warnings.filters),
        "hooks": (sys.excepthook, threading.excepthook, threading.Thread.start),
        "sockets": (socket.socket, socket.create_connection, socket.getaddrinfo),
    }


def nothing(_stage: str, _done: int, _total: int) -> None:
    """No progress is shown."""


def test_the_process_is_as_it_was(finetune: Callable[[Progress], None]) -> None:
    environment = dict(os.environ)
    finetune(nothing)  # imports what it needs
    assert dict(os.environ) == environment
    random.seed(11), np.random.seed(12)
    random.random(), np.random.random()
    before = process_state()

    finetune(nothing)

    after = process_state()
    assert [name for name in before if before[name] != after[name]] == []


def test_so_it_is_where_the_application_stops_it(finetune: Callable[[Progress], None]) -> None:
    def stop(stage: str, _done: int, _total: int) -> None:
        if stage == "training the embedder":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune(stop)
    before = process_state()
    with pytest.raises(KeyboardInterrupt):
        finetune(stop)

    after = process_state()
    assert [name for name in before if before[name] != after[name]] == []


def test_other_threads_of_the_application_reach_the_network_meanwhile(
    finetune: Callable[[Progress], None],
) -> None:
    training, tried = threading.Event(), threading.Event()
    refused: list[BaseException] = []

    def connect() -> None:
        training.wait(300)
        try:  # what a socket tells the interpreter before it connects
            sys.audit("socket.connect", None, ("192.0.2.1", 443))
        except NetworkRefusedError as error:
            refused.append(error)
        tried.set()

    application = threading.Thread(target=connect, daemon=True)
    application.start()
    refused_here: list[str] = []

    def watch(stage: str, _done: int, _total: int) -> None:
        if stage == "training the embedder" and not training.is_set():
            training.set()
            assert tried.wait(60)
            try:
                sys.audit("socket.connect", None, ("192.0.2.1", 443))
            except NetworkRefusedError as error:
                refused_here.append(str(error))

    finetune(watch)

    assert refused == []
    assert len(refused_here) == 1  # the run itself stays on this machine


FORKING = """
import os, sys, threading
from aloft.api import SharedModels
from langchain_aloft import AloftEmbeddings, ChatAloft

models = SharedModels()
embeddings = AloftEmbeddings(sys.argv[1], models=models)
chat = ChatAloft(model=sys.argv[2], max_tokens=3, models=models)
texts = ["Foxes run far. " * 20] * 64

def work():
    embeddings.embed_documents(texts)
    chat.invoke("Hi.")

work()
child = os.fork()
if not child:
    work()
    os._exit(0)
threading.Timer(60, os.kill, (child, 9)).start()
os._exit(os.waitpid(child, 0)[1] != 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_process_that_was_forked_after_a_model_was_used_uses_it_too(tmp_path: Path) -> None:
    from aloft.testing import tiny_encoder, tiny_language_model

    names = [str(tiny_encoder(tmp_path / "a")), str(tiny_language_model(tmp_path / "b"))]
    threads = {"OMP_NUM_THREADS": "2", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-W", "ignore", "-c", FORKING, *names]
    assert subprocess.run(command, env=os.environ | threads, timeout=240).returncode == 0
