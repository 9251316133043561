"""The sections of a report that show what was measured."""

from collections.abc import Iterator, Mapping, Sequence

from markupsafe import Markup

from aloft.evaluation.bootstrap import metric_name
from aloft.evaluation.charts import (
    Estimate,
    Length,
    Line,
    draw_bars,
    draw_forest,
    draw_lines,
)
from aloft.evaluation.learning import LearningPoint
from aloft.evaluation.pages.blocks import Block, Picture, Table
from aloft.evaluation.pages.figures import (
    NONE,
    OF_ANSWERS,
    SYSTEM_HEADER,
    count,
    interval,
    listed,
    metrics_of,
    percent,
    percents,
    points,
    set_title,
    share_words,
    system_cells,
)
from aloft.evaluation.pages.rows import HEADLINES, gain_row, verdict_rows
from aloft.evaluation.probes import COUNT, NOTHING, PLACE
from aloft.evaluation.report import PartComparison, ProbeRow, Report, RetrievalRow
from aloft.evaluation.systems import ShareCurve, System

_HELPS = 0.005  # nDCG@10 that the last doubling of the pairs adds
_RANKED = ("hit@1", "hit@5", "hit@10", "recall@5", "mrr@10", "ndcg@10")
_PROBED = (  # id, title, probes along the axis, metric
    ("place", "Citation accuracy by the place of the right passage", (PLACE,), OF_ANSWERS[0]),
    ("count", "Citation accuracy by the number of passages", (COUNT,), OF_ANSWERS[0]),
    ("places", "Answer F1 by the place of the right passage", (PLACE,), OF_ANSWERS[1]),
    ("counts", "Answer F1 by the number of passages", (NOTHING, COUNT), OF_ANSWERS[1]),
)


# ---- questions


def questions(report: Report) -> Iterator[Block]:
    """The held-out questions, and how choices are kept apart from what they are judged by."""
    counts = report.measured.questions
    if not counts:
        return
    yield Table(
        caption="Held-out questions.",
        header=("questions", "number", "documents", "decides"),
        rows=[
            (
                set_title(report, name, count=False),
                f"{one.questions:,}",
                count(one.documents),
                "yes" if name == report.measured.deciding else NONE,
            )
            for name, one in counts.items()
        ],
    )
    deciding = counts.get(report.measured.deciding)
    if deciding is None:
        return
    if deciding.is_crossed:
        yield (
            "Each question was measured with what was chosen on questions about other documents: "
            "the combination that ships and, where human questions decide, the shares of embedder "
            "and reranker. "
            + ("So was the threshold of abstention. " if report.measured.abstention else "")
            + "What ships was then chosen on all of them."
        )
    else:
        yield (
            "Choices were made on the questions that are reported, so that figures of what was "
            "chosen may be too high. It takes questions about two documents to keep them apart."
        )


# ---- parts


def gains(report: Report) -> Iterator[Block]:
    """Each part before and after, per question set."""
    found = report.measured.comparisons
    verdicts = {part: word for part, word, _ in verdict_rows(report)}
    for i, name in enumerate(dict.fromkeys(c.question_set for c in found)):
        some = [c for c in found if c.question_set == name]
        title = set_title(report, name)
        caption, marked = f"{title}. Metrics in percent.", frozenset[int]()
        if name == report.measured.deciding:
            rests = _rests_on(report)
            marked = frozenset(k for k, c in enumerate(some) if (c.part, c.metric) in rests)
            caption += " These questions decide; highlighted: what the verdicts rest on."
        yield Picture(
            svg=_forest(f"gains-{i}", some, verdicts),
            caption=f"{title}. Gains in percentage points with 95 % intervals. "
            "Filled: a part that is kept; hollow: refused; grey: a comparison without verdict.",
        )
        yield Table(
            caption=caption,
            header=("part", "metric", "before", "after", "gain", "95 % interval", "n", "clusters"),
            rows=[_gain_cells(c) for c in some],
            marked=marked,
        )


def _gain_cells(comparison: PartComparison) -> tuple[str, ...]:
    row = gain_row(comparison)
    gain = row.gain, row.interval, f"{row.n:,}", f"{row.clusters:,}"
    return row.part, row.metric, row.before, row.after, *gain


def _rests_on(report: Report) -> set[tuple[str, str]]:
    """Parts with the metrics that their verdicts rest on."""
    return {
        (verdict.part, verdict.comparison.metric)
        for verdict in report.verdicts
        if verdict.comparison
    }


def _forest(name: str, some: Sequence[PartComparison], verdicts: Mapping[str, str]) -> Markup:
    estimates = [
        Estimate(
            group=c.part,
            label=metric_name(c.metric),
            gain=100 * c.gain,
            low=100 * (c.gain if c.low is None else c.low),
            high=100 * (c.gain if c.high is None else c.high),
            figure=f"{points(c.gain)} {interval(c.low, c.high)}",
            mark=verdicts.get(c.part, "other"),
        )
        for c in some
    ]
    return draw_forest(name, "Gains with 95 % intervals", estimates)


def verdicts(report: Report) -> Iterator[Block]:
    """What the gate says of each part."""
    rows = verdict_rows(report)
    if rows:
        yield Table(
            caption="Whether each part is kept.",
            header=("part", "verdict", "reason: metric in percent, before -> after"),
            rows=rows,
        )


# ---- retrieval


def retrieval(report: Report) -> Iterator[Block]:
    """Every system's retrieval, per question set."""
    systems = report.measured.retrieval
    bars = [_hit_bar(report, row) for row in systems if row.reranker == "none" and _has_hits(row)]
    if bars:
        yield Picture(
            svg=draw_bars("hits", "hit@10 without a reranker, in percent", bars, 100.0),
            caption="hit@10 in percent, before any reranking.",
        )
    metrics = metrics_of((row.metrics for row in systems), _RANKED)
    for name in dict.fromkeys(row.question_set for row in systems):
        some = [row for row in systems if row.question_set == name]
        ships = report.shipped
        marked = [i for i, row in enumerate(some) if ships and row.is_of(ships.system)]
        yield Table(
            caption=f"{set_title(report, name)}. Metrics in percent"
            + ("; highlighted: the retrieval that ships." if marked else "."),
            header=(*SYSTEM_HEADER, *map(metric_name, metrics)),
            rows=[(*_system_cells(row), *percents(row.metrics, metrics)) for row in some],
            marked=frozenset(marked),
        )


def _system_cells(row: RetrievalRow) -> tuple[str, ...]:
    means = (row.dense_share, row.rerank_share)
    dense, late = (None if mean is None else f"{mean:.2f}" for mean in means)
    return system_cells(System(row.retriever, row.embedder, row.reranker), dense, late)


def _has_hits(row: RetrievalRow) -> bool:
    return "hit@10" in row.metrics


def _hit_bar(report: Report, row: RetrievalRow) -> Length:
    value = 100 * row.metrics["hit@10"]
    is_lexical = row.embedder == "none"
    return Length(
        group=set_title(report, row.question_set),
        label="BM25" if is_lexical else f"{row.retriever}, {row.embedder} embedder",
        value=value,
        figure=f"{value:.1f}",
        mark="other" if is_lexical else row.embedder,
    )


def shares(report: Report) -> Iterator[Block]:
    """What each share is worth, were it the same for all questions."""
    curves = report.measured.curves
    has_late = any(curve.share == "late" for curve in curves)
    ways = {
        "dense": "the embedder beside BM25",
        "late": "late interaction beside the hybrid",
        "reranking": f"the reranker beside {'late interaction' if has_late else 'the hybrid'}",
    }
    for name, share in dict.fromkeys((curve.question_set, curve.share) for curve in curves):
        some = [one for one in curves if (one.question_set, one.share) == (name, share)]
        heights = [100 * value for one in some for value in one.values]
        low, high = 10 * (min(heights) // 10), 10 * (max(heights) // 10 + 1)
        lines = [
            Line(
                label=f"{one.system.embedder} embedder, {one.system.reranker} reranker",
                values=[100 * value for value in one.values],
                mark="tuned" if "tuned" in (one.system.embedder, one.system.reranker) else "base",
            )
            for one in some
        ]
        labels = [f"{value:g}" for value in some[0].shares]
        title = f"{set_title(report, name)}: nDCG@10 by the share of {ways[share]}"
        pairs = zip(some, lines, strict=True)
        reached = " and ".join(f"{percent(one.chosen)} ({line.mark})" for one, line in pairs)
        yield Picture(
            svg=draw_lines(f"share-{share}-{name}", title, labels, lines, (low, high)),
            caption=f"{title}, in percent. Broken line: nothing tuned. With the shares that depend "
            f"on the question: {reached}.",
            is_small=True,
        )
    if curves:
        yield _share_table(report, ways)


def _share_table(report: Report, ways: Mapping[str, str]) -> Table:
    """The figures of the pictures."""
    curves = report.measured.curves
    tried = sorted({share for curve in curves for share in curve.shares})
    return Table(
        caption="nDCG@10 in percent at each share, were it the same for all questions; chosen: "
        "with the shares that depend on the question.",
        header=(
            *("questions", "share of", "embedder", "reranker"),
            *(f"{share:g}" for share in tried),
            "chosen",
        ),
        rows=[_curve_cells(report, curve, ways[curve.share], tried) for curve in curves],
    )


def _curve_cells(
    report: Report, curve: ShareCurve, way: str, tried: Sequence[float]
) -> tuple[str, ...]:
    _, embedder, _, reranker, _ = system_cells(curve.system, None, None)
    found = dict(zip(curve.shares, curve.values, strict=True))
    values = (percent(found[share]) if share in found else NONE for share in tried)
    name = set_title(report, curve.question_set, count=False)
    return name, way, embedder, reranker, *values, percent(curve.chosen)


# ---- learning


def learning(report: Report) -> Iterator[Block]:
    """What fewer pairs gain."""
    names = dict.fromkeys(point.question_set for point in report.learning)
    for name in names:
        some = [point for point in report.learning if point.question_set == name]
        heights = [100 * value for one in some for value in (one.gain.before, one.gain.after)]
        low, high = 10 * (min(heights) // 10), 10 * (max(heights) // 10 + 1)
        lines = [
            Line(label="tuned", values=[100 * one.gain.after for one in some], mark="tuned"),
            Line(
                label="nothing tuned", values=[100 * one.gain.before for one in some], mark="base"
            ),
        ]
        title = f"{set_title(report, name)}: nDCG@10 by the pairs that were trained on"
        labels = [f"{one.pairs:,}" for one in some]
        yield Picture(
            svg=draw_lines(f"learning-{name}", title, labels, lines, (low, high)),
            caption=f"{title}, in percent. Broken line: nothing tuned. {_prospect(some)}",
            is_small=True,
        )
    if names:
        yield Table(
            caption="nDCG@10 of the stack with a tuned embedder, in percent.",
            header=("questions", "pairs", "before", "after", "gain", "95 % interval", "n"),
            rows=[_learning_cells(report, point) for point in report.learning],
        )


def _learning_cells(report: Report, point: LearningPoint) -> tuple[str, ...]:
    gain = point.gain
    name = set_title(report, point.question_set, count=False)
    values = percent(gain.before), percent(gain.after), points(gain.gain)
    return name, f"{point.pairs:,}", *values, interval(gain.low, gain.high), f"{gain.n:,}"


def _prospect(some: Sequence[LearningPoint]) -> str:
    """What the last doubling of the pairs tells of the next one."""
    half, whole = some[-2], some[-1]
    more = whole.gain.after - half.gain.after
    hint = (
        "more documents, or more pairs of these, are likely to help"
        if more >= _HELPS
        else "more of the same would add little"
    )
    return f"From {half.pairs:,} to {whole.pairs:,} pairs it changes by {points(more)}: {hint}."


# ---- answers


def answers(report: Report) -> Iterator[Block]:
    """Both generators' answers, per question set."""
    found = report.measured.answers
    metrics = metrics_of(row.metrics for row in found)
    for name in dict.fromkeys(row.question_set for row in found):
        yield Table(
            caption=f"{set_title(report, name, count=False)}. Metrics in percent.",
            header=("generator", "questions", "n", *map(metric_name, metrics)),
            rows=[
                (row.generator, row.questions, str(row.n), *percents(row.metrics, metrics))
                for row in found
                if row.question_set == name
            ],
        )
    if found:
        yield (
            "Both generators are given the same passages, those that the untrained embedder ranks "
            "first. Easy: a right one is among them. Hard: none is, and a right one replaces the "
            "last. Unanswerable: no passage of the corpus answers them. A dash: the metric does "
            "not apply, such as an answer metric to questions without answers."
        )


def probes(report: Report) -> Iterator[Block]:
    """How the place and the number of passages change answers."""
    rows = report.measured.probes
    if not rows:
        return
    for name, title, wanted, metric in _PROBED:
        some = [row for row in rows if row.probe in wanted and metric in row.metrics]
        if some:
            caption = f"{title}, in percent. Broken line: untuned."
            svg = _lines(f"probe-{name}", title, some, metric)
            yield Picture(svg=svg, caption=caption, is_small=True)
    metrics = metrics_of((row.metrics for row in rows), OF_ANSWERS)
    yield Table(
        caption=f"{set_title(report, rows[0].question_set, count=False)}. Metrics in percent.",
        header=("probe", "value", "generator", "n", *map(metric_name, metrics)),
        rows=[
            (
                *(row.probe, str(row.value), row.generator, str(row.n)),
                *percents(row.metrics, metrics),
            )
            for row in rows
        ],
    )
    yield (
        "The same few questions each time; the other passages are those that the untrained "
        "embedder ranks first. What is answered without any passage was known before."
    )


def _lines(name: str, title: str, rows: Sequence[ProbeRow], metric: str) -> Markup:
    """A line for each generator that has the metric at every value of the probe."""
    values = sorted({row.value for row in rows})
    lines = []
    for generator in dict.fromkeys(row.generator for row in rows):
        found = {row.value: row.metrics[metric] for row in rows if row.generator == generator}
        if found.keys() == set(values):
            heights = [100 * found[value] for value in values]
            lines.append(Line(label=generator, values=heights, mark=generator))
    return draw_lines(name, title, [str(value) for value in values], lines)


def forgetting(report: Report) -> Iterator[Block]:
    """What the generator can still do beside its task."""
    found = report.measured.forgetting
    if found is None:
        return
    perplexity, followed = found.perplexity, found.instructions
    change = f"{perplexity.after - perplexity.before:+.2f}"
    yield Table(
        caption="Before and after training, beside its task; no verdict rests on it.",
        header=("measure", "before", "after", "change", "95 % interval", "n"),
        rows=[
            (
                *("instructions followed, in percent", percent(followed.before)),
                *(percent(followed.after), points(followed.gain)),
                *(interval(followed.low, followed.high), str(followed.n)),
            ),
            (
                *("perplexity of plain texts", f"{perplexity.before:.2f}"),
                *(f"{perplexity.after:.2f}", change, NONE, str(perplexity.n)),
            ),
        ],
    )
    yield (
        "Short instructions with known answers, and plain texts, none of them about the documents. "
        "Fewer instructions followed, or a much higher perplexity, mean that the generator forgot "
        "something. They are too few to say how good a model is."
    )


# ---- variants


def variants(report: Report) -> Iterator[Block]:
    """Every on/off combination of the kept parts that retrieve, and what answers."""
    found = report.measured.variants
    if not found:
        return
    metrics = metrics_of((variant.metrics for variant in found), HEADLINES[1:])
    yield Table(
        caption=f"{set_title(report, found[0].question_set)}. In percent.",
        header=("tuned parts", *SYSTEM_HEADER, *map(metric_name, metrics), "verdict"),
        rows=[
            (
                listed(variant.parts) or "none",
                *system_cells(
                    variant.system,
                    share_words(variant.dense_share),
                    share_words(variant.rerank_share),
                ),
                *percents(variant.metrics, metrics),
                "shipped" if variant == report.shipped else NONE,
            )
            for variant in found
        ],
        marked=frozenset([0]),
    )
    yield (
        "Only parts that the gate keeps are combined. All of them ship, unless a combination "
        "without some of them has an nDCG@10 that is better by more than one standard error."
    )
    if found[0].metrics.keys().isdisjoint(OF_ANSWERS):
        return
    most = report.config.get("evaluation", {}).get("max_stack_questions")
    number = f"At most {most:,} questions" if most else "The questions"
    yield (
        f"{number} were answered from what was retrieved, in its order, by the untuned generator "
        "with nothing tuned and by the one that ships behind the parts that ship."
    )
    weight = found[0].order_weight
    if weight is not None:
        yield (
            "Which passage is cited is decided by the generator's probabilities of the numbers, "
            f"times a power of the place in the retriever's order: here the power {0 - weight:g}."
        )
