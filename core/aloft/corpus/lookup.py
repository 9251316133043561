"""Finds passages by id in a corpus that may lie on disk."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from aloft.records import Passage


class PassageLookup(Mapping[str, Passage]):
    """Passages by id, read from their sequence on access.

    Beyond the sequence itself it holds 16 bytes per passage: the ids, which are 64 bits long, and
    their order.

    Args:
        passages: A corpus; records that are parsed on access stay on disk.
    """

    def __init__(self, passages: Sequence[Passage]) -> None:
        self._passages = passages
        self._ids = np.fromiter((int(p.id, 16) for p in passages), np.uint64, len(passages))
        self._order = np.argsort(self._ids, kind="stable")

    def row(self, passage_id: str) -> int:
        """Return the passage's index in the corpus.

        Raises:
            KeyError: no passage has this id.
        """
        try:
            wanted = np.uint64(int(passage_id, 16))
        except (ValueError, OverflowError):
            raise KeyError(passage_id) from None
        place = int(np.searchsorted(self._ids, wanted, sorter=self._order))
        if place == len(self._ids) or self._ids[self._order[place]] != wanted:
            raise KeyError(passage_id)
        return int(self._order[place])

    def id(self, row: int) -> str:
        """Return the id of the passage in a row, without reading it."""
        return f"{self._ids[row]:016x}"

    def rows(self, passage_ids: Sequence[str]) -> list[int]:
        """Return the index of each of several passages; raises KeyError as `row` does."""
        return [self.row(passage_id) for passage_id in passage_ids]

    def __getitem__(self, passage_id: str) -> Passage:
        return self._passages[self.row(passage_id)]

    def __iter__(self) -> Iterator[str]:
        return map(self.id, range(len(self)))

    def __len__(self) -> int:
        return len(self._passages)
