"""The interval of a gain: paired, by document, reproducible, and as wide as the textbook has it."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from aloft.errors import DataError
from aloft.evaluation import bootstrap
from aloft.evaluation.bootstrap import Comparison, compare

HALF = np.repeat([0.0, 1.0], 100)


def compared(
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    documents: Sequence[str] | None = None,
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Where no documents are given, each question is about its own."""
    own = [str(i) for i in range(len(before))]
    return compare("hit@1", before, after, documents or own, resamples=resamples, seed=seed)


def test_means_gain_and_number_are_those_of_the_values() -> None:
    found = compared(np.array([0.0, 0.5, 1.0, 0.5]), np.array([1.0, 0.5, 1.0, 1.0]))

    assert (found.metric, found.n) == ("hit@1", 4)
    assert (found.before, found.after, found.gain) == (0.5, 0.875, 0.375)
    assert found.low <= found.gain <= found.high


def test_the_interval_of_a_known_case() -> None:
    # 100 of 200 questions gain 1: standard error 0.5 / sqrt(200), the normal interval 1.96 of it
    found = compared(np.zeros(200), HALF, resamples=10_000)

    width = 1.96 * 0.5 / 200**0.5  # 0.0693
    assert found.low == pytest.approx(0.5 - width, abs=0.0075)  # means lie 1/200 apart
    assert found.high == pytest.approx(0.5 + width, abs=0.0075)


def test_as_many_resamples_as_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    after = np.linspace(0, 1, 50)
    found = compared(np.zeros(50), after, resamples=1)
    assert found.low == found.high  # one mean has no spread

    # of so many questions one resample at a time fits; a second one gives the interval its width
    monkeypatch.setattr(bootstrap, "_BLOCK", 100_000)
    many = np.tile([0.0, 1.0], 50_000)
    found = compared(np.zeros(len(many)), many, resamples=2)
    assert 0.48 < found.low < found.high < 0.52  # standard error 0.0016


def test_the_same_seed_gives_the_same_interval_and_another_one_another() -> None:
    after = np.linspace(-0.3, 0.7, 40)
    first = compared(np.zeros(40), after, seed=3)

    assert compared(np.zeros(40), after, seed=3) == first
    assert compared(np.zeros(40), after, seed=4).low != first.low


def test_no_difference_has_no_width() -> None:
    found = compared(HALF, HALF)
    assert (found.gain, found.low, found.high) == (0, 0, 0)


def test_questions_are_paired() -> None:
    # each question gains exactly 1/8; unpaired the interval would be 0.2 wide
    found = compared(HALF, HALF + 0.125)
    assert (found.gain, found.low, found.high) == (0.125, 0.125, 0.125)

    # the same two sets of values in another order: a question gains 1 or loses 1
    other = compared(HALF, HALF[::-1])
    assert other.gain == 0
    assert other.low < -0.1 < 0.1 < other.high


def test_before_and_after_are_not_exchanged() -> None:
    found = compared(np.ones(9), np.zeros(9))
    assert (found.before, found.after, found.gain) == (1, 0, -1)
    assert (found.low, found.high) == (-1, -1)


@pytest.mark.parametrize("n", [1, 5])
def test_questions_about_one_document_have_no_interval(n: int) -> None:
    found = compared(np.full(n, 0.25), np.full(n, 0.75), ["a"] * n)
    assert (found.gain, found.n, found.clusters) == (0.5, n, 1)
    assert (found.low, found.high) == (None, None)
    assert found.includes_loss and not found.is_loss


def test_two_documents_with_opposite_gains_tell_nothing() -> None:
    # a draw of both documents is a and a (1 in 4), a and b (2 in 4) or b and b (1 in 4)
    gains = np.array([1.0, 1.0, 1.0, -1.0])
    found = compared(np.zeros(4), gains, ["a", "a", "a", "b"])

    assert (found.gain, found.n, found.clusters) == (0.5, 4, 2)
    assert (found.low, found.high) == (-1, 1)
    # resampled one by one the same questions seem to exclude a loss
    assert (compared(np.zeros(40), np.tile(gains, 10)).low or 0) > 0


def test_a_document_counts_as_much_as_it_has_questions() -> None:
    # b has one question of four: with equal odds the mean of a draw is 1/2 or 0 or 1
    found = compared(np.zeros(4), np.array([1.0, 0, 0, 0]), ["b", "a", "a", "a"])
    assert (found.gain, found.low, found.high) == (0.25, 0, 1)
    halves = compared(np.zeros(4), np.array([1.0, 0, 0, 0]), ["b", "a", "a", "a"], resamples=100)
    assert {halves.low, halves.high} == {0, 1}


def test_the_order_of_questions_within_documents_changes_nothing() -> None:
    values, documents = np.array([0.1, 0.5, -0.2, 0.3, 0.0]), ["a", "a", "b", "b", "c"]
    order = [1, 0, 3, 2, 4]
    first = compared(np.zeros(5), values, documents)
    second = compared(np.zeros(5), values[order], [documents[i] for i in order])
    assert (first.low, first.high) == pytest.approx((second.low, second.high))


@pytest.mark.parametrize("seed", range(5))
def test_with_one_question_a_document_it_is_the_bootstrap_over_questions(seed: int) -> None:
    values = np.random.default_rng(seed).uniform(-1, 1, 37)
    found = compared(np.zeros(37), values, resamples=500, seed=seed)

    drawn = np.random.default_rng(seed).integers(0, 37, (500, 37))
    # Student's t with 36 degrees of freedom has 2.5 % above 2.0281; times sqrt(37 / 36) it is
    # 2.0561, beyond which the normal distribution has 1.989 %
    low, high = np.percentile(values[drawn].mean(1), [1.989, 98.011])
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))
    assert found.clusters == found.n == 37


@pytest.mark.parametrize(("documents", "plain"), [(8, 0.10), (15, 0.06)])
def test_few_documents_seldom_show_a_gain_that_is_not_there(documents: int, plain: float) -> None:
    rng, names = np.random.default_rng(0), [str(i) for i in range(documents)]
    draws = rng.normal(size=(400, documents))
    intervals = [compared(np.zeros(documents), d, names, resamples=400, seed=0) for d in draws]
    wrong = np.mean([(one.low or 0) > 0 or (one.high or 0) < 0 for one in intervals])
    assert wrong < 0.09
    # the plain percentiles, which take few documents for many
    rows = np.random.default_rng(0).integers(0, documents, (400, documents))
    ends = np.percentile(draws[:, rows].mean(2), [2.5, 97.5], axis=1)
    assert np.mean((ends[0] > 0) | (ends[1] < 0)) > plain


def test_alike_questions_of_a_document_are_no_further_evidence() -> None:
    """Ten documents say one thing each, however often they are asked."""
    values = np.array([1.0, 1, 1, 1, 1, 1, 1, -1, -1, -1])
    once = compared(np.zeros(10), values)
    often = compared(np.zeros(200), np.repeat(values, 20), [str(i // 20) for i in range(200)])
    assert (often.low, often.high) == (once.low, once.high)
    by_question = compared(np.zeros(200), np.repeat(values, 20))
    assert (by_question.high or 0) - (by_question.low or 0) < 0.5 * (
        (often.high or 0) - (often.low or 0)
    )


@pytest.mark.parametrize(
    ("before", "after", "documents"), [(0, 0, 0), (2, 3, 2), (3, 2, 2), (0, 1, 0), (2, 2, 3)]
)
def test_values_that_cannot_be_paired_are_refused(before: int, after: int, documents: int) -> None:
    said = f"hit@1: {before} values before, {after} after, {documents} documents"
    with pytest.raises(DataError, match=said):
        compare(
            *("hit@1", np.zeros(before), np.zeros(after), ["a"] * documents),
            resamples=10,
            seed=0,
        )
