"""Verdicts on trained parts: a part is kept where its gain's interval excludes a loss."""

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


def gate_metric(part: Part, measured: Collection[str]) -> str | None:
    """The metric that a part is judged by, of those measured; None where none of its was."""
    return next((metric for metric in _METRICS[part] if metric in measured), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a part is kept, and why.

    Attributes:
        question_set: The set that decides.
        comparison: The part's metric on it, without and with the part; None where the metric
            applies to none of its questions.
        reason: In words, with the figures.
    """

    part: Part
    is_kept: bool
    question_set: str
    comparison: Comparison | None
    reason: str


def judge_part(part: Part, comparisons: Mapping[str, Comparison], deciding: str) -> Verdict:
    """Judge one part by its metric on each question set.

    Args:
        part: The part.
        comparisons: The part's metric without and with it, by question set; a set that the metric
            applies to no question of is left out.
        deciding: The set on which the interval must exclude a loss. On the others the part must
            not be significantly worse (an interval wholly below zero).

    Returns:
        The verdict. A part that changes nothing is refused: it would cost time and gain nothing.
        So is one that cannot be judged.
    """
    comparison = comparisons.get(deciding)
    if comparison is None:
        metrics = " and ".join(_METRICS[part])
        reason = f"it cannot be judged: {metrics} are undefined on all {deciding} questions"
        return Verdict(
            part=part, is_kept=False, question_set=deciding, comparison=None, reason=reason
        )
    worse = [name for name, other in comparisons.items() if name != deciding and other.is_loss]
    if comparison.gain <= 0:
        reason = f"no gain on the {deciding} questions"
    elif comparison.low is None:
        reason = f"no interval: all {deciding} questions are about one document"
    elif comparison.includes_loss:
        reason = f"the 95 % interval includes a loss on the {deciding} questions"
    elif worse:
        reason = f"significantly worse on the {worse[0]} questions"
    else:
        reason = f"the 95 % interval excludes a loss on the {deciding} questions"
    return Verdict(
        part=part,
        is_kept=comparison.gain > 0 and not comparison.includes_loss and not worse,
        question_set=deciding,
        comparison=comparison,
        reason=f"{reason}: {comparison.metric} {describe(comparison)}",
    )


def describe(comparison: Comparison) -> str:
    """A comparison in words: before, after, gain with its interval, questions, documents."""
    before, after = 100 * comparison.before, 100 * comparison.after
    gain = f"{100 * comparison.gain:+.1f}"
    if comparison.low is not None and comparison.high is not None:
        gain += f" [{100 * comparison.low:+.1f}, {100 * comparison.high:+.1f}]"
    documents = "1 document" if comparison.clusters == 1 else f"{comparison.clusters} documents"
    return f"{before:.1f} -> {after:.1f} ({gain}, n = {comparison.n}, {documents})"
