"""Files are written in one step, and a full disk is one line."""

import errno
import json
from pathlib import Path

import pytest

from aloft.errors import ModelError, RunFolderError
from aloft.files import friendly_io_errors, write_atomically, write_folder, write_text


class DiskError(Exception):
    """Something that went wrong while writing."""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "down" / "report.md"
    write_text(path, "old")
    write_text(path, "né\n")
    assert path.read_bytes() == "né\n".encode()
    assert names(path.parent) == ["report.md"]


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


def test_what_is_not_utf8_is_written_as_json_reads_it_back(tmp_path: Path) -> None:
    command = json.dumps({"command": "aloft run d\udce9p\udcf4t"}, ensure_ascii=False)
    write_text(tmp_path / "report.json", command)
    text = (tmp_path / "report.json").read_text(encoding="utf-8")
    assert "\\udce9" in text
    assert json.loads(text) == json.loads(command)


def test_a_path_that_cannot_be_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "gone").symlink_to(tmp_path / "not mounted" / "runs")
    (tmp_path / "loop").symlink_to("loop")
    for path, words in (
        (tmp_path / "file" / "run", "lies in a file"),
        (tmp_path / ("x" * 300) / "run", "has too long a name"),
        (tmp_path / "gone", "behind a link that leads nowhere"),
        (tmp_path / "gone" / "run", "behind a link that leads nowhere"),
        (tmp_path / "loop" / "run", "behind a link that leads nowhere"),
    ):
        with pytest.raises(RunFolderError, match=words), friendly_io_errors(path):
            path.mkdir(parents=True, exist_ok=True)
