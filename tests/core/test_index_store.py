"""What a corpus is searched by is made once, and kept where that can be done."""

import pickle
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from aloft.protocols import Floats
from aloft.retrieval.index_store import IndexStore

TEXTS = ["one", "two", "three"]
VECTORS = np.arange(6, dtype=np.float32).reshape(3, 2)


class Counted:
    """Computes vectors, and counts how often."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> Floats:
        self.calls += 1
        return VECTORS


def test_vectors_are_computed_once_and_read_from_disk(tmp_path: Path) -> None:
    encode = Counted()
    for _ in range(2):
        found = IndexStore(tmp_path / "new" / "folder").get("passages", "model", TEXTS, encode)
        assert isinstance(found, np.memmap)
        assert found.tolist() == VECTORS.tolist()
    assert encode.calls == 1
    assert [file.suffix for file in (tmp_path / "new" / "folder").iterdir()] == [".npy"]


@pytest.mark.parametrize(
    ("kind", "model", "texts"),
    [
        ("queries", "model", TEXTS),
        ("passages", "other", TEXTS),
        ("passages", "model", [*TEXTS[:2], "tree"]),
        ("passages", "model", ["onetwo", "three"]),
    ],
)
def test_another_kind_model_or_text_has_vectors_of_its_own(
    tmp_path: Path, kind: str, model: str, texts: list[str]
) -> None:
    encode, store = Counted(), IndexStore(tmp_path)
    store.get("passages", "model", TEXTS, encode)
    store.get(kind, model, texts, encode)
    assert encode.calls == 2


@pytest.mark.parametrize("folder", ["none", "read-only", "a file", "no space"])
def test_what_cannot_be_written_is_held_in_memory(
    tmp_path: Path, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place: Path | None = tmp_path / "store"
    if folder == "none":
        place = None
    elif folder == "a file":  # as a folder without rights: nothing can be created below it
        (tmp_path / "store").write_text("in the way")
    elif folder == "no space":

        def full(*_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(np, "save", full)
    store, encode = IndexStore(place, read_only=folder == "read-only"), Counted()
    for _ in range(2):
        assert store.get("passages", "model", TEXTS, encode).tolist() == VECTORS.tolist()
    assert encode.calls == 1
    left = list((tmp_path / "store").iterdir()) if (tmp_path / "store").is_dir() else []
    assert left == []


def test_a_read_only_store_reads_what_is_there(tmp_path: Path) -> None:
    IndexStore(tmp_path).get("passages", "model", TEXTS, Counted())
    encode = Counted()
    IndexStore(tmp_path, read_only=True).get("passages", "model", TEXTS, encode)
    assert encode.calls == 0


@pytest.mark.parametrize("kept", [0, 40, 135])
def test_a_torn_file_is_computed_anew(tmp_path: Path, kept: int) -> None:
    IndexStore(tmp_path).get("passages", "model", TEXTS, Counted())
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:kept])
    encode = Counted()
    for _ in range(2):
        found = IndexStore(tmp_path).get("passages", "model", TEXTS, encode)
        assert found.tolist() == VECTORS.tolist()
    assert encode.calls == 1


def test_two_that_compute_the_same_vectors_disturb_each_other_in_nothing(tmp_path: Path) -> None:
    both = threading.Barrier(2, timeout=20)
    found = []

    def encode() -> Floats:
        both.wait()  # neither has written yet
        return VECTORS

    def work() -> None:
        found.append(IndexStore(tmp_path).get("passages", "model", TEXTS, encode).tolist())

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [VECTORS.tolist()] * 2
    assert len(list(tmp_path.iterdir())) == 1


def test_vectors_in_use_outlive_their_folder(tmp_path: Path) -> None:
    found = IndexStore(tmp_path / "store").get("passages", "model", TEXTS, Counted())
    shutil.rmtree(tmp_path / "store", ignore_errors=True)  # Windows keeps a file that is in use
    assert found.tolist() == VECTORS.tolist()


def test_a_pickle_reads_the_files_anew(tmp_path: Path) -> None:
    store = pickle.loads(pickle.dumps(IndexStore(tmp_path, read_only=True)))
    assert (store.folder, store.read_only) == (tmp_path, True)


class Words:
    """An index of one file."""

    built = 0

    def __init__(self, text: str) -> None:
        self.text = text

    def save(self, folder: Path) -> None:
        (folder / "words.txt").write_text(self.text)

    @classmethod
    def build(cls) -> "Words":
        cls.built += 1
        return cls("some words")

    @classmethod
    def read(cls, folder: Path) -> "Words":
        text = (folder / "words.txt").read_text()
        if not text:
            raise ValueError("torn")
        return cls(text)


@pytest.mark.parametrize(
    ("is_writable", "is_torn", "built"),
    [(True, False, 1), (True, True, 2), (False, False, 2), (False, True, 2)],
)
def test_an_index_is_built_once_where_its_folder_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_writable: bool, is_torn: bool, built: int
) -> None:
    monkeypatch.setattr(Words, "built", 0)
    store = IndexStore(tmp_path / "store", read_only=not is_writable)
    for _ in range(2):
        assert store.get_index("words-1", Words.build, Words.read).text == "some words"
        if is_torn and is_writable and Words.built < 2:
            (tmp_path / "store" / "words-1" / "words.txt").write_text("")
    assert Words.built == built
    left = [one.name for one in tmp_path.glob("store/*")]
    assert left == ["words-1"] * is_writable


def test_an_index_that_another_process_built_meanwhile_stays(tmp_path: Path) -> None:
    def build() -> Words:
        (tmp_path / "words-1").mkdir()
        Words("by another one").save(tmp_path / "words-1")
        return Words("by this one")

    store = IndexStore(tmp_path)
    assert store.get_index("words-1", build, Words.read).text == "by this one"
    assert store.get_index("words-1", build, Words.read).text == "by another one"
    assert [one.name for one in tmp_path.iterdir()] == ["words-1"]


def test_a_table_of_other_columns_is_made_anew(tmp_path: Path) -> None:
    table = np.arange(6, dtype=np.int32)
    store = IndexStore(tmp_path)
    for columns in (2, 3, 3):
        found = store.get_table("places", lambda n=columns: table.reshape(-1, n), columns)
        assert found.tolist() == table.reshape(-1, columns).tolist()
