"""A folder that holds work is not replaced by a run on other documents without a word."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from aloft.config import RunConfig, load_config
from aloft.errors import DataError, RunFolderError
from aloft.records import Document
from aloft.run.comparison import compare_strategies
from aloft.run.job import open_run
from aloft.testing import ScriptedTeacher


def shelf(word: str, count: int = 4) -> list[Document]:
    return [
        Document(id=f"{word}{n}", text=f"The {word} is red. It has {n} parts.")
        for n in range(count)
    ]


def given(out: Path, documents: Sequence[Document], **more: bool) -> None:
    with open_run(out, load_config("cpu"), ScriptedTeacher(lambda _: "")) as run:
        run.give(documents, **more)


def content(folder: Path) -> dict[str, bytes]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    skipped = (".lock", "calls.sqlite")
    return {str(path): path.read_bytes() for path in files if not path.name.startswith(skipped)}


@pytest.fixture(params=["manifests/pairs.json", "manifests/report.json", "models/aloft.json"])
def run(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A run folder with work to lose."""
    given(tmp_path / "run", shelf("door"))
    work = tmp_path / "run" / request.param
    work.parent.mkdir(exist_ok=True)
    work.write_text(json.dumps({"key": "any"}))
    return tmp_path / "run"


def test_another_corpus_is_refused_and_changes_nothing(run: Path, tmp_path: Path) -> None:
    before = content(run)

    for other in (shelf("ship"), shelf("door", 1)):  # another, and a list filtered by mistake
        with pytest.raises(RunFolderError, match="holds a run on other documents") as caught:
            given(run, other)
        assert "\n" not in str(caught.value)
    with (
        pytest.raises(RunFolderError),
        open_run(run, RunConfig(**load_config("paper").model_dump())) as opened,
    ):
        opened.give(shelf("ship"), write_questions(tmp_path))

    assert content(run) == before


def write_questions(folder: Path) -> Path:
    (folder / "asked.jsonl").write_text(json.dumps({"question": "Why?", "answers": ["So."]}))
    return folder / "asked.jsonl"


def test_the_share_of_it_is_told(run: Path) -> None:
    with pytest.raises(RunFolderError, match="25% of its 4 are among these"):
        given(run, shelf("door", 1))


def test_other_documents_of_the_same_names_are_another_corpus(run: Path) -> None:
    ships = [Document(id=f"door{n}", text=one.text) for n, one in enumerate(shelf("ship"))]
    with pytest.raises(RunFolderError, match="0% of its 4"):
        given(run, ships)


def test_edited_moved_and_more_documents_are_the_same_corpus(run: Path) -> None:
    moved = [Document(id=f"new/{one.id}", text=one.text) for one in shelf("door")]
    edited = [*shelf("door")[:3], Document(id="door3", text="The door was sold.")]
    for documents in (moved, edited, [*shelf("door"), *shelf("ship")]):
        given(run, documents)
        assert len((run / "documents.jsonl").read_text().splitlines()) == len(documents)


def test_it_is_replaced_where_that_is_wanted(run: Path) -> None:
    given(run, shelf("ship"), overwrite=True)
    assert "ship" in (run / "documents.jsonl").read_text()


def test_what_holds_no_work_yet_is_replaced(tmp_path: Path) -> None:
    for word in ("door", "ship"):
        given(tmp_path / "run", shelf(word))
    assert "ship" in (tmp_path / "run" / "documents.jsonl").read_text()


def test_what_ships_without_its_documents_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "run" / "models").mkdir(parents=True)
    (tmp_path / "run" / "models" / "aloft.json").write_text("{}")
    with pytest.raises(RunFolderError, match="holds what a run ships, but not the run"):
        given(tmp_path / "run", shelf("door"))


def test_questions_that_can_not_be_read_replace_nothing(run: Path) -> None:
    before = content(run)
    with (
        pytest.raises(DataError, match="does not exist"),
        open_run(run, load_config("cpu")) as opened,
    ):
        opened.give([*shelf("door"), *shelf("ship")], run / "none.jsonl")
    assert content(run) == before


def test_a_comparison_does_not_go_into_the_folder_of_a_run(tmp_path: Path) -> None:
    given(tmp_path / "run", shelf("door"))
    before = content(tmp_path / "run")
    with pytest.raises(RunFolderError, match=r"run is the folder of a run\. Choose"):
        compare_strategies(tmp_path, tmp_path / "run", load_config("cpu"), ["joint"])
    assert content(tmp_path / "run") == before
