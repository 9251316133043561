"""A hash table in arrays, for searches among more records than Python objects should be made of."""

from array import array
from collections.abc import Iterator
from hashlib import blake2b

import numpy as np

_FIRST_SLOTS = 1 << 10


def hash64(data: bytes) -> int:
    """Hash bytes to 64 bits, equally on every machine."""
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little")


class HashTable:
    """Row numbers by 64-bit key, several per key; about 20 bytes per entry.

    Chained hashing: `_heads` holds the newest entry of each slot, `_next` the one before it.
    """

    def __init__(self) -> None:
        self._keys = array("Q")
        self._rows = array("I")
        self._next = array("i")
        self._heads = array("i", [-1]) * _FIRST_SLOTS

    def add(self, key: int, row: int) -> None:
        """Add an entry; the same row may stand under many keys."""
        if len(self._keys) >= len(self._heads):
            self._grow()
        slot = key & (len(self._heads) - 1)
        self._next.append(self._heads[slot])
        self._heads[slot] = len(self._keys)
        self._keys.append(key)
        self._rows.append(row)

    def rows(self, key: int) -> Iterator[int]:
        """Yield the rows under a key, newest first."""
        entry = self._heads[key & (len(self._heads) - 1)]
        while entry >= 0:
            if self._keys[entry] == key:
                yield self._rows[entry]
            entry = self._next[entry]

    def _grow(self) -> None:
        """Double the slots and link every entry anew."""
        heads = np.full(2 * len(self._heads), -1, np.int32)
        slots = np.frombuffer(self._keys, np.uint64) & np.uint64(len(heads) - 1)
        order = np.argsort(slots, kind="stable").astype(np.int32)
        slots = slots[order]
        linked = np.full(len(order), -1, np.int32)
        has_same = slots[1:] == slots[:-1]
        linked[order[1:][has_same]] = order[:-1][has_same]
        is_last = np.append(~has_same, True)
        heads[slots[is_last]] = order[is_last]
        self._next = array("i", linked.tobytes())
        self._heads = array("i", heads.tobytes())
