"""The files below a folder of documents, in a stable order, and what is not looked into."""

import errno
import json
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from aloft.corpus.readers.naming import unique_names
from aloft.corpus.readers.source import UnreadableError
from aloft.errors import DataError

_BUNDLE = "aloft.json"
_DOCUMENTS = "documents.jsonl"
_RUN_SETTINGS = {"documents", "passages", "embedder"}  # what a run's config.json holds
_HIDDEN = (".", "~$")  # Office hides its notes of who has a file open behind "~$"
_LINK_FAULTS = {
    errno.ENOENT: UnreadableError("broken link", "it points to nothing; remove it or mend it"),
    errno.ELOOP: UnreadableError("link to itself", "it leads back to itself; remove it"),
}
_LEAVES = UnreadableError("link that leaves the folder", "copy what it points to here")
_RUN_FOLDER = UnreadableError("run folder of Aloft", "what a run wrote is not read as documents")

_Found = tuple[str, UnreadableError | None]  # a path below the folder, and why it is not read


@dataclass(frozen=True, slots=True)
class Entry:
    """A file to be read, or why there is nothing to read at its place.

    Attributes:
        name: Its path below the folder, printable, in composed letters and unique.
        path: Where it is.
        error: Why it is left out; None: it is to be read.
    """

    name: str
    path: Path
    error: UnreadableError | None = None


def list_files(root: Path, exclude: Collection[Path] = ()) -> list[Entry]:
    """List the files below a folder in the order of their names.

    Hidden files and folders are skipped. A link to a folder is not followed: within the folder it
    would be read twice, and what lies outside is not the folder's.

    Args:
        root: The folder.
        exclude: Folders and files that are skipped without a line, such as the run folder itself.

    Raises:
        DataError: the folder is a run folder.
    """
    excluded = {os.path.realpath(folder) for folder in exclude}
    if os.path.realpath(root) in excluded:
        raise DataError(
            f"{root} is both the folder of documents and the run folder. Choose another --out."
        )
    found = dict(_walk(root, excluded))
    if any(os.path.isfile(one) for one in excluded):  # noqa: PTH113 - as they are compared
        found = {
            below: error
            for below, error in found.items()
            if os.path.realpath(root / below) not in excluded
        }
    names = unique_names(found)
    entries = [Entry(names[below], root / below, error) for below, error in found.items()]
    return sorted(entries, key=lambda entry: (entry.name, entry.path))


def _walk(root: Path, excluded: Collection[str]) -> Iterator[_Found]:
    real = os.path.realpath(root)
    folders = [""]  # a stack: folders nest deeper than Python
    while folders:
        below = folders.pop()
        try:
            with os.scandir(root / below) as entries:
                found = {entry.name: entry for entry in entries}
        except OSError as error:
            detail = f"{error.strerror}; allow reading it"
            yield below or ".", UnreadableError("unreadable folder", detail)
            continue
        if _is_run_folder(root / below, found.keys()):
            if not below and _DOCUMENTS in found:  # a settings file alone may be left of a mistake
                raise DataError(f"{root} is a run folder of Aloft. Give the folder of documents.")
            if below:
                yield below, _RUN_FOLDER
                continue
        for name, entry in found.items():
            path = f"{below}/{name}" if below else name
            if name.startswith(_HIDDEN):
                continue
            if entry.is_symlink():
                yield from _follow(root, path, real)
            elif not entry.is_dir(follow_symlinks=False):
                yield path, None
            elif os.path.join(real, *path.split("/")) not in excluded:
                folders.append(path)


def _follow(root: Path, below: str, real: str) -> Iterator[_Found]:
    """The file that a link within the folder points to; a folder is read where it stands."""
    path = root / below
    if not Path(os.path.realpath(path)).is_relative_to(real):
        yield below, _LEAVES
        return
    try:
        path.stat()
    except OSError as error:
        yield below, _LINK_FAULTS.get(error.errno or 0)
    else:
        if not path.is_dir():
            yield below, None


def _is_run_folder(folder: Path, names: Collection[str]) -> bool:
    """Whether a run, a comparison of runs or what a run ships was written here."""
    if _BUNDLE in names or {"compare.json", "compare.md"} <= set(names):
        return True
    if "config.json" not in names:
        return False
    path = folder / "config.json"
    try:
        settings = json.loads(path.read_bytes()) if path.is_file() else None  # it may be a pipe
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(settings, dict) and settings.keys() >= _RUN_SETTINGS
