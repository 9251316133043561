"""What a generator cites of what it read: chosen on some questions, and applied to others."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aloft.evaluation.abstention import (
    COVERAGES,
    AbstentionCurve,
    fewest,
    fit_threshold,
    risks_at,
)
from aloft.evaluation.blending import ORDER_WEIGHT, ORDER_WEIGHTS, choose_order_weight
from aloft.evaluation.splits import least_covered
from aloft.protocols import Floats
from aloft.retrieval.citing import NOTHING, cited, declines, doubts
from aloft.retrieval.relevance import Relevance


@dataclass(frozen=True, slots=True, kw_only=True)
class CitationRule:
    """What decides whether a passage is cited, and which; see `aloft.retrieval.citing`.

    Attributes:
        order_weight: What the order of passages counts for.
        threshold: Of `aloft.retrieval.citing.doubts`, above which a question is declined; None:
            it is where no passage is likelier.
        relevance: What tells how likely a passage answers, which counts for these doubts; None:
            the generator alone has them.
    """

    order_weight: float = ORDER_WEIGHT
    threshold: float | None = None
    relevance: Relevance | None = None

    def highest(self, features: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """The highest probability that a passage of each question answers; (questions,).

        Args:
            features: Of each passage with its question, NaN where there are fewer; (questions,
                passages, 3).
        """
        if self.relevance is None:
            return None
        known = self.relevance.probabilities(features)
        highest: NDArray[np.float64] = np.nan_to_num(known, nan=0.0).max(axis=1, initial=0.0)
        return highest


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """What a generator read of questions: how likely its replies begin with each citation.

    Attributes:
        retrieved: With the passages that were retrieved, in their order; (questions, choices).
        right: Whether each of these is right; (questions, passages).
        missing: With those that follow in place of the right ones, NaN where no passage is left;
            without choices where the generator may not abstain.
        features: Of each passage that was retrieved with its question, by which a rule's relevance
            is computed; (questions, passages, 3).
        missing_features: Likewise of those in place of the right ones, NaN where there are fewer.
        documents: (questions,), what each question is about.
        coverage: How much of each question BM25 covers; (questions,).
    """

    retrieved: Floats
    right: NDArray[np.bool_]
    missing: Floats
    features: NDArray[np.float64]
    missing_features: NDArray[np.float64]
    documents: NDArray[np.str_]
    coverage: NDArray[np.float64]

    @property
    def abstains(self) -> bool:
        """Whether "none" is among the choices."""
        return bool(self.missing.shape[1])

    @property
    def is_present(self) -> NDArray[np.bool_]:
        """Whether a right passage is among those shown; (questions,)."""
        found: NDArray[np.bool_] = self.right.sum(axis=1) > 0
        return found

    def among(self, mask: NDArray[np.bool_]) -> "Readings":
        """What was read of some of the questions."""
        return Readings(
            retrieved=self.retrieved[mask],
            right=self.right[mask],
            missing=self.missing[mask],
            features=self.features[mask],
            missing_features=self.missing_features[mask],
            documents=self.documents[mask],
            coverage=self.coverage[mask],
        )

    def cite(self, rule: CitationRule) -> NDArray[np.intp]:
        """The number that each reply begins with, from 1, or `NOTHING`; (questions,)."""
        shown, relevance = self.right.shape[1], rule.highest(self.features)
        return cited(self.retrieved, shown, rule.order_weight, rule.threshold, relevance)

    def doubts(self, rule: CitationRule) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """How likely nothing that is shown answers, with what was retrieved and without the right.

        Returns:
            (questions,) twice; NaN where no passage is left.
        """
        return (
            doubts(self.retrieved, rule.highest(self.features)),
            doubts(self.missing, rule.highest(self.missing_features)),
        )

    def declined(self, rule: CitationRule) -> NDArray[np.bool_]:
        """Whether each question is declined without its right passages; (questions,)."""
        return declines(self.missing, rule.threshold, rule.highest(self.missing_features))

    def are_right(self, numbers: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Whether each number is that of a right passage; (questions,)."""
        chosen = np.take_along_axis(self.right, np.maximum(numbers, 1)[:, None] - 1, axis=1)
        found: NDArray[np.bool_] = chosen[:, 0] & (numbers != NOTHING)
        return found


def fitted_on(readings: Readings, *, are_human: bool, answered_share: float) -> NDArray[np.bool_]:
    """Which questions a threshold is fitted on; (questions,).

    They have a right passage among those shown; of synthetic ones, those most like people's.
    """
    present = readings.is_present
    if not are_human:
        present[present] = least_covered(readings.coverage[present], fewest(answered_share))
    return present


def fit_rule(
    readings: Readings,
    *,
    are_human: bool,
    answered_share: float,
    relevance: Relevance | None = None,
) -> CitationRule:
    """Choose what is cited by on some questions.

    Args:
        readings: Of these questions; where there are none, the prior is chosen.
        are_human: Whether people asked them. Only then they choose what the order counts for.
        answered_share: Of those with a right passage among what is shown, as many are answered.
        relevance: Fitted on these questions; None: the generator alone decides to abstain.
    """
    rule = CitationRule()
    if not len(readings.right):
        return rule
    if are_human:  # which passage is cited if one is
        some = [_always(CitationRule(order_weight=weight)) for weight in ORDER_WEIGHTS]
        right = np.stack([readings.are_right(readings.cite(one)) for one in some], axis=1)
        weight = choose_order_weight(right.astype(float), readings.documents.tolist())
        rule = replace(rule, order_weight=weight)
    if not readings.abstains:
        return rule
    rule = replace(rule, relevance=relevance)
    fitted = fitted_on(readings, are_human=are_human, answered_share=answered_share)
    present, _ = readings.doubts(rule)
    known = present[fitted & np.isfinite(present)]  # one whose training diverged returns none
    return replace(rule, threshold=fit_threshold(known, answered_share))


@dataclass(frozen=True, slots=True, kw_only=True)
class CitedReadings:
    """What was read, with the rule for each question.

    Attributes:
        rules: Each with the questions it is for; every question has one.
    """

    readings: Readings
    rules: Sequence[tuple[NDArray[np.bool_], CitationRule]]

    @property
    def numbers(self) -> NDArray[np.intp]:
        """The number that each reply begins with, or `NOTHING`; (questions,)."""
        found = np.zeros(len(self.readings.right), np.intp)
        for mask, rule in self.rules:
            found[mask] = self.readings.among(mask).cite(rule)
        return found

    @property
    def answered(self) -> NDArray[np.float64]:
        """Whether each question is answered; (questions,), NaN without a right passage."""
        return np.where(self.readings.is_present, self.numbers != NOTHING, np.nan)

    @property
    def declined(self) -> NDArray[np.float64]:
        """Whether each is declined without its right passages; NaN where no passage is left."""
        missing = self.readings.missing
        found = np.zeros(len(missing), bool)
        for mask, rule in self.rules:
            found[mask] = self.readings.among(mask).declined(rule)
        return np.where(np.isnan(missing[:, -1]), np.nan, found)

    @property
    def doubts(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """See `Readings.doubts`; of each question by its own rule."""
        found = np.zeros((2, len(self.readings.right)))
        for mask, rule in self.rules:
            found[:, mask] = self.readings.among(mask).doubts(rule)
        present, missing = found
        return present, missing

    def curve(
        self,
        question_set: str,
        generator: str,
        shipped: CitationRule,
        *,
        promised: float,
        fitted: NDArray[np.bool_] | None,
    ) -> AbstentionCurve:
        """What abstaining comes to.

        Args:
            question_set: Name of the set.
            generator: "base" or "tuned".
            shipped: The rule that ships with the generator.
            promised: Share of the questions with a right passage that must be answered.
            fitted: Which questions that rule's threshold was fitted on; None: none of these.
        """
        by_shipped = replace(self, rules=[(np.ones(len(self.readings.right), bool), shipped)])
        numbers, answered, declined = self.numbers, self.answered, self.declined
        asked = ~np.isnan(declined)
        present, missing = self.doubts
        best = replace(self, rules=[(mask, _always(rule)) for mask, rule in self.rules]).numbers
        nothing = np.ones(int(asked.sum()), bool)  # is right where the right passages are missing
        given = np.concatenate([numbers != NOTHING, declined[asked] == 0])
        wrong = np.concatenate([~self.readings.are_right(numbers), nothing])
        return AbstentionCurve(
            question_set=question_set,
            generator=generator,
            threshold=shipped.threshold,
            promised=promised,
            validation=None if fitted is None else _mean(by_shipped.answered[fitted]),
            answered=_mean(answered),
            present=int((~np.isnan(answered)).sum()),
            declined=_mean(declined),
            missing=len(nothing),
            coverage=float(given.mean()),
            risk=float(wrong[given].mean()) if given.any() else None,
            risks=risks_at(
                COVERAGES,
                np.concatenate([present, missing[asked]]),
                np.concatenate([~self.readings.are_right(best), nothing]),
            ),
        )


def _always(rule: CitationRule) -> CitationRule:
    """The same without abstaining."""
    return replace(rule, threshold=math.inf)


def _mean(values: NDArray[np.float64]) -> float | None:
    """Of those that are defined."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else None
