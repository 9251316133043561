"""The section of a report that shows when a generator abstains, and what that costs."""

from collections.abc import Iterator, Sequence

from aloft.evaluation.abstention import AbstentionCurve, fewest
from aloft.evaluation.charts import Line, draw_lines
from aloft.evaluation.pages.blocks import Block, Picture, Table
from aloft.evaluation.pages.figures import NONE, percent, set_title
from aloft.evaluation.report import Report


def abstention(report: Report) -> Iterator[Block]:
    """What was promised and what was seen, and the risk-coverage curve of each question set."""
    curves = report.measured.abstention
    if not curves:
        return
    names = list(dict.fromkeys(curve.question_set for curve in curves))
    for i, name in enumerate(names):
        some = [curve for curve in curves if curve.question_set == name]
        yield _picture(report, i, some)
    yield Table(
        caption="Questions that are answered though they might be declined, in percent. "
        "Validation: of the questions that the threshold was fitted on; test: with the thresholds "
        "that were fitted without the questions about the same documents.",
        header=(
            *("questions", "generator", "threshold", "promised", "validation", "test", "n"),
            *("declined when missing", "n", "declined when unanswerable"),
        ),
        rows=[_seen(report, curve) for curve in curves],
    )
    yield Table(
        caption="Risk by coverage: of the answers to the surest so many percent of the questions, "
        "asked once with their passages and once without, those that cite no right passage.",
        header=(
            *("questions", "generator", "answered", "risk"),
            *(f"at {100 * coverage:.0f}" for coverage in curves[0].coverages),
        ),
        rows=[
            (
                *(set_title(report, curve.question_set, count=False), curve.generator),
                *(percent(curve.coverage), _percent(curve.risk), *map(percent, curve.risks)),
            )
            for curve in curves
        ],
    )
    yield (
        "Each question is asked with what was retrieved, in its order, and with the next passages "
        "in place of the right ones, where every answer is wrong. So half of these questions or "
        "more cannot be answered, and the risk where you ask fewer such is lower."
    )
    yield _rule(curves)


def _rule(curves: Sequence[AbstentionCurve]) -> str:
    """How the threshold was chosen, in a sentence or two."""
    promised = curves[0].promised
    few = [curve.generator for curve in curves if curve.threshold is None]
    said = (
        "A question is declined where it is likelier than the threshold that no passage answers "
        'it, by the generator\'s "none" and by how well its best passage goes with it. The '
        f"threshold is the least that lets {percent(promised)} % of new questions like these pass "
        "whose passage is shown (evaluation.answered_share)."
    )
    if few:
        said += (
            f" The questions are too few to promise that: it takes {fewest(promised)} whose "
            "passage was retrieved. Without a threshold a question is declined where no passage "
            "is likelier."
        )
    return said


def _picture(report: Report, number: int, curves: Sequence[AbstentionCurve]) -> Picture:
    title = f"{set_title(report, curves[0].question_set, count=False)}: risk by coverage"
    labels = [f"{100 * coverage:.0f}" for coverage in curves[0].coverages]
    lines = [
        Line(
            label=f"{curve.generator} generator",
            values=[100 * risk for risk in curve.risks],
            mark=curve.generator,
            ring=_chosen(curve),
        )
        for curve in curves
    ]
    return Picture(
        svg=draw_lines(f"risk-{number}", title, labels, lines),
        caption=f"{title}, in percent: wrong answers among the surest so many. Broken line: "
        "untuned. Ring: the threshold that was chosen.",
        is_small=True,
    )


def _chosen(curve: AbstentionCurve) -> tuple[float, float] | None:
    """The point of the threshold; coverages are tenths."""
    if curve.risk is None:
        return None
    return 10 * curve.coverage - 1, 100 * curve.risk


def _seen(report: Report, curve: AbstentionCurve) -> tuple[str, ...]:
    threshold = NONE if curve.threshold is None else f"{curve.threshold:g}"
    promised = NONE if curve.threshold is None else percent(curve.promised)
    return (
        set_title(report, curve.question_set, count=False),
        curve.generator,
        *(threshold, promised, _percent(curve.validation), _percent(curve.answered)),
        f"{curve.present:,}",
        *(_percent(curve.declined), f"{curve.missing:,}", _percent(curve.unanswerable)),
    )


def _percent(share: float | None) -> str:
    return NONE if share is None else percent(share)
