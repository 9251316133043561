"""Turns what stages produce into files of a run folder, so that a killed run resumes where it was.

A partition is written under a temporary name and renamed; a stage's outputs likewise, once all its
partitions are there; its manifest comes last, so that a manifest proves that outputs are whole.
"""

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from filelock import FileLock, Timeout

from aloft.errors import DataError, RunFolderError
from aloft.files import (
    friendly_io_errors,
    read_json,
    remove_left_over,
    write_atomically,
    write_text,
)
from aloft.jsonl import RecordFile, decode_line, encode_record
from aloft.records import Rejection, from_json, to_json
from aloft.run.stage import Fact, Folder, Output, Records, Stage, To, Value
from aloft.run.usage import Usage

_REJECTION = "Rejection"
_WORK_OUT_ANEW = "Delete it and run the same command again: the stage is worked out anew."


@dataclass(frozen=True, slots=True, kw_only=True)
class _Manifest:
    """What is read of any stage's manifest; further facts lie beside it."""

    stage: str
    kept: int
    dropped: dict[str, int]
    seconds: float
    usage: dict[str, Usage] = field(default_factory=dict)
    rows: int | dict[str, int] = 0
    indexing: Mapping[str, float] | None = None


@dataclass(slots=True)
class Tally:
    """What a stage, or a partition of it, came to.

    Attributes:
        kept: Records of each output.
        dropped: Rejections by reason.
        usage: By role of the model.
        seconds: Time it took.
        facts: What it recorded of itself.
    """

    kept: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    usage: dict[str, Usage] = field(default_factory=dict)
    seconds: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)

    def add_usage(self, usage: Mapping[str, Usage], seconds: float) -> None:
        """Add what models were asked, and the time it took."""
        for role, one in usage.items():
            self.usage[role] = self.usage.get(role, Usage()) + one
        self.seconds += seconds

    def add_fact(self, fact: Fact) -> None:
        """Numbers of several partitions add up."""
        known = self.facts.get(fact.name)
        is_sum = isinstance(known, int | float) and not isinstance(known, bool)
        self.facts[fact.name] = known + fact.value if is_sum else fact.value


class Writer:
    """Writes a stage's outcomes to temporary files, which `finish` puts in place together.

    Args:
        run: The run folder.
        stage: Whose outcomes they are.
    """

    def __init__(self, run: Path, stage: Stage) -> None:
        self._run = run
        self._stage = stage
        self._first = next(iter(stage.outputs))
        self._files: dict[str, BinaryIO] = {}
        self._paths: dict[str, tuple[Path, Path]] = {}
        self.tally = Tally()
        self._stack = ExitStack()
        try:
            for name, output in stage.outputs.items():
                if isinstance(output, Records):
                    self._open(name, run / output.file)
            self._open("", run / "rejections" / f"{stage.name}.jsonl")
        except BaseException:
            self.discard()
            raise

    def _open(self, name: str, path: Path) -> None:
        temporary = path.with_name(f".{path.name}.tmp")
        with friendly_io_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._files[name] = self._stack.enter_context(temporary.open("wb"))
        self._paths[name] = (temporary, path)

    def add(self, outcome: Any) -> None:
        """Write a record, or count what else a stage yields."""
        if isinstance(outcome, Fact):
            self.tally.add_fact(outcome)
        elif isinstance(outcome, Rejection):
            self._write("", encode_record(outcome))
            self.tally.dropped[outcome.reason] += 1
        elif isinstance(outcome, To):
            self.add_line(outcome.output, self._line(outcome.output, outcome.record))
        else:
            self.add_line(self._first, self._line(self._first, outcome))

    def _line(self, name: str, record: Any) -> bytes:
        output = self._stage.outputs[name]
        if isinstance(output, Value):
            text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False)
            write_text(self._run / output.file, text + "\n")
            return b""
        return encode_record(record)

    def add_line(self, name: str, line: bytes) -> None:
        """Write a record that is encoded already."""
        if name in self._files:
            self._write(name, line)
        self.tally.kept[name] += 1

    def _write(self, name: str, line: bytes) -> None:
        with friendly_io_errors(self._paths[name][1]):
            self._files[name].write(line)

    def preview(self) -> RecordFile[Any]:
        """The records of the first output, before they are put in place."""
        output = self._stage.outputs[self._first]
        assert isinstance(output, Records)  # noqa: S101 - the caller knows the stage
        temporary, path = self._paths[self._first]
        with friendly_io_errors(path):
            self._files[self._first].flush()
        return RecordFile(temporary, output.cls)

    def finish(self) -> Tally:
        """Put the files in place, and return what they hold."""
        for name, file in self._files.items():
            with friendly_io_errors(self._paths[name][1]):
                file.close()
        for temporary, path in self._paths.values():
            with friendly_io_errors(path):
                temporary.replace(path)
        return self.tally

    def discard(self) -> None:
        """Delete the temporary files of work that did not end."""
        with suppress(OSError):  # what is still buffered need not reach a full disk
            self._stack.close()
        for temporary, _ in self._paths.values():
            temporary.unlink(missing_ok=True)


class RunStore:
    """The folder of one run: written by one process at a time, read by any number.

    Args:
        path: The folder that is worked in.
        origin: The run folder that it is a copy of; None: it is the run folder itself.

    Attributes:
        path, origin: As given; where there is no other origin, both are the run folder.
    """

    def __init__(self, path: Path, origin: Path | None = None) -> None:
        self.path = path
        self.origin = origin or path
        self._lock = FileLock(path / ".lock")

    def __enter__(self) -> Self:
        """Hold the folder for writing.

        Raises:
            RunFolderError: another process holds it, or it cannot be written.
        """
        with friendly_io_errors(self.path):
            if not _is_utf8(self.path):
                raise RunFolderError(
                    f"The path {str(self.path)!a} is not UTF-8, and models cannot be saved in it. "
                    "Choose another --out."
                )
            if self.path.exists() and not self.path.is_dir():
                raise RunFolderError(f"{self.path} is a file. Choose a folder for --out.")
            self.path.mkdir(parents=True, exist_ok=True)
            try:
                self._lock.acquire(timeout=0)
            except Timeout as error:
                message = (
                    f"{self.path} is held by another aloft process. Wait for it to end, "
                    "or choose another --out."
                )
                raise RunFolderError(message) from error
            self._remove_left_over()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lock.release()

    def _remove_left_over(self) -> None:
        """Delete the temporary files and folders of a process that was killed."""
        for left in (self.path / "work").glob(".*.tmp"):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)
        for folder in (".", "manifests", "federation", "work"):
            remove_left_over(self.path / folder)

    # ---- manifests

    def manifest(self, stage: str) -> dict[str, Any] | None:
        """What a finished stage's manifest says; None where it is not finished.

        Raises:
            DataError: the manifest is damaged.
        """
        path = self.path / "manifests" / f"{stage}.json"
        if not path.exists():
            return None
        found: dict[str, Any] = read_json(path, _Manifest, missing="", repair=_WORK_OUT_ANEW)
        return found

    def facts(self, stage: str) -> dict[str, Any]:
        """What a finished stage's manifest says.

        Raises:
            DataError: the stage was not finished in this folder.
        """
        found = self.manifest(stage)
        if found is None:
            raise DataError(f'{self.path} holds no finished "{stage}". Run that stage first.')
        return found

    def is_done(self, stage: Stage, key: str) -> bool:
        """Whether a stage's outputs were finished under this key and are still there."""
        found = self.manifest(stage.name)
        if found is None or found.get("key") != key:
            return False
        paths = [self.path / output.file for output in stage.outputs.values()]
        return all(path.exists() for path in paths)

    def write_manifest(self, stage: Stage, key: str, tally: Tally) -> None:
        """Write a stage's manifest, which proves that its outputs are whole."""
        first = next(iter(stage.outputs))
        facts = {
            "stage": stage.name,
            "group": stage.group,
            "key": key,
            "kept": tally.kept[first],
            "dropped": dict(tally.dropped.most_common()),
            "seconds": round(tally.seconds, 1),
            **({"usage": {r: asdict(u) for r, u in tally.usage.items()}} if tally.usage else {}),
            **tally.facts,
        }
        text = json.dumps(facts, indent=2, ensure_ascii=False)
        write_text(self.path / "manifests" / f"{stage.name}.json", text + "\n")

    # ---- outputs

    def read(self, output: Output) -> Any:
        """An output: a `RecordFile`, a folder's path, or a JSON document."""
        path = self.path / output.file
        if isinstance(output, Records):
            return RecordFile(path, output.cls)
        if isinstance(output, Folder):
            return path
        missing = f"{path} is missing. Run the stage that writes it first."
        return read_json(path, output.cls, missing=missing, repair=_WORK_OUT_ANEW)

    def rejections(self, stage: str) -> RecordFile[Rejection]:
        """What a finished stage dropped."""
        return RecordFile(self.path / "rejections" / f"{stage}.jsonl", Rejection)

    @contextmanager
    def writing(self, stage: Stage) -> Iterator[Writer]:
        """A writer, whose temporary files are deleted where the work does not end."""
        writer = Writer(self.path, stage)
        try:
            yield writer
        finally:
            writer.discard()

    def digest(self, file: str) -> str:
        """Names the content of a file below the run folder; "" where there is none."""
        path = self.path / file
        return sha256(path.read_bytes()).hexdigest()[:16] if path.exists() else ""

    # ---- partitions

    def _parts(self, stage: str) -> Path:
        return self.path / "work" / "parts" / stage

    def has_part(self, stage: str, key: str) -> bool:
        """Whether a partition is worked out."""
        return (self._parts(stage) / f"{key}.jsonl").exists()

    def write_part(self, stage: str, key: str, outcomes: list[Any], tally: Tally) -> None:
        """Write a partition's outcomes, headed by what they took."""
        usage = {role: asdict(one) for role, one in tally.usage.items()}
        head = json.dumps({"usage": usage, "seconds": tally.seconds}) + "\n"

        def write(temporary: Path) -> None:
            with temporary.open("wb") as file:
                file.write(head.encode())
                for outcome in outcomes:
                    file.write(_encode(outcome))

        write_atomically(self._parts(stage) / f"{key}.jsonl", write)

    def read_part(self, stage: Stage, key: str) -> tuple[list[Any], Tally]:
        """A partition's outcomes and what they took.

        Raises:
            DataError: a line is damaged; the message names file and line.
        """
        path = self._parts(stage.name) / f"{key}.jsonl"
        tally, outcomes = Tally(), []
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                values = decode_line(line, path, number)
                try:
                    if number == 1:
                        usage = {role: Usage(**one) for role, one in values["usage"].items()}
                        tally.add_usage(usage, values["seconds"])
                    else:
                        outcomes.append(_decode(stage, values))
                except (TypeError, ValueError, KeyError, AttributeError) as error:
                    raise DataError(
                        f"{path} line {number} is damaged ({error!r}). {_WORK_OUT_ANEW}"
                    ) from error
        return outcomes, tally

    def forget_parts(self, stage: str) -> None:
        """Delete the partitions of a finished stage: its outputs hold them."""
        shutil.rmtree(self._parts(stage), ignore_errors=True)

    def scratch(self, stage: str, key: str) -> Path:
        """A folder for what a stage needs to resume; another key's is deleted first."""
        folder = self.path / "work" / "scratch" / stage
        mark = folder / "key.txt"
        if not (mark.exists() and mark.read_bytes() == key.encode()):
            shutil.rmtree(folder, ignore_errors=True)
            write_text(mark, key)
        return folder

    def forget_scratch(self, stage: str) -> None:
        """Delete what only an unfinished stage needs."""
        shutil.rmtree(self.path / "work" / "scratch" / stage, ignore_errors=True)


def _is_utf8(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _encode(outcome: Any) -> bytes:
    if isinstance(outcome, Fact):
        row: list[Any] = ["", outcome.name, outcome.value]
    elif isinstance(outcome, To):
        row = [outcome.output, type(outcome.record).__name__, to_json(outcome.record)]
    else:
        row = [None, type(outcome).__name__, to_json(outcome)]
    return (json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8", "surrogatepass")


def _decode(stage: Stage, row: list[Any]) -> Any:
    output, name, values = row
    if output == "":
        return Fact(name, values)
    if name == _REJECTION:
        return from_json(Rejection, values)
    target = stage.outputs[output or next(iter(stage.outputs))]
    assert isinstance(target, Records)  # noqa: S101 - partitions yield records alone
    record: Any = from_json(target.cls, values)
    return To(output, record) if output else record
