"""Reading a folder: which files, in what order, and what is left out."""

import gzip
import io
import json
import os
from pathlib import Path

import pytest

from aloft.config import DocumentsConfig
from aloft.corpus.readers import read_documents
from aloft.errors import DataError
from aloft.protocols import Progress, no_progress
from aloft.records import Document, Rejection
from aloft.storage import split_rejections

CONFIG = DocumentsConfig()


def pdf_with(text: str) -> bytes:
    """A minimal PDF of one page, written object by object, with a right cross-reference table."""
    stream = f"BT /F1 12 Tf 20 100 Td ({text}) Tj ET".encode()
    bodies = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 200] /Contents 4 0 R"
        b" /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out = b"%PDF-1.4\n"
    offsets = []
    for number, body in enumerate(bodies, start=1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    trailer = b"trailer\n<< /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % len(out)
    return out + b"xref\n0 6\n0000000000 65535 f \n" + table + trailer


def locked_pdf() -> bytes:
    from pypdf import PdfReader, PdfWriter

    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(pdf_with("secret"))))
    writer.encrypt(user_password="key", algorithm="RC4-40")
    stream = io.BytesIO()
    writer.write(stream)
    return stream.getvalue()


def read_all(
    path: Path, config: DocumentsConfig = CONFIG, progress: Progress = no_progress
) -> tuple[list[Document], list[Rejection]]:
    return split_rejections(list(read_documents(path, config, progress)), Document)


def read(folder: Path, **files: bytes | str) -> tuple[dict[str, Document], dict[str, Rejection]]:
    """Write files named `name__suffix`, read their folder, and key what came out."""
    for name, content in files.items():
        raw = content.encode() if isinstance(content, str) else content
        (folder / name.replace("__", ".")).write_bytes(raw)
    documents, rejections = read_all(folder)
    return {one.id: one for one in documents}, {one.subject_id: one for one in rejections}


def test_a_folder_is_read_in_the_order_of_its_paths(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / ".git").mkdir()
    for name in ("b/z.txt", "b/a.rst", "a.txt", ".hidden.txt", ".git/c.txt"):
        (tmp_path / name).write_text(name)
    told: list[tuple[str, int, int]] = []
    documents, rejections = read_all(
        tmp_path, CONFIG, lambda stage, done, total: told.append((stage, done, total))
    )
    assert [one.id for one in documents] == ["a.txt", "b/a.rst", "b/z.txt"]
    assert rejections == []
    assert told == [("reading documents", number, 3) for number in (1, 2, 3)]


def test_one_file_is_named_by_itself_and_has_no_title(tmp_path: Path) -> None:
    (tmp_path / "only.txt").write_text("text")
    documents, _ = read_all(tmp_path / "only.txt")
    assert documents == [Document(id="only.txt", text="text", title="")]


def test_line_ends_marks_and_nul_are_cleaned(tmp_path: Path) -> None:
    documents, _ = read(tmp_path, a__txt=b"\xef\xbb\xbfone\r\ntwo\rthree\x00\n")
    assert documents["a.txt"].text == "one\ntwo\nthree\n"


def test_a_markdown_title_is_the_first_heading_outside_code(tmp_path: Path) -> None:
    text = "intro\n\n```sh\n# a comment\n```\n\n## Part\n\n# Tide  tables #\n"
    documents, _ = read(tmp_path, a__md=text)
    assert documents["a.md"] == Document(id="a.md", text=text, title="Tide tables")


def test_html_gives_the_text_that_a_reader_sees(tmp_path: Path) -> None:
    page = (
        "<?xml version='1.0'?><html><head><title>The\n port</title><style>p{}</style></head><body>"
        "<nav>Home</nav><h1>Hours</h1>\n<p>Open <b>every</b>\n day.</p><script>x()</script>"
        "<!-- note --><ul><li>one</li><li>two</li></ul><pre>a\n  b</pre></body></html>"
    )
    documents, _ = read(tmp_path, a__html=page)
    expected = "Hours\n\nOpen every day.\n\none\ntwo\n\na\n  b"
    assert documents["a.html"] == Document(id="a.html", text=expected, title="The port")


def test_html_in_the_encoding_it_declares_is_read(tmp_path: Path) -> None:
    page = '<meta charset="iso-8859-1"><p>caf\u00e9</p>'.encode("latin-1")
    documents, rejections = read(tmp_path, a__html=page, b__html=page[30:])
    assert documents["a.html"].text == "caf\u00e9"
    assert rejections["b.html"].reason == "not UTF-8"


def test_a_word_file_gives_paragraphs_and_tables_in_order(tmp_path: Path) -> None:
    from docx import Document as new_docx

    file = new_docx()
    file.add_paragraph("Before.")
    table = file.add_table(rows=2, cols=2)
    for cell, text in zip(table._cells, ("port", "depth", "wide", "wide"), strict=True):
        cell.text = text
    table.cell(1, 0).merge(table.cell(1, 1)).text = "over both"
    file.add_paragraph("After.")
    file.save(str(tmp_path / "a.docx"))
    documents, _ = read(tmp_path)
    assert documents["a.docx"].text == "Before.\n\nport | depth\nover both\n\nAfter."


def test_broken_files_among_good_ones_are_skipped_and_listed(tmp_path: Path) -> None:
    documents, rejections = read(
        tmp_path,
        good__pdf=pdf_with("High water at noon"),
        broken__pdf=pdf_with("x")[:60],
        locked__pdf=locked_pdf(),
        blank__pdf=pdf_with(""),
        broken__docx=b"PK\x03\x04",
        blank__txt=" \n",
        latin__txt="abcd\u00e9".encode("latin-1"),
        data__xyz="?",
        broken__jsonl__gz=b"no gzip",
    )
    assert {name: one.text for name, one in documents.items()} == {"good.pdf": "High water at noon"}
    assert {name: one.reason for name, one in rejections.items()} == {
        "broken.pdf": "unreadable PDF",
        "locked.pdf": "encrypted PDF",
        "blank.pdf": "no text in the PDF",
        "broken.docx": "unreadable DOCX",
        "blank.txt": "empty",
        "latin.txt": "not UTF-8",
        "data.xyz": "not a kind Aloft reads",
        "broken.jsonl.gz": "unreadable archive",
    }
    assert rejections["latin.txt"].detail == "byte 4 is 0xe9; save it as UTF-8"
    assert not any("\n" in one.reason + one.detail for one in rejections.values())


def test_a_file_over_the_limit_is_listed_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("small")
    (tmp_path / "b.txt").write_bytes(b"x" * 2_500_000)
    line = json.dumps({"text": "x" * 1_200_000})
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress(line.encode()))
    documents, rejections = read_all(tmp_path, DocumentsConfig(max_megabytes=1))
    assert [one.id for one in documents] == ["a.txt"]
    assert [(one.subject_id, one.reason) for one in rejections] == [
        ("b.txt", "too large"),
        ("c.jsonl.gz", "too large"),  # small as it lies, too large unpacked
    ]
    assert rejections[0].detail == (
        "2.5 MB; the limit is 1 MB; split it or raise documents.max_megabytes"
    )


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


def test_table_rows_become_documents(tmp_path: Path) -> None:
    documents, rejections = read(
        tmp_path,
        ports__csv='port,depth\nOban,"12, at low\nwater"\nBute,1,2\n\nIona,\n',
        texts__csv="ID;Text;Title\nk;some text;T\n",
    )
    assert list(documents.values()) == [
        Document(id="ports.csv#1", text="port: Oban\ndepth: 12, at low\nwater"),
        Document(id="ports.csv#3", text="port: Iona"),
        Document(id="k", text="some text", title="T"),
    ]
    assert list(rejections) == ["ports.csv#2"]
    assert rejections["ports.csv#2"].detail.startswith("line 4: it has 3 cells, the header has 2")


def test_a_quote_that_is_never_closed_is_listed_not_swallowed(tmp_path: Path) -> None:
    documents, rejections = read(tmp_path, a__csv='a\none\n"two\nthree\n')
    assert list(documents) == ["a.csv#1"]
    assert rejections["a.csv#2"].detail.startswith("line 3: unexpected end of data")


def test_a_cell_may_be_as_long_as_a_document(tmp_path: Path) -> None:
    documents, _ = read(tmp_path, a__csv="text\n" + "x" * 200_000 + "\n")
    assert len(documents["a.csv#1"].text) == 200_000


def test_links_are_followed_only_within_the_folder(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    (outside / "far.txt").write_text("far")
    (inside / "near.txt").write_text("near")
    (inside / "a.txt").symlink_to(inside / "near.txt")
    (inside / "b.txt").symlink_to(outside / "far.txt")
    (inside / "c").symlink_to(outside)
    (inside / "d.txt").symlink_to(inside / "gone.txt")
    documents, rejections = read_all(inside)
    assert [one.id for one in documents] == ["a.txt", "near.txt"]
    assert sorted((one.subject_id, one.reason) for one in rejections) == [
        ("b.txt", "link that leaves the folder"),
        ("c", "link that leaves the folder"),
        ("d.txt", "broken link"),
    ]


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    _, rejections = read(tmp_path, a__txt="text")
    assert rejections["pipe.txt"].reason == "not a file"


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, ["is empty", "Put documents into it", ".docx"]),
        ({"a.xyz": b"?"}, ["the only file, a.xyz", "not a kind Aloft reads"]),
        ({"a.txt": b"", "b.txt": b"\xff"}, ["all 2 files; the first, a.txt", "empty"]),
    ],
)
def test_nothing_to_read_is_one_line(
    tmp_path: Path, files: dict[str, bytes], words: list[str]
) -> None:
    for name, raw in files.items():
        (tmp_path / name).write_bytes(raw)
    with pytest.raises(DataError) as caught:
        read_all(tmp_path)
    message = str(caught.value)
    assert all(word in message for word in [str(tmp_path), *words])
    assert "\n" not in message


def test_a_missing_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere does not exist\. Check the path"):
        read_documents(tmp_path / "nowhere", CONFIG)


def test_documents_are_yielded_one_by_one(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt", "c.txt"):
        (tmp_path / name).write_text(name)
    documents = read_documents(tmp_path, CONFIG)
    next(documents)
    (tmp_path / "b.txt").write_text("changed after the first was read")
    assert next(documents) == Document(id="b.txt", text="changed after the first was read")


def test_an_excluded_folder_is_not_read(tmp_path: Path) -> None:
    for name in ("a.txt", "run/b.txt", "run/c/d.txt", "runner/e.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    read = list(read_documents(tmp_path, CONFIG, exclude=[tmp_path / "x" / ".." / "run"]))
    assert [one.id for one in read if isinstance(one, Document)] == ["a.txt", "runner/e.txt"]
