"""What sites tell each other of shares, worked out by hand: gains, averages, what is expected."""

from typing import Any

import numpy as np
import pytest

from aloft.evaluation.blending import DENSE_SHARE, LINES, SHARES, Expected, fit_share, shrink
from aloft.evaluation.shared_shares import (
    PRIORS,
    expect,
    expected_from_json,
    expected_to_json,
    find_gains_fault,
    gains_key,
    leave_out,
    measure_gains,
    no_gains,
)
from aloft.protocols import Floats

HALF = 0.5  # coverage, at which the prior's dense share is 0.5
WHOLE = [line.of(np.array([HALF]))[0] == 1 for line in LINES].index(True)


def rising(*slopes: float) -> np.ndarray:
    """nDCG@10 of questions that rises with the dense share: at a share of 1 it is the slope."""
    return np.outer(slopes, SHARES)


def expecting(means: Any, variance: float, noise: float = 0.0) -> Expected:
    """The same variances for all lines."""
    same = np.ones(len(LINES))
    return Expected(means=means * same, variances=variance * same, noise=noise * same)


def gains_of(mean: float, variance: float = 0.0) -> dict[str, Floats]:
    """The same for all shares and lines."""
    row = np.array([[mean], [mean**2], [variance]], np.float32)
    return {name: np.repeat(row, len(LINES), axis=1) for name in PRIORS}


def test_gains_are_over_the_prior_and_vary_by_document() -> None:
    found = measure_gains(rising(1.0, 0.5, 0.0, 0.0), np.full(4, HALF), list("aabb"), DENSE_SHARE)
    # from a share of 0.5 to 1 the questions gain 0.5, 0.25, 0 and 0. From their mean of 0.1875 the
    # documents lie 0.375 apart on either side: the mean's error is sqrt(2) * 0.375 / 4
    mean, square, variance = found[:, WHOLE]
    assert mean == pytest.approx(0.1875)
    assert square == pytest.approx(0.1875**2)
    assert variance == pytest.approx(4 * 2 * 0.375**2 / 4**2)
    same = [line.of(np.array([HALF]))[0] for line in LINES].index(0.5)
    assert found[:, same].tolist() == [0, 0, 0]  # the prior by another slope


def test_what_is_a_sites_own_is_taken_out_of_the_average() -> None:
    own, other = gains_of(0.2, 0.5), gains_of(0.6, 0.1)
    average = {name: (own[name] + 3 * other[name]) / 4 for name in PRIORS}  # 1 and 3 questions
    assert average["tuned_dense"][:, 0].tolist() == pytest.approx([0.5, 0.28, 0.2])
    found = leave_out(average, 4, own, 1)
    for name in PRIORS:
        np.testing.assert_allclose(found[name], other[name], rtol=1e-6)
    for name, values in leave_out(average, 4, {}, 0).items():  # it is not in it
        np.testing.assert_allclose(values, average[name])
    assert all(not values.any() for values in leave_out(own, 1, own, 1).values())


def test_expected_is_the_mean_of_sites_with_their_spread() -> None:
    one, other = gains_of(0.1, 0.8), gains_of(0.3, 0.0)
    average = {name: (10 * one[name] + 30 * other[name]) / 40 for name in PRIORS}
    found = expect(average, questions=40, sites=2)["tuned_late"]
    # squares have a mean of (10 * 0.01 + 30 * 0.09) / 40 = 0.07, so that sites spread by
    # (0.07 - 0.25 ** 2) * 2 = 0.015: a third one by 1.5 times that, and the mean by 0.2 / 40
    assert found.means == pytest.approx(np.full(len(LINES), 0.25))
    assert found.variances == pytest.approx(np.full(len(LINES), 0.0225 + 0.005), rel=1e-4)
    assert found.noise == pytest.approx(np.full(len(LINES), 0.2))
    again = expected_from_json(expected_to_json({"tuned_late": found}))["tuned_late"]
    assert again.variances.tolist() == found.variances.tolist()


@pytest.mark.parametrize(("questions", "sites"), [(40, 1), (0, 0), (0, 2)])
def test_nothing_is_expected_where_it_is_not_known_how_sites_differ(
    questions: int, sites: int
) -> None:
    assert expect(gains_of(0.3), questions, sites) == {}


def test_gains_are_drawn_to_what_is_expected_by_how_surely_both_are_known() -> None:
    # own gains of 0.4 and -0.2: a mean of 0.1 with a squared error of 2 * 0.3 ** 2 / 4 = 0.045
    values = np.zeros((2, 1 + len(LINES)))
    values[0, 1:], values[1, 1:] = 0.4, -0.2
    means, variances = shrink(values, list("ab"), expecting(0.4, 0.015))
    assert means[1] == pytest.approx(0.25 * 0.1 + 0.75 * 0.4)  # a quarter is 0.015 / 0.06
    assert variances[1] == pytest.approx(0.25 * 0.045)
    assert (means[0], variances[0]) == (0, 0)  # the prior over itself
    assert shrink(values, list("ab"), expecting(0.4, 1e9))[0][1] == pytest.approx(0.1)
    # of two questions about one document nothing is known but how questions vary elsewhere
    means, variances = shrink(values, list("aa"), expecting(0.4, 0.015, noise=0.09))
    assert means[1] == pytest.approx(0.25 * 0.1 + 0.75 * 0.4)  # 0.09 / 2 is 0.045 again


def test_few_questions_follow_the_others_and_many_their_own() -> None:
    lines = np.array([line.of(np.array([HALF]))[0] for line in LINES])
    # elsewhere nDCG@10 rises by 0.4 with the dense share, give or take 0.05
    beside = expecting(0.4 * (lines - 0.5), 0.05**2)
    falling = [-0.7, 0.3]  # here it falls by 0.2 on average

    def share(repeats: int, expected: Expected | None) -> float:
        values = rising(*falling * repeats)
        documents = [str(i) for i in range(len(values))]
        coverage = np.full(len(values), HALF)
        chosen = fit_share(values, coverage, documents, DENSE_SHARE, expected)
        return float(chosen.of(np.array([HALF]))[0])

    assert share(2, None) == 0.5  # four questions leave it at the prior
    assert share(2, beside) == pytest.approx(1.0, abs=0.11)
    assert share(500, None) == share(500, beside) == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda g: g.pop("tuned_late"), "must hold untuned_dense"),
        (lambda g: g.update(other=g["tuned_late"]), "must hold untuned_dense"),
        (lambda g: g.update(tuned_late=g["tuned_late"][:, :-1]), "has the shape"),
        (lambda g: g["tuned_late"].__setitem__((0, 3), np.nan), "not finite"),
        (lambda g: g["tuned_late"].__setitem__((0, 3), -1.5), "a gain beyond 1"),
        (lambda g: g["tuned_late"].__setitem__((2, 3), -0.1), "below 0"),
    ],
)
def test_what_cannot_be_gains_is_refused(change: object, said: str) -> None:
    gains = gains_of(0.3, 0.2)
    assert find_gains_fault(gains) is None
    assert find_gains_fault(no_gains()) is None
    change(gains)  # type: ignore[operator]
    assert said in str(find_gains_fault(gains))


def test_sites_that_measure_with_another_model_are_told_apart() -> None:
    weights = {"one": np.zeros((2, 2), np.float32), "two": np.ones(3, np.float32)}
    key = gains_key("base", weights)
    assert key == gains_key("base", dict(reversed(weights.items())))
    assert key != gains_key("another", weights)
    assert key != gains_key("base", {**weights, "two": np.zeros(3, np.float32)})
