"""Turns comparisons into a verdict per part: kept only where its gain's interval excludes harm."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from aloft.config import Part
from aloft.evaluation.bootstrap import Comparison

OVER_GUESSING = " over guessing"
_METRICS: dict[Part, tuple[str, ...]] = {
    "embedder": ("ndcg@10",),
    "reranker": ("ndcg@10",),
    "generator": ("citation accuracy", "answer f1"),  # the second where nothing is cited
}


def gate_metric(part: Part, measured: Collection[str]) -> str:
    """The metric that decides on a part, of those that were measured."""
    return next(metric for metric in _METRICS[part] if metric in measured)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a part is kept, on what evidence, and in words."""

    part: Part
    is_kept: bool
    question_set: str
    comparison: Comparison
    reason: str


def judge_part(part: Part, comparisons: Mapping[str, Comparison], deciding: str) -> Verdict:
    """Judge one part by its metric on each question set.

    Args:
        part: The part.
        comparisons: Per question set the part's metric without and with it.
        deciding: The set whose interval must exclude harm. On the others the part must at
            least not do certain harm (an interval wholly below zero).

    Returns:
        The verdict. A part that changes nothing is refused: it would cost and give nothing.
    """
    comparison = comparisons[deciding]
    harmed = [name for name, other in comparisons.items() if name != deciding and other.high < 0]
    if comparison.gain <= 0:
        reason = f"no gain on the {deciding} questions"
    elif comparison.low < 0:
        reason = f"the gain's interval on the {deciding} questions does not exclude harm"
    elif harmed:
        reason = f"certain harm on the {harmed[0]} questions"
    else:
        reason = f"the gain's interval on the {deciding} questions excludes harm"
    is_kept = comparison.gain > 0 and comparison.low >= 0 and not harmed
    return Verdict(
        part=part,
        is_kept=is_kept,
        question_set=deciding,
        comparison=comparison,
        reason=f"{reason}: {comparison.metric} {describe(comparison)}",
    )


def describe(comparison: Comparison) -> str:
    """A comparison in words: before, after, gain with interval, number of questions."""
    return (
        f"{100 * comparison.before:.1f} -> {100 * comparison.after:.1f} "
        f"({100 * comparison.gain:+.1f} [{100 * comparison.low:+.1f}, "
        f"{100 * comparison.high:+.1f}], n = {comparison.n})"
    )
