"""When a generator abstains: a threshold that keeps a promise, and what every other one would cost.

A question is declined where it is likelier than the threshold that no passage answers it. A high
threshold answers more questions, and more of them wrongly: selective prediction (Geifman and
El-Yaniv 2017, arXiv:1705.08500), whose risk-coverage curve shows both.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

COVERAGES = tuple(round(0.1 * tenth, 1) for tenth in range(1, 11))
_DIGITS = 3  # of a threshold: readings in another batch differ by less


@dataclass(frozen=True, slots=True, kw_only=True)
class AbstentionCurve:
    """What a generator's threshold comes to on a question set, and what every other one would.

    Each question is asked twice: with the passages that were retrieved, and with those that follow
    in place of the right ones, so that an answer is wrong. Each asking is declined by the threshold
    that was fitted without its question's fold.

    Attributes:
        generator: "base" or "tuned".
        threshold: What ships with the generator, fitted on all questions of the set that decides;
            None: these are too few, and a question is declined where no passage is likelier.
        promised: Share of questions with a right passage among those shown that it must answer.
        validation: Share of those it was fitted on that `threshold` itself answers; None for
            another set.
        answered: Share of them that is answered; None where there is none.
        present: Their number.
        declined: Share of the askings without a right passage that is declined.
        missing: Their number.
        unanswerable: Share declined of the user's questions that nothing answers.
        coverage: Share of all askings that is answered.
        risk: Share of their answers that cites no right passage; None where nothing is answered.
        risks: The same at each of `coverages`, were those answered that are doubted least.
    """

    question_set: str
    generator: str
    threshold: float | None
    promised: float
    validation: float | None
    answered: float | None
    present: int
    declined: float | None
    missing: int
    unanswerable: float | None = None
    coverage: float
    risk: float | None
    risks: tuple[float, ...]
    coverages: tuple[float, ...] = COVERAGES


def fit_threshold(chances: NDArray[np.float64], answered_share: float) -> float | None:
    """The least threshold that a share of new questions stays below.

    Of n + 1 questions in random order the last is among the k of the lowest chance with a
    probability of k / (n + 1). So a new question is answered with at least the probability asked
    for, whatever the generator, as long as it is of the same kind.

    Args:
        chances: That nothing answers, of questions with a right passage among those shown;
            (questions,).
        answered_share: Share of such questions that must be answered, in (0, 1]; 1: all are.

    Returns:
        Rounded up to three significant digits; None with fewer than `fewest` questions.

    Source: split conformal prediction, with the quantile as in Angelopoulos and Bates 2021
    (arXiv:2107.07511).
    """
    if answered_share >= 1:
        return 1.0
    rank = math.ceil(round((len(chances) + 1) * answered_share, 9))
    if rank > len(chances):
        return None
    return _round_up(float(np.sort(chances)[rank - 1]))


def fewest(answered_share: float) -> int:
    """Questions that it takes to promise a share of answers; to answer all takes none."""
    if answered_share >= 1:
        return 0
    return math.ceil(round(answered_share / (1 - answered_share), 9))


def _round_up(chance: float) -> float:
    if chance <= 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(chance)) - _DIGITS + 1)
    return min(1.0, float(f"{math.ceil(round(chance / unit, 6)) * unit:.{_DIGITS}g}"))


def risks_at(
    coverages: Sequence[float], chances: NDArray[np.float64], wrong: NDArray[np.bool_]
) -> tuple[float, ...]:
    """Share of wrong answers where those with the lowest chance that nothing answers are given.

    Args:
        coverages: Shares of the askings that are answered, at least one of them.
        chances: That nothing answers; (askings,). Of equal ones each counts as their mean.
        wrong: Whether the answer cites no right passage; (askings,).
    """
    _, members = np.unique(chances, return_inverse=True)  # numbered from the lowest chance
    means = np.bincount(members, wrong) / np.bincount(members)
    risks = np.cumsum(means[np.sort(members)]) / np.arange(1, len(members) + 1)
    counts = np.maximum(1, np.rint(np.array(coverages) * len(members)).astype(int))
    return tuple(risks[counts - 1].tolist())
