"""Reading a folder: which files, in what order, and what is left out."""

import gzip
import json
import os
import socket
import subprocess
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from reading import CONFIG, read, read_all
from scripted import elsewhere

from aloft.config import DocumentsConfig, RunConfig
from aloft.corpus.readers import read_documents
from aloft.errors import DataError
from aloft.records import Document, Rejection


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


def test_one_kind_may_have_several_suffixes(tmp_path: Path) -> None:
    documents, rejections = read(
        tmp_path,
        a__markdown="# Rates\n\nA car: 30 cents.",
        b__tsv="kind\tcents\ncar\t30\n",
        c__ndjson='{"id": "car", "text": "30 cents"}\n',
    )
    assert rejections == {}
    assert documents["a.markdown"].title == "Rates"
    assert documents["b.tsv#1"].text == "kind: car\ncents: 30"
    assert documents["car"].text == "30 cents"


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    os.mkfifo(tmp_path / "config.json")  # the name of a run's settings
    (tmp_path / "~$a.docx").write_bytes(b"\x05Ann Reed" + bytes(153))  # Word has the file open
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


def test_files_that_are_read_elsewhere_give_the_same(tmp_path: Path) -> None:
    files = {"a.txt": b"quay", "b.jsonl": b'{"id": "x", "text": "pier"}\n?\n', "c.pdf": b"?"}
    for name, raw in files.items():
        (tmp_path / name).write_bytes(raw)
    (tmp_path / "link.txt").symlink_to("nothing.txt")
    (tmp_path / "z.jsonl").write_text('{"id": "x", "text": "twice"}\n')
    here = list(read_documents(tmp_path, CONFIG))
    assert list(read_documents(tmp_path, CONFIG, spread=elsewhere)) == here
    assert [one.reason for one in here if isinstance(one, Rejection)] == [
        "not JSON",
        "unreadable PDF",
        "broken link",
        "id used twice",
    ]


def test_files_that_another_machine_does_not_see_are_read_here(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(name)
    away = tmp_path.with_name("away")

    def unseeing(work: Any, items: Iterable[Any], /) -> Iterator[Any]:
        for item in items:
            tmp_path.rename(away)
            there = list(work(item))
            away.rename(tmp_path)
            yield there

    found = list(read_documents(tmp_path, CONFIG, spread=unseeing))
    assert found == [Document(id=name, text=name) for name in ("a.txt", "b.txt")]


def test_an_excluded_folder_is_not_read(tmp_path: Path) -> None:
    for name in ("a.txt", "run/b.txt", "run/c/d.txt", "runner/e.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    read = list(read_documents(tmp_path, CONFIG, exclude=[tmp_path / "x" / ".." / "run"]))
    assert [one.id for one in read if isinstance(one, Document)] == ["a.txt", "runner/e.txt"]


def test_a_markdown_title_is_the_first_heading_outside_code(tmp_path: Path) -> None:
    text = "intro\n\n```sh\n# a comment\n```\n\n## Part\n\n# Tide  tables #\n"
    documents, _ = read(tmp_path, a__md=text)
    assert documents["a.md"] == Document(id="a.md", text=text, title="Tide tables")


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("# C# and F#\n\ntext", "C# and F#"),
        ("  # Tides ##  \n\ntext", "Tides"),
        ("Tide tables\n===\n\n# Part\n", "Tide tables"),
        ("```\nx\n```\n===\n\n# Part\n", "Part"),
        ("````\n```\n# a comment\n```\n````\n# Part\n", "Part"),
        ("```\n```sh\n# a comment\n```\n# Part\n", "Part"),
        ("```ls``` lists\n# Part\n", "Part"),
    ],
)
def test_a_markdown_heading_is_written_in_any_way(tmp_path: Path, text: str, title: str) -> None:
    documents, _ = read(tmp_path, a__md=text)
    assert documents["a.md"].title == title


def test_the_bytes_of_pictures_in_markdown_are_no_text(tmp_path: Path) -> None:
    picture = f"data:image/png;base64,{'iVBOR/w0+' * 1000}=="
    documents, _ = read(tmp_path, a__md=f"Look: ![a map]({picture}).\n\n[image1]: <{picture}>\n")
    assert documents["a.md"].text == "Look: ![a map]().\n\n[image1]: <>\n"


def test_broken_files_among_good_ones_are_skipped_and_listed(tmp_path: Path) -> None:
    documents, rejections = read(
        tmp_path,
        good__txt="High water at noon",
        broken__pdf=b"%PDF-1.4\n1 0 obj\n<< /Type",
        broken__docx=b"PK\x03\x04",
        broken__pptx=b"",
        broken__xlsx=b"PK\x03\x04",
        broken__epub=b"?",
        blank__txt=" \n",
        latin__txt="abcd\u00e9".encode("latin-1"),
        data__xyz="?",
        broken__jsonl__gz=b"no gzip",
    )
    assert {name: one.text for name, one in documents.items()} == {"good.txt": "High water at noon"}
    assert {name: one.reason for name, one in rejections.items()} == {
        "broken.pdf": "unreadable PDF",
        "broken.docx": "unreadable DOCX",
        "broken.pptx": "unreadable PPTX",
        "broken.xlsx": "unreadable XLSX",
        "broken.epub": "unreadable EPUB",
        "blank.txt": "empty",
        "latin.txt": "not UTF-8",
        "data.xyz": "not a kind Aloft reads",
        "broken.jsonl.gz": "unreadable archive",
    }
    assert rejections["latin.txt"].detail == "byte 4 is 0xe9; save it as UTF-8"
    assert not any("\n" in one.reason + one.detail for one in rejections.values())


def test_lone_surrogates_and_soft_hyphens_do_not_reach_the_text(tmp_path: Path) -> None:
    documents, _ = read(
        tmp_path,
        a__jsonl=b'{"id": "x", "title": "a\\ud800b", "text": "so\\u00adft \\udfff"}',
        b__md="# Kraft\u00adfahrt\n\nKraft\u00adfahr\u00adzeug",
    )
    assert documents["x"] == Document(id="x", title="a\ufffdb", text="soft \ufffd")
    assert documents["b.md"] == Document(
        id="b.md", title="Kraftfahrt", text="# Kraftfahrt\n\nKraftfahrzeug"
    )


OLD_TEXTS = {
    "cp1252": "Le congé doit être demandé trois semaines à l’avance. Coût : 5 €.",
    "cp1250": "Wniosek o urlop składa się przez portal, a kierownik odpowiada w ciągu pięciu dni.",
    "cp1251": "Заявление на отпуск подаётся через портал, ответ приходит за пять дней.",
    "koi8-r": "Заявление на отпуск подаётся через портал, ответ приходит за пять дней.",
    "cp1253": "Η αίτηση για άδεια υποβάλλεται μέσω της πύλης και απαντάται σε πέντε ημέρες.",
    "shift_jis": "休暇の申請はポータルで行い、チームリーダーが五日以内に回答します。",
    "gb18030": "请假申请通过门户网站提交，团队负责人在五天内答复。申请人须填写表格。",
    "utf-16": "Die Kündigung muss schriftlich erfolgen.",
    "utf-32": "Die Kündigung muss schriftlich erfolgen.",
}


@pytest.mark.parametrize("encoding", OLD_TEXTS)
def test_a_text_in_an_old_encoding_is_read(tmp_path: Path, encoding: str) -> None:
    text = OLD_TEXTS[encoding]
    documents, rejections = read(
        tmp_path, a__txt=text.encode(encoding), b__md=text.encode(encoding)
    )
    assert [one.text for one in documents.values()] == [text, text]
    guessed = {} if encoding.startswith("utf") else dict.fromkeys(documents, "encoding guessed")
    assert {name: one.reason for name, one in rejections.items()} == guessed


@pytest.mark.parametrize("encoding", ["cp1251", "cp1253", "shift_jis", "gb18030"])
def test_an_encoding_is_guessed_from_what_is_not_ascii(tmp_path: Path, encoding: str) -> None:
    text = "A ferry to the north,12\n" * 5000 + f"{OLD_TEXTS[encoding]}\n" * 5
    documents, _ = read(tmp_path, a__txt=text.encode(encoding))
    assert documents["a.txt"].text == text


@pytest.mark.parametrize(
    "text",
    ["It costs £5 – “less”. " * 10, "Smith;12\nMüller;13\nJones;4\n" * 50],
)
def test_what_may_be_of_windows_is_not_of_dos_or_an_old_mac(tmp_path: Path, text: str) -> None:
    documents, _ = read(tmp_path, a__txt=text.encode("cp1252"))
    assert documents["a.txt"].text == text


def test_what_is_no_text_is_not_guessed(tmp_path: Path) -> None:
    noise = bytes((7 * number * number + 3 * number) % 251 for number in range(4000))
    documents, rejections = read(tmp_path, a__txt=noise, b__txt="text")
    assert list(documents) == ["b.txt"]
    assert rejections["a.txt"].reason == "not UTF-8"


def write_run(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(RunConfig(embedder="e", teacher="t").model_dump_json())
    (folder / "documents.jsonl").write_text('{"id": "a.txt", "text": "a stale copy"}')
    (folder / "report.md").write_text("# Report")


def test_run_folders_are_listed_and_not_read(tmp_path: Path) -> None:
    for name in ("mine", "earlier/of/another"):
        write_run(tmp_path / name)
    for name, file in {"shipped": "aloft.json", "compared": "compare.json"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_text("{}")
        (tmp_path / name / "compare.md").write_text("| a | table |")
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "config.json").write_text('{"embedder": "no run: an application"}')
    (tmp_path / "app" / "readme.md").write_text("An application")
    (tmp_path / "a.txt").write_text("edited")
    found = list(read_documents(tmp_path, CONFIG, exclude=[tmp_path / "mine"]))
    assert [one for one in found if isinstance(one, Document)] == [
        Document(id="a.txt", text="edited"),
        Document(id="app/readme.md", text="An application"),
    ]
    rejected = {one.subject_id: one.reason for one in found if isinstance(one, Rejection)}
    assert rejected.pop("app/config.json") == "not a kind Aloft reads"
    assert rejected == dict.fromkeys(
        ["compared", "earlier/of/another", "shipped"], "run folder of Aloft"
    )


def test_a_run_folder_given_as_documents_is_one_line(tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    with pytest.raises(DataError, match="is a run folder of Aloft"):
        read_documents(tmp_path / "run", CONFIG)
    with pytest.raises(DataError, match="Choose another --out"):
        read_documents(tmp_path, CONFIG, exclude=[tmp_path])


def test_settings_that_a_refused_run_left_in_a_folder_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(RunConfig(embedder="e", teacher="t").model_dump_json())
    (tmp_path / "a.txt").write_text("text")
    documents, _ = read_all(tmp_path)
    assert [one.id for one in documents] == ["a.txt"]


def test_a_file_of_a_run_may_be_given_by_itself(tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    documents, _ = read_all(tmp_path / "run" / "documents.jsonl")
    assert [one.id for one in documents] == ["a.txt"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has names that are not UTF-8")
def test_names_that_are_not_utf8_become_printable_ids(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"d\xe9p\xf4t")
    folder.mkdir()
    for name in (b"r\xe9sum\xe9.txt", b"pi\xe8ce.xyz", b"two\nlines.txt", b"rows.csv"):
        (folder / os.fsdecode(name)).write_bytes(b"text\nsome text")
    documents, rejections = read_all(tmp_path)
    assert [one.id for one in documents] == [
        "d\\xe9p\\xf4t/r\\xe9sum\\xe9.txt",
        "d\\xe9p\\xf4t/rows.csv#1",
        "d\\xe9p\\xf4t/two\\nlines.txt",
    ]
    assert [one.subject_id for one in rejections] == ["d\\xe9p\\xf4t/pi\\xe8ce.xyz"]
    (alone,), _ = read_all(folder / os.fsdecode(b"r\xe9sum\xe9.txt"))
    assert alone.id == "r\\xe9sum\\xe9.txt"


def test_names_in_decomposed_letters_become_composed_ids(tmp_path: Path) -> None:
    for name in ("Kündigung.txt", "Kündigung.xyz", "환불.txt"):
        (tmp_path / unicodedata.normalize("NFD", name)).write_text("text")
    documents, rejections = read_all(tmp_path)
    assert [one.id for one in documents] == ["Kündigung.txt", "환불.txt"]
    assert [one.subject_id for one in rejections] == ["Kündigung.xyz"]


@pytest.mark.skipif(sys.platform == "darwin", reason="its disks take both names for the same")
def test_two_spellings_of_a_name_are_two_documents(tmp_path: Path) -> None:
    spellings = [unicodedata.normalize(form, "Kündigung.txt") for form in ("NFC", "NFD")]
    for name in spellings:
        (tmp_path / name).write_text(name)
    documents, rejections = read_all(tmp_path)
    assert {one.id: one.text for one in documents} == dict(zip(spellings, spellings, strict=True))
    assert rejections == []


@pytest.mark.skipif(sys.platform == "win32", reason="links, pipes and sockets of POSIX")
def test_whatever_lies_in_a_folder_is_listed_and_never_waited_for(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    (tmp_path / "self.txt").symlink_to("self.txt")
    (tmp_path / "one.txt").symlink_to("two.txt")
    (tmp_path / "two.txt").symlink_to("one.txt")
    (tmp_path / "up").symlink_to(".")
    (tmp_path / "zero.txt").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe.txt")
    os.mkfifo(tmp_path / "config.json")  # the name of a run's settings
    (tmp_path / "~$a.docx").write_bytes(b"\x05Ann Reed" + bytes(153))  # Word has the file open
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(tmp_path)  # the path of a socket may have 108 bytes
        listener.bind("socket.txt")
        os.chdir(here)
        documents, rejections = read_all(tmp_path)
    assert [one.id for one in documents] == ["a.txt"]
    assert {one.subject_id: one.reason for one in rejections} == {
        "config.json": "not a kind Aloft reads",
        "one.txt": "link to itself",
        "pipe.txt": "not a file",
        "self.txt": "link to itself",
        "socket.txt": "not a file",
        "two.txt": "link to itself",
        "zero.txt": "link that leaves the folder",
    }
    with pytest.raises(DataError, match="cannot be read"):
        read_documents(tmp_path / "self.txt", CONFIG)


@pytest.mark.skipif(sys.platform == "win32", reason="rights of POSIX")
def test_what_may_not_be_read_is_listed() -> None:
    program = """if True:
        import os, sys, tempfile
        from pathlib import Path
        from reading import read_all
        if os.geteuid() == 0:
            try:
                os.setgid(65534)
                os.setuid(65534)  # root may read everything
            except OSError:
                sys.exit(77)
        with tempfile.TemporaryDirectory() as name:
            root = Path(name)
            for path in ("a.txt", "closed.txt", "unlisted/b.txt", "unopened/c.txt"):
                (root / path).parent.mkdir(exist_ok=True)
                (root / path).write_text("text")
            (root / "closed.txt").chmod(0)
            (root / "unlisted").chmod(0o300)
            (root / "unopened").chmod(0o600)
            documents, rejections = read_all(root)
            (root / "unlisted").chmod(0o700)
            (root / "unopened").chmod(0o700)
        print([one.id for one in documents])
        print([(one.subject_id, one.reason) for one in rejections])
    """
    result = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    if result.returncode == 77:
        pytest.skip("root of a user namespace without any other user, and root reads everything")
    assert result.stdout.splitlines() == [
        "['a.txt']",
        "[('closed.txt', 'unreadable file'), ('unlisted', 'unreadable folder'),"
        " ('unopened/c.txt', 'unreadable file')]",
    ], result.stderr


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize(
    "text",
    [
        "Заявление подаётся в течение тридцати дней со дня решения.",
        "It’s fine – see “Leave” on page nine.",
        "Die Gebühr beträgt neun Euro.\nSie ist im Voraus zu zahlen.",
    ],
)
def test_utf16_without_a_mark_is_read(tmp_path: Path, encoding: str, text: str) -> None:
    documents, rejections = read(tmp_path, a__txt=text.encode(encoding))
    assert (documents["a.txt"].text, rejections) == (text, {})


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("cut.txt", ("Die Gebühr für den Führerschein. " * 5 + "ü").encode()[:-1]),
        ("stray.txt", ("Über " * 40).encode() + b"caf\xe9"),
        ("page.html", b'<meta charset="utf-8"><p>' + ("Über " * 9).encode() + b"caf\xe9"),
    ],
)
def test_one_damaged_byte_costs_one_character(tmp_path: Path, name: str, raw: bytes) -> None:
    (tmp_path / name).write_bytes(raw)
    (document,), (rejection,) = read_all(tmp_path)
    assert document.text.count("\ufffd") == 1
    assert "Ã" not in document.text
    assert (rejection.subject_id, rejection.reason) == (name, "damaged text")


@pytest.mark.parametrize("mark", [">-", ">", "|", "|-"])
def test_a_title_of_several_lines_is_whole(tmp_path: Path, mark: str) -> None:
    front = f"---\nid: 7\ntitle: {mark}\n  Travel claims of\n  the north\ntags: [a]\n---\nText."
    documents, _ = read(tmp_path, a__md=front)
    assert documents["a.md"].title == "Travel claims of the north"


def test_front_matter_names_a_markdown_file(tmp_path: Path) -> None:
    front = "---\ntitle: 'Travel Policy'\n# a comment\n---\n\n# Real title\n"
    untitled = "---\n# a comment\nauthor: Ada\n---\n\n# Real title\n"
    documents, _ = read(tmp_path, a__md=front, b__md=untitled, c__md="---\n\n# A line above\n")
    titles = [documents[name].title for name in ("a.md", "b.md", "c.md")]
    assert titles == ["Travel Policy", "Real title", "A line above"]
