"""Rankings: orders and scores small enough to be worked out by hand."""

from math import log

import numpy as np
import pytest

from aloft.protocols import Floats
from aloft.retrieval.ranking import (
    LexicalIndex,
    Ranking,
    best_first,
    fuse,
    pairs_of,
    rank_block,
    reorder,
)


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


# Three texts of two words each: no length correction, so tf / (tf + 1.2) times
# idf = ln(1 + (3 - n + 0.5) / (n + 0.5)), with n texts that hold the word; a word of one letter
# counts twice, for itself and for its run of characters.
TEXTS = ["p f", "P, p", "t m"]
P = 2 * log(1 + 1.5 / 2.5)
F = 2 * log(1 + 2.5 / 1.5)


def test_bm25_is_lucenes() -> None:
    found = LexicalIndex(TEXTS).rank(["Which p?", "p f"], depth=3)
    assert found.columns.tolist() == [[1, 0, 2], [0, 1, 2]]
    assert found.scores[0].tolist() == pytest.approx([P * 2 / 3.2, P / 2.2, 0])
    assert found.scores[1].tolist() == pytest.approx([(P + F) / 2.2, P * 2 / 3.2, 0])


def test_a_longer_text_counts_for_less() -> None:
    found = LexicalIndex(["ferry and so on and on", "ferry", "port"]).rank(["ferry"], depth=2)
    assert found.columns.tolist() == [[1, 0]]
    assert found.scores[0, 0] > found.scores[0, 1] > 0


def test_a_word_is_found_by_what_it_shares_with_another() -> None:
    found = LexicalIndex(["a pilot", "the ferries", "harbours"]).rank(["ferry", "harbour"], depth=1)
    assert found.columns.tolist() == [[1], [2]]


def test_a_question_of_unknown_words_finds_nothing_and_fails_nowhere() -> None:
    found = LexicalIndex(TEXTS).rank(["zzz", "", "!?"], depth=9)
    assert found.columns.tolist() == [[0, 1, 2]] * 3
    assert found.scores.tolist() == [[0, 0, 0]] * 3


def test_texts_without_a_word_can_be_indexed() -> None:
    assert LexicalIndex(["...", "port"]).rank(["port"], depth=2).columns.tolist() == [[1, 0]]
    assert LexicalIndex(["...", ""]).rank(["port"], depth=1).scores.tolist() == [[0]]


def test_words_that_stand_together_beat_the_same_words_apart() -> None:
    filler = ["abc"] * 200  # of three terms, as "fee" is; "dock" is of four: 607, in four windows
    apart, together = ["dock", *filler, "fee"], [*filler, "dock", "fee"]
    found = LexicalIndex([" ".join(apart), " ".join(together)]).rank(["dock fee"], depth=2)
    assert found.columns.tolist() == [[1, 0]]
    whole = 7 * log(1 + 0.5 / 2.5) / 2.2  # both passages hold all seven terms
    last = log(1 + 6.5 / 2.5) / (1 + 1.2 * (0.25 + 0.75 * 151 / 151.75))  # two windows of eight do
    first = log(1 + 6.5 / 2.5) / (1 + 1.2 * (0.25 + 0.75 * 152 / 151.75))
    expected = [0.7 * whole + 0.3 * 7 * last, 0.7 * whole + 0.3 * 4 * first]
    assert found.scores[0].tolist() == pytest.approx(expected)


# Stretched to 0 to 1: passages 5, 6, 7 get 1, 0.5, 0 and passages 6, 8, 5 get 1, 0.25, 0.
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


def test_a_reranker_reorders_each_questions_own_ranks() -> None:
    before = Ranking(columns=np.array([[3, 1], [0, 2]]), scores=floats([9, 8], [9, 8]))
    contents = ["zero", "one", "two", "three"]
    assert pairs_of(before, ["a?", "b?"], contents) == [
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
