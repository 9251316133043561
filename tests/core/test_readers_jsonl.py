"""JSON Lines: each line a document, and a bad line costs only itself."""

import gzip
from pathlib import Path

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
