"""Approximate search: what it finds is scored as exact search does, and little is not found."""

import logging
from pathlib import Path

import numpy as np
import pytest

from aloft.protocols import Floats
from aloft.records import Passage
from aloft.retrieval import approximate
from aloft.retrieval.approximate import ApproximateIndex, index_for_search
from aloft.retrieval.dense import DenseIndex
from aloft.retrieval.index_store import IndexStore
from aloft.retrieval.retriever import DenseRanker
from aloft.testing import HashingEmbedder

pytest.importorskip("faiss")


@pytest.fixture(autouse=True)
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Corpora of a test count as large."""
    for name, size in {"LARGE": 1000, "_CANDIDATES": 128, "_BLOCK": 700}.items():
        monkeypatch.setattr(approximate, name, size)
    approximate._has_library.cache_clear()


def unit(rows: Floats) -> Floats:
    scaled: Floats = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return scaled


def clumped(count: int, seed: int, dimensions: int = 48) -> Floats:
    """Vectors in two hundred clumps."""
    rng = np.random.default_rng(seed)
    clumps = np.random.default_rng(0).standard_normal((200, dimensions))
    rows = clumps[rng.integers(0, 200, count)] + 0.6 * rng.standard_normal((count, dimensions))
    return unit(rows)


def opened(vectors: Floats, starts: list[int] | None = None) -> DenseIndex:
    rows = np.arange(len(vectors)) if starts is None else np.array(starts)
    return index_for_search(vectors, rows, IndexStore())


def test_nearly_all_of_what_exact_search_finds_is_found_with_its_score() -> None:
    vectors, queries = clumped(6000, 1), clumped(80, 2)
    index = opened(vectors)
    assert isinstance(index, ApproximateIndex)
    found, exact = index.rank(queries, 16), DenseIndex(vectors).rank(queries, 16)
    whole = queries @ vectors.T
    both = [
        len(set(a) & set(b)) / 16
        for a, b in zip(found.columns.tolist(), exact.columns.tolist(), strict=True)
    ]
    assert np.mean(both) > 0.97
    assert found.scores == pytest.approx(np.take_along_axis(whole, found.columns, 1), abs=1e-6)
    assert (np.diff(found.scores) <= 0).all()


def test_a_passage_scores_as_its_best_window_does() -> None:
    vectors, queries = clumped(6000, 1), clumped(20, 2)
    starts = np.flatnonzero(np.random.default_rng(3).random(6000) < 0.5)
    starts[0] = 0
    index = opened(vectors, starts.tolist())
    found = index.rank(queries, 9)
    best = np.maximum.reduceat(queries @ vectors.T, starts, axis=1)
    assert found.columns.shape == (20, 9)
    assert all(len(set(row)) == 9 for row in found.columns.tolist())
    assert found.scores == pytest.approx(np.take_along_axis(best, found.columns, 1), abs=1e-6)
    exact = DenseIndex(vectors, starts).rank(queries, 9)
    assert (found.columns == exact.columns).mean() > 0.9
    assert index.best_windows(queries[0], [3, 4]) == DenseIndex(vectors, starts).best_windows(
        queries[0], [3, 4]
    )


def test_equal_passages_stand_in_corpus_order() -> None:
    vectors = clumped(4000, 1)
    places = [3999, 17, 2500]
    vectors[places] = vectors[17]
    assert opened(vectors).rank(vectors[[17]], 3).columns.tolist() == [[17, 2500, 3999]]


def test_deep_rankings_and_passages_of_many_windows_are_exact() -> None:
    vectors, queries = clumped(3000, 1), clumped(4, 2)
    deep, exact = opened(vectors).rank(queries, 3000), DenseIndex(vectors).rank(queries, 3000)
    assert deep.columns.tolist() == exact.columns.tolist()
    # all candidates are windows of the first passage: the others are looked for one by one
    starts = [0, *range(1000, 3000)]
    vectors[:1000] = unit(queries[:1] + 0.01 * np.ones((1000, 48)))
    found = opened(vectors, starts).rank(queries[:1], 5)
    assert (
        found.columns.tolist() == DenseIndex(vectors, starts).rank(queries[:1], 5).columns.tolist()
    )  # type: ignore[arg-type]
    assert found.columns[0, 0] == 0


def test_no_question_has_an_empty_ranking() -> None:
    none = np.empty((0, 48), np.float32)
    assert opened(clumped(2000, 1)).rank(none, 5).columns.shape == (0, 5)


def test_few_vectors_and_odd_dimensions_are_searched_exactly() -> None:
    assert type(opened(clumped(999, 1))) is DenseIndex
    assert type(opened(clumped(1500, 1, dimensions=47))) is DenseIndex


def test_compressed_vectors_are_kept_beside_the_vectors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passages = [
        Passage(document_id=f"{i}", text=f"berth {i} of {i % 7}", start=0) for i in range(1200)
    ]
    embedder = HashingEmbedder()
    questions = ["Which berth is 300?", "Where is 5?"]
    first = DenseRanker(passages, embedder, vectors=IndexStore(tmp_path))
    assert isinstance(first.index, ApproximateIndex)
    (file,) = tmp_path.glob("passages-????????????????.npy")
    (beside,) = tmp_path.glob(f"{file.stem}.faiss-*.npy")
    assert beside.stat().st_size < file.stat().st_size / 8
    monkeypatch.setattr(approximate, "_compress", None)  # nothing is compressed any more
    for store in (IndexStore(tmp_path), IndexStore(tmp_path, read_only=True)):
        again = DenseRanker(passages, embedder, vectors=store)
        found, expected = again.rank(questions, 5), first.rank(questions, 5)
        assert found.columns.tolist() == expected.columns.tolist()
        assert found.scores.tolist() == expected.scores.tolist()


def test_without_the_library_search_is_exact_which_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(approximate, "find_spec", lambda _name: None)
    some, others = clumped(1500, 1), clumped(1600, 1)
    with caplog.at_level(logging.WARNING):
        assert [type(opened(vectors)) for vectors in (some, others)] == [DenseIndex, DenseIndex]
    (said,) = caplog.messages
    assert said == (
        "1000 vectors or more are searched one by one, because faiss is not installed. For a "
        'faster search, run: pip install "aloft-rag[faiss]"'
    )
