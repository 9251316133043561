"""Passages by id: rows, without all of them in memory."""

from collections.abc import Sequence
from typing import Any

import pytest

from aloft.jsonl import RecordLookup
from aloft.records import Passage

PASSAGES = [Passage(document_id="a", text=f"text {i}", start=i) for i in range(50)]


class OnDisk(Sequence[Passage]):
    """Passages that are made anew on every access."""

    read = 0

    def __len__(self) -> int:
        return len(PASSAGES)

    def __getitem__(self, index: Any) -> Any:
        self.read += 1
        if index >= len(PASSAGES):
            raise IndexError(index)
        return Passage(document_id="a", text=f"text {index}", start=index)


def test_passages_are_found_by_id() -> None:
    source = OnDisk()
    lookup = RecordLookup(source)
    source.read = 0
    assert [lookup.row(one.id) for one in PASSAGES] == list(range(50))
    assert [lookup.id(row) for row in range(50)] == [one.id for one in PASSAGES]
    assert list(lookup) == [one.id for one in PASSAGES]
    assert source.read == 0  # nothing is read for that
    assert dict(lookup) == {one.id: one for one in PASSAGES}


@pytest.mark.parametrize("unknown", ["gone", "0" * 16, "f" * 17, "-1"])
def test_an_unknown_id_is_a_key_error(unknown: str) -> None:
    lookup = RecordLookup(PASSAGES)
    assert unknown not in lookup
    with pytest.raises(KeyError, match=unknown):
        lookup[unknown]
