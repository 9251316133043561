"""Verdicts on trained parts: which of them may ship.

Embedder and reranker are blended with what they were tuned from and with BM25, so where people's
questions decide, a gain need not be beyond doubt. Synthetic questions share words with their
passage, so BM25 alone finds most of what they ask for, and a stack's gain over it is small and
noisy. There a part must gain beyond doubt; an embedder must by itself, and the stack must not be
significantly worse with it. A generator replaces another one: its gain must be beyond doubt on any
questions, and on synthetic ones, whose answers the teacher wrote, only where that is no weak one.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from aloft.config import Part
from aloft.evaluation.answer_metrics import CITED_ANSWER
from aloft.evaluation.bootstrap import Comparison, metric_name

BLENDED: frozenset[Part] = frozenset({"embedder", "reranker"})
METRICS: dict[Part, str] = {
    "embedder": "ndcg@10",
    "reranker": "ndcg@10",
    "generator": CITED_ANSWER,
}
"""The metric that each part is judged by."""


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


def judge_part(
    part: Part,
    comparisons: Mapping[str, Comparison],
    deciding: str,
    alone: Comparison | None = None,
    *,
    outgrows_teacher: bool = False,
) -> Verdict:
    """Judge one part by its metric on each question set.

    Args:
        part: The part.
        comparisons: The metric of the stack without and with it, by question set; a set that the
            metric applies to no question of is left out.
        deciding: The set on which the stack must gain. On the others it must not be significantly
            worse (an interval wholly below zero).
        alone: The part's metric by itself on the deciding set. Where synthetic questions decide its
            interval must exclude a loss, and the stack need not gain but must not be significantly
            worse; without it, and of a part that is not blended, the stack's interval must.
        outgrows_teacher: Whether the part is a generator much larger than its teacher, which wrote
            the answers of the synthetic questions: they cannot tell a gain.

    Returns:
        The verdict. A part that changes nothing is refused: it would cost time and gain nothing.
        So is one that cannot be judged.
    """
    comparison = comparisons.get(deciding)
    if comparison is None:
        metric = metric_name(METRICS[part])
        reason = f"it cannot be judged: {metric} is undefined on all {deciding} questions"
        return Verdict(
            part=part, is_kept=False, question_set=deciding, comparison=None, reason=reason
        )
    questions = f"the {deciding} questions"
    worse = [name for name, other in comparisons.items() if name != deciding and other.is_loss]
    sure, itself = None, ""
    if deciding == "synthetic" and alone is not None:
        sure, itself = alone, f"; by itself {describe(alone)}"
    elif deciding == "synthetic" or part not in BLENDED:
        sure = comparison
    fault = ""
    is_open = comparison.high is not None and not comparison.is_loss and comparison.gain != 0
    if comparison.gain <= 0 and not (itself and is_open):
        fault = f"no gain on {questions}"
    elif deciding == "synthetic" and outgrows_teacher:
        fault = "the synthetic questions have the answers of a teacher that is much smaller"
    elif sure is not None and sure.low is None:
        fault = f"no interval: all {deciding} questions are about one document"
    elif sure is not None and sure.includes_loss:
        by_itself = " by itself" if itself else ""
        fault = f"the 95 % interval{by_itself} includes a loss on {questions}"
    elif worse:
        fault = f"significantly worse on the {worse[0]} questions"
    if fault or not comparison.includes_loss:
        reason = fault or f"the 95 % interval excludes a loss on {questions}"
    elif comparison.gain < 0:
        reason = f"the 95 % interval includes a gain on {questions}"
    elif comparison.low is None:
        reason = f"a gain, without an interval: all {deciding} questions are about one document"
    else:
        reason = f"a gain on {questions}, whose 95 % interval includes a loss"
    return Verdict(
        part=part,
        is_kept=not fault,
        question_set=deciding,
        comparison=comparison,
        reason=f"{reason}: {metric_name(comparison.metric)} {describe(comparison)}{itself}",
    )


def describe(comparison: Comparison) -> str:
    """A comparison in words: before, after, gain with its interval, questions, documents."""
    before, after = 100 * comparison.before, 100 * comparison.after
    gain = f"{100 * comparison.gain:+.1f}"
    if comparison.low is not None and comparison.high is not None:
        gain += f" [{100 * comparison.low:+.1f}, {100 * comparison.high:+.1f}]"
    documents = "1 document" if comparison.clusters == 1 else f"{comparison.clusters} documents"
    return f"{before:.1f} -> {after:.1f} ({gain}, n = {comparison.n}, {documents})"
