"""Shares worked out by hand: coverage, lines over it, and what held-out questions choose."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aloft.evaluation.blending import (
    BODY_RERANK_SHARE,
    DENSE_SHARE,
    ORDER_WEIGHT,
    ORDER_WEIGHTS,
    RERANK_SHARE,
    SHARES,
    choose,
    choose_order_weight,
    fit_share,
    rerank_table,
    share_table,
)
from aloft.evaluation.retrieval_metrics import measure_ranking
from aloft.retrieval.bm25 import BM25Index
from aloft.retrieval.fusion import CoverageShare, blend, fuse
from aloft.retrieval.ranking import Ranking

# ---- coverage


def covered(texts: list[str], question: str) -> float:
    index = BM25Index(texts)
    return float(index.coverage([question], index.rank([question], len(texts)))[0])


def idf(passages: int, holding: int) -> float:
    return math.log(1 + (passages - holding + 0.5) / (holding + 0.5))


def test_coverage_is_the_largest_share_of_a_questions_weight_in_one_passage() -> None:
    # digits are terms of their own: no parts of words are indexed beside them
    texts = ["11 22", "11 33", "44", "55"]
    assert covered(texts, "11 22") == pytest.approx(1)
    whole = idf(4, 2) + 2 * idf(4, 1)
    assert covered(texts, "11 22 33") == pytest.approx((idf(4, 2) + idf(4, 1)) / whole)
    # a term that stands nowhere counts as missing; one that occurs twice counts once
    assert covered(texts, "22 22 99") == pytest.approx(idf(4, 1) / (idf(4, 1) + idf(4, 0)))
    assert covered(texts, "99") == 0
    assert covered(texts, "") == 0


def test_only_the_first_three_passages_can_cover() -> None:
    # the fourth passage holds two terms of three, yet long texts rank low
    texts = ["11", "22", "33", "11 22 " + "44 " * 500]
    ranking = BM25Index(texts).rank(["11 22 33"], 4)
    assert ranking.columns[0].tolist()[3] == 3
    assert covered(texts, "11 22 33") == pytest.approx(idf(4, 1) / (2 * idf(4, 2) + idf(4, 1)))


def test_a_share_is_linear_in_coverage_and_cut() -> None:
    share = CoverageShare(uncovered=1.2, covered=-0.3)
    found = share.of(np.array([0.0, 0.2, 0.5, 0.8, 1.0]))
    assert found.tolist() == [1.0, pytest.approx(0.9), pytest.approx(0.45), 0.0, 0.0]
    assert CoverageShare.constant(0.4).of(np.array([0.0, 1.0])).tolist() == [0.4, 0.4]
    assert CoverageShare.constant(0.4).is_constant
    assert not share.is_constant


# ---- tables of shares


def random_ranking(seed: int, questions: int, passages: int, depth: int) -> Ranking:
    rng = np.random.default_rng(seed)
    scores = rng.random((questions, passages)).astype(np.float32)
    columns = np.argsort(-scores, axis=1)[:, :depth]
    return Ranking(columns=columns, scores=np.take_along_axis(scores, columns, axis=1))


@given(st.integers(0, 200))
def test_a_table_holds_what_the_hybrid_at_each_share_measures(seed: int) -> None:
    dense, lexical = (random_ranking(2 * seed + i, 5, 30, 12) for i in (0, 1))
    gold = [frozenset({row, row + 7}) for row in range(5)]
    table = share_table(dense, lexical, gold)
    for column in (0, 3, 10, 20):
        fused = fuse(dense, lexical, 10, float(SHARES[column]))
        assert table[:, column] == pytest.approx(measure_ranking(fused, gold)["ndcg@10"])
    each = fuse(dense, lexical, 10, SHARES[[0, 3, 10, 20, 4]])
    expected = [table[row, column] for row, column in enumerate((0, 3, 10, 20, 4))]
    assert measure_ranking(each, gold)["ndcg@10"].tolist() == pytest.approx(expected)


@given(st.integers(0, 200))
def test_a_rerankers_table_holds_what_the_blend_at_each_share_measures(seed: int) -> None:
    first = random_ranking(seed, 4, 30, 12)
    scores = np.random.default_rng(seed).random(4 * 12).astype(np.float32)
    gold = [frozenset({row}) for row in range(4)]
    table = rerank_table(first, scores, gold)
    for column in (0, 7, 20):
        blended = blend(first, scores, float(SHARES[column]))
        assert table[:, column] == pytest.approx(measure_ranking(blended, gold)["ndcg@10"])
    each = blend(first, scores, SHARES[[0, 7, 20, 3]])
    expected = [table[row, column] for row, column in enumerate((0, 7, 20, 3))]
    assert measure_ranking(each, gold)["ndcg@10"].tolist() == pytest.approx(expected)


def test_a_blend_weighs_both_sides_stretched() -> None:
    first = Ranking(
        columns=np.array([[5, 2, 7]]), scores=np.array([[4.0, 3.0, 0.0]], np.float32)
    )  # stretched: 1, 0.75, 0
    scores = np.array([-1.0, 0.0, 1.0], np.float32)  # stretched: 0, 0.5, 1
    assert blend(first, scores, 0).columns.tolist() == [[5, 2, 7]]
    half = blend(first, scores, 0.5)
    assert half.columns.tolist() == [[2, 5, 7]]  # 0.625, and 0.5 twice: the earlier rank leads
    assert half.scores[0].tolist() == pytest.approx([0.625, 0.5, 0.5])
    whole = blend(first, scores, 1)
    assert (whole.columns.tolist(), whole.scores.tolist()) == ([[7, 2, 5]], [[1, 0, -1]])


# ---- choosing


POINTS = np.array([[0.0], [0.5], [1.0]])


def test_the_best_is_chosen_where_it_is_clearly_better() -> None:
    values = np.array([[0.1, 0.5, 0.9]] * 4)  # every document agrees: no error at all
    assert choose(values, list("abcd"), POINTS, np.array([0.0])) == 2


def test_the_nearest_to_the_prior_is_chosen_within_one_standard_error_of_the_best() -> None:
    # the last is better by 0.2 on average: by 1, 0, 0 and -0.2. The deviations from the mean are
    # 0.8, -0.2, -0.2, -0.4, and the error sqrt(0.64 + 0.04 + 0.04 + 0.16) / 4 = 0.2345
    gains = np.array([1.0, 0.0, 0.0, -0.2])
    values = np.stack([np.zeros(4), np.full(4, -1.0), gains], axis=1)
    assert choose(values, list("abcd"), POINTS, np.array([0.0])) == 0
    assert choose(values, list("abcd"), POINTS, np.array([0.4])) == 0  # the second is far worse
    assert choose(values, list("abcd"), POINTS, np.array([0.9])) == 2
    # here it is better by 0.25, beyond the error sqrt(0.36 + 3 * 0.04) / 4 = 0.173
    gains = np.array([0.85, 0.05, 0.05, 0.05])
    values = np.stack([np.zeros(4), np.full(4, -1.0), gains], axis=1)
    assert choose(values, list("abcd"), POINTS, np.array([0.0])) == 2


def test_questions_of_one_document_err_together() -> None:
    gains = np.array([1.0, 1.0, -0.4, -0.4])
    values = np.stack([np.zeros(4), gains, np.full(4, -1.0)], axis=1)
    # apart: deviations of 0.7, error 1.4 / 4 = 0.35 beyond the gain of 0.3; together even more
    assert choose(values, list("abcd"), POINTS, np.array([0.0])) == 0
    assert choose(values, list("aabb"), POINTS, np.array([0.0])) == 0
    # paired so that each document has one of both, they do not err at all
    assert choose(values, list("abab"), POINTS, np.array([0.0])) == 1


def test_shares_stay_at_the_prior_where_all_are_alike_and_move_where_one_is_clear() -> None:
    coverage, documents = np.array([0.2, 0.5, 0.9]), list("abc")
    alike = np.full((3, len(SHARES)), 0.5)
    dense_alone = np.tile((SHARES == 1).astype(float), (3, 1))
    for prior in (DENSE_SHARE, RERANK_SHARE, BODY_RERANK_SHARE):
        assert fit_share(alike, coverage, documents, prior) == prior
        whole = fit_share(dense_alone, coverage, documents, prior)
        assert whole.of(coverage).tolist() == [1, 1, 1]
        never = fit_share(dense_alone[:, ::-1], coverage, documents, prior)
        assert never.of(coverage).tolist() == [0, 0, 0]
    assert never.is_never
    assert not RERANK_SHARE.is_never


# ---- what the order counts for


def right_at(*weights: float) -> np.ndarray:
    return np.array([[float(weight in weights) for weight in ORDER_WEIGHTS]])


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ((), ORDER_WEIGHT),  # nothing is right: all are alike
        (ORDER_WEIGHTS, ORDER_WEIGHT),
        ((2.0,), 2.0),
        ((0.0, 0.5, 1.0), 1.0),
        ((6.0, 8.0, 100.0), 6.0),
        ((1.0, 8.0), 8.0),  # two places from the prior, not three
        ((0.5, 100.0), 100.0),  # three places, not four
        ((3.0, 6.0), 3.0),  # as near: the first
    ],
)
def test_the_weight_that_is_right_nearest_to_the_prior_is_chosen(
    weights: tuple[float, ...], expected: float
) -> None:
    assert choose_order_weight(right_at(*weights).repeat(4, axis=0), list("abcd")) == expected


def test_a_weight_is_left_for_one_that_is_better_by_a_standard_error_over_documents() -> None:
    # three questions want 1 or less, the last one 2 or more: the prior lacks a half, with an error
    # of sqrt(3 * (1/2)^2 + (3/2)^2) / 4 = 0.43
    right = np.concatenate([right_at(0.0, 0.5, 1.0)] * 3 + [right_at(*ORDER_WEIGHTS[3:])])
    assert choose_order_weight(right, list("abcd")) == 1.0
    # two documents: deviations of 3 * 1/2 and -3/2 give an error of sqrt(2) * 1.5 / 4 = 0.53
    assert choose_order_weight(right, list("aaab")) == ORDER_WEIGHT
