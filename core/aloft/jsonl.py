"""Turns JSON Lines files into sequences of records that are parsed when they are asked for."""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from aloft.errors import DataError
from aloft.records import from_json, to_json


class _Identified(Protocol):
    @property
    def id(self) -> str: ...


RecordT = TypeVar("RecordT")
IdentifiedT = TypeVar("IdentifiedT", bound=_Identified)
_BLOCK = 1 << 20  # bytes scanned for line ends at a time


def encode_record(record: Any) -> bytes:
    """One line of a JSON Lines file, with its line end."""
    line = json.dumps(to_json(record), ensure_ascii=False) + "\n"
    return line.encode("utf-8", "surrogatepass")


def decode_line(line: bytes, path: Path, number: int) -> Any:
    """The JSON value of one line.

    Raises:
        DataError: the line is not JSON; the message names file and line.
    """
    try:
        return json.loads(line.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path} line {number} is damaged ({error}). Restore the file from a copy, or delete "
            "it and run the same command again: what it holds is worked out anew."
        ) from error


class RecordFile(Sequence[RecordT], Generic[RecordT]):
    """The records of one file, in order; a record is parsed each time it is read.

    In memory it holds 8 bytes a record (where the line begins), and 16 more once records have been
    looked up by id.

    Args:
        path: A JSON Lines file.
        cls: Class of its records.

    Raises:
        DataError: the file is missing; later, a line that does not hold such a record. The message
            names file and line.
    """

    def __init__(self, path: Path, cls: type[RecordT]) -> None:
        if not path.is_file():
            raise DataError(f"{path} is missing. Run the stage that writes it first.")
        self.path = path
        self.cls = cls

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        """Byte offset of each line, and the file's size; (records + 1,)."""
        ends: list[NDArray[np.int64]] = []
        done, last = 0, b"\n"
        with self.path.open("rb") as file:
            while block := file.read(_BLOCK):
                found = np.flatnonzero(np.frombuffer(block, np.uint8) == 10)
                ends.append(found.astype(np.int64) + done + 1)
                done += len(block)
                last = block[-1:]
        starts = np.concatenate([np.zeros(1, np.int64), *ends])
        return starts if last == b"\n" else np.append(starts, done)

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __iter__(self) -> Iterator[RecordT]:
        with self.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                yield self._parse(line, number)

    @overload
    def __getitem__(self, place: int) -> RecordT: ...

    @overload
    def __getitem__(self, place: slice) -> list[RecordT]: ...

    def __getitem__(self, place: int | slice) -> RecordT | list[RecordT]:
        if isinstance(place, slice):
            start, stop, step = place.indices(len(self))
            lines = enumerate(self.lines(start, stop), start=start + 1)
            return [self._parse(line, number) for number, line in lines][::step]
        if not -len(self) <= place < len(self):
            raise IndexError(f"{self.path} holds {len(self)} records; there is no record {place}.")
        row = int(place) % len(self)
        return self._parse(self._read(row, row + 1), row + 1)

    def lines(self, start: int, stop: int) -> list[bytes]:
        """The lines of some records as they stand in the file."""
        return self._read(start, stop).splitlines(keepends=True) if stop > start else []

    def _read(self, start: int, stop: int) -> bytes:
        with self.path.open("rb") as file:
            file.seek(int(self._starts[start]))
            return file.read(int(self._starts[stop] - self._starts[start]))

    def _parse(self, line: bytes, number: int) -> RecordT:
        values = decode_line(line, self.path, number)
        try:
            return from_json(self.cls, values)
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise DataError(
                f"{self.path} line {number} does not hold a {self.cls.__name__} ({error}). Restore "
                "the file from a copy, or delete it and run the same command again."
            ) from error

    @cached_property
    def by_id(self) -> "RecordLookup[RecordT]":  # type: ignore[type-var]
        """The records by their ids."""
        return RecordLookup(self)  # type: ignore[type-var] # of records that have ids


class RecordLookup(Mapping[str, IdentifiedT], Generic[IdentifiedT]):
    """Records by id, read from their sequence on access.

    Beyond the sequence itself it holds 16 bytes a record: the ids, which are 64 bits long, and
    their order.

    Args:
        records: Of different ids; records that are parsed on access stay on disk.
    """

    def __init__(self, records: Sequence[IdentifiedT]) -> None:
        self._records = records
        self._ids = np.fromiter((int(one.id, 16) for one in records), np.uint64, len(records))
        self._order = np.argsort(self._ids, kind="stable")

    def row(self, record_id: str) -> int:
        """Return the record's place in the sequence.

        Raises:
            KeyError: no record has this id.
        """
        try:
            wanted = np.uint64(int(record_id, 16))
        except (ValueError, OverflowError):
            raise KeyError(record_id) from None
        place = int(np.searchsorted(self._ids, wanted, sorter=self._order))
        if place == len(self._ids) or self._ids[self._order[place]] != wanted:
            raise KeyError(record_id)
        return int(self._order[place])

    def id(self, row: int) -> str:
        """Return the id of the record at a place, without reading it."""
        return f"{self._ids[row]:016x}"

    def rows(self, record_ids: Sequence[str]) -> list[int]:
        """Return the place of each of several records; raises KeyError as `row` does."""
        return [self.row(record_id) for record_id in record_ids]

    def __getitem__(self, record_id: str) -> IdentifiedT:
        return self._records[self.row(record_id)]

    def __iter__(self) -> Iterator[str]:
        return map(self.id, range(len(self)))

    def __len__(self) -> int:
        return len(self._records)
