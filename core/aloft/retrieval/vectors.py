"""Keeps vectors on disk, computed once per model and texts, shared by any number of processes."""

import logging
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from aloft.protocols import Floats
from aloft.records import cache_key, content_id

logger = logging.getLogger(__name__)


def vectors_key(kind: str, fingerprint: str, texts: Sequence[str]) -> str:
    """Name the vectors that a model gives texts."""
    return cache_key("vectors", kind, fingerprint, content_id(*texts))


class VectorStore:
    """Vectors as .npy files, one per kind, model and texts, memory-mapped when they are read.

    A file appears under its name in one step, so processes need no lock: at worst two of them
    compute the same vectors. Vectors that cannot be written (a read-only folder, a full disk) are
    held in memory, without an error.

    Args:
        folder: Where the files lie; it is created when it is needed. None: memory alone.
        read_only: Use the files that are there, and write none.
    """

    def __init__(self, folder: Path | None = None, *, read_only: bool = False) -> None:
        self.folder = folder
        self.read_only = read_only
        self._in_memory: dict[str, Floats] = {}

    def get(
        self, kind: str, fingerprint: str, texts: Sequence[str], encode: Callable[[], Floats]
    ) -> Floats:
        """The vectors of texts, encoded unless they are known.

        Args:
            kind: What the texts are to the model, such as "passages" or "queries".
            fingerprint: Identifies the model.
            texts: What is embedded.
            encode: Computes the vectors; (texts, dimensions).
        """
        name = f"{kind}-{vectors_key(kind, fingerprint, texts)}.npy"
        if name in self._in_memory:
            return self._in_memory[name]
        known = self._read(name, len(texts))
        if known is not None:
            return known
        vectors = encode()
        if self._write(name, vectors):
            known = self._read(name, len(texts))
        if known is None:
            known = self._in_memory[name] = vectors
        return known

    def _read(self, name: str, rows: int) -> Floats | None:
        """The file's content; None where there is no file, or not a whole one."""
        if self.folder is None:
            return None
        try:
            vectors: Floats = np.load(self.folder / name, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        return vectors if len(vectors) == rows else None

    def _write(self, name: str, vectors: Floats) -> bool:
        """Put a file in place in one step; False where that cannot be done."""
        if self.folder is None or self.read_only:
            return False
        temporary = self.folder / f".{name}.{uuid4().hex}.tmp"  # unique on shared disks, too
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with temporary.open("xb") as file:
                np.save(file, vectors, allow_pickle=False)
            os.replace(temporary, self.folder / name)
        except OSError as error:
            logger.info("vectors are held in memory: %s cannot be written (%s)", name, error)
            return False
        finally:
            _remove(temporary)
        return True

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy in another process reads the files anew."""
        return partial(VectorStore, read_only=self.read_only), (self.folder,)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:  # the folder became read-only meanwhile: nothing was written
        logger.debug("%s cannot be removed", path)
