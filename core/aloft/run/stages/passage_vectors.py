"""Embeds the corpus with the embedder as it is before training."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from aloft.files import link, write_folder
from aloft.protocols import Floats
from aloft.retrieval.dense import DenseIndex
from aloft.retrieval.searchable import SearchableCorpus
from aloft.run.context import Context, Inputs
from aloft.run.stage import Fact, Folder, Model, Resources, stage

_VECTORS, _STARTS = "vectors.npy", "starts.npy"


@stage(
    name="passage_vectors",
    version=1,
    group="filters",
    doing="embedding the corpus",
    inputs=("passages",),
    output=Folder("work/stages/passage_vectors"),
    settings=lambda config: {"window_tokens": config.passages.window_tokens},
    models=lambda setup: {"embedder": Model(setup.config.embedder, "embedder")},
    resources=Resources(gpu=True),
)
def passage_vectors(context: Context, part: Inputs) -> Iterator[Fact]:
    """Vectors of all windows of all passages, and where each passage's begin."""
    windows = context.windows(part["passages"])
    vectors = context.encode("passages", windows.texts)
    save_vectors(context.run / "work" / "stages" / "passage_vectors", vectors, windows.starts)
    yield Fact("windows", len(windows.texts))


def save_vectors(folder: Path, vectors: Floats, starts: Any = None) -> None:
    """Write vectors to a folder; a file that holds them already is linked."""

    def write(temporary: Path) -> None:
        if isinstance(vectors, np.memmap) and vectors.filename:
            link(str(vectors.filename), temporary / _VECTORS)
        else:
            np.save(temporary / _VECTORS, vectors, allow_pickle=False)
        if starts is not None:
            np.save(temporary / _STARTS, starts, allow_pickle=False)

    write_folder(folder, write)


def open_vectors(folder: Path) -> Floats:
    """Vectors of a folder, read as they are needed."""
    vectors: Floats = np.load(folder / _VECTORS, mmap_mode="r", allow_pickle=False)
    return vectors


def open_corpus(context: Context, part: Inputs) -> SearchableCorpus:
    """The corpus and its vectors, to be searched."""
    return SearchableCorpus(part["passages"], open_index(part), context.indexes)


def open_index(part: Inputs) -> DenseIndex:
    """The corpus' vectors, to be searched."""
    folder = part["passage_vectors"]
    return DenseIndex(open_vectors(folder), np.load(folder / _STARTS, allow_pickle=False))
