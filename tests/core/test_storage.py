"""The run folder: what survives a kill, who may hold it, and one line for a full disk."""

import errno
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from aloft.config import NegativesConfig
from aloft.errors import DataError, ModelError, RunFolderError
from aloft.files import friendly_io_errors, write_atomically, write_folder, write_text
from aloft.protocols import Floats
from aloft.records import Passage, QAPair, Rejection
from aloft.storage import Journal, RunFolder, cache_key, split_rejections

PASSAGES = [
    Passage(document_id="a.txt", text="Zürich\u2028\r\nlies", start=0, title="T"),
    Passage(document_id="b.txt", text="half a \ud83d pair", start=4),
]
HOLD = """
import sys
from pathlib import Path
from aloft.storage import RunFolder
with RunFolder(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


class DiskError(Exception):
    """Something that went wrong while writing."""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_journal_tells_later_what_was_added(tmp_path: Path) -> None:
    path = tmp_path / "work" / "pairs-1.jsonl"
    journal = Journal(path)
    assert "a" not in journal
    journal.add([("a", {"text": "Zürich"}), ("b", None)])
    journal.add([("c", "half a \ud83d pair"), ("b", [1])])
    for one in (journal, Journal(path)):
        assert all(subject in one for subject in "abc")
        assert one["a"] == {"text": "Zürich"}
        assert one["b"] == [1]  # the later one
        assert one["c"] == "half a \ud83d pair"


LINE = len(b'["b", "\xc3\xbc"]\n')  # 11 bytes


@pytest.mark.parametrize(
    "torn",
    range(1, LINE),
)
def test_a_journal_goes_on_behind_a_torn_last_line(tmp_path: Path, torn: int) -> None:
    path = tmp_path / "journal.jsonl"
    Journal(path).add([("a", 1), ("b", "ü")])
    path.write_bytes(path.read_bytes()[:-torn])
    journal = Journal(path)
    assert journal["a"] == 1
    if "b" not in journal:
        journal.add([("b", "ü")])
    journal.add([("c", 3)])
    again = Journal(path)
    assert [again[subject] for subject in "abc" if subject in again] == [1, "ü", 3]


@pytest.mark.parametrize("torn", range(LINE + 1))
def test_a_batchs_note_comes_with_it_and_outlives_a_torn_entry(tmp_path: Path, torn: int) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.add([("a", 1)], note={"calls": 1})
    journal.add([("b", "ü")], note={"calls": 2})
    assert journal.notes == [{"calls": 1}, {"calls": 2}]
    path.write_bytes(path.read_bytes()[: len(path.read_bytes()) - torn])
    again = Journal(path)
    assert again.notes == journal.notes
    assert again["a"] == 1
    assert ("b" in again) is (torn == 0)
    path.write_bytes(path.read_bytes()[: -1 - LINE * (torn == 0)])
    assert Journal(path).notes == [{"calls": 1}]  # a note torn too: the batch has left nothing


def test_a_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "down" / "report.md"
    write_text(path, "old")
    write_text(path, "né\n")
    assert path.read_bytes() == "né\n".encode()
    assert names(path.parent) == ["report.md"]


def test_what_is_not_utf8_is_written_as_json_reads_it_back(tmp_path: Path) -> None:
    command = json.dumps({"command": "aloft run d\udce9p\udcf4t"}, ensure_ascii=False)
    write_text(tmp_path / "report.json", command)
    text = (tmp_path / "report.json").read_text(encoding="utf-8")
    assert "\\udce9" in text
    assert json.loads(text) == json.loads(command)


def test_a_run_folder_whose_path_is_not_utf8_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "r\udce9sultat"
    with pytest.raises(RunFolderError, match=r"r\\udce9sultat.* Choose another --out") as caught:
        RunFolder(path).__enter__()
    assert str(caught.value).isascii()
    assert not path.exists()


def test_the_old_file_stays_where_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "report.md"
    write_text(path, "old")

    def write(temporary: Path) -> None:
        temporary.write_text("half", encoding="utf-8")
        raise DiskError

    with pytest.raises(DiskError):
        write_atomically(path, write)
    assert path.read_text(encoding="utf-8") == "old"
    assert names(tmp_path) == ["report.md"]


def test_the_old_folder_stays_where_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "models" / "adapter"
    write_folder(path, lambda folder: write_text(folder / "old", "1"))

    def write(temporary: Path) -> None:
        write_text(temporary / "half", "2")
        raise DiskError

    with pytest.raises(DiskError):
        write_folder(path, write)
    assert names(path) == ["old"]
    write_folder(path, lambda folder: write_text(folder / "new", "3"))
    assert names(path) == ["new"]  # neither the old one nor what was half written
    assert names(path.parent) == ["adapter"]


def test_the_old_records_stay_where_making_new_ones_fails(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write_records("passages.jsonl", PASSAGES)
    with pytest.raises(ZeroDivisionError):
        folder.write_records("passages.jsonl", (PASSAGES[1 // i] for i in (1, 0)))
    assert folder.read_records("passages.jsonl", Passage) == PASSAGES


def test_records_are_one_line_each(tmp_path: Path) -> None:
    RunFolder(tmp_path).write_records("passages.jsonl", PASSAGES)
    lines = (tmp_path / "passages.jsonl").read_bytes().split(b"\n")
    assert len(lines) == 3
    assert lines[2] == b""


@pytest.mark.parametrize(
    "line",
    [
        '{"passage_id": "p"}',
        '{"document_id": "a", "text": "b"',
        "[1]",
    ],
)
def test_a_file_of_something_else_is_told(tmp_path: Path, line: str) -> None:
    (tmp_path / "passages.jsonl").write_text(line + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"does not hold Passage records .* Delete it\."):
        RunFolder(tmp_path).read_records("passages.jsonl", Passage)


def test_records_that_are_missing_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"pairs\.jsonl is missing\. Run the stage"):
        RunFolder(tmp_path).read_records("pairs.jsonl", QAPair)


def test_a_recipe_names_what_a_result_depends_on() -> None:
    recipe = cache_key("teacher", {"a": 1, "b": [2]}, NegativesConfig())
    assert recipe == cache_key("teacher", {"b": [2], "a": 1}, NegativesConfig(margin=0.05))
    assert recipe != cache_key("teacher", {"a": 1, "b": [2]}, NegativesConfig(margin=0.1))
    assert recipe != cache_key("another", {"a": 1, "b": [2]}, NegativesConfig())
    assert cache_key("ab", "c") != cache_key("a", "bc")
    assert cache_key("1") != cache_key(1)


def test_a_stage_is_done_under_its_own_recipe_only(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert not folder.is_done("pairs", "r1")
    folder.finish("pairs", "r1", kept=12)
    assert folder.is_done("pairs", "r1")
    assert not folder.is_done("pairs", "r2")
    assert not folder.is_done("ratings", "r1")
    folder.finish("pairs", "r2", kept=11)
    assert not folder.is_done("pairs", "r1")
    assert folder.facts("pairs") == {"stage": "pairs", "recipe": "r2", "kept": 11}


def test_facts_of_a_stage_that_never_ended_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r'holds no finished "pairs"\. Run that stage first\.'):
        RunFolder(tmp_path).facts("pairs")


def test_a_journal_is_of_one_stage_and_one_recipe(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.journal("pairs", "r1").add([("p", 1)])
    assert "p" in folder.journal("pairs", "r1")
    assert "p" not in folder.journal("pairs", "r2")
    assert "p" not in folder.journal("ratings", "r1")


def test_vectors_are_computed_once_per_recipe(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    computed: list[float] = []

    def encode() -> Floats:
        computed.append(len(computed) + 0.5)
        return np.full((2, 3), computed[-1], np.float32)

    first = folder.vectors("passages", "r1", encode)
    again = RunFolder(tmp_path).vectors("passages", "r1", encode)
    assert first.tolist() == again.tolist() == [[0.5] * 3] * 2
    assert again.dtype == np.float32
    assert folder.vectors("passages", "r2", encode).tolist() == [[1.5] * 3] * 2
    assert folder.vectors("questions", "r1", encode).tolist() == [[2.5] * 3] * 2
    assert computed == [0.5, 1.5, 2.5]


def test_one_process_holds_a_run_folder_and_a_kill_frees_it(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "run"
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(RunFolderError) as caught, RunFolder(folder):
            pass
        other.kill()
    assert str(caught.value) == (
        f"{folder} is held by another aloft process. Wait for it to end, or choose another --out."
    )
    for _ in range(2):  # and leaving it frees it too
        with RunFolder(folder) as held:
            assert held.path == folder


def test_a_file_is_no_run_folder(tmp_path: Path) -> None:
    path = tmp_path / "run"
    path.write_text("", encoding="utf-8")
    with pytest.raises(RunFolderError, match=r"is a file\. Choose a folder"), RunFolder(path):
        pass


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "is full. Free some space and run the same command again"),
        (errno.EDQUOT, "is full. Free some space"),
        (errno.EFBIG, "is full. Free some space"),
        (errno.EACCES, "can not be written. Choose another --out"),
        (errno.EPERM, "can not be written. Choose another --out"),
        (errno.EROFS, "can not be written. Choose another --out"),
    ],
)
def test_a_disk_that_does_not_take_it_is_told_in_one_line(
    tmp_path: Path, number: int, words: str
) -> None:
    with pytest.raises(RunFolderError) as caught, friendly_io_errors(tmp_path):
        raise OSError(number, "in the system's words")
    message = str(caught.value)
    assert str(tmp_path) in message
    assert words in message
    assert "\n" not in message
    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize(
    "error", [ModelError("is told already"), OSError(errno.EIO, "broken"), ValueError("a bug")]
)
def test_any_other_error_passes_as_it_is(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error)) as caught, friendly_io_errors(tmp_path / "not" / "there"):
        raise error
    assert caught.value is error


def test_what_was_dropped_is_parted_from_what_was_kept() -> None:
    pair = QAPair(passage_id="p", question="Q?", answer="A")
    rejection = Rejection(subject_id="p", stage="pairs", reason="reply was cut")
    assert split_rejections([rejection, pair, rejection], QAPair) == ([pair], [rejection] * 2)


def test_a_manifest_can_be_read_by_people(tmp_path: Path) -> None:
    RunFolder(tmp_path).finish("pairs", "r1", note="Zürich")
    text = (tmp_path / "manifests" / "pairs.json").read_text(encoding="utf-8")
    assert "Zürich" in text
    assert json.loads(text)["stage"] == "pairs"
