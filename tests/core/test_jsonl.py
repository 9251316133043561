"""Records of a file, parsed when they are asked for."""

from pathlib import Path

import pytest

from aloft.errors import DataError
from aloft.jsonl import RecordFile, encode_record
from aloft.records import Passage

PASSAGES = [
    Passage(document_id=f"{i}.txt", text=f"Text {i}\nof é \ud800 lines.", start=i) for i in range(9)
]


@pytest.fixture
def records(tmp_path: Path) -> RecordFile[Passage]:
    path = tmp_path / "passages.jsonl"
    path.write_bytes(b"".join(map(encode_record, PASSAGES)))
    return RecordFile(path, Passage)


def test_it_is_the_sequence_that_was_written(records: RecordFile[Passage]) -> None:
    assert len(records) == 9
    assert list(records) == PASSAGES
    assert [records[i] for i in range(9)] == PASSAGES
    assert (records[-1], records[2:5], records[::4]) == (PASSAGES[8], PASSAGES[2:5], PASSAGES[::4])
    assert list(reversed(records)) == PASSAGES[::-1]
    with pytest.raises(IndexError, match="there is no record 9"):
        records[9]


def test_records_are_found_by_their_ids(records: RecordFile[Passage]) -> None:
    by_id = records.by_id
    assert [by_id.row(one.id) for one in PASSAGES] == list(range(9))
    assert by_id[PASSAGES[3].id] == PASSAGES[3]
    assert PASSAGES[3].id in by_id and "0" * 16 not in by_id and "no id" not in by_id
    assert list(by_id) == [one.id for one in PASSAGES] and len(by_id) == 9
    with pytest.raises(KeyError):
        by_id["0" * 16]


def test_an_empty_file_holds_no_records(tmp_path: Path) -> None:
    path = tmp_path / "none.jsonl"
    path.write_bytes(b"")
    records = RecordFile(path, Passage)
    assert (len(records), list(records), list(records.by_id)) == (0, [], [])


def test_a_last_line_without_its_end_counts(tmp_path: Path) -> None:
    path = tmp_path / "one.jsonl"
    path.write_bytes(encode_record(PASSAGES[0]) + encode_record(PASSAGES[1]).rstrip(b"\n"))
    assert list(RecordFile(path, Passage)) == PASSAGES[:2]


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is missing\. Run the stage that writes it first\."):
        RecordFile(tmp_path / "none.jsonl", Passage)
