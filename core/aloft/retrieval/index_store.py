"""Keeps what a corpus is searched by on disk, made once, shared by any number of processes."""

import logging
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from aloft.protocols import Floats
from aloft.records import cache_key, content_id_of

_UNREADABLE = (OSError, ValueError, EOFError)  # what is not there, or not whole
logger = logging.getLogger(__name__)


def vectors_key(kind: str, fingerprint: str, texts: Sequence[str]) -> str:
    """Name the vectors that a model gives texts."""
    return cache_key("vectors", kind, fingerprint, content_id_of(texts))


class Saved(Protocol):
    """What writes itself to a folder."""

    def save(self, folder: Path) -> None:
        """Write it to an empty folder."""
        ...


SavedT = TypeVar("SavedT", bound=Saved)


class IndexStore:
    """Vectors and tables as .npy files, memory-mapped when they are read, and indexes as folders.

    Each appears under its name in one step, so processes need no lock: at worst two of them
    compute the same. What cannot be written (a read-only folder, a full disk) is held in memory,
    without an error; what is damaged is made anew.

    Args:
        folder: Where they lie; it is created when it is needed. None: memory alone.
        read_only: Use the files that are there, and write none.
    """

    def __init__(self, folder: Path | None = None, *, read_only: bool = False) -> None:
        self.folder = folder
        self.read_only = read_only
        self._in_memory: dict[str, NDArray[Any]] = {}

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
        return self._get(name, encode, lambda found: len(found) == len(texts))

    def get_derived(
        self, vectors: Floats, kind: str, make: Callable[[], NDArray[np.uint8]]
    ) -> NDArray[np.uint8]:
        """What is made of vectors, kept beside their file where they have one; (bytes,).

        Args:
            vectors: As `get` returned them.
            kind: What is made, with the version of what makes it.
            make: Makes it.
        """
        if self.folder is None or not isinstance(vectors, np.memmap) or not vectors.filename:
            return make()
        name = f"{Path(vectors.filename).stem}.{kind}.npy"
        return self._get(name, make, lambda found: found.dtype == np.uint8)

    def get_table(
        self, name: str, make: Callable[[], NDArray[np.int32]], columns: int
    ) -> NDArray[np.int32]:
        """A table of whole numbers; (rows, columns).

        Args:
            name: Of all that it depends on.
            make: Computes it.
            columns: How many there are.
        """

        def fits(found: NDArray[Any]) -> bool:
            return found.dtype == np.int32 and found.shape[1:] == (columns,)

        return self._get(f"{name}.npy", make, fits)

    def get_index(
        self, name: str, build: Callable[[], SavedT], read: Callable[[Path], SavedT]
    ) -> SavedT:
        """An index that lies in a folder of its own, built unless it is known.

        Args:
            name: Of all that it depends on.
            build: Builds it.
            read: Opens its folder, whose files it reads as long as it lives.
        """
        if self.folder is None:
            return build()
        path = self.folder / name
        with suppress(*_UNREADABLE):
            return read(path)
        is_damaged, built = path.exists(), build()

        def write(temporary: Path) -> None:
            temporary.mkdir()
            built.save(temporary)
            if is_damaged:  # one that another process has built meanwhile stays
                shutil.rmtree(path, ignore_errors=True)

        if self._put(name, write):
            with suppress(*_UNREADABLE):
                return read(path)
        return built

    def _get(
        self,
        name: str,
        compute: Callable[[], NDArray[Any]],
        fits: Callable[[NDArray[Any]], bool],
    ) -> NDArray[Any]:
        if name in self._in_memory:
            return self._in_memory[name]
        known = self._read(name, fits)
        if known is not None:
            return known
        computed = compute()
        if self._write(name, computed):
            known = self._read(name, fits)
        if known is None:
            known = self._in_memory[name] = computed
        return known

    def _read(self, name: str, fits: Callable[[NDArray[Any]], bool]) -> NDArray[Any] | None:
        """The file's content; None where there is no file, or not a whole one."""
        if self.folder is None:
            return None
        try:
            found: NDArray[Any] = np.load(self.folder / name, mmap_mode="r", allow_pickle=False)
        except _UNREADABLE:
            return None
        return found if fits(found) else None

    def _write(self, name: str, values: NDArray[Any]) -> bool:
        def write(temporary: Path) -> None:
            with temporary.open("xb") as file:
                np.save(file, values, allow_pickle=False)

        return self._put(name, write)

    def _put(self, name: str, write: Callable[[Path], None]) -> bool:
        """Put a file or a folder in place in one step; False where that cannot be done."""
        if self.folder is None or self.read_only:
            return False
        temporary = self.folder / f".{name}.{uuid4().hex}.tmp"  # unique on shared disks, too
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write(temporary)
            os.replace(temporary, self.folder / name)
        except OSError as error:
            logger.info("%s is held in memory: it cannot be written (%s)", name, error)
            return False
        finally:
            _remove(temporary)
        return True

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy in another process reads the files anew."""
        return partial(IndexStore, read_only=self.read_only), (self.folder,)


def _remove(path: Path) -> None:
    try:
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
    except OSError:  # the folder became read-only meanwhile: nothing was written
        logger.debug("%s cannot be removed", path)
