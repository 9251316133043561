"""Rankings of many vectors: block by block the same as all at once, however they are rounded."""

from pathlib import Path

import numpy as np
import pytest

from aloft.protocols import Floats
from aloft.retrieval import dense as search
from aloft.retrieval.ranking import Ranking, rank_block


def unit(rows: Floats) -> Floats:
    lengths: Floats = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / lengths).astype(np.float32)


def clustered(count: int, seed: int, dimensions: int = 24) -> Floats:
    """Vectors in thirty clumps, so that many scores lie close together."""
    rng = np.random.default_rng(seed)
    clumps = np.random.default_rng(0).standard_normal((30, dimensions))
    rows = clumps[rng.integers(0, 30, count)] + 0.3 * rng.standard_normal((count, dimensions))
    return unit(rows)


def same(found: Ranking, expected: Ranking) -> None:
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)
    differ = found.columns != expected.columns
    # of two that the last bit of float32 tells apart, another order of adding may swap the two
    np.testing.assert_allclose(found.scores[differ], expected.scores[differ], atol=1e-6)
    assert differ.mean() < 0.001


def test_blocks_come_in_order_and_hold_every_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "_SCORES", 700)
    queries, passages = clustered(50, 1), clustered(100, 2)
    blocks = list(search.DenseIndex(passages).rank_blocks(queries, 5))
    assert [len(block.columns) for block in blocks] == [7] * 7 + [1]
    same(search.DenseIndex(passages).rank(queries, 5), rank_block(queries, passages, 5))


def test_no_question_has_an_empty_ranking() -> None:
    none = np.empty((0, 24), np.float32)
    assert search.DenseIndex(clustered(9, 2)).rank(none, 5).columns.shape == (0, 5)


@pytest.fixture
def tiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks, tiles and groups so small that a test meets many of each."""
    pytest.importorskip("torch")
    sizes = {"_SMALL": 0, "_SCORES": 8192, "_TILE": 128, "_FIRST": 96, "_SPARE": 16}
    for name, size in sizes.items():
        monkeypatch.setattr(search, name, size)


@pytest.fixture(params=["bfloat16", "float32"])
def rounding(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both number formats, whatever this machine's own is."""
    from aloft.backends import device

    monkeypatch.setattr(device, "best_device", lambda: "cpu")
    monkeypatch.setattr(device, "has_bf16", lambda _: request.param == "bfloat16")
    return str(request.param)


@pytest.mark.model
@pytest.mark.usefixtures("tiled", "rounding")
@pytest.mark.parametrize("passages", [1500, 1537])  # of whole tiles, and with a ragged end
@pytest.mark.parametrize("depth", [1, 10, 40])
def test_tiles_come_to_what_all_at_once_does(passages: int, depth: int) -> None:
    queries, corpus = clustered(300, 1), clustered(passages, 2)
    same(search.DenseIndex(corpus).rank(queries, depth), rank_block(queries, corpus, depth))


@pytest.mark.model
@pytest.mark.usefixtures("tiled", "rounding")
def test_lengths_other_than_one_are_no_matter() -> None:
    scale = np.linspace(0.1, 30, 1500, dtype=np.float32)[:, None]
    queries, corpus = 5 * clustered(100, 1), scale * clustered(1500, 2)
    found, expected = search.DenseIndex(corpus).rank(queries, 10), rank_block(queries, corpus, 10)
    np.testing.assert_array_equal(found.columns, expected.columns)


@pytest.mark.model
@pytest.mark.usefixtures("tiled", "rounding")
def test_equal_passages_stand_in_corpus_order() -> None:
    corpus = clustered(1500, 2)
    corpus[::3] = corpus[0]  # 500 alike, far more than are kept as candidates
    found = search.DenseIndex(corpus).rank(corpus[:1], 40)
    assert found.columns.tolist() == [list(range(0, 120, 3))]


@pytest.mark.model
@pytest.mark.usefixtures("tiled")
def test_what_rounding_may_have_kept_out_is_ranked_exactly(
    monkeypatch: pytest.MonkeyPatch, rounding: str
) -> None:
    """All passages lie within a thousandth: bfloat16 tells none of them apart."""
    rng = np.random.default_rng(3)
    corpus = unit(1 + 1e-4 * rng.standard_normal((1500, 24)))
    asked = []

    def counted(queries: Floats, passages: Floats, depth: int) -> Ranking:
        asked.append(len(queries))
        return rank_block(queries, passages, depth)

    monkeypatch.setattr(search, "rank_block", counted)
    queries = clustered(5, 1)
    same(search.DenseIndex(corpus).rank(queries, 10), rank_block(queries, corpus, 10))
    assert sum(asked) == (5 if rounding == "bfloat16" else 0)


@pytest.mark.model
@pytest.mark.usefixtures("tiled", "rounding")
def test_vectors_may_lie_on_the_disk(tmp_path: Path) -> None:
    corpus = clustered(1500, 2)
    np.save(tmp_path / "vectors.npy", corpus)
    kept = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    same(search.DenseIndex(kept).rank(kept[:40], 5), rank_block(corpus[:40], corpus, 5))


def test_rows_are_read_alike_from_memory_and_disk(tmp_path: Path) -> None:
    vectors = clustered(50, 2)
    np.save(tmp_path / "vectors.npy", vectors)
    kept = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    for given, start in ((vectors, 0), (kept, 0), (kept[10:], 10), (kept[::-1][:40][::-1], 10)):
        for first, last in ((0, 3), (7, 40), (38, 99)):
            read = search.read_rows(given, first, last)
            np.testing.assert_array_equal(read, vectors[start:][first:last])
            read[:] = 0  # a copy: what was given stays
    np.testing.assert_array_equal(kept, vectors)
