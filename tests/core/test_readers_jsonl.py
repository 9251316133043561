"""JSON Lines: each line a document, and a bad line costs only itself."""

import gzip
from pathlib import Path

import pytest
from reading import read

from aloft.records import Document


def test_json_lines_keep_their_ids_and_lose_only_bad_lines(tmp_path: Path) -> None:
    lines = [
        b'{"id": "x", "title": "A  title", "text": "one"}',
        b'{"id": 7, "text": "two"}',
        b"",
        b'{"text": "three \\ud800"}',
        b'{"text": ',
        b"[1]",
        b'{"title": "no text"}',
        b'{"text": "caf\xe9"}',
        b'{"id": "x", "text": "again"}',
        b'{"id": true, "text": "odd"}',
    ]
    documents, rejections = read(
        tmp_path, a__jsonl=b"\n".join(lines), b__jsonl__gz=gzip.compress(b'{"text": "packed"}')
    )
    assert list(documents.values()) == [
        Document(id="x", title="A title", text="one"),
        Document(id="7", text="two"),
        Document(id="a.jsonl#4", text="three \ufffd"),
        Document(id="b.jsonl.gz#1", text="packed"),
    ]
    assert {name: one.reason for name, one in rejections.items()} == {
        "a.jsonl#5": "not JSON",
        "a.jsonl#6": "not a JSON object",
        "a.jsonl#7": "no text",
        "a.jsonl#8": "not UTF-8",
        "a.jsonl#9": "id used twice",
        "a.jsonl#10": "bad id",
    }
    assert rejections["a.jsonl#6"].detail.startswith("line 6: ")
    assert "a.jsonl#1" in rejections["a.jsonl#9"].detail


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_lines_in_wide_encodings_are_read_as_powershell_writes_them(
    tmp_path: Path, encoding: str
) -> None:
    lines = '{"id": "a", "text": "The fee is 30 \u20ac."}\r\n{"text": "caf\u00e9"}\r\n'
    documents, rejections = read(tmp_path, a__jsonl=lines.encode(encoding))
    assert {name: one.text for name, one in documents.items()} == {
        "a": "The fee is 30 \u20ac.",
        "a.jsonl#2": "caf\u00e9",
    }
    assert rejections == {}


def test_ids_are_whole_numbers_also_where_pandas_writes_a_point(tmp_path: Path) -> None:
    lines = '{"id": 3.0, "text": "a"}\n{"id": null, "text": "b"}\n{"id": 3.5, "text": "c"}\n'
    documents, rejections = read(tmp_path, a__jsonl=lines + '{"id": Infinity, "text": "d"}')
    assert [*documents] == ["3", "a.jsonl#2"]
    assert [*rejections] == ["a.jsonl#3", "a.jsonl#4"]
