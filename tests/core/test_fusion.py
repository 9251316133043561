"""Fusion: sums of scaled scores, worked out by hand."""

import numpy as np
import pytest

from aloft.retrieval.fusion import fuse
from aloft.retrieval.ranking import Ranking


def ranking(columns: list[int], scores: list[float]) -> Ranking:
    """The ranking of a single question."""
    return Ranking(columns=np.array([columns]), scores=np.array([scores], np.float32))


# Scaled to 0 to 1: passages 5, 6, 7 get 1, 0.5, 0 and passages 6, 8, 5 get 1, 0.25, 0.
FIRST = ranking([5, 6, 7], [9, 8, 7])
SECOND = ranking([6, 8, 5], [0.5, 0.2, 0.1])


@pytest.mark.parametrize(
    ("weight", "columns", "scores"),
    [
        (1.0, [5, 6, 7], [1, 0.5, 0]),
        (0.5, [6, 5, 8], [0.75, 0.5, 0.125]),  # (0.5 + 1) / 2, 1 / 2, 0.25 / 2
        (0.0, [6, 8, 5], [1, 0.25, 0]),
    ],
)
def test_two_rankings_are_added(weight: float, columns: list[int], scores: list[float]) -> None:
    fused = fuse(FIRST, SECOND, depth=3, weight=weight)
    assert fused.columns.tolist() == [columns]
    assert fused.scores[0].tolist() == pytest.approx(scores)


def test_fused_ranks_are_no_more_than_asked_or_there() -> None:
    assert fuse(FIRST, SECOND, depth=1).columns.tolist() == [[6]]
    assert fuse(FIRST, SECOND, depth=9).columns.shape == (1, 3)


def test_equal_sums_stand_in_corpus_order() -> None:
    fused = fuse(ranking([9, 4], [2, 1]), ranking([4, 9], [2, 1]), depth=2)
    assert fused.columns.tolist() == [[4, 9]]  # both 0.5
    assert fused.scores.tolist() == [[0.5, 0.5]]


def test_a_ranking_that_tells_nothing_adds_nothing() -> None:
    fused = fuse(FIRST, ranking([7, 6, 5], [0, 0, 0]), depth=3)
    assert fused.columns.tolist() == [[5, 6, 7]]
    assert fused.scores[0].tolist() == pytest.approx([0.5, 0.25, 0])
