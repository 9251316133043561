"""Rows of a report for tables elsewhere, such as the command line's."""

from collections.abc import Sequence
from dataclasses import dataclass

from aloft.evaluation.answer_metrics import ABSTENTION, ANSWERED, CITED_ANSWER, UNANSWERABLE
from aloft.evaluation.bootstrap import metric_name
from aloft.evaluation.pages.figures import OF_ANSWERS, count, interval, points
from aloft.evaluation.report import FunnelRow, PartComparison, Report

HEADLINES = (
    *("hit@1", "hit@10", "ndcg@10", *OF_ANSWERS, CITED_ANSWER),
    *(ABSTENTION, UNANSWERABLE, ANSWERED),
)
TEACHER_HEADER = (
    *("teacher", "calls", "tokens in", "tokens out"),
    *("seconds", "pairs an hour", "repaired pairs"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GainRow:
    """One metric of one part, before and after, in percent.

    Attributes:
        gain: In percentage points, with its sign.
        interval: Its 95 % interval; a dash where there is none.
        clusters: Documents that the n questions are about.
    """

    question_set: str
    part: str
    metric: str
    before: str
    after: str
    gain: str
    interval: str
    n: int
    clusters: int


def gain_row(comparison: PartComparison) -> GainRow:
    """A comparison as it is written."""
    return GainRow(
        question_set=comparison.question_set,
        part=comparison.part,
        metric=metric_name(comparison.metric),
        before=f"{100 * comparison.before:.1f}",
        after=f"{100 * comparison.after:.1f}",
        gain=points(comparison.gain),
        interval=interval(comparison.low, comparison.high),
        n=comparison.n,
        clusters=comparison.clusters,
    )


def headline_rows(report: Report) -> list[GainRow]:
    """The few metrics that say most, per question set and part."""
    found = report.measured.comparisons
    return [gain_row(comparison) for comparison in found if comparison.metric in HEADLINES]


def verdict_rows(report: Report) -> list[tuple[str, str, str]]:
    """Per part: its name, "kept" or "refused", and why."""
    return [
        (verdict.part, "kept" if verdict.is_kept else "refused", verdict.reason)
        for verdict in report.verdicts
    ]


def teacher_rows(funnel: Sequence[FunnelRow]) -> list[tuple[str, ...]]:
    """What the teacher was asked, a row for each of its tasks; see `TEACHER_HEADER`."""
    rows = []
    for stage in funnel:
        for name, usage in stage.teacher.items():
            writes = name == stage.stage  # the task that the stage's own pairs come from
            rows.append(
                (
                    name,
                    *map(count, (usage.calls, usage.tokens_in, usage.tokens_out)),
                    f"{usage.seconds:,.1f}",
                    count(stage.pairs_an_hour if writes else None),
                    count(stage.repaired if writes else None),
                )
            )
    return rows
