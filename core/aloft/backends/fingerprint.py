"""Turns model folders into a fingerprint of everything in them that changes what a model computes.

Weights are read whole. Because a gigabyte takes about a second to read, the digest of a large file
is remembered, in this process and in the user's cache folder, for as long as the file's size,
times and inode stay the same.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from aloft.backends.packaged import models_home
from aloft.errors import ModelError
from aloft.files import write_text
from aloft.records import content_id

_REMEMBERED_FROM = 1 << 20  # bytes; smaller files are read each time
_SETTLED = 2.0  # seconds; a file changed again within the clock's granularity keeps its times
# Never loaded: documentation, code, weights in other formats than safetensors, logs of a training
_UNUSED_SUFFIXES = (
    *(".md", ".rst", ".html", ".pdf", ".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp"),
    *(".py", ".pyc", ".ipynb", ".lock", ".log", ".csv"),
    *(".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".ot", ".npz", ".pkl", ".pickle"),
    *(".onnx", ".gguf", ".tflite"),
)
_UNUSED_STEMS = (
    *("readme", "license", "licence", "notice", "changelog", "use_policy", "requirements"),
    *("trainer_state", "all_results", "train_results", "eval_results", "aloft-source"),
)
_UNUSED_FOLDERS = ("onnx", "openvino", "original", "coreml", "runs", "eval", "logs")

_Stamp = tuple[int, int, int, int]  # size, mtime_ns, ctime_ns, inode
_digests: dict[str, tuple[_Stamp, str]] = {}


def fingerprint_folder(*folders: Path) -> str:
    """Identify the model in `folders`, such as a base model and its adapter.

    Weights, tokenizer, chat template and every configuration at any depth count, by their names
    within the folder and their bytes; documentation, code and logs, which are never loaded, do not.

    Raises:
        ModelError: a folder is missing or holds no model, or a file cannot be read.
    """
    parts: list[str] = []
    for number, folder in enumerate(folders):
        files = sorted(used_files(folder))
        if not files:  # an adapter that is gone must not leave its base model in its place
            what = "holds no model" if folder.is_dir() else "is no folder on this machine"
            raise ModelError(f"{folder} {what}. Check the path.")
        for name, file in files:
            try:
                parts += [str(number), name, _digest(file)]
            except OSError as error:
                raise ModelError(
                    f"{file} cannot be read ({error.strerror}). Check the model's files."
                ) from error
    return content_id(*parts)


def used_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Names within the folder, with their paths; linked folders are followed once."""
    seen = {os.path.realpath(folder)}
    for parent, folders, names in os.walk(folder, followlinks=True):
        kept = []
        for name in folders:
            real = os.path.realpath(os.path.join(parent, name))
            if _is_used_folder(name) and real not in seen:
                seen.add(real)
                kept.append(name)
        folders[:] = kept
        for name in names:
            if _is_used_file(name):
                path = Path(parent, name)
                yield path.relative_to(folder).as_posix(), path


def _is_used_folder(name: str) -> bool:
    is_unused = name in _UNUSED_FOLDERS or name.startswith((".", "__", "checkpoint-"))
    return not is_unused


def _is_used_file(name: str) -> bool:
    path = Path(name.lower())
    is_unused = name.startswith(".") or path.suffix in _UNUSED_SUFFIXES
    return not is_unused and path.name.split(".")[0] not in _UNUSED_STEMS


def _digest(path: Path) -> str:
    """SHA-256 of a file, remembered where it is large."""
    real = os.path.realpath(path)
    stamp = _stamp(real)
    if stamp[0] < _REMEMBERED_FROM:
        return _read(real)
    known = _digests.get(real) or _recall(real)
    if known is None or known[0] != stamp:
        known = (stamp, _read(real))
        is_settled = time.time() - stamp[1] / 1e9 > _SETTLED
        if is_settled and _stamp(real) == stamp:
            _remember(real, known)
    return known[1]


def _stamp(path: str) -> _Stamp:
    facts = os.stat(path)
    return facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino


def _read(path: str) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _note(path: str) -> Path:
    """Where the digest of a file is remembered: a file each, so that no process waits."""
    return models_home().with_name("digests") / f"{content_id(path)}.json"


def _recall(path: str) -> tuple[_Stamp, str] | None:
    try:
        size, modified, changed, inode, digest = json.loads(_note(path).read_bytes())
    except (OSError, ValueError, TypeError):
        return None
    return (size, modified, changed, inode), str(digest)


def _remember(path: str, known: tuple[_Stamp, str]) -> None:
    _digests[path] = known
    with suppress(Exception):  # a cache folder that is read-only or full only costs time
        write_text(_note(path), json.dumps([*known[0], known[1]]))
