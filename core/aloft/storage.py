"""Turns records into files of a run folder and back, so that a killed run goes on where it stopped.

A stage that works record by record appends to a journal named after its recipe (configuration,
model, inputs' form): resuming is the set of subjects that the journal lacks, and an edited document
costs only its own passages. A finished stage's file is written under a temporary name and renamed;
its manifest comes last, so that a manifest proves a whole file.
"""

import json
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import numpy as np
from filelock import FileLock, Timeout

from aloft.errors import DataError, RunFolderError
from aloft.files import friendly_io_errors, write_atomically, write_text
from aloft.protocols import Floats
from aloft.records import Rejection, content_id, from_json, to_json

logger = logging.getLogger(__name__)


class _Record(Protocol):
    @property
    def id(self) -> str: ...


RecordT = TypeVar("RecordT", bound=_Record)
ValueT = TypeVar("ValueT")


def _is_utf8(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def cache_key(*parts: Any) -> str:
    """Name what a result depends on; parts are JSON types, pydantic models or strings."""
    return content_id(*(_canonical(part) for part in parts))


def vectors_recipe(kind: str, fingerprint: str, texts: Sequence[str]) -> str:
    """Names the vectors that a model gives texts."""
    return cache_key("vectors", kind, fingerprint, content_id(*texts))


def _canonical(part: Any) -> str:
    if hasattr(part, "model_dump"):
        part = part.model_dump(mode="json")
    return json.dumps(part, sort_keys=True, ensure_ascii=False)


class Journal:
    """What a stage finished so far: one JSON line per subject, on disk before the next batch.

    Attributes:
        notes: What was said of each batch, such as what it took.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries: dict[str, Any] = {}
        self.notes: list[Any] = []
        if path.exists():
            self._read()

    def _read(self) -> None:
        whole = 0
        with self._path.open("rb") as file:
            for line in file:
                try:
                    subject, value = json.loads(line)
                except ValueError:
                    break  # the line that a kill tore
                if not line.endswith(b"\n"):
                    break  # torn at its very end: the next line would join it
                if subject is None:
                    self.notes.append(value)
                else:
                    self._entries[subject] = value
                whole += len(line)
        if whole < self._path.stat().st_size:
            os.truncate(self._path, whole)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, subject: str) -> bool:
        return subject in self._entries

    def __getitem__(self, subject: str) -> Any:
        return self._entries[subject]

    def add(self, entries: Iterable[tuple[str, Any]], note: Any = None) -> None:
        """Append (subject, JSON value) entries and bring them to the disk, their note with them.

        The note goes first: what a torn batch took was spent, though some of its entries be lost.

        Raises:
            RunFolderError: the disk is full; a line written in part is taken back.
        """
        new = dict(entries)
        noted = [] if note is None else [note]
        rows = [*([None, one] for one in noted), *([key, new[key]] for key in new)]
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        with friendly_io_errors(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as file:
                file.write(lines.encode("utf-8", "surrogatepass"))
                file.flush()
                os.fsync(file.fileno())
        self._entries.update(new)
        self.notes += noted


class RunFolder:
    """The folder of one run, held by one process at a time.

    Raises:
        RunFolderError: another process holds the folder, or it can not be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(path / ".lock")
        self._journals: dict[str, Journal] = {}

    def __enter__(self) -> Self:
        with friendly_io_errors(self.path):
            if not _is_utf8(self.path):
                raise RunFolderError(
                    f"The path {self.path!a} is not UTF-8, and models cannot be saved in it. "
                    "Choose another --out."
                )
            if self.path.exists() and not self.path.is_dir():
                raise RunFolderError(f"{self.path} is a file. Choose a folder for --out.")
            self.path.mkdir(parents=True, exist_ok=True)
            try:
                self._lock.acquire(timeout=0)
            except Timeout as error:
                message = (
                    f"{self.path} is held by another aloft process. Wait for it to end, "
                    "or choose another --out."
                )
                raise RunFolderError(message) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lock.release()

    def journal(self, stage: str, recipe: str) -> Journal:
        """The journal of a stage under one recipe, read once."""
        name = f"{stage}-{recipe}.jsonl"
        if name not in self._journals:
            self._journals[name] = Journal(self.path / "work" / name)
        return self._journals[name]

    def is_done(self, stage: str, recipe: str) -> bool:
        """Whether the stage's file was finished under this very recipe."""
        manifest = self.path / "manifests" / f"{stage}.json"
        return manifest.exists() and json.loads(manifest.read_bytes())["recipe"] == recipe

    def finish(self, stage: str, recipe: str, **facts: Any) -> None:
        """Write the stage's manifest, which proves that its files are whole."""
        text = json.dumps({"stage": stage, "recipe": recipe, **facts}, indent=2, ensure_ascii=False)
        write_text(self.path / "manifests" / f"{stage}.json", text + "\n")

    def facts(self, stage: str) -> dict[str, Any]:
        """What a finished stage's manifest says.

        Raises:
            DataError: the stage was not finished in this folder.
        """
        path = self.path / "manifests" / f"{stage}.json"
        if not path.exists():
            raise DataError(f'{self.path} holds no finished "{stage}". Run that stage first.')
        facts: dict[str, Any] = json.loads(path.read_bytes())
        return facts

    def write_records(self, name: str, records: Iterable[_Record]) -> None:
        """Write records as JSON Lines, atomically."""

        def write(temporary: Path) -> None:
            with temporary.open("w", encoding="utf-8", errors="surrogatepass") as file:
                for record in records:
                    file.write(json.dumps(to_json(record), ensure_ascii=False) + "\n")

        write_atomically(self.path / name, write)

    def read_records(self, name: str, cls: type[RecordT]) -> list[RecordT]:
        """Read records of one class.

        Raises:
            DataError: the file is missing or holds other records.
        """
        path = self.path / name
        if not path.exists():
            raise DataError(f"{path} is missing. Run the stage that writes it first.")
        with path.open(encoding="utf-8", errors="surrogatepass") as file:
            try:
                return [from_json(cls, json.loads(line)) for line in file]
            except (ValueError, TypeError, AttributeError) as error:
                message = f"{path} does not hold {cls.__name__} records ({error}). Delete it."
                raise DataError(message) from error

    def vectors(self, name: str, recipe: str, encode: Callable[[], Floats]) -> Floats:
        """Vectors that are computed once and kept; (texts, dimensions), read as they are needed."""
        path = self.path / "work" / f"{name}-{recipe}.npy"
        if not path.exists():
            vectors = encode()

            def write(temporary: Path) -> None:
                np.save(temporary, vectors, allow_pickle=False)

            write_atomically(path, write)
        loaded: Floats = np.load(path, mmap_mode="r", allow_pickle=False)
        return loaded


def split_rejections(
    outcomes: Sequence[RecordT | Rejection], cls: type[RecordT]
) -> tuple[list[RecordT], list[Rejection]]:
    """Part what a stage kept from what it dropped."""
    kept = [outcome for outcome in outcomes if isinstance(outcome, cls)]
    dropped = [outcome for outcome in outcomes if isinstance(outcome, Rejection)]
    return kept, dropped
