"""What a generator cites of what it read: chosen on some questions, and applied to others."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aloft.evaluation.abstention import COVERAGES, AbstentionCurve, fit_threshold, risks_at
from aloft.evaluation.blending import ORDER_WEIGHT, ORDER_WEIGHTS, choose_order_weight
from aloft.protocols import Floats
from aloft.retrieval.citing import NOTHING, cited, declines


@dataclass(frozen=True, slots=True, kw_only=True)
class CitationRule:
    """What decides whether a passage is cited, and which; see `aloft.retrieval.citing`.

    Attributes:
        order_weight: What the order of passages counts for.
        threshold: Probability of "none" above which a question is declined; None: it is where no
            passage is likelier.
    """

    order_weight: float = ORDER_WEIGHT
    threshold: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """What a generator read of questions: how likely its replies begin with each citation.

    Attributes:
        retrieved: With the passages that were retrieved, in their order; (questions, choices).
        right: Whether each of these is right; (questions, passages).
        missing: With those that follow in place of the right ones, NaN where no passage is left;
            without choices where the generator may not abstain.
        documents: (questions,), what each question is about.
    """

    retrieved: Floats
    right: NDArray[np.bool_]
    missing: Floats
    documents: NDArray[np.str_]

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
            documents=self.documents[mask],
        )

    def cite(self, rule: CitationRule) -> NDArray[np.intp]:
        """The number that each reply begins with, from 1, or `NOTHING`; (questions,)."""
        return cited(self.retrieved, self.right.shape[1], rule.order_weight, rule.threshold)

    def are_right(self, numbers: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Whether each number is that of a right passage; (questions,)."""
        chosen = np.take_along_axis(self.right, np.maximum(numbers, 1)[:, None] - 1, axis=1)
        found: NDArray[np.bool_] = chosen[:, 0] & (numbers != NOTHING)
        return found


def fit_rule(readings: Readings, *, fits_order: bool, answered_share: float) -> CitationRule:
    """Choose what is cited by on some questions.

    Args:
        readings: Of these questions; where there are none, the prior is chosen.
        fits_order: Whether they may choose what the order counts for.
        answered_share: Of those with a right passage among what is shown, as many are answered.
    """
    rule = CitationRule()
    if not len(readings.right):
        return rule
    if fits_order:  # which passage is cited if one is
        some = [_always(CitationRule(order_weight=weight)) for weight in ORDER_WEIGHTS]
        right = np.stack([readings.are_right(readings.cite(one)) for one in some], axis=1)
        weight = choose_order_weight(right.astype(float), readings.documents.tolist())
        rule = replace(rule, order_weight=weight)
    if not readings.abstains:
        return rule
    chances = readings.retrieved[readings.is_present, -1].astype(np.float64)
    known = chances[np.isfinite(chances)]  # one whose training diverged returns none
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
            found[mask] = declines(missing[mask], rule.threshold)
        return np.where(np.isnan(missing[:, -1]), np.nan, found)

    def curve(
        self,
        question_set: str,
        generator: str,
        shipped: CitationRule,
        *,
        promised: float,
        is_fitted: bool,
    ) -> AbstentionCurve:
        """What abstaining comes to.

        Args:
            question_set: Name of the set.
            generator: "base" or "tuned".
            shipped: The rule that ships with the generator.
            promised: Share of the questions with a right passage that must be answered.
            is_fitted: Whether that rule was fitted on these questions.
        """
        by_shipped = replace(self, rules=[(np.ones(len(self.readings.right), bool), shipped)])
        numbers, answered, declined = self.numbers, self.answered, self.declined
        asked = ~np.isnan(declined)
        chances = [self.readings.retrieved[:, -1], self.readings.missing[asked, -1]]
        best = replace(self, rules=[(mask, _always(rule)) for mask, rule in self.rules]).numbers
        nothing = np.ones(int(asked.sum()), bool)  # is right where the right passages are missing
        given = np.concatenate([numbers != NOTHING, declined[asked] == 0])
        wrong = np.concatenate([~self.readings.are_right(numbers), nothing])
        return AbstentionCurve(
            question_set=question_set,
            generator=generator,
            threshold=shipped.threshold,
            promised=promised,
            validation=_mean(by_shipped.answered) if is_fitted else None,
            answered=_mean(answered),
            present=int((~np.isnan(answered)).sum()),
            declined=_mean(declined),
            missing=len(nothing),
            coverage=float(given.mean()),
            risk=float(wrong[given].mean()) if given.any() else None,
            risks=risks_at(
                COVERAGES,
                np.concatenate(chances).astype(np.float64),
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
