"""Keeps what models returned, by all that it depends on, so that no call is made twice.

One SQLite file in WAL mode serves several processes at once; nothing of it is held in memory but
the rows asked for. Where the folder cannot be written the cache is read, and what is new is kept
for this process alone.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from threading import RLock
from typing import Any, Protocol

from aloft.errors import DataError, RunFolderError
from aloft.files import friendly_io_errors

_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_AT_ONCE = 500  # keys of one query
_WAIT = 60.0  # seconds that a process waits for another one's write
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS calls "
    "(key TEXT PRIMARY KEY, value TEXT NOT NULL, cost TEXT) WITHOUT ROWID"
)


class KeptCalls(Protocol):
    """Results of model calls by key, wherever they are kept."""

    def get(self, keys: Sequence[str]) -> dict[str, tuple[Any, Any]]:
        """Value and cost of each key that is known."""
        ...

    def add(self, entries: Mapping[str, tuple[Any, Any]]) -> None:
        """Keep values with their costs."""
        ...


class CallCache:
    """Results of model calls by key, each with what it cost.

    Args:
        path: The SQLite file; created with the first result.
        read_only: Whether nothing is written to disk.

    Raises:
        DataError: when it is first read or written, or later: the file is damaged.
        RunFolderError: likewise: it cannot be opened or written, or the disk is full.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self._lock = RLock()
        self._own: dict[str, tuple[Any, Any]] = {}
        self._file: sqlite3.Connection | None = None
        self._read_only = read_only

    def _connection(self, *, create: bool) -> sqlite3.Connection | None:
        if self._file is None and (create or self.path.exists()):
            if self._read_only:
                self._file = _open_read_only(self.path)
                return self._file
            with _plain_faults(self.path):
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = sqlite3.connect(self.path, timeout=_WAIT, check_same_thread=False)
                self._file.execute("PRAGMA journal_mode=WAL")
                self._file.execute("PRAGMA synchronous=NORMAL")
                self._file.execute(_SCHEMA)
                self._file.commit()
        return self._file

    def get(self, keys: Sequence[str]) -> dict[str, tuple[Any, Any]]:
        """Value and cost of each key that is known."""
        with self._lock, _plain_faults(self.path):
            found = {key: self._own[key] for key in keys if key in self._own}
            file = self._connection(create=False)
            if file is None:
                return found
            for start in range(0, len(keys), _AT_ONCE):
                some = list(keys[start : start + _AT_ONCE])
                marks = ",".join("?" * len(some))
                query = f"SELECT key, value, cost FROM calls WHERE key IN ({marks})"  # noqa: S608
                for key, value, cost in file.execute(query, some):
                    found[key] = (json.loads(value), json.loads(cost) if cost else None)
            return found

    @property
    def has_entries(self) -> bool:
        """Whether anything is known."""
        with self._lock, _plain_faults(self.path):
            file = self._connection(create=False)
            if self._own or file is None:
                return bool(self._own)
            return file.execute("SELECT 1 FROM calls LIMIT 1").fetchone() is not None

    def values(self) -> Iterator[tuple[str, Any]]:
        """Every key on disk with its value, by key."""
        with self._lock, _plain_faults(self.path):
            file = self._connection(create=False)
            if file is not None:
                for key, value in file.execute("SELECT key, value FROM calls ORDER BY key"):
                    yield key, json.loads(value)

    def add(self, entries: Mapping[str, tuple[Any, Any]]) -> None:
        """Keep values with their costs; they are on disk when this returns."""
        with self._lock:
            if self._read_only:
                self._own.update(entries)
                return
            rows = [
                (key, json.dumps(value), json.dumps(cost) if cost else None)
                for key, (value, cost) in entries.items()
            ]
            with _plain_faults(self.path):
                file = self._connection(create=True)
                assert file is not None  # noqa: S101 - it was just created
                with file:
                    file.executemany("INSERT OR REPLACE INTO calls VALUES (?, ?, ?)", rows)

    def take_over(self, other: Path) -> None:
        """Copy another cache's values without their costs: this run did not spend them.

        Raises:
            DataError: the other one is damaged, or cannot be read.
        """
        if not other.exists():
            return
        with self._lock, _plain_faults(other):
            found = _open_read_only(other)
            if found is None:
                raise _damaged(other, "nothing can be read")
            with closing(found), _plain_faults(self.path):
                file = self._connection(create=True)
                assert file is not None  # noqa: S101 - it was just created
                rows = found.execute("SELECT key, value FROM calls")
                with file:
                    file.executemany("INSERT OR IGNORE INTO calls VALUES (?, ?, NULL)", rows)

    def close(self) -> None:
        """Close the file; the next call opens it again."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None


@contextmanager
def _plain_faults(path: Path) -> Iterator[None]:
    """Turn a fault of the file or its disk into one line that says what to do."""
    try:
        with friendly_io_errors(path):
            yield
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED:
            raise _damaged(path, error) from error
        if not isinstance(error, sqlite3.OperationalError):
            raise
        raise RunFolderError(
            f"{path} cannot be used ({error}). Check its rights and its disk, then run the same "
            "command again."
        ) from error


def _damaged(path: Path, why: object) -> DataError:
    return DataError(
        f"{path} is damaged ({why}). Restore it from a copy, or delete it and run the same command "
        "again: models are asked anew for what is still needed."
    )


def _open_read_only(path: Path) -> sqlite3.Connection | None:
    """Open a cache without writing; None where it holds nothing that can be read."""
    for options in ("mode=ro", "mode=ro&immutable=1"):  # the second where not even a lock fits
        address = f"{path.resolve().as_uri()}?{options}"
        file = sqlite3.connect(address, uri=True, check_same_thread=False)
        try:
            file.execute("SELECT 1 FROM calls LIMIT 1").fetchone()
        except sqlite3.Error:
            file.close()
        else:
            return file
    return None
