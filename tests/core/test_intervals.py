"""The interval of a gain: paired, reproducible, and as wide as the textbook has it."""

import numpy as np
import pytest
from numpy.typing import NDArray

from aloft.errors import DataError
from aloft.evaluation.bootstrap import Comparison, compare

HALF = np.repeat([0.0, 1.0], 100)


def compared(
    before: NDArray[np.float64], after: NDArray[np.float64], *, resamples: int = 2000, seed: int = 0
) -> Comparison:
    return compare("hit@1", before, after, resamples=resamples, seed=seed)


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


def test_as_many_resamples_as_asked_for() -> None:
    after = np.linspace(0, 1, 50)
    found = compared(np.zeros(50), after, resamples=1)
    assert found.low == found.high  # one mean has no spread

    # of so many questions one resample at a time fits; a second one gives the interval its width
    many = np.tile([0.0, 1.0], 2_000_000)
    found = compared(np.zeros(len(many)), many, resamples=2)
    assert 0.498 < found.low < found.high < 0.502  # standard error 0.00025


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


def test_one_question_has_an_interval_of_its_own_gain() -> None:
    found = compared(np.array([0.25]), np.array([0.75]))
    assert (found.gain, found.low, found.high, found.n) == (0.5, 0.5, 0.5, 1)


@pytest.mark.parametrize(("before", "after"), [(0, 0), (2, 3), (3, 2), (0, 1)])
def test_what_can_not_be_paired_is_refused(before: int, after: int) -> None:
    with pytest.raises(DataError, match=f"hit@1: {before} values before, {after} after"):
        compared(np.zeros(before), np.zeros(after))
