"""Turns a folder or file into documents, and what cannot be read into rejections.

What a file holds is data: a broken PDF, a wrong encoding or a bad line is recorded with its reason
and the rest is read. Only a path with nothing to read is an error.

* `walking` lists the files, `naming` makes their paths ids
* `registry` chooses the reader by suffix; each other module reads a format
* `source` is what readers take and return, `decoding` and `archive` what several of them need
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from stat import S_ISDIR

from aloft.config import DocumentsConfig
from aloft.corpus.readers.naming import printable_name
from aloft.corpus.readers.registry import KINDS, UNREADABLE, read_file
from aloft.corpus.readers.source import Found, UnreadableError
from aloft.corpus.readers.walking import Entry, list_files
from aloft.errors import DataError
from aloft.protocols import Progress, Spread, in_this_process, no_progress
from aloft.records import Document, Rejection

_CALLS = 1000  # that the files are divided into, one or more each
_MOST_FILES = 64  # of a call; their documents are held while those of earlier calls are awaited


def read_documents(
    path: Path,
    config: DocumentsConfig,
    progress: Progress = no_progress,
    *,
    exclude: Collection[Path] = (),
    spread: Spread = in_this_process,
) -> Iterator[Document | Rejection]:
    """Read every document below a folder, or those of one file, one after the other.

    Files are read in the order of their paths. Hidden files and folders are skipped; a link that
    leaves the folder is listed, not followed. No text is held once it is yielded.

    Args:
        path: A folder, or one file.
        config: How large a file may be.
        progress: Called after each file.
        exclude: Folders and files that are skipped without a line, such as the run folder itself;
            other run folders are recognised and listed.
        spread: Has files read. Those that another machine does not see are read here.

    Yields:
        Each document, and each file or row that was left out with its reason; a rejection's
        subject is the file, or `file#row` for one row or line of it.

    Raises:
        DataError: the path does not exist or is a run folder, or, once all is read, nothing in it
            could be read.
    """
    try:
        is_folder = S_ISDIR(path.stat().st_mode)
    except FileNotFoundError as error:
        message = f"{path} does not exist. Check the path, or put your documents there."
        raise DataError(message) from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    entries = list_files(path, exclude) if is_folder else [Entry(printable_name(path.name), path)]
    return _read_all(path, entries, config, progress, spread)


def _read_all(
    path: Path,
    entries: list[Entry],
    config: DocumentsConfig,
    progress: Progress,
    spread: Spread,
) -> Iterator[Document | Rejection]:
    places: dict[str, str] = {}  # of each document id, where it was found first
    first, left_out = None, 0
    size = min(_MOST_FILES, 1 + len(entries) // _CALLS)
    some = [entries[start : start + size] for start in range(0, len(entries), size)]
    work, number = partial(_read_some, config=config), 0
    for files, read in zip(some, spread(work, some), strict=True):
        for place, found in work(files) if _is_unseen(read) else read:
            result = found
            if isinstance(found, Document) and places.setdefault(found.id, place) != place:
                result = _id_used_twice(found.id, places[found.id]).at(place)
            if isinstance(result, Rejection):
                first, left_out = first or result, left_out + 1
            yield result
        number += len(files)
        progress("reading documents", number, len(entries))
    if not places:
        raise DataError(_why_nothing(path, first, left_out))


def _read_some(entries: Sequence[Entry], config: DocumentsConfig) -> Iterator[Found]:
    for entry in entries:
        if entry.error is not None:
            yield entry.name, entry.error.at(entry.name)
        else:
            yield from read_file(entry.path, entry.name, config)


def _is_unseen(read: Iterable[Found]) -> bool:
    """Whether files were read elsewhere, and one of them could not be opened there."""
    if not isinstance(read, list):
        return False
    found = (result for _, result in read if isinstance(result, Rejection))
    return any(one.reason == UNREADABLE for one in found)


def _id_used_twice(identifier: str, first: str) -> UnreadableError:
    detail = f'"{identifier}" was already given by {first}; give each document an id of its own'
    return UnreadableError("id used twice", detail)


def _why_nothing(path: Path, first: Rejection | None, left_out: int) -> str:
    kinds = " ".join(KINDS)
    if first is None:
        return f"{path} is empty. Put documents into it; Aloft reads {kinds}."
    count = "the only file" if left_out == 1 else f"all {left_out} files; the first"
    return (
        f"{path} holds no document that can be read. Left out: {count}, {first.subject_id}, "
        f"is: {first.reason} ({first.detail}). Mend it or add documents; Aloft reads {kinds}."
    )
