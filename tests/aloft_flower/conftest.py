"""Models and run folders that federations share."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from pydoc_data.topics import topics

import pytest
from federated_sites import NAMES, TOPICS, configure, write_questions
from scripted import long_words

from aloft.testing import ScriptedTeacher, tiny_encoder, tiny_language_model


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base models that all sites have."""
    folder = tmp_path_factory.mktemp("models")
    tiny_encoder(folder / "encoder")
    tiny_language_model(folder / "language-model")
    return folder


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory, models: Path) -> dict[str, Path]:
    """A run folder of each site with its training sets, from documents that no other has."""
    from aloft.api import open_run

    root = tmp_path_factory.mktemp("sites")
    for place, name in enumerate(NAMES):
        documents = root / f"{name}-documents"
        documents.mkdir()
        for topic in TOPICS[place : 6 + 3 * place : 3]:  # two, three and four documents or so
            (documents / f"{topic}.txt").write_text(topics[topic], encoding="utf-8")
        write_questions(root / f"{name}.jsonl", [file.read_text() for file in documents.iterdir()])
        teacher = ScriptedTeacher(long_words)
        with open_run(root / name, configure(models), teacher) as run:
            run.give(documents, root / f"{name}.jsonl")
            run.do("sets")
    return {name: root / name for name in NAMES}


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """What ends with the test."""
    with ExitStack() as entered:
        yield entered
