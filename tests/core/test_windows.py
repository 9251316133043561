"""Windows of passages: a toy embedder reads five words at once."""

import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scripted import mined

from aloft.config import TrainingSetsConfig
from aloft.corpus.windows import Windows, choose_window, cut_windows
from aloft.datasets.rows import Corpus, TrainingRows
from aloft.jsonl import RecordFile, encode_record
from aloft.records import EmbedderRow, Passage, QAPair
from aloft.retrieval.dense import DenseIndex
from aloft.retrieval.index_store import IndexStore
from aloft.testing import HashingEmbedder


class Reader(HashingEmbedder):
    reads = 5


def passage(text: str, title: str = "") -> Passage:
    return Passage(document_id=f"{title}/{text}", text=text, start=0, title=title)


def texts(*passages: Passage, most: int | None = None) -> list[list[str]]:
    """The windows of each passage."""
    windows = cut_windows(passages, Reader(), most)
    return [list(some) for some in windows.by_passage(passages).values()]


def test_a_passage_that_is_read_at_once_stays_whole() -> None:
    five = passage("one two,  three four five.")
    assert texts(five) == [[five.text]]
    assert texts(passage(" three  four! ", "The port")) == [["The port\n three  four! "]]


def test_a_longer_one_is_cut_into_stretches_of_like_length() -> None:
    six, eleven = "a b c d e f.", "a b c d e f g h i j k"
    assert texts(passage(six), passage(eleven)) == [
        ["a b c", "d e f"],
        ["a b c d", "e f g h", "i j k"],
    ]


def test_each_window_stands_behind_the_title() -> None:
    # two words of the title leave room for three
    assert texts(passage("a b c d", "The port")) == [["The port\na b", "The port\nc d"]]
    # a longer title is cut to half of what is read
    assert texts(passage("a b c d", "The port, of Ull")) == [["The port\na b", "The port\nc d"]]


def test_each_window_stands_in_what_a_host_puts_around_it() -> None:
    framed = replace(passage("a b c d"), embedding_frame=("Ada\n\n", " end"))
    # two words around the text leave room for three
    assert texts(framed) == [["Ada\n\na b end", "Ada\n\nc d end"]]
    assert texts(replace(framed, text="a b c")) == [["Ada\n\na b c end"]]
    # of more than half of what is read, the first words are kept, on a line in front
    long = replace(passage("a b c d"), embedding_frame=("by Ada\nand Bo\n\n", ""))
    assert texts(long) == [["by Ada\na b", "by Ada\nc d"]]
    alone = replace(framed, embedding_frame=("a summary of many more words",))
    assert texts(alone) == [["a summary of many more words"]]


def test_windows_are_found_once_where_they_are_kept(tmp_path: Path) -> None:
    framed = replace(passage("a b c d e f"), embedding_frame=("Ada\n\n", " end"))
    passages = [passage("one"), passage("a b c d", "The port"), framed]
    expected = cut_windows(passages, Reader())
    read: list[str] = []

    class Watched(Reader):
        def locate_tokens(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
            read.extend(texts)
            return super().locate_tokens(texts)

    keep = IndexStore(tmp_path).get_table
    for _ in range(2):
        found = cut_windows(passages, Watched(), keep=keep)
        assert list(found.texts) == list(expected.texts)
        assert found.starts.tolist() == expected.starts.tolist() == [0, 1, 3]
    # the second time only what stands around those that are cut
    assert sorted(read) == sorted(
        [
            "one",
            "a b c d",
            "a b c d e f",
            "",
            "The port\n",
            "Ada\n\n end",
            "The port\n",
            "Ada\n\n end",
        ]
    )
    for other in (passages[:2], [*passages[:2], replace(framed, embedding_frame=("Ada", " end"))]):
        read.clear()
        assert list(cut_windows(other, Watched(), keep=keep).texts)
        assert "one" in read
    assert len(list(tmp_path.iterdir())) == 3


def test_windows_of_passages_on_disk_are_read_when_they_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aloft.corpus.windows._BLOCK", 3)
    words = "abcdefghijk"
    passages = [passage(" ".join(words[: 1 + i]), "The port" * (i % 2)) for i in range(11)]
    whole = cut_windows(passages, Reader())
    path = tmp_path / "passages.jsonl"
    path.write_bytes(b"".join(map(encode_record, passages)))
    windows = cut_windows(RecordFile(path, Passage), Reader())
    expected = [text for some in whole.by_passage(passages).values() for text in some]
    assert expected[:5] == ["a", "The port\na b", "a b c", "The port\na b", "The port\nc d"]
    assert len(windows.texts) == len(expected) > 20
    assert list(windows.texts) == windows.texts[:] == expected
    assert [windows.texts[i] for i in range(len(expected))] == expected
    assert windows.texts[-1] == expected[-1]
    assert windows.texts[5:17:4] == expected[5:17:4]
    assert windows.texts[::-3] == expected[::-3]
    assert windows.texts[4:4] == []
    with pytest.raises(IndexError):
        windows.texts[len(expected)]


def test_texts_of_windows_are_not_held_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "passages.jsonl"
    with path.open("wb") as file:
        for i in range(4000):
            text = f"{i} " + "word " * 400
            file.write(encode_record(Passage(document_id=f"{i}.txt", text=text, start=0)))
    passages = RecordFile(path, Passage)
    assert len(passages) == 4000
    tracemalloc.start()
    windows = cut_windows(passages, HashingEmbedder())
    length = sum(len(text) for text in windows.texts)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert length > 8_000_000
    assert peak < 2_500_000  # of 256 at a time


def test_windows_may_be_shorter_than_what_is_read_but_not_longer() -> None:
    six = passage("a b c d e f")
    assert texts(six, most=2) == [["a b", "c d", "e f"]]
    assert texts(six, most=99) == [["a b c", "d e f"]]


def test_an_embedder_that_reads_all_is_given_all() -> None:
    long = passage("a b c d e f", "The port")
    windows = cut_windows([long, long], HashingEmbedder())
    assert list(windows.texts) == [long.content, long.content]
    assert windows.starts.tolist() == [0, 1]
    assert list(cut_windows([], Reader()).texts) == []


VECTORS = np.array([[1, 0], [0, 1], [0.6, 0.8], [0.8, 0.6], [-1, 0]], np.float32)


@pytest.fixture
def index() -> DenseIndex:
    """Three passages, of one, three and one windows."""
    return DenseIndex(VECTORS, np.array([0, 1, 4]))


def test_a_passage_ranks_by_its_best_window(index: DenseIndex) -> None:
    questions = np.array([[0, 1], [0.6, 0.8]], np.float32)
    found = index.rank(questions, depth=9)
    assert len(index) == 3
    assert found.columns.tolist() == [[1, 0, 2], [1, 0, 2]]
    assert found.scores.tolist() == [pytest.approx([1, 0, 0]), pytest.approx([1, 0.6, -0.6])]
    assert index.rank(questions, depth=1).columns.tolist() == [[1], [1]]
    (block,) = index.rank_blocks(questions, depth=2)
    assert block.columns.tolist() == [[1, 0], [1, 0]]


def test_a_passage_scores_as_its_best_window_does(index: DenseIndex) -> None:
    question = np.array([0.8, 0.6], np.float32)
    assert index.score(question, [1, 2, 0]).tolist() == pytest.approx([1, -0.8, 0.8])
    assert DenseIndex(VECTORS).score(question, [1, 2]).tolist() == pytest.approx([0.6, 0.96])
    assert index.best_windows(question, [1, 2, 0]) == [3, 4, 0]
    assert index.first_windows([1, 2]).tolist() == [[0, 1], [-1, 0]]


def test_ranks_by_windows_are_those_by_the_whole_table() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(900, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    starts = np.flatnonzero(rng.random(900) < 0.4)
    starts[0] = 0
    table = np.maximum.reduceat(vectors[:40] @ vectors.T, starts, axis=1)
    found = DenseIndex(vectors, starts).rank(vectors[:40], depth=12)
    assert found.columns.tolist() == np.argsort(-table, axis=1, kind="stable")[:, :12].tolist()


@pytest.mark.parametrize(
    ("question", "answer", "chosen"),
    [
        ("Who guides ships?", "Mary Dunn", 1),  # it holds the answer
        ("How deep is the port of Ull?", "nine metres", 0),  # it shares most terms
        ("Where?", "there", 0),  # none tells: the first
        ("Is the pilot in the port?", "", 1),
    ],
)
def test_the_telling_window_is_chosen(question: str, answer: str, chosen: int) -> None:
    windows = ["The port of Ull is deep.", "Mary Dunn is the pilot in the port.", "It is late."]
    assert choose_window(question, answer, windows) == windows[chosen]


def test_the_embedder_is_trained_on_the_windows_that_tell() -> None:
    right, wrong = passage("a b c d e Mary Dunn f"), passage("g h i j pilot k l m")
    pair = QAPair(passage_id=right.id, question="Who is the pilot?", answer="Mary Dunn")
    windows = cut_windows([right, wrong], Reader()).by_passage([right, wrong])
    corpus = Corpus(passages={one.id: one for one in (right, wrong)}, windows=windows)
    known = {pair.id: mined(pair.id, [wrong.id])}
    rows = TrainingRows(
        pairs=[pair],
        held_out=[],
        corpus=corpus,
        negatives=known,
        config=TrainingSetsConfig(contexts=2),
        seed=0,
    )
    assert tuple(rows.embedder()) == (
        EmbedderRow(
            pair_id=pair.id,
            anchor=pair.question,
            positive="e Mary Dunn f",
            negatives=("pilot k l m",),
        ),
    )
    assert [row.passage for row in tuple(rows.reranker())] == [right.content, wrong.content]


def test_the_windows_of_a_corpus_are_told_apart() -> None:
    windows = Windows(texts=("a", "b", "c"), starts=np.array([0, 2]))
    first, second = passage("one"), passage("two")
    assert windows.by_passage([first, second]) == {first.id: ("a", "b"), second.id: ("c",)}
