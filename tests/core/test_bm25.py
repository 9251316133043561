"""BM25: scores small enough to be worked out by hand."""

import gc
import math
import tracemalloc
import warnings
from math import log
from pathlib import Path
from random import Random
from unicodedata import normalize

import bm25s
import numpy as np
import pytest

from aloft.records import Passage
from aloft.retrieval.bm25 import BM25Index, open_bm25
from aloft.retrieval.index_store import IndexStore
from aloft.text.tokens import split_terms

# Three texts of two words each: no length correction, so tf / (tf + 1.2) times
# idf = ln(1 + (3 - n + 0.5) / (n + 0.5)), with n texts that hold the word; a word of one letter
# counts twice, for itself and for its run of characters.
TEXTS = ["p f", "P, p", "t m"]
P = 2 * log(1 + 1.5 / 2.5)
F = 2 * log(1 + 2.5 / 1.5)


def test_bm25_is_lucenes() -> None:
    found = BM25Index(TEXTS).rank(["Which p?", "p f"], depth=3)
    assert found.columns.tolist() == [[1, 0, 2], [0, 1, 2]]
    assert found.scores[0].tolist() == pytest.approx([P * 2 / 3.2, P / 2.2, 0])
    assert found.scores[1].tolist() == pytest.approx([(P + F) / 2.2, P * 2 / 3.2, 0])


def test_a_longer_text_counts_for_less() -> None:
    found = BM25Index(["ferry and so on and on", "ferry", "port"]).rank(["ferry"], depth=2)
    assert found.columns.tolist() == [[1, 0]]
    assert found.scores[0, 0] > found.scores[0, 1] > 0


def test_a_word_is_found_by_what_it_shares_with_another() -> None:
    found = BM25Index(["a pilot", "the ferries", "harbours"]).rank(["ferry", "harbour"], depth=1)
    assert found.columns.tolist() == [[1], [2]]


def test_a_question_of_unknown_words_finds_nothing_and_fails_nowhere() -> None:
    found = BM25Index(TEXTS).rank(["zzz", "", "!?"], depth=9)
    assert found.columns.tolist() == [[0, 1, 2]] * 3
    assert found.scores.tolist() == [[0, 0, 0]] * 3


@pytest.mark.parametrize(
    ("question", "texts"),
    [
        ("Geschäftsführung", ["Die Geschäftsführung stimmt zu.", "Die Geschäfte führen."]),
        (
            "환불은 언제까지 하나요?",
            ["환불은 삼십 일 이내에 신청해야 합니다.", "구내식당은 정오에 문을 엽니다."],
        ),
    ],
)
def test_composed_and_decomposed_letters_score_alike(question: str, texts: list[str]) -> None:
    composed, decomposed = (
        BM25Index([normalize(form, text) for text in texts]).rank([question], depth=2)
        for form in ("NFC", "NFD")
    )
    assert decomposed.columns.tolist() == composed.columns.tolist() == [[0, 1]]
    assert decomposed.scores.tolist() == composed.scores.tolist()
    assert composed.scores[0, 0] > 2 * composed.scores[0, 1]


def test_texts_without_a_word_can_be_indexed() -> None:
    assert BM25Index(["...", "port"]).rank(["port"], depth=2).columns.tolist() == [[1, 0]]
    assert BM25Index(["...", ""]).rank(["port"], depth=1).scores.tolist() == [[0]]


def test_words_that_stand_together_beat_the_same_words_apart() -> None:
    filler = ["abc"] * 200  # of three terms, as "fee" is; "dock" is of four: 607, in four windows
    apart, together = ["dock", *filler, "fee"], [*filler, "dock", "fee"]
    found = BM25Index([" ".join(apart), " ".join(together)]).rank(["dock fee"], depth=2)
    assert found.columns.tolist() == [[1, 0]]
    whole = 7 * log(1 + 0.5 / 2.5) / 2.2  # both passages hold all seven terms
    last = log(1 + 6.5 / 2.5) / (1 + 1.2 * (0.25 + 0.75 * 151 / 151.75))  # two windows of eight do
    first = log(1 + 6.5 / 2.5) / (1 + 1.2 * (0.25 + 0.75 * 152 / 151.75))
    expected = [0.7 * whole + 0.3 * 7 * last, 0.7 * whole + 0.3 * 4 * first]
    assert found.scores[0].tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("run", "merged", "mark"),
    [(1 << 20, 1 << 23, 1024), (5000, 2000, 1024), (2000, 300, 16), (1, 4000, 1)],
)
def test_scores_are_the_librarys_to_the_last_bit(
    run: int, merged: int, mark: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against bm25s, which indexes lists of terms, on passages and on windows of them.

    However few texts become a run, and however few postings are merged at once.
    """
    for name, value in (("_RUN", run), ("_MERGED", merged), ("_MARK", mark)):
        monkeypatch.setattr(f"aloft.retrieval.bm25.{name}", value)
    random = Random(0)
    words = [f"w{int(random.paretovariate(0.7)) % 500}" for _ in range(20_000)]
    lengths = [random.randrange(1, 150) for _ in range(120)]
    texts = ["", "!?", *(" ".join(random.sample(words, length)) for length in lengths)]
    terms = [split_terms(text) or ["\x00"] for text in texts]
    sizes = [math.ceil(len(one) / math.ceil(len(one) / 192)) for one in terms]
    windows = [
        [one[start : start + size] for start in range(0, len(one), size)]
        for one, size in zip(terms, sizes, strict=True)
    ]
    starts = np.cumsum([0, *map(len, windows)])[:-1]
    assert len(starts) < len([window for some in windows for window in some])
    by_library = bm25s.BM25(k1=1.2, b=0.75), bm25s.BM25(k1=1.2, b=0.75)
    by_library[0].index(terms, show_progress=False)
    by_library[1].index([window for some in windows for window in some], show_progress=False)
    index = BM25Index(iter(texts))
    for _ in range(20):
        question = " ".join([*random.sample(words, 6), "unknownword"])
        known = [term for term in split_terms(question) if term in by_library[0].vocab_dict]
        expected = np.maximum.reduceat(by_library[1].get_scores(known), starts)
        expected *= 0.3
        expected += 0.7 * by_library[0].get_scores(known)
        ranking = index.rank([question], depth=len(texts))
        assert ranking.scores[0].tolist() == expected[ranking.columns[0]].tolist()
        assert ranking.scores[0].tolist() == sorted(expected.tolist(), reverse=True)


def test_postings_are_not_held_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_RUN", "_MERGED"):
        monkeypatch.setattr(f"aloft.retrieval.bm25.{name}", 1 << 14)
    random = Random(0)
    words = [f"word{i}" for i in range(400)]
    BM25Index([" ".join(words)])  # so that their terms are known
    tracemalloc.start()
    index = BM25Index(" ".join(random.sample(words, 120)) for _ in range(400))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert index.size > 2_700_000  # while it is built they take twice as much
    assert peak < 1_400_000


def test_an_index_that_nobody_holds_closes_its_files() -> None:
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        index = BM25Index(["one two", "three " * 400])
        index.rank(["one"], 1)
        del index
        gc.collect()
    assert [str(one.message) for one in warned if one.category is ResourceWarning] == []


LONG = ["one two", "three " * 400, "", "zwei \udc80 Häfen"]


@pytest.mark.parametrize("texts", [TEXTS, LONG])
def test_an_index_is_read_as_it_was_saved(tmp_path: Path, texts: list[str]) -> None:
    index = BM25Index(texts)
    index.save(tmp_path)
    found = BM25Index.read(tmp_path)
    asked = ["three häfen", "p f", "\udc80"]
    expected = index.rank(asked, 4)
    ranking = found.rank(asked, 4)
    assert ranking.columns.tolist() == expected.columns.tolist()
    assert ranking.scores.tolist() == expected.scores.tolist()
    assert found.coverage(asked, ranking).tolist() == index.coverage(asked, expected).tolist()
    assert found.size == index.size


@pytest.mark.parametrize(
    "file", ["terms.txt", "starts.npy", "passages/postings.bin", "windows/ends.npy"]
)
def test_a_torn_index_is_not_read(tmp_path: Path, file: str) -> None:
    BM25Index(LONG).save(tmp_path)
    (tmp_path / file).write_bytes((tmp_path / file).read_bytes()[:-12])
    with pytest.raises((OSError, ValueError)):
        BM25Index.read(tmp_path)


def test_a_damaged_index_is_built_anew(tmp_path: Path) -> None:
    store = IndexStore(tmp_path)
    passages = [Passage(document_id="a", text=text, start=0) for text in TEXTS]
    expected = open_bm25(passages, store).rank(["p f"], 3).scores.tolist()
    (folder,) = tmp_path.iterdir()
    (folder / "starts.npy").write_bytes(b"")  # as after a crash of the machine
    assert open_bm25(passages, store).rank(["p f"], 3).scores.tolist() == expected
    assert (folder / "starts.npy").stat().st_size > 0
