"""Turns the content of report.json into a page to read: Markdown, or HTML that stands on its own.

Both show the same sections. A picture is added in HTML only, and a table beside it holds its
figures. Everything in a report is data, a command or a reason too, and is escaped where it is
written. A section that a run has nothing for is left out.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from aloft.evaluation.answer_metrics import ABSTENTION, ANSWERED, UNANSWERABLE
from aloft.evaluation.charts import (
    Estimate,
    Length,
    Line,
    draw_bars,
    draw_curve,
    draw_forest,
    draw_lines,
)
from aloft.evaluation.gate import OVER_GUESSING
from aloft.evaluation.probes import COUNT, NOTHING, PLACE
from aloft.evaluation.style import STYLE

Report = Mapping[str, Any]

_NAMES = {"mrr@10": "MRR@10", "ndcg@10": "nDCG@10", "answer f1": "answer F1"}
_RANKED = ("hit@1", "hit@5", "hit@10", "recall@5", "mrr@10", "ndcg@10")
_OF_ANSWERS = ("citation accuracy", "answer f1")
_HEADLINES = ("hit@1", "hit@10", "ndcg@10", *_OF_ANSWERS, ABSTENTION, UNANSWERABLE, ANSWERED)
_SETS = {"human": "Human questions", "synthetic": "Synthetic held-out questions"}
_BADGES = ("kept", "refused", "shipped")
_NONE = "–"
_NUMBER = re.compile(r"[+-]?\d[\d,.]*|\[[+-][\d.]+, [+-][\d.]+\]|–")
_LONG = 40  # characters from which a cell may be broken anywhere
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"  # a page that can load nothing
_READING = (
    "All metrics are means over questions, in percent; gains are in percentage points. hit@k: a "
    "right passage is among the first k. MRR@10: one over the rank of the first right passage. "
    "nDCG@10: how near the first ten ranks come to the ideal order. Citation accuracy: a right "
    "passage is among those that the answer cites; precision: the share of those cited that is "
    "right; recall: the share of the right ones that is cited. Answer F1: words shared with the "
    "gold answer. Right answer, wrong citation: a gold answer is in the answer, but no right "
    "passage is cited; the fewer the better. Groundedness: the share of answers that the untuned "
    "generator finds likelier, by 0.5 nats a token or more, with the cited passages before them "
    "than without any; it is a judge by likelihood, and no proof that an answer is right.",
    "A gain's 95 % interval is a paired bootstrap over questions: the same questions are drawn "
    "again and again, with replacement, and both systems are compared on each draw. An interval "
    "above zero says that other questions of this kind would very likely show a gain too; one "
    "that holds zero says that the gain may be chance. A part is kept only where its gain is "
    "above zero, its interval does not reach below zero on the deciding questions, and no other "
    "set of questions shows certain harm.",
    "Synthetic questions were written by the teacher from held-out documents, as the training "
    "questions were from others: gains on them tend to be larger than on questions that people "
    "ask. The dense share of a hybrid is fitted on the synthetic questions.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One metric of one part, before and after, in percent (gains in percentage points)."""

    question_set: str
    part: str
    metric: str
    before: float
    after: float
    gain: float
    low: float
    high: float
    n: int

    @property
    def interval(self) -> str:
        """The gain's 95 % interval as it is written."""
        return f"[{_signed(self.low)}, {_signed(self.high)}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of texts under a header; `marked` rows stand out."""

    caption: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    marked: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """SVG drawn by us: shown in HTML, left out of Markdown."""

    svg: str
    caption: str = ""
    is_small: bool = False


Block = str | Table | Picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A headline and what stands below it."""

    title: str
    blocks: Sequence[Block]


# ---- rows for others' tables

TEACHER_HEADER = (
    *("teacher", "calls", "tokens in", "tokens out"),
    *("seconds", "pairs an hour", "mended pairs"),
)


def teacher_rows(funnel: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """What the teacher was asked and took, a row for each thing it did; see `TEACHER_HEADER`."""
    rows = []
    for stage in funnel:
        for name, account in stage.get("teacher", {}).items():
            of_pairs = stage if name == stage["stage"] else {}
            pace, mended = of_pairs.get("pairs_an_hour"), of_pairs.get("mended")
            counts = (account["calls"], account["tokens_in"], account["tokens_out"])
            figures = [
                *map(_count, counts),
                f"{account['seconds']:,.1f}",
                _count(pace),
                _count(mended),
            ]
            rows.append((name, *figures))
    return rows


def _count(number: int | None) -> str:
    return _NONE if number is None else f"{number:,}"


def headline_rows(report: Report) -> list[Row]:
    """The few figures that say most, per question set and part."""
    return [row for row in _gain_rows(report) if row.metric in map(_name, _HEADLINES)]


def verdict_lines(report: Report) -> list[tuple[str, str, str]]:
    """Per part: its name, "kept" or "refused", and why."""
    return [
        (v["part"], "kept" if v["is_kept"] else "refused", v["reason"])
        for v in report.get("verdicts", ())
    ]


def summarize(report: Report) -> str:
    """The verdict in plain words: what decides, what gained, what was refused, what ships."""
    sentences = [
        *(_went_on(report), _decided(report), *_judged(report)),
        *(_shipped(report), _indexed(report)),
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _gain_rows(report: Report) -> list[Row]:
    return [
        Row(
            question_set=c["question_set"],
            part=c["part"],
            metric=_name(c["metric"]),
            n=c["n"],
            **{key: 100 * c[key] for key in ("before", "after", "gain", "low", "high")},
        )
        for c in report.get("comparisons", ())
    ]


# ---- the verdict in words


def _went_on(report: Report) -> str:
    """What is new since the run that this one went on from, whose parts are the "before"."""
    facts = report.get("earlier")
    if not facts:
        return ""
    return (
        f"This run went on from {facts['run']}, and each part is held against what that shipped: "
        f"{facts['new_passages']:,} of {facts['passages']:,} passages are new, "
        f"{facts['new_pairs']:,} pairs were trained on for the first time and "
        f"{facts['replayed_pairs']:,} once more."
    )


def _decided(report: Report) -> str:
    counts, deciding = report.get("questions", {}), report.get("deciding")
    if deciding not in counts:
        return ""
    if deciding == "human":
        return f"The {counts['human']} human questions decide."
    start = f"The {counts[deciding]} {deciding} held-out questions decide"
    if "human" not in counts:
        return f"{start}; no human questions were given."
    least = report.get("config", {}).get("evaluation", {}).get("min_human_questions", "more")
    return f"{start}; {counts['human']} human ones were given, and it takes {least} to decide."


def _judged(report: Report) -> Iterator[str]:
    verdicts = report.get("verdicts", ())
    kept = [v for v in verdicts if v["is_kept"]]
    if kept:
        gains = ", and ".join(f"the {v['part']} ({_gain_of(v['comparison'])})" for v in kept)
        yield f"Gained and kept: {gains}."
    elif verdicts:
        yield "No part gained enough to be kept."
    for verdict in verdicts:
        if not verdict["is_kept"]:
            yield f"Refused: the {verdict['part']}; {verdict['reason']}."
    shipped = report.get("shipped", {}).get("parts", [v["part"] for v in kept])
    left = [v["part"] for v in kept if v["part"] not in shipped]
    if left:
        yield f"Kept but not shipped: the {_listed(left)}; the whole does no better with it."


def _gain_of(c: Mapping[str, Any]) -> str:
    return (
        f"{_name(c['metric'])} {_percent(c['before'])} to {_percent(c['after'])}, "
        f"{_signed(100 * c['gain'])} [{_signed(100 * c['low'])}, {_signed(100 * c['high'])}], "
        f"n = {c['n']}"
    )


def _shipped(report: Report) -> str:
    stack = report.get("shipped")
    if not stack:
        return ""
    sentence = f"What ships: {_described(stack)}, with {_reached(stack)} end to end"
    stacks = report.get("stacks", ())
    untuned = [other for other in stacks if not other["parts"]]
    if stack["parts"] and untuned:
        sentence += f" (nothing tuned: {_reached(untuned[0])})"
    best = f", the best of {len(stacks)} combinations" if len(stacks) > 1 else ""
    return f"{sentence}{best}."


def _indexed(report: Report) -> str:
    """What shipping a tuned embedder means for an index that is there already."""
    facts = report.get("indexing")
    if not facts or "embedder" not in report.get("shipped", {}).get("parts", ()):
        return ""
    took = f"{facts['texts']:,} texts take {facts['seconds']:,.0f} s here"
    if facts["is_kept"]:
        return f"An index stays as it is: the tuned embedder changes questions alone ({took})."
    return f"An index must be built anew with the tuned embedder: {took}."


def _described(stack: Mapping[str, Any]) -> str:
    system = stack["system"]
    words = _retrieval(system)
    if system["retriever"] == "hybrid":
        words += f" (dense share {stack['weight']:.1f})"
    if system["reranker"] != "none":
        words += f", reranked by the {system['reranker']} reranker"
    if not stack["metrics"].keys().isdisjoint(_OF_ANSWERS):
        words += f", answers by the {_generator(stack)} generator"
    return words


def _reached(stack: Mapping[str, Any]) -> str:
    of_answers = [m for m in _OF_ANSWERS if m in stack["metrics"]]
    shown = [m for m in ("ndcg@10", *of_answers[:1]) if m in stack["metrics"]]
    return " and ".join(f"{_name(m)} {_percent(stack['metrics'][m])}" for m in shown)


def _retrieval(system: Mapping[str, Any]) -> str:
    if system["retriever"] == "bm25":
        return "BM25"
    return f"{system['retriever']} retrieval with the {system['embedder']} embedder"


def _generator(stack: Mapping[str, Any]) -> str:
    return "tuned" if "generator" in stack["parts"] else "base"


# ---- sections


def _sections(report: Report) -> list[Section]:
    made = [
        Section(title="Before and after", blocks=list(_gains(report))),
        Section(title="Retrieval", blocks=list(_grid(report))),
        Section(title="Answers", blocks=list(_answers(report))),
        Section(title="Place and number of passages", blocks=list(_probes(report))),
        Section(title="What else the generator can do", blocks=list(_ability(report))),
        Section(title="Verdicts", blocks=list(_verdicts(report))),
        Section(title="Combinations, end to end", blocks=list(_stacks(report))),
        Section(title="From documents to training rows", blocks=list(_funnel(report))),
        Section(title="Training", blocks=list(_training(report))),
        Section(title="How the run was made", blocks=list(_circumstances(report))),
        Section(title="Settings", blocks=list(_settings(report))),
        Section(title="How to read this", blocks=list(_READING)),
    ]
    return [section for section in made if section.blocks]


def _gains(report: Report) -> Iterator[Block]:
    rows = _gain_rows(report)
    verdicts = {part: word for part, word, _ in verdict_lines(report)}
    for i, name in enumerate(dict.fromkeys(row.question_set for row in rows)):
        mine = [row for row in rows if row.question_set == name]
        caption, marked = f"{_titled(report, name)}. Metrics in percent.", []
        if name == report.get("deciding"):
            rests = _rests_on(report)
            marked = [k for k, row in enumerate(mine) if (row.part, row.metric) in rests]
            caption += " These questions decide; marked: what the verdicts rest on."
        yield Picture(
            svg=_forest(f"gains-{i}", mine, verdicts),
            caption=f"{_titled(report, name)}. Gains in percentage points with 95 % intervals. "
            "Filled: a part that is kept; hollow: refused; grey: a comparison without verdict.",
        )
        yield Table(
            caption=caption,
            header=("part", "metric", "before", "after", "gain", "95 % interval", "n"),
            rows=[_gain_cells(row) for row in mine],
            marked=frozenset(marked),
        )


def _gain_cells(row: Row) -> tuple[str, ...]:
    before, after = f"{row.before:.1f}", f"{row.after:.1f}"
    return row.part, row.metric, before, after, _signed(row.gain), row.interval, str(row.n)


def _rests_on(report: Report) -> set[tuple[str, str]]:
    """Parts with the metrics that their verdicts rest on."""
    return {
        (verdict["part"], _name(verdict["comparison"]["metric"].removesuffix(OVER_GUESSING)))
        for verdict in report.get("verdicts", ())
    }


def _forest(name: str, rows: Sequence[Row], verdicts: Mapping[str, str]) -> str:
    estimates = [
        Estimate(
            group=row.part,
            label=row.metric,
            gain=row.gain,
            low=row.low,
            high=row.high,
            figure=f"{_signed(row.gain)} {row.interval}",
            mark=verdicts.get(row.part, "other"),
        )
        for row in rows
    ]
    return draw_forest(name, "Gains with 95 % intervals", estimates)


def _grid(report: Report) -> Iterator[Block]:
    systems = report.get("retrieval", ())
    if not systems:
        return
    bars = [bar for s in systems if s["reranker"] == "none" for bar in _hit_bar(report, s)]
    yield Picture(
        svg=draw_bars("hits", "hit@10 without a reranker, in percent", bars, 100.0),
        caption="hit@10 in percent, before any reranking.",
    )
    shipped = report.get("shipped", {}).get("system", {})
    metrics = _metrics_of(systems, _RANKED)
    for name in dict.fromkeys(s["question_set"] for s in systems):
        mine = [s for s in systems if s["question_set"] == name]
        marked = [i for i, s in enumerate(mine) if shipped and shipped.items() <= s.items()]
        yield Table(
            caption=f"{_titled(report, name)}. Metrics in percent"
            + ("; marked: how the shipped combination retrieves." if marked else "."),
            header=("retriever", "embedder", "reranker", "dense share", *map(_name, metrics)),
            rows=[(*_system(s, s["weight"]), *_percents(s["metrics"], metrics)) for s in mine],
            marked=frozenset(marked),
        )


def _hit_bar(report: Report, system: Mapping[str, Any]) -> Iterator[Length]:
    if "hit@10" not in system["metrics"]:
        return
    which = system["embedder"]
    value = 100 * system["metrics"]["hit@10"]
    yield Length(
        group=_titled(report, system["question_set"]),
        label="BM25" if which == "none" else f"{system['retriever']}, {which} embedder",
        value=value,
        figure=f"{value:.1f}",
        mark=which if which in ("base", "tuned") else "other",
    )


def _answers(report: Report) -> Iterator[Block]:
    measured = report.get("answers", ())
    metrics = _metrics_of(measured)
    for name in dict.fromkeys(m["question_set"] for m in measured):
        rows = []
        for one in (m for m in measured if m["question_set"] == name):
            generator, _, some = one["generator"].partition(", ")
            figures = _percents(one["metrics"], metrics)
            rows.append((generator, some or "all", str(one["n"]), *figures))
        yield Table(
            caption=f"{_titled(report, name, count=False)}. Metrics in percent.",
            header=("generator", "questions", "n", *map(_name, metrics)),
            rows=rows,
        )
    if measured:
        yield (
            "Each generator is given the same passages, those that the untrained embedder ranks "
            "first. Easy: a right one is among them. Hard: none is, and a right one takes the "
            "last one's place."
        )


_PROBED = (  # what varies, along which probes, and of which metric
    ("place", "Citation accuracy by the place of the right passage", (PLACE,), _OF_ANSWERS[0]),
    ("count", "Citation accuracy by the number of passages", (COUNT,), _OF_ANSWERS[0]),
    ("places", "Answer F1 by the place of the right passage", (PLACE,), _OF_ANSWERS[1]),
    ("counts", "Answer F1 by the number of passages", (NOTHING, COUNT), _OF_ANSWERS[1]),
)


def _probes(report: Report) -> Iterator[Block]:
    rows = report.get("probes", ())
    if not rows:
        return
    for name, title, wanted, metric in _PROBED:
        some = [r for r in rows if r["probe"] in wanted and metric in r["metrics"]]
        if some:
            caption = f"{title}, in percent. Broken line: untuned."
            yield Picture(
                svg=_lines(f"probe-{name}", title, some, metric), caption=caption, is_small=True
            )
    metrics = _metrics_of(rows, _OF_ANSWERS)
    yield Table(
        caption=f"{_titled(report, rows[0]['question_set'], count=False)}. Metrics in percent.",
        header=("probe", "value", "generator", "n", *map(_name, metrics)),
        rows=[
            (
                *(row["probe"], str(row["value"]), row["generator"], str(row["n"])),
                *_percents(row["metrics"], metrics),
            )
            for row in rows
        ],
    )
    yield (
        "The same few questions each time; the other passages are those that the untrained "
        "embedder ranks first. What is answered without any passage was known before."
    )


def _lines(name: str, title: str, rows: Sequence[Mapping[str, Any]], metric: str) -> str:
    """A line for each generator along the values of a probe."""
    at = sorted({row["value"] for row in rows})
    lines = []
    for generator in dict.fromkeys(row["generator"] for row in rows):
        found = {r["value"]: r["metrics"][metric] for r in rows if r["generator"] == generator}
        values = [100 * found[value] for value in at]
        lines.append(Line(label=generator, values=values, mark=generator))
    return draw_lines(name, title, [str(value) for value in at], lines)


def _ability(report: Report) -> Iterator[Block]:
    found = report.get("ability")
    if not found:
        return
    perplexity, followed = found["perplexity"], found["instructions"]
    yield Table(
        caption="Before and after training, beside its task; nothing is decided by it.",
        header=("measure", "before", "after", "change", "95 % interval", "n"),
        rows=[
            (
                *("instructions followed, in percent", _percent(followed["before"])),
                *(_percent(followed["after"]), _signed(100 * followed["gain"])),
                f"[{_signed(100 * followed['low'])}, {_signed(100 * followed['high'])}]",
                str(followed["n"]),
            ),
            (
                *("perplexity of plain texts", f"{perplexity['before']:.2f}"),
                *(f"{perplexity['after']:.2f}", _changed(perplexity), _NONE),
                str(perplexity["n"]),
            ),
        ],
    )
    yield (
        "Short instructions with known answers, and plain texts, none of them about the documents. "
        "Fewer instructions followed, or a perplexity that is much higher, mean that the generator "
        "forgot something. They are too few to tell how good a model is."
    )


def _changed(perplexity: Mapping[str, float]) -> str:
    return f"{perplexity['after'] - perplexity['before']:+.2f}"


def _verdicts(report: Report) -> Iterator[Block]:
    lines = verdict_lines(report)
    if lines:
        yield Table(
            caption="What the gate says of each part.",
            header=("part", "verdict", "reason: metric in percent, before -> after"),
            rows=lines,
        )


def _stacks(report: Report) -> Iterator[Block]:
    stacks = report.get("stacks", ())
    if not stacks:
        return
    metrics = _metrics_of(stacks, _HEADLINES[1:])
    best = stacks.index(report["shipped"]) if report.get("shipped") in stacks else 0
    yield Table(
        caption=f"{_titled(report, stacks[0]['question_set'])}. Best first; metrics in percent.",
        header=(
            *("tuned parts", "retriever", "embedder", "reranker", "dense share"),
            *map(_name, metrics),
            "score",
            "verdict",
        ),
        rows=[_stack_cells(s, metrics, is_best=i == best) for i, s in enumerate(stacks)],
        marked=frozenset([best]),
    )
    text = "Only parts that the gate let through are combined."
    of_answers = [m for m in _OF_ANSWERS if m in metrics]
    if of_answers:
        most = report.get("config", {}).get("evaluation", {}).get("max_stack_questions")
        some = f" on at most {most} of these questions" if most else ""
        text += (
            f" The score is the mean of nDCG@10 and of the {_name(of_answers[0])} on the passages "
            f"that were really retrieved; answers are measured{some}."
        )
    yield text


def _stack_cells(
    stack: Mapping[str, Any], metrics: Sequence[str], *, is_best: bool
) -> tuple[str, ...]:
    return (
        _listed(stack["parts"]) or "none",
        *_system(stack["system"], stack["weight"]),
        *_percents(stack["metrics"], metrics),
        _percent(stack["score"]),
        "shipped" if is_best else _NONE,
    )


def _funnel(report: Report) -> Iterator[Block]:
    stages = report.get("funnel", ())
    if not stages:
        return
    bars = [_funnel_bar(stage) for stage in stages if _is_counted(report, stage)]
    if bars:
        yield Picture(
            svg=draw_bars("funnel", "Kept and dropped per stage", bars, _longest(bars)),
            caption="Per stage what was kept, and behind it what was dropped.",
        )
    yield Table(
        caption="Per stage what was kept, what was dropped and why.",
        header=("stage", "kept", "dropped", "reasons", "rows", "seconds"),
        rows=[_funnel_row(stage, is_counted=_is_counted(report, stage)) for stage in stages],
    )
    asked = teacher_rows(stages)
    if asked:
        yield Table(
            caption="What the teacher was asked and took; seconds are those it was waited for.",
            header=TEACHER_HEADER,
            rows=asked,
        )


def _is_counted(report: Report, stage: Mapping[str, Any]) -> bool:
    """Whether what a stage keeps are records: not sets, a trained part or the evaluation."""
    return stage["stage"] not in ("sets", "evaluate", *report.get("parts", ()))


def _longest(bars: Sequence[Length]) -> float:
    return max(bar.value + bar.rest for bar in bars)


def _funnel_bar(stage: Mapping[str, Any]) -> Length:
    kept, dropped = stage["kept"], sum(stage["dropped"].values())
    figure = f"{kept:,} kept" + (f", {dropped:,} dropped" if dropped else "")
    return Length(
        group="", label=stage["stage"], value=kept, rest=dropped, figure=figure, mark="tuned"
    )


def _funnel_row(stage: Mapping[str, Any], *, is_counted: bool) -> tuple[str, ...]:
    dropped, rows = stage["dropped"], stage.get("rows")
    if isinstance(rows, Mapping):
        rows = "; ".join(f"{n:,} {name.replace('_', ' ')}" for name, n in rows.items())
    elif rows is not None:
        rows = f"{rows:,}"
    return (
        stage["stage"],
        f"{stage['kept']:,}" if is_counted else _NONE,
        f"{sum(dropped.values()):,}" if is_counted else _NONE,
        "; ".join(f"{n:,} {reason}" for reason, n in dropped.items()) or _NONE,
        rows or _NONE,
        f"{stage['seconds']:,.1f}",
    )


def _training(report: Report) -> Iterator[Block]:
    parts = report.get("parts", {})
    for i, (part, artifact) in enumerate(parts.items()):
        if artifact["losses"]:
            svg = draw_curve(f"loss-{i}", f"Training loss of the {part}", artifact["losses"])
            yield Picture(svg=svg, caption=f"Loss of the {part}", is_small=True)
    if parts:
        yield Table(
            caption="Trained parts.",
            header=("part", "trained from", "seconds", "loss as logged, first to last"),
            rows=[(part, *_artifact_cells(artifact)) for part, artifact in parts.items()],
        )
    watched = {part: artifact for part, artifact in parts.items() if artifact.get("probes")}
    if watched:
        yield Table(
            caption="Watched while training, on a few rows: mean reciprocal rank and score of the "
            "right passages, spread of all scores, rank correlation with the untrained part.",
            header=("part", "step", "MRR", "right ones' score", "spread", "correlation"),
            rows=[
                (part, *_probe_cells(probe))
                for part, artifact in watched.items()
                for probe in artifact["probes"]
            ],
        )
    for part, artifact in parts.items():
        if artifact.get("event"):
            yield f"The {part}: {artifact['event']}."


def _probe_cells(probe: Mapping[str, Any]) -> tuple[str, ...]:
    found = f"{100 * probe['found']:.1f}"
    rest = (f"{probe[name]:.3f}" for name in ("right", "spread", "likeness"))
    return str(probe["step"]), found, *rest


def _artifact_cells(artifact: Mapping[str, Any]) -> tuple[str, ...]:
    losses = " ".join(f"{loss:.3f}" for loss in artifact["losses"])
    return artifact["base_model"], f"{artifact['seconds']:,.1f}", losses or _NONE


def _circumstances(report: Report) -> Iterator[Block]:
    rows = [(name, str(report[key])) for name, key in _plain_facts() if report.get(key)]
    seed = report.get("config", {}).get("seed")
    if seed is not None:
        rows.append(("seed", str(seed)))
    rows += [(f"machine: {key}", str(value)) for key, value in report.get("machine", {}).items()]
    if report.get("funnel"):
        seconds = sum(stage["seconds"] for stage in report["funnel"])
        rows.append(("seconds in all", f"{seconds:,.1f} ({seconds / 60:,.1f} minutes)"))
    if "peak_memory_megabytes" in report:
        rows.append(("peak memory", f"{report['peak_memory_megabytes']:,} MB"))
    if "connections_refused" in report:
        rows.append(("network", _connections(report["connections_refused"])))
    if report.get("text_sent_to"):
        rows.append(("text left this machine for", ", ".join(report["text_sent_to"])))
    if rows:
        yield Table(caption="Circumstances.", header=("what", "value"), rows=rows)


def _plain_facts() -> tuple[tuple[str, str], ...]:
    return (("command", "command"), ("made", "created"), ("Aloft", "aloft"))


def _connections(refused: Sequence[str]) -> str:
    if not refused:
        return "0 outbound connections were attempted"
    times = "connection was" if len(refused) == 1 else "connections were"
    hosts = ", ".join(dict.fromkeys(refused))
    return f"{len(refused)} outbound {times} attempted and refused: {hosts}"


def _settings(report: Report) -> Iterator[Block]:
    rows = list(_flat(report.get("config", {})))
    if rows:
        yield Table(caption="The configuration, whole.", header=("setting", "value"), rows=rows)


def _flat(settings: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}.")
        elif isinstance(value, (list, tuple)):
            yield f"{above}{name}", ", ".join(map(str, value))
        else:
            yield f"{above}{name}", _NONE if value is None else str(value)


# ---- how figures and names are written


def _name(metric: str) -> str:
    return _NAMES.get(metric, metric)


def _titled(report: Report, question_set: str, *, count: bool = True) -> str:
    n = report.get("questions", {}).get(question_set)
    title = _SETS.get(question_set, f"{question_set} questions")
    return f"{title} (n = {n})" if count and n is not None else title


def _signed(points: float) -> str:
    return f"{round(points, 1) + 0.0:+.1f}"  # no "-0.0"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _percents(values: Mapping[str, float], metrics: Sequence[str]) -> tuple[str, ...]:
    return tuple(_percent(values[m]) if m in values else _NONE for m in metrics)


def _metrics_of(
    rows: Sequence[Mapping[str, Any]], wanted: Sequence[str] | None = None
) -> list[str]:
    """Metrics that at least one row has: those wanted in their order, else all as they come."""
    found = dict.fromkeys(metric for row in rows for metric in row["metrics"])
    return list(found) if wanted is None else [metric for metric in wanted if metric in found]


def _system(system: Mapping[str, Any], weight: float | None) -> tuple[str, str, str, str]:
    """Retriever, embedder, reranker and the hybrid's dense share."""
    parts = [_NONE if system[p] == "none" else system[p] for p in ("embedder", "reranker")]
    is_hybrid = system["retriever"] == "hybrid" and weight is not None
    return system["retriever"], parts[0], parts[1], f"{weight:.1f}" if is_hybrid else _NONE


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


# ---- Markdown


def render_markdown(report: dict[str, Any]) -> str:
    """The report as Markdown with tables."""
    lines = ["# Aloft report", "", _plain_text(summarize(report)), ""]
    for section in _sections(report):
        lines += [f"## {section.title}", ""]
        for block in section.blocks:
            lines += _markdown(block)
    return "\n".join(lines).rstrip() + "\n"


def _markdown(block: Block) -> list[str]:
    if isinstance(block, str):
        return [_plain_text(block), ""]
    if isinstance(block, Picture):
        return []
    lines = [f"**{_plain_text(block.caption)}**", "", _markdown_row(block.header)]
    lines.append(_markdown_row(["---"] * len(block.header)))
    for i, row in enumerate(block.rows):
        cells = [_plain_text(cell) for cell in row]
        lines.append(_markdown_row([f"**{c}**" for c in cells] if i in block.marked else cells))
    return [*lines, ""]


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _plain_text(text: str) -> str:
    """A text that Markdown shows as it is: no markup, no tags, no links, one line."""
    text = re.sub(r"([\\`*~|])", r"\\\1", " ".join(text.split()))
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace("](", "]\\(")
    return text.replace("![", "!\\[")


# ---- HTML


def render_html(report: dict[str, Any]) -> str:
    """The report as one HTML page that loads nothing: styles and pictures are inside."""
    sections = _sections(report)
    badges = "".join(
        f"<li>{_badge(word)} {escape(part)}</li>" for part, word, _ in verdict_lines(report)
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Aloft report</title><style>{STYLE}</style></head>\n<body><main>"
        f"<header><h1>Aloft report</h1>{_made(report)}</header>"
        f'<section class="verdict"><h2>Verdict</h2>{f"<ul>{badges}</ul>" if badges else ""}'
        f"<p>{escape(summarize(report))}</p></section>\n"
        f"{''.join(_html_section(section) for section in sections)}"
        "</main></body></html>\n"
    )


def _made(report: Report) -> str:
    facts = [f"Aloft {report['aloft']}"] if report.get("aloft") else []
    facts += [str(report["created"])] if report.get("created") else []
    return f"<p>{escape(' · '.join(facts))}</p>" if facts else ""


def _html_section(section: Section) -> str:
    blocks = "".join(_html(block) for block in section.blocks)
    return f"<section><h2>{escape(section.title)}</h2>{blocks}</section>\n"


def _html(block: Block) -> str:
    if isinstance(block, str):
        return f"<p>{escape(block)}</p>"
    if isinstance(block, Picture):
        style = ' class="small"' if block.is_small else ""
        caption = f"<figcaption>{escape(block.caption)}</figcaption>"
        return f"<figure{style}>{caption}{block.svg}</figure>"
    columns = list(zip(*block.rows, strict=True))
    styles = [_column_style(column) for column in columns]
    pairs = zip(block.header, styles, strict=True)
    head = "".join(f'<th scope="col"{style}>{escape(name)}</th>' for name, style in pairs)
    rows = [_html_row(row, styles, is_marked=i in block.marked) for i, row in enumerate(block.rows)]
    return (
        f'<div class="table"><table><caption>{escape(block.caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _column_style(cells: Sequence[str]) -> str:
    if all(_NUMBER.fullmatch(cell) for cell in cells) and {*cells} != {_NONE}:
        return ' class="number"'
    return ' class="long"' if max(map(len, cells)) > _LONG else ""


def _html_row(row: Sequence[str], styles: Sequence[str], *, is_marked: bool) -> str:
    cells = "".join(
        f"<td{style}>{_badge(cell) if cell in _BADGES else escape(cell)}</td>"
        for cell, style in zip(row, styles, strict=True)
    )
    return f'<tr class="marked">{cells}</tr>' if is_marked else f"<tr>{cells}</tr>"


def _badge(word: str) -> str:
    return f'<span class="badge {word}">{word}</span>'
