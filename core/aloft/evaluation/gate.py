"""Verdicts on trained parts: which of them may ship.

Embedder and reranker are blended with what they were tuned from and with BM25, so a gain need not
be beyond doubt: they are kept where it is worth a new index and no question set shows a loss. A
generator replaces another one: its gain's interval must exclude a loss.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from aloft.config import Part
from aloft.evaluation.answer_metrics import CITED_ANSWER
from aloft.evaluation.bootstrap import Comparison

BLENDED: frozenset[Part] = frozenset({"embedder", "reranker"})
METRICS: dict[Part, str] = {
    "embedder": "ndcg@10",
    "reranker": "ndcg@10",
    "generator": CITED_ANSWER,
}
"""The metric that each part is judged by."""
WORTHWHILE = 0.01
"""The least gain that may be chance and still ships.

Held-out questions are about a hundred: where little is left to gain, a smaller one is noise, and
the sign of what ships would be too; see docs/results/uplift.md.
"""


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
        deciding: The set on which it must gain: where it is blended, `WORTHWHILE` or by an interval
            above zero, otherwise by an interval that excludes a loss. On the others the part must
            not be significantly worse (an interval wholly below zero).

    Returns:
        The verdict. A part that changes nothing is refused: it would cost time and gain nothing.
        So is one that cannot be judged.
    """
    comparison = comparisons.get(deciding)
    if comparison is None:
        reason = f"it cannot be judged: {METRICS[part]} is undefined on all {deciding} questions"
        return Verdict(
            part=part, is_kept=False, question_set=deciding, comparison=None, reason=reason
        )
    worse = [name for name, other in comparisons.items() if name != deciding and other.is_loss]
    questions = f"the {deciding} questions"
    must_exclude = part not in BLENDED
    fault = ""
    if comparison.gain <= 0:
        fault = f"no gain on {questions}"
    elif not must_exclude and comparison.gain < WORTHWHILE and not comparison.is_gain:
        fault = f"under a point gained on {questions}, which may be chance"
    elif must_exclude and comparison.low is None:
        fault = f"no interval: all {deciding} questions are about one document"
    elif must_exclude and comparison.includes_loss:
        fault = f"the 95 % interval includes a loss on {questions}"
    elif worse:
        fault = f"significantly worse on the {worse[0]} questions"
    if fault or not comparison.includes_loss:
        reason = fault or f"the 95 % interval excludes a loss on {questions}"
    elif comparison.low is None:
        reason = f"a gain, without an interval: all {deciding} questions are about one document"
    else:
        reason = f"a gain on {questions}, whose 95 % interval includes a loss"
    return Verdict(
        part=part,
        is_kept=not fault,
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
