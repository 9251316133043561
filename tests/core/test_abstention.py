"""The threshold of abstention keeps its promise, and the risk of every other one is known."""

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from aloft.evaluation.abstention import fewest, fit_threshold, risks_at
from aloft.evaluation.blending import ORDER_WEIGHT
from aloft.evaluation.citations import CitationRule, CitedReadings, Readings, fit_rule
from aloft.retrieval.citing import cited, declines, doubts
from aloft.retrieval.relevance import Relevance

FOUR = np.array([0.4, 0.1, 0.3, 0.2])
EVERY = np.ones(3, bool)


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (0.2, 0.1),  # of five the first: 5 * 0.2
        (0.21, 0.2),  # 1.05, rounded up
        (0.6, 0.3),
        (0.8, 0.4),
        (0.81, None),  # of four none is the fifth
        (1.0, 1.0),  # all are answered
    ],
)
def test_the_threshold_is_the_quantile_of_one_question_more(
    share: float, expected: float | None
) -> None:
    assert fit_threshold(FOUR, share) == expected
    assert fit_threshold(FOUR[:0], share) == (1.0 if share == 1 else None)


@pytest.mark.parametrize(("share", "least"), [(0.5, 1), (0.8, 4), (0.9, 9), (0.95, 19)])
def test_it_takes_so_many_questions_to_promise_a_share(share: float, least: int) -> None:
    assert fewest(share) == least
    chances = np.linspace(0.9, 0.1, least)
    assert fit_threshold(chances, share) == 0.9
    assert fit_threshold(chances[1:], share) is None


@pytest.mark.parametrize(
    ("chance", "expected"),
    [
        (0.123400, 0.124),
        (0.124, 0.124),
        (0.99991, 1.0),
        (1.0, 1.0),
        (0.0, 0.0),
        (0.000012341, 0.0000124),
        (float(np.float32(0.3)), 0.301),  # 0.30000001192...
        (0.7, 0.7),
    ],
)
def test_a_threshold_is_rounded_up_to_three_digits(chance: float, expected: float) -> None:
    assert fit_threshold(np.array([chance]), 0.5) == expected


@pytest.mark.parametrize("count", [19, 40, 137])
@pytest.mark.parametrize("share", [0.8, 0.95])
def test_new_questions_of_the_same_kind_are_answered_as_promised(count: int, share: float) -> None:
    rng = np.random.default_rng(count)
    seen = []
    for _ in range(4000):
        *known, new = rng.beta(0.5, 4, count + 1)
        threshold = fit_threshold(np.array(known), share)
        assert threshold is not None
        seen.append(new <= threshold)
    # between the share and 1 / (count + 1) more; three standard errors of 4,000 draws beside
    error = 3 * math.sqrt(share * (1 - share) / 4000)
    assert share - error <= np.mean(seen) <= share + 1 / (count + 1) + error + 0.005


def test_the_risk_is_that_of_the_surest_answers() -> None:
    wrong = np.array([True, False, False, True])  # from the surest: 0.1, 0.2, 0.3, 0.4
    risks = risks_at((0.1, 0.25, 0.5, 0.75, 1.0), FOUR, wrong)
    assert risks == (0.0, 0.0, 0.5, 1 / 3, 0.5)


def test_answers_that_are_as_sure_count_as_their_mean() -> None:
    chances = np.array([0.5, 0.1, 0.5, 0.5, 0.5])
    wrong = np.array([True, False, False, True, False])
    expected = (0.0, 0.25, 1 / 3, 0.375, 0.4)
    for order in ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0]):
        risks = risks_at((0.2, 0.4, 0.6, 0.8, 1.0), chances[order], wrong[order])
        assert risks == pytest.approx(expected)


def test_what_exceeds_the_threshold_is_declined_however_unlikely() -> None:
    read = np.array([[0.6, 0.1, 0.3], [0.3, 0.3, 0.4], [0.8, 0.0, 0.2]], np.float32)
    assert declines(read, None).tolist() == [False, True, False]
    assert declines(read, 0.2).tolist() == [True, True, True]  # 0.2 in float32 is a little more
    assert declines(read, 0.201).tolist() == [True, True, False]
    assert declines(read, 0.5).tolist() == [False, False, False]


def test_doubts_of_the_generator_and_of_the_retriever_multiply_their_odds() -> None:
    read = np.array([[0.6, 0.4], [0.6, 0.4], [0.0, 1.0], [1.0, 0.0]], np.float32)
    assert doubts(read).tolist() == pytest.approx([0.4, 0.4, 1, 0])
    relevance = np.array([0.9, 0.2, 0.5, 1.0])
    found = doubts(read, relevance)
    # 2/3 times 1/9 and 2/3 times 4, as odds; without an opinion of the retriever the generator's
    assert found[:2].tolist() == pytest.approx([2 / 29, 8 / 11])
    assert found[2] == pytest.approx(1, abs=1e-5) and found[3] == pytest.approx(0, abs=1e-5)
    assert declines(read[:2], 0.5, relevance[:2]).tolist() == [False, True]
    assert declines(read[:2], None, relevance[:2]).tolist() == [False, False]  # "1" is likelier
    assert cited(read[:2], 1, 1.0, 0.5, relevance[:2]).tolist() == [1, 0]


def test_a_rule_reads_how_likely_the_best_of_the_passages_shown_answers() -> None:
    rule = CitationRule(threshold=0.5, relevance=Relevance(constant=0, similarity=1, overlap=0))
    features = np.zeros((2, 2, 3))
    features[:, :, 0] = [[0.0, math.log(3)], [-math.log(3), np.nan]]
    assert rule.highest(features) == pytest.approx(np.array([0.75, 0.25]))
    assert rule.highest(features[:, :0]) == pytest.approx(np.zeros(2))  # no passage is left
    assert CitationRule().highest(features) is None


def test_a_threshold_is_fitted_on_what_both_doubt() -> None:
    some = readings()  # "none" has odds of 1/9 and 1/4; to the retriever nothing answers, 3 and 1/3
    relevance = Relevance(constant=0, similarity=1, overlap=0)
    rule = fit_rule(some, are_human=True, answered_share=0.6, relevance=relevance)
    assert rule.relevance == relevance
    present, missing = some.doubts(rule)
    assert present[:2].tolist() == pytest.approx([1 / 4, 1 / 13])
    assert missing[:2].tolist() == pytest.approx([9 / 11, 1 / 10])  # 3/2 times 3, 1/9 times 1
    assert rule.threshold == 0.251  # the higher of 1/4 and 1/13, rounded up
    every = CitedReadings(readings=some, rules=[(EVERY, rule)])
    assert every.declined.tolist()[:2] == [1, 0]
    np.testing.assert_allclose(every.doubts[0], present)
    curve = every.curve("human", "tuned", rule, promised=0.6, fitted=None)
    # the surest: the second with and without its passage, at 1/13 and 1/10
    assert curve.risks[0] == 0.0
    assert curve.risks[3] == 0.5


def readings() -> Readings:
    """Of three questions on two passages: the right one second, first, and not retrieved."""
    return Readings(
        retrieved=np.array([[0.1, 0.8, 0.1], [0.6, 0.2, 0.2], [0.4, 0.1, 0.5]], np.float32),
        right=np.array([[False, True], [True, False], [False, False]]),
        missing=np.array([[0.3, 0.1, 0.6], [0.8, 0.1, 0.1], [np.nan] * 3], np.float32),
        features=similarities([[-math.log(3), np.nan], [math.log(3), 0.0], [0.0, 0.0]]),
        missing_features=similarities([[-math.log(3)], [0.0], [np.nan]]),
        documents=np.array(["a", "b", "c"]),
        coverage=np.array([0.2, 0.4, 0.1]),
    )


def similarities(values: list[list[float]]) -> NDArray[np.float64]:
    """Features of passages, of which only the similarity is not 0."""
    found = np.zeros((len(values), len(values[0]), 3))
    found[:, :, 0] = values
    return found


def test_the_rule_is_fitted_on_questions_whose_passage_was_retrieved() -> None:
    rule = fit_rule(readings(), are_human=True, answered_share=0.6)
    # of 0.1 and 0.2 the second, rounded up; 0.5 belongs to the one that was not retrieved
    assert rule.threshold == 0.201
    assert fit_rule(readings(), are_human=True, answered_share=0.95).threshold is None
    none = readings().among(np.zeros(3, bool))
    assert fit_rule(none, are_human=True, answered_share=0.6) == CitationRule()


def test_of_synthetic_questions_the_half_least_covered_fits_the_threshold() -> None:
    rule = fit_rule(readings(), are_human=False, answered_share=0.5)
    # of the two that were retrieved the one of a coverage of 0.2, whose chance of "none" is 0.1
    assert rule == CitationRule(order_weight=ORDER_WEIGHT, threshold=0.101)
    # 0.6 takes two of them, the higher of 0.1 and 0.2
    assert fit_rule(readings(), are_human=False, answered_share=0.6).threshold == 0.201
    assert fit_rule(readings(), are_human=False, answered_share=0.95).threshold is None
    assert fit_rule(readings(), are_human=False, answered_share=1.0).threshold == 1.0


def test_a_generator_that_diverged_has_no_threshold() -> None:
    read = readings()
    lost = replace(read, retrieved=np.full_like(read.retrieved, np.nan))
    for are_human in (False, True):
        assert fit_rule(lost, are_human=are_human, answered_share=0.6).threshold is None


def test_what_the_order_counts_for_is_chosen_as_if_all_were_answered() -> None:
    some = readings()
    # three of one kind: right up to a power of 3 (0.3 / 2^3 = 0.0375 to 0.03), though declined
    retrieved = np.array([[0.03, 0.3, 0.67]] * 3, np.float32)
    some = Readings(
        retrieved=retrieved,
        right=np.array([[False, True]] * 3),
        missing=some.missing,
        features=some.features,
        missing_features=some.missing_features,
        documents=some.documents,
        coverage=some.coverage,
    )
    rule = fit_rule(some, are_human=True, answered_share=0.5)
    assert rule == CitationRule(order_weight=3.0, threshold=0.671)
    without = Readings(
        retrieved=retrieved[:, :2],
        right=some.right,
        missing=np.zeros((3, 0), np.float32),
        features=some.features,
        missing_features=some.missing_features,
        documents=some.documents,
        coverage=some.coverage,
    )
    rule = fit_rule(without, are_human=True, answered_share=0.5)
    assert rule == CitationRule(order_weight=3.0)


def test_each_question_is_declined_by_its_own_rule() -> None:
    strict = CitationRule(order_weight=0.0, threshold=0.15)
    lax = CitationRule(order_weight=0.0, threshold=0.55)
    first = np.array([True, True, False])
    cited = CitedReadings(readings=readings(), rules=[(first, strict), (~first, lax)])
    assert cited.numbers.tolist() == [2, 0, 1]
    np.testing.assert_array_equal(cited.answered, [1, 0, np.nan])
    np.testing.assert_array_equal(cited.declined, [1, 0, np.nan])

    curve = cited.curve("human", "tuned", lax, promised=0.9, fitted=EVERY)
    assert (curve.threshold, curve.promised, curve.validation) == (0.55, 0.9, 1.0)
    assert (curve.answered, curve.present) == (0.5, 2)
    assert (curve.declined, curve.missing) == (0.5, 2)
    # of five askings the first and third with what was retrieved, and the second without, are
    # answered: the first of them rightly
    assert (curve.coverage, curve.risk) == (0.6, pytest.approx(2 / 3))
    # by the chance of "none", were all answered: 0.1 right, 0.1 without, 0.2 right, 0.5 and 0.6 not
    assert curve.risks[3] == curve.risks[1] == 0.5
    assert curve.risks[5] == pytest.approx(1 / 3)
    assert (curve.risks[7], curve.risks[9]) == (0.5, 0.6)
    assert curve.unanswerable is None
    second = np.array([False, True, False])
    strictly = cited.curve("synthetic", "tuned", strict, promised=0.9, fitted=second)
    assert strictly.validation == 0.0  # of the one that it was fitted on
    other = cited.curve("human", "tuned", lax, promised=0.9, fitted=None)
    assert other.validation is None


def test_where_nothing_is_answered_there_is_no_risk() -> None:
    never = CitationRule(threshold=0.0)
    cited = CitedReadings(readings=readings(), rules=[(EVERY, never)])
    curve = cited.curve("human", "tuned", never, promised=0.9, fitted=EVERY)
    assert (curve.coverage, curve.risk, curve.validation) == (0.0, None, 0.0)
    assert (
        curve.risks[9] == 0.8
    )  # by the order both first passages are cited, of which one is right
