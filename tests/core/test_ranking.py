"""Rankings: orders and scores small enough to be worked out by hand."""

import numpy as np
import pytest

from aloft.protocols import Floats
from aloft.records import Passage
from aloft.retrieval.ranking import Ranking, best_first, pairs_of, rank_block, reorder, stack


def floats(*rows: list[float]) -> Floats:
    return np.array(rows, np.float32)


def ranking(columns: list[int], scores: list[float]) -> Ranking:
    """One question's."""
    return Ranking(columns=np.array([columns]), scores=floats(scores))


# unit vectors: 3-4-5 triangles
PASSAGES = floats([1, 0], [0.6, 0.8], [0, 1], [-1, 0])


def test_passages_stand_by_cosine() -> None:
    found = rank_block(floats([1, 0], [0, 1]), PASSAGES, depth=3)
    assert found.columns.tolist() == [[0, 1, 2], [2, 1, 0]]
    assert found.scores.tolist() == [pytest.approx([1, 0.6, 0]), pytest.approx([1, 0.8, 0])]


def test_there_are_no_more_ranks_than_passages() -> None:
    found = rank_block(floats([-1, 0]), PASSAGES, depth=9)
    assert found.columns.tolist() == [[3, 2, 1, 0]]
    assert rank_block(np.empty((0, 2), np.float32), PASSAGES, depth=9).columns.shape == (0, 4)


def test_rankings_of_other_questions_stand_one_after_the_other() -> None:
    one, two = ranking([2, 0], [0.9, 0.1]), rank_block(floats([1, 0], [0, 1]), PASSAGES, depth=2)
    both = stack(one, two)
    assert both.columns.tolist() == [[2, 0], [0, 1], [2, 1]]
    assert both.scores.tolist() == [*one.scores.tolist(), *two.scores.tolist()]
    none = rank_block(np.empty((0, 2), np.float32), PASSAGES, depth=2)
    assert stack(one, none).columns.tolist() == stack(one).columns.tolist() == [[2, 0]]


def test_equal_scores_stand_in_corpus_order() -> None:
    passages = floats([0, 1], [1, 0], [0, 1], [1, 0])
    assert rank_block(floats([1, 0]), passages, depth=4).columns.tolist() == [[1, 3, 0, 2]]


@pytest.mark.parametrize("alike", [5, 300])
def test_equal_scores_at_the_last_rank_are_taken_in_corpus_order(alike: int) -> None:
    passages = floats(*[[0.0, 1.0]] * alike, [1, 0], *[[0.0, 1.0]] * alike)
    found = rank_block(floats([1, 0]), passages, depth=3)
    assert found.columns.tolist() == [[alike, 0, 1]]


def test_the_top_is_the_first_ranks() -> None:
    top = ranking([4, 2, 7], [3, 2, 1]).top(2)
    assert (top.columns.tolist(), top.scores.tolist()) == ([[4, 2]], [[3, 2]])


def test_a_reranker_reorders_each_questions_own_ranks() -> None:
    before = Ranking(columns=np.array([[3, 1], [0, 2]]), scores=floats([9, 8], [9, 8]))
    texts = ("zero", "one", "two", "three")
    passages = [Passage(document_id="a", text=text, start=0) for text in texts]
    assert pairs_of(before, ["a?", "b?"], passages) == [
        ("a?", "three"),
        ("a?", "one"),
        ("b?", "zero"),
        ("b?", "two"),
    ]
    after = reorder(before, np.array([0.1, 0.7, 0.4, 0.4], np.float32))
    assert after.columns.tolist() == [[1, 3], [0, 2]]  # equal ones stay as they were
    assert after.scores.tolist() == [pytest.approx([0.7, 0.1]), pytest.approx([0.4, 0.4])]


def test_places_of_the_highest_scores_come_first() -> None:
    assert best_first([0.1, 0.9, 0.5, 0.9]) == [1, 3, 2, 0]
    assert best_first(np.array([0.1, 0.9, 0.5], np.float32), 2) == [1, 2]
    assert best_first([]) == []
