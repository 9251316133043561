"""Writes files and folders in one step, reads JSON objects, and reports faults in one line."""

import errno
import json
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from aloft.errors import AloftError, DataError, RunFolderError

FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_LEAST_FREE = 1 << 16  # bytes
_LEFT_OVER = re.compile(r"\..+\.[0-9]+-[0-9]+\.tmp(\.[^.]+)?")  # process, thread


@contextmanager
def friendly_io_errors(path: Path) -> Iterator[None]:
    """Turn a full disk or a forbidden folder into one line that says what to do.

    Raises:
        RunFolderError: the disk is full or the folder can not be written.
    """
    try:
        yield
    except AloftError:
        raise
    except Exception as error:
        number = error.errno if isinstance(error, OSError) else None
        if number in FULL_DISK or _is_full(path):
            message = (
                f"The disk that holds {path} is full. Free some space and run the same command "
                "again: it goes on where it stopped."
            )
        elif number in (errno.EACCES, errno.EPERM, errno.EROFS):
            message = f"{path} can not be written. Choose another --out, or change its rights."
        elif number in (errno.ENOTDIR, errno.ENAMETOOLONG):
            what = "lies in a file" if number == errno.ENOTDIR else "has too long a name"
            message = f"{path} {what}. Choose another --out."
        elif any(one.is_symlink() and not is_there(one) for one in (path, *path.parents)):
            # as of a disk that is not mounted
            message = f"{path} lies behind a link that leads nowhere. Choose another --out."
        else:
            raise
        raise RunFolderError(message) from error


def _is_full(path: Path) -> bool:
    """Whether nothing fits any more: libraries that save weights do not raise OSError."""
    above = next(
        (one for one in (path, *path.parents) if os.path.isdir(one)),  # noqa: PTH112 - long names
        None,
    )
    return above is not None and shutil.disk_usage(above).free < _LEAST_FREE


def is_there(path: Path) -> bool:
    """Whether there is a file or folder that can be looked at.

    `Path.exists` raises where a folder above it is closed, or a name is too long.
    """
    return os.path.exists(path)  # noqa: PTH110


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file beside `path`, then put it in place in one step."""
    with friendly_io_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        unique = f"{os.getpid()}-{threading.get_ident()}"
        temporary = path.with_name(f".{path.name}.{unique}.tmp{path.suffix}")
        try:
            write(temporary)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def remove_left_over(folder: Path) -> None:
    """Delete what processes that were killed left of `write_atomically` in a folder."""
    for path in folder.glob(".*.tmp*"):
        if _LEFT_OVER.fullmatch(path.name):
            path.unlink(missing_ok=True)


def write_folder(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary folder beside `path`, then put it in place of what was there.

    All files get the mode that the process's umask gives new ones.
    """
    with friendly_io_errors(path):
        temporary = path.with_name(f".{path.name}.tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        try:
            write(temporary)
            apply_umask(temporary)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        shutil.rmtree(path, ignore_errors=True)
        os.replace(temporary, path)


def apply_umask(folder: Path) -> None:
    """Give all files the mode of a new one: libraries write weights that only their user reads."""
    probe = folder / ".mode"
    probe.touch()
    mode = probe.stat().st_mode
    probe.unlink()
    for file in folder.rglob("*"):
        if file.is_file() and not file.is_symlink() and file.stat().st_mode != mode:
            with suppress(PermissionError):  # linked from another user's, who decides
                file.chmod(mode)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically.

    A lone surrogate, as in a path that is not UTF-8, is written as its escape, which JSON reads
    back as it was.
    """

    def write(temporary: Path) -> None:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")

    write_atomically(path, write)


def link(source: str | Path, target: str | Path) -> None:
    """Share a file where the disk can, or else copy it: a 7B model is not kept twice."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def read_json_object(path: Path, *, missing: str, repair: str) -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Args:
        path: The file.
        missing: What to say where there is none.
        repair: What to do about a damaged one; a sentence.

    Raises:
        DataError: the file is missing, cannot be read, or holds something else.
    """
    values = _read_json(path, missing, repair)
    if not isinstance(values, dict):
        raise _damaged(path, "it holds no JSON object", repair)
    return values


def read_json(path: Path, shape: Any, *, missing: str, repair: str) -> Any:
    """Read a JSON file whose values are those of a type, such as `dict[str, int]`.

    Args:
        path: The file.
        shape: The type; of a dataclass or `TypedDict` the types of its fields.
        missing: What to say where there is none.
        repair: What to do about a damaged one; a sentence.

    Returns:
        The values as JSON types.

    Raises:
        DataError: the file is missing, cannot be read, or holds something else.
    """
    values = _read_json(path, missing, repair)
    try:
        TypeAdapter(shape).validate_python(values)
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, fault["loc"]))
        raise _damaged(path, f"{place}: {fault['msg']}".removeprefix(": "), repair) from error
    return values


def _read_json(path: Path, missing: str, repair: str) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(missing) from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}).") from error
    except (ValueError, RecursionError) as error:
        raise _damaged(path, error, repair) from error


def _damaged(path: Path, why: object, repair: str) -> DataError:
    return DataError(f"{path} is damaged ({why}). {repair}")
