"""The hash table in arrays: what a dictionary of lists would hold."""

from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from aloft.corpus.hashing import HashTable, hash64


@settings(deadline=None, database=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 1000)), max_size=60))
def test_rows_stand_under_their_keys(entries: list[tuple[int, int]]) -> None:
    table, expected = HashTable(), defaultdict(list)
    for key, row in entries:
        table.add(key << 50, row)  # all keys fall into the same slot
        expected[key << 50].insert(0, row)
    for key in range(41):
        assert list(table.rows(key << 50)) == expected[key << 50]


def test_a_table_grows() -> None:
    table = HashTable()
    for row in range(5000):
        table.add(hash64(str(row // 2).encode()), row)
    for row in range(0, 5000, 2):
        assert list(table.rows(hash64(str(row // 2).encode()))) == [row + 1, row]
    assert list(table.rows(hash64(b"none"))) == []
