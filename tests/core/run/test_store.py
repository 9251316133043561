"""Files of a run folder: whole or not there, and damage is named, never repaired in silence."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from aloft.config import check_config
from aloft.errors import DataError, RunFolderError
from aloft.evaluation.report import Measurements
from aloft.jsonl import RecordFile
from aloft.records import Passage, Rating, Rejection
from aloft.run.stage import Fact, Folder, Records, Setup, Stage, To, Value, stage
from aloft.run.store import RunStore, Tally
from aloft.run.usage import Usage

PASSAGES = [Passage(document_id=f"{i}.txt", text=f"Text {i}.", start=0) for i in range(5)]
LOW = Rejection(subject_id="x", stage="marks", reason="rated too low", detail="1 < 2")


@pytest.fixture
def marks() -> Stage:
    """A stage with an output of each kind."""

    @stage(
        name="marks",
        version=1,
        output={
            "marks": Records(Rating, "marks.jsonl"),
            "rated": Records(Passage, "rated.jsonl"),
            "facts": Value("facts.json"),
            "part": Folder("part"),
        },
    )
    def declared(context: object, part: object) -> list[object]:
        return []

    found = declared.settle(Setup(check_config({"teacher": "t", "embedder": "e"})))
    assert found is not None
    return found


def rating(value: float) -> Rating:
    return Rating(subject_id=f"{value:.0f}", criterion="passage", value=value)


def test_outputs_are_there_together_or_not_at_all(tmp_path: Path, marks: Stage) -> None:
    store = RunStore(tmp_path)
    with pytest.raises(KeyError), store.writing(marks) as writer:
        writer.add(rating(1))
        raise KeyError("killed")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    with store.writing(marks) as writer:
        writer.add(rating(1))
        writer.add(LOW)
        writer.add(To("rated", PASSAGES[0]))
        writer.add(Fact("rows", 3))
        writer.add(Fact("rows", 4))
        tally = writer.finish()
    assert (tally.kept, dict(tally.dropped)) == ({"marks": 1, "rated": 1}, {"rated too low": 1})
    assert tally.facts == {"rows": 7}  # numbers of several partitions add up
    assert list(store.read(marks.outputs["marks"])) == [rating(1)]
    assert list(store.rejections("marks")) == [LOW]


def test_a_stage_is_done_under_its_key_while_its_outputs_are_there(
    tmp_path: Path, marks: Stage
) -> None:
    store = RunStore(tmp_path)
    with store.writing(marks) as writer:
        writer.add(To("facts", {"a": 1}))
        tally = writer.finish()
    store.write_manifest(marks, "this", tally)
    assert not store.is_done(marks, "this")  # the folder is missing
    (tmp_path / "part").mkdir()
    assert store.is_done(marks, "this")
    assert not store.is_done(marks, "that")
    (tmp_path / "facts.json").unlink()
    assert not store.is_done(marks, "this")


def test_a_partition_is_read_back_as_it_was_written(tmp_path: Path, marks: Stage) -> None:
    store, tally = RunStore(tmp_path), Tally()
    tally.add_usage({"teacher": Usage(calls=2, tokens_in=10, seconds=0.5)}, 1.5)
    outcomes = [rating(3), To("rated", PASSAGES[1]), LOW, Fact("rows", 2)]
    store.write_part("marks", "k", outcomes, tally)
    assert store.has_part("marks", "k") and not store.has_part("marks", "other")
    assert store.read_part(marks, "k") == (outcomes, tally)


@pytest.mark.parametrize("damage", ['{"torn": ', "\x00\x00", "[1, 2"])
def test_a_damaged_middle_line_is_named_and_nothing_is_deleted(
    damage: str, tmp_path: Path, marks: Stage
) -> None:
    store = RunStore(tmp_path)
    store.write_part("marks", "k", [rating(1), rating(2), rating(3)], Tally())
    path = tmp_path / "work" / "parts" / "marks" / "k.jsonl"
    lines = path.read_text().splitlines()
    lines[2] = damage
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=r"k\.jsonl line 3 is damaged"):
        store.read_part(marks, "k")
    assert path.read_text().splitlines() == lines


def test_a_damaged_record_is_named_by_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "passages.jsonl"
    good = '{"document_id": "a", "text": "b", "start": 0, "title": ""}\n'
    path.write_text(good + '{"text": "no document"}\n' + good)
    records = RecordFile(path, Passage)
    assert len(records) == 3 and records[2] == records[0]
    with pytest.raises(DataError, match=r"passages\.jsonl line 2 does not hold a Passage"):
        list(records)
    with pytest.raises(DataError, match="line 2"):
        records[1]


def test_a_damaged_manifest_is_named(tmp_path: Path, marks: Stage) -> None:
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "marks.json").write_text('{"key": ')
    with pytest.raises(DataError, match=r"marks\.json is damaged"):
        RunStore(tmp_path).is_done(marks, "k")


def test_values_of_another_shape_are_named(tmp_path: Path, marks: Stage) -> None:
    store = RunStore(tmp_path)
    (tmp_path / "measured.json").write_text('{"verdicts": [3]}')
    with pytest.raises(DataError, match=r"measured\.json is damaged \(verdicts\.0: Input should"):
        store.read(Value("measured.json", Measurements))
    (tmp_path / "work" / "parts" / "marks").mkdir(parents=True)
    part = tmp_path / "work" / "parts" / "marks" / "k.jsonl"
    for head, row in (("[]", ""), ('{"usage": {}, "seconds": 1}', "{}")):
        part.write_text(f"{head}\n{row}\n")
        with pytest.raises(DataError, match=r"k\.jsonl line \d is damaged"):
            store.read_part(marks, "k")


@pytest.mark.parametrize("deadly", [signal.SIGKILL, signal.SIGHUP], ids=["kill", "hang up"])
def test_a_killed_process_leaves_no_lock_and_nothing_that_piles_up(
    tmp_path: Path, deadly: signal.Signals
) -> None:
    program = textwrap.dedent("""
        import os, pathlib, sys
        from aloft.files import write_atomically
        from aloft.retrieval.index_store import IndexStore
        from aloft.run.store import RunStore

        def die(_: object) -> None:
            os.kill(os.getpid(), int(sys.argv[2]))

        class Index:
            def save(self, folder: pathlib.Path) -> None:
                (folder / "postings").write_text("half of them")
                place.parent.mkdir(exist_ok=True)
                write_atomically(place, lambda path: (path.write_text("{"), die(path)))

        run, place = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[3])
        with RunStore(run):
            IndexStore(run / "work").get_index("bm25", Index, os.listdir)
    """)
    own = tmp_path / ".notes.tmp"
    own.touch()  # not ours
    for file in ("config.json", "manifests/passages.json", "work/passages-1.json"):
        arguments = [str(tmp_path), str(int(deadly)), str(tmp_path / file)]
        died = subprocess.run([sys.executable, "-c", program, *arguments], check=False)
        assert died.returncode == -deadly
    hidden = [path.name for path in tmp_path.rglob(".*") if path.name != ".lock"]
    assert len(hidden) > 2
    with RunStore(tmp_path):
        assert [path for path in tmp_path.rglob(".*") if path.name != ".lock"] == [own]


def test_one_process_writes_and_the_other_is_refused_in_one_line(tmp_path: Path) -> None:
    with (
        RunStore(tmp_path),
        pytest.raises(RunFolderError, match="held by another"),
        RunStore(tmp_path),
    ):
        pass


def test_what_only_resumes_is_forgotten_under_another_key(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    (store.scratch("embedder", "one") / "checkpoint").write_text("x")
    assert (store.scratch("embedder", "one") / "checkpoint").exists()
    assert not (store.scratch("embedder", "two") / "checkpoint").exists()
    store.forget_scratch("embedder")
    assert not os.path.lexists(tmp_path / "work" / "scratch" / "embedder")


def test_a_kill_frees_a_run_folder(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom pathlib import Path\nfrom aloft.run.store import RunStore\n"
        "with RunStore(Path(sys.argv[1])):\n    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "run")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    with pytest.raises(RunFolderError, match="held by another"), RunStore(tmp_path / "run"):
        pass
    holder.kill()
    holder.communicate()
    for _ in range(2):  # and leaving it frees it too
        with RunStore(tmp_path / "run") as held:
            assert held.path == tmp_path / "run"


def test_a_file_is_no_run_folder(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("notes")
    with pytest.raises(RunFolderError, match="is a file"), RunStore(tmp_path / "run"):
        pass


def test_a_run_folder_whose_path_is_not_utf8_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "r\udce9sultat"
    with pytest.raises(RunFolderError, match=r"r\\udce9sultat.* Choose another --out") as caught:
        RunStore(path).__enter__()
    assert str(caught.value).isascii()
    assert not path.exists()
