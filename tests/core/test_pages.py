"""The pages: figures as they are rounded, escaping, and what they do where parts are missing."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from aloft.cli.views import show_report
from aloft.evaluation.abstention import AbstentionCurve
from aloft.evaluation.bootstrap import Comparison
from aloft.evaluation.charts import Length, Line, draw_bars, draw_curve, draw_forest, draw_lines
from aloft.evaluation.gate import Verdict
from aloft.evaluation.learning import LearningPoint
from aloft.evaluation.measure import SHIPPED, SHUFFLED
from aloft.evaluation.pages import render_html, render_markdown
from aloft.evaluation.pages.rows import headline_rows, verdict_rows
from aloft.evaluation.pages.summary import summarize
from aloft.evaluation.report import (
    AnswerRow,
    Forgetting,
    FunnelRow,
    Indexing,
    Measurements,
    PartComparison,
    Perplexity,
    PreviousRunFacts,
    ProbeRow,
    QuestionCounts,
    Report,
    RetrievalRow,
    TeacherUsage,
    dump,
    from_json,
)
from aloft.evaluation.systems import ShareCurve, System, SystemVariant
from aloft.records import Artifact, Probe
from aloft.retrieval.fusion import CoverageShare

EVIL = "<script>alert('x')</script> | [a](http://evil.example) ![b](c) `d` & *e*"
VOID = {"meta", "br", "hr", "img", "link", "input"}
RETRIEVAL_METRICS = ("hit@1", "hit@5", "hit@10", "recall@5", "mrr@10", "ndcg@10")


def gain(
    metric: str, before: float, after: float, low: float, high: float, n: int
) -> dict[str, Any]:
    values = {"before": before, "after": after, "gain": after - before, "low": low, "high": high}
    return {"metric": metric, "n": n, "clusters": 12, **values}


def ranked(name: str, retriever: str, embedder: str) -> RetrievalRow:
    return RetrievalRow(
        question_set=name,
        retriever=retriever,
        embedder=embedder,
        reranker="none",
        dense_share=0.55 if retriever == "hybrid" else None,
        rerank_share=None,
        n=60,
        metrics={m: 0.4 + 0.05 * i for i, m in enumerate(RETRIEVAL_METRICS)},
    )


def variant(
    parts: tuple[Any, ...], embedder: str, ndcg: float, cited: float | None = None
) -> SystemVariant:
    """With what is cited of those that answer."""
    answers = {} if cited is None else {"citation accuracy": cited, "cited answer": cited / 2}
    return SystemVariant(
        parts=parts,
        system=System("hybrid", embedder, "none"),
        dense_share=CoverageShare(uncovered=1.1, covered=0.3),
        rerank_share=CoverageShare.constant(0.6),
        question_set="human",
        metrics={"hit@1": 0.5, "ndcg@10": ndcg, **answers},
        n=60,
        order_weight=None if cited is None else 4.0,
    )


def trained(part: Any) -> Artifact:
    return Artifact(
        kind=part,
        path=part,
        base_model="a-model",
        fingerprint="f",
        seconds=1234.56,
        losses=(2.5, 1.25, 0.9004),
    )


def measurements() -> Measurements:
    embedder = gain("ndcg@10", 0.6, 0.72149, 0.0304, 0.2096, 60)
    reranker = gain("ndcg@10", 0.72149, 0.71749, -0.03, 0.02, 60)
    generator = gain("cited answer", 0.25, 0.5, 0.1, 0.4, 50)
    shuffled = gain("cited answer", 0.2, 0.3, 0.05, 0.15, 50)
    whole = gain("ndcg@10", 0.65, 0.7449, 0.04, 0.15, 60)
    systems = [("bm25", "none"), ("dense", "base"), ("dense", "tuned"), ("hybrid", "tuned")]
    judged: list[tuple[Any, bool, dict[str, Any], str]] = [
        ("embedder", True, embedder, "excludes a loss"),
        ("reranker", False, reranker, "no gain"),
        ("generator", True, generator, "excludes a loss"),
    ]
    return Measurements(
        questions={
            "human": QuestionCounts(questions=60, documents=12, is_crossed=True),
            "synthetic": QuestionCounts(questions=300, documents=40, is_crossed=True),
        },
        deciding="human",
        retrieval=tuple(ranked(s, r, e) for s in ("human", "synthetic") for r, e in systems),
        answers=tuple(
            AnswerRow(
                question_set="human",
                generator=which,
                questions=some,
                n=n,
                metrics={"citation accuracy": 0.25, "answer f1": 0.3333},
            )
            for which in ("base", "tuned")
            for some, n in (("all", 50), ("easy", 41), ("hard", 9))
        ),
        comparisons=(
            PartComparison(part=SHIPPED, question_set="human", **whole),
            PartComparison(part="embedder", question_set="human", **embedder),
            PartComparison(part="tuned hybrid over BM25", question_set="human", **embedder),
            PartComparison(part="reranker", question_set="human", **reranker),
            PartComparison(part="generator", question_set="human", **generator),
            PartComparison(part=SHUFFLED, question_set="human", **shuffled),
            PartComparison(
                part="embedder",
                question_set="synthetic",
                **gain("hit@5", 0.5, 0.5, -0.0001, 0, 300),
            ),
        ),
        verdicts=tuple(
            Verdict(
                part=part,
                is_kept=is_kept,
                question_set="human",
                comparison=Comparison(**values),
                reason=reason,
            )
            for part, is_kept, values, reason in judged
        ),
        variants=(
            variant(("embedder", "generator"), "tuned", 0.75, 0.5),
            variant((), "base", 0.65, 0.2),
        ),
        probes=tuple(
            ProbeRow(
                probe=what,
                value=value,
                question_set="human",
                generator=generator,
                n=40,
                metrics={"answer f1": 0.25} | ({"citation accuracy": value / 8} if value else {}),
            )
            for generator in ("base", "tuned")
            for what, value in (
                ("place of the right passage", 1),
                ("place of the right passage", 2),
                ("passages shown", 2),
                ("passages shown", 5),
                ("no passage", 0),
            )
        ),
        forgetting=Forgetting(
            perplexity=Perplexity(before=12.345, after=13.0, n=8),
            instructions=Comparison(**gain("instructions followed", 0.5, 0.4, -0.25, 0.04, 20)),
        ),
    )


def full_report() -> Report:
    return Report(
        aloft="0.1.0",
        created="2026-01-02T03:04:05+00:00",
        command="aloft run docs --out run",
        machine={"processor": "x86_64", "cores": 2, "torch": "2.9"},
        config={
            "teacher": "a-teacher",
            "reranker": None,
            "parts": ["embedder", "reranker", "generator"],
            "seed": 7,
            "evaluation": {"min_human_questions": 50, "max_stack_questions": 40},
        },
        funnel=(
            FunnelRow(stage="documents", kept=12, dropped={"no text": 1}, seconds=1.5),
            FunnelRow(
                stage="pairs",
                kept=1800,
                dropped={"no reply": 1100, "cut": 20},
                seconds=88.5,
                teacher={
                    "pairs": TeacherUsage(
                        calls=3100, tokens_in=1_240_000, tokens_out=62_000, seconds=80.0
                    ),
                    "pair_ratings": TeacherUsage(
                        calls=3600, tokens_in=None, tokens_out=None, seconds=1.25
                    ),
                },
                pairs_an_hour=79754,  # 1800 in 81.25 s
                repaired=210,
            ),
            FunnelRow(stage="sets", kept=0, dropped={}, seconds=0.2, rows={"held_out": 300}),
            FunnelRow(stage="embedder", kept=1, dropped={}, seconds=30.0, rows=1500),
            FunnelRow(stage="evaluate", kept=0, dropped={}, seconds=9.8),
        ),
        parts={part: trained(part) for part in ("embedder", "reranker", "generator")},
        measured=measurements(),
        connections_refused=(),
        peak_memory_megabytes=2345,
    )


def measured_otherwise(report: Report, **changes: Any) -> Report:
    return replace(report, measured=replace(report.measured, **changes))


def embedder_only() -> Report:
    """Only the embedder was trained, on synthetic questions alone, and is refused."""
    report, whole = full_report(), measurements()
    untuned = replace(variant((), "base", 0.65), question_set="synthetic")
    measured = replace(
        whole,
        questions={"synthetic": whole.questions["synthetic"]},
        deciding="synthetic",
        retrieval=tuple(row for row in whole.retrieval if row.question_set == "synthetic"),
        comparisons=whole.comparisons[-1:],
        verdicts=(replace(whole.verdicts[0], is_kept=False, reason="a loss"),),
        answers=(),
        probes=(),
        forgetting=None,
        variants=(untuned,),
    )
    return replace(report, measured=measured, parts={"embedder": report.parts["embedder"]})


class Page(HTMLParser):
    """Balance of tags, texts of cells, ids, and what an element would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.loads: list[str] = []
        self.widths: list[list[int]] = []
        self.labels: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        values = dict(attrs)
        self.ids += [values["id"] or ""] if "id" in values else []
        self.labels += (values.get("aria-labelledby") or "").split()
        self.loads += [name for name in values if name in ("src", "href", "xlink:href", "onload")]
        if tag == "table":
            self.widths.append([])
        elif tag == "tr":
            self.widths[-1].append(0)
        elif tag in ("td", "th"):
            self.widths[-1][-1] += 1

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def markdown_tables(text: str) -> list[list[int]]:
    """Cells per line of each table; an escaped bar parts no cells."""
    tables: list[list[int]] = []
    before = ""
    for line in text.splitlines():
        if line.startswith("|"):
            if not before.startswith("|"):
                tables.append([])
            tables[-1].append(len(re.findall(r"(?<!\\)\|", line)) - 1)
        before = line
    return tables


REPORTS = {"full": full_report(), "embedder only": embedder_only(), "empty": Report()}


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS.keys())
def test_the_page_is_whole_and_loads_nothing(report: Report) -> None:
    text = render_html(report)
    page = Page(text)
    assert not page.open
    assert not page.loads
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert not re.search(r"https?:|url\(|@import", text)
    assert "default-src 'none'" in text
    assert len(page.ids) == len(set(page.ids))
    assert set(page.labels) == set(page.ids)
    assert all(len(set(widths)) == 1 for widths in page.widths)


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS.keys())
def test_every_line_of_a_markdown_table_has_the_same_number_of_cells(
    report: Report,
) -> None:
    for widths in markdown_tables(render_markdown(report)):
        assert len(widths) >= 3
        assert len(set(widths)) == 1


def test_figures_are_rounded_to_a_tenth_of_a_percent() -> None:
    text = render_markdown(full_report())
    marked = [f"**{c}**" for c in ("embedder", "nDCG@10", "60.0", "72.1", "+12.1", "[+3.0, +21.0]")]
    assert f"| {' | '.join(marked)} | **60** | **12** |" in text
    row = "| tuned hybrid over BM25 | nDCG@10 | 60.0 | 72.1 | +12.1 | [+3.0, +21.0] | 60 | 12 |"
    assert row in text
    assert "| what ships | nDCG@10 | 65.0 | 74.5 | +9.5 | [+4.0, +15.0] | 60 | 12 |" in text
    assert "| embedder | hit@5 | 50.0 | 50.0 | +0.0 | [+0.0, +0.0] | 300 | 12 |" in text  # not -0.0
    assert "| Human questions | 60 | 12 | yes |" in text
    assert "| questions | number | documents | decides |" in text
    assert "| Synthetic held-out questions | 300 | 40 | – |" in text
    assert "| dense | tuned | – | – | – | 40.0 | 45.0 | 50.0 | 55.0 | 60.0 | 65.0 |" in text
    marked = [f"**{c}**" for c in ("hybrid", "tuned", "0.55", "–", "–", "40.0", "45.0")]
    assert f"| {' | '.join(marked)} |" in text  # ships
    assert "| tuned | hard | 9 | 25.0 | 33.3 |" in text
    assert "| reranker | refused | no gain |" in text
    header = "| tuned parts | retriever | embedder | dense share | reranker | its share | nDCG@10 |"
    assert f"{header} citation accuracy | cited answer | verdict |" in text
    assert "| none | hybrid | base | 0.30 to 1.00 | – | – | 65.0 | 20.0 | 10.0 | – |" in text
    assert "| **generator** | **cited answer** | **25.0** | **50.0** | **+25.0** |" in text
    assert "| generator, shuffled | cited answer | 20.0 | 30.0 | +10.0 |" in text
    assert "| pairs | 1,800 | 1,120 | 1,100 no reply; 20 cut | – | 88.5 |" in text
    assert "| sets | – | – | – | 300 held out | 0.2 |" in text
    assert "| embedder | a-model | 1,234.6 | 2.500 1.250 0.900 |" in text
    assert "| seconds in all | 130.0 (2.2 minutes) |" in text
    assert "| peak memory | 2,345 MB |" in text
    assert "| evaluation.min_human_questions | 50 |" in text
    assert "| parts | embedder, reranker, generator |" in text


def test_the_forgetting_check_and_the_probes_are_shown() -> None:
    text = render_markdown(full_report())
    assert (
        "| instructions followed, in percent | 50.0 | 40.0 | -10.0 | [-25.0, +4.0] | 20 |" in text
    )
    assert "| perplexity of plain texts | 12.35 | 13.00 | +0.65 | – | 8 |" in text
    assert "| place of the right passage | 2 | tuned | 40 | 25.0 | 25.0 |" in text
    assert "| no passage | 0 | base | 40 | – | 25.0 |" in text
    assert "Place and number" not in render_markdown(embedder_only())
    page = render_html(full_report())
    assert page.count('class="curve base"') == 4
    assert "Answer F1 by the number of passages</title>" in page
    assert "base: 0 25.0, 2 25.0, 5 25.0; tuned: 0 25.0, 2 25.0, 5 25.0" in page
    assert "base: 2 25.0, 5 62.5; tuned: 2 25.0, 5 62.5" in page


def test_a_point_stands_at_its_value() -> None:
    line = Line(label="tuned", values=[0, 50, 100], mark="tuned")
    drawn = draw_lines("x", "X", ["1", "2", "3"], [line])
    # the plot is 272 wide behind 40, and 164 high below 22
    assert re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', drawn) == [
        ("85.3", "186.0"),
        ("176.0", "104.0"),
        ("266.7", "22.0"),
    ]


def test_of_many_points_the_ends_and_the_highest_have_figures() -> None:
    line = Line(label="tuned", values=[50, 61, 62, 68, 66, 64, 63], mark="tuned")
    drawn = draw_lines("x", "X", list("abcdefg"), [line])
    assert re.findall(r'class="figure">(\d+)<', drawn) == ["50", "68", "63"]
    assert drawn.count("<circle") == 7


def test_a_scale_may_be_cut() -> None:
    line = Line(label="tuned", values=[60, 65, 70], mark="tuned")
    drawn = draw_lines("x", "X", ["0", "0.5", "1"], [line], (60, 70))
    assert [y for _, y in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', drawn)] == [
        "186.0",
        "104.0",
        "22.0",
    ]
    assert re.findall(r'text-anchor="end" class="tick">(\d+)<', drawn) == ["60", "65", "70"]


def test_each_share_is_drawn_with_and_without_what_ships() -> None:
    def curve(share: str, embedder: str, reranker: str, *values: float) -> ShareCurve:
        return ShareCurve(
            question_set="human",
            share=share,
            system=System("hybrid", embedder, reranker),
            shares=[0.0, 0.5, 1.0],
            values=list(values),
            chosen=max(values) + 0.01,
        )

    curves = (
        curve("dense", "base", "none", 0.5, 0.61, 0.55),
        curve("dense", "tuned", "none", 0.5, 0.65, 0.6),
        curve("reranking", "tuned", "tuned", 0.65, 0.68, 0.6),
    )
    report = full_report()
    report = replace(report, measured=replace(report.measured, curves=curves))
    page = render_html(report)
    assert page.count("nDCG@10 by the share of the embedder beside BM25") == 2
    assert "Broken line: nothing tuned" in page
    assert "62.0 (base) and 66.0 (tuned)" in page
    assert "69.0 (tuned)" in page
    assert "base embedder, none reranker: 0 50.0, 0.5 61.0, 1 55.0" in page
    text = render_markdown(report)  # which has no pictures
    assert "| questions | share of | embedder | reranker | 0 | 0.5 | 1 | chosen |" in text
    row = "| Human questions | the embedder beside BM25 | base | – | 50.0 | 61.0 | 55.0 | 62.0 |"
    assert row in text
    row = "| Human questions | the reranker beside the hybrid | tuned | tuned | 65.0 | 68.0 |"
    assert f"{row} 60.0 | 69.0 |" in text
    assert from_json(json.loads(dump(report))) == report


def abstaining(name: str, generator: str, **changes: Any) -> AbstentionCurve:
    facts: dict[str, Any] = {
        "threshold": 0.125,
        "promised": 0.95,
        "validation": 0.957,
        "answered": 0.938,
        "present": 48,
        "declined": 0.7,
        "missing": 60,
        "unanswerable": 0.55,
        "coverage": 0.65,
        "risk": 0.41,
        "risks": tuple(0.05 * i for i in range(10)),
    }
    return AbstentionCurve(question_set=name, generator=generator, **{**facts, **changes})


def test_what_abstaining_comes_to_is_shown_and_drawn() -> None:
    nothing: dict[str, Any] = {"validation": None, "unanswerable": None, "risk": None}
    curves = (
        abstaining("human", "base", threshold=None),
        abstaining("human", "tuned"),
        abstaining("synthetic", "tuned", **nothing),
    )
    report = measured_otherwise(full_report(), abstention=curves)
    text, page = render_markdown(report), render_html(report)
    assert "## Abstention" in text and "So was the threshold of abstention." in text
    row = "| Human questions | tuned | 0.125 | 95.0 | 95.7 | 93.8 | 48 | 70.0 | 60 | 55.0 |"
    assert row in text
    assert "| Human questions | base | – | – | 95.7 | 93.8 |" in text
    assert "| Synthetic held-out questions | tuned | 0.125 | 95.0 | – | 93.8 |" in text
    risks = " | ".join(f"{5 * i:.1f}" for i in range(10))
    assert f"| Human questions | tuned | 65.0 | 41.0 | {risks} |" in text
    assert f"| Synthetic held-out questions | tuned | 65.0 | – | {risks} |" in text
    assert "it takes 19 whose passage was retrieved" in text
    assert page.count("risk by coverage, in percent") == 2
    rings = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)" r="7" class="ring (\w+)"', page)
    # ten places of 27.2 behind 40: 0.65 is 5.5 places behind the first; 164 high below 22
    assert rings == [("203.2", "118.8", "base"), ("203.2", "118.8", "tuned")]
    assert from_json(json.loads(dump(report))) == report

    said = "It answers 93.8 % of the questions whose passage was retrieved, 95.0 were promised, and"
    assert f"{said} declines 70.0 % of those whose passage is missing." in summarize(report)
    unkept = replace(curves[1], threshold=None)
    told = summarize(measured_otherwise(full_report(), abstention=(unkept,)))
    assert "whose passage was retrieved, and declines 70.0 %" in told

    promised = measured_otherwise(full_report(), abstention=curves[1:])
    assert "The questions are too few" not in render_markdown(promised)
    without = render_markdown(full_report())
    assert "## Abstention" not in without and "threshold of abstention" not in without


def test_a_ring_stays_on_the_plot() -> None:
    line = Line(label="tuned", values=[0, 50, 100], mark="tuned", ring=(-1.0, 50))
    drawn = draw_lines("x", "X", ["1", "2", "3"], [line])
    assert '<circle cx="40.0" cy="104.0" r="7" class="ring tuned"/>' in drawn


def test_the_learning_curve_says_whether_more_pairs_would_help() -> None:
    def point(pairs: int, after: float, name: str = "human") -> LearningPoint:
        gain = Comparison(
            metric="ndcg@10",
            before=0.61,
            after=after,
            gain=after - 0.61,
            low=0.001,
            high=0.04,
            n=130,
            clusters=56,
        )
        return LearningPoint(question_set=name, pairs=pairs, gain=gain)

    learning = (point(25, 0.62), point(50, 0.63), point(100, 0.641))
    report = replace(full_report(), learning=learning)
    page = render_html(report)
    assert "From 50 to 100 pairs it changes by +1.1: more documents" in page
    assert "tuned: 25 62.0, 50 63.0, 100 64.1" in page
    assert "| Human questions | 100 | 61.0 | 64.1 | +3.1 | [+0.1, +4.0] | 130 |" in (
        render_markdown(report)
    )
    assert from_json(json.loads(dump(report))) == report
    flat = replace(report, learning=(*learning[:2], point(100, 0.632)))
    assert "more of the same would add little" in render_html(flat)
    assert "Learning curve" not in render_html(full_report())


def test_the_page_holds_the_same_figures_as_the_markdown() -> None:
    report = full_report()
    page = render_html(report)
    for line in render_markdown(report).splitlines():
        if line.startswith("| ") and "---" not in line:
            for cell in line.strip("| ").split(" | "):
                assert f">{cell.strip('*').replace('>', '&gt;')}<" in page, cell


def test_the_shipped_combination_is_marked() -> None:
    (line,) = [s for s in render_markdown(full_report()).splitlines() if "shipped**" in s]
    assert line.startswith("| **embedder and generator** |")


def test_it_is_said_how_what_ships_is_chosen_answered_and_cited() -> None:
    chosen = "All of them ship, unless a combination without some of them has an nDCG@10"
    asked = "At most 40 questions were answered from what was retrieved, in its order"
    cited = "times a power of the place in the retriever's order: here the power -4."
    text = render_markdown(full_report())
    assert chosen in text and asked in text and cited in text

    first, *rest = measurements().variants
    for report, left in (
        (measured_otherwise(full_report(), variants=(replace(first, order_weight=None), *rest)), 2),
        (embedder_only(), 1),
        (measured_otherwise(full_report(), variants=()), 0),
    ):
        text = render_markdown(report)
        assert [said in text for said in (chosen, asked, cited)] == [i < left for i in range(3)]

    for weight, said in ((0.5, "-0.5."), (100.0, "-100.")):
        variants = (replace(first, order_weight=weight), *rest)
        text = render_markdown(measured_otherwise(full_report(), variants=variants))
        assert f"here the power {said}" in text
    every = replace(full_report(), config={"evaluation": {"max_stack_questions": None}})
    assert "The questions were answered from what was retrieved" in render_markdown(every)


def test_the_verdict_says_in_words_what_happened() -> None:
    assert summarize(full_report()) == (
        "The 60 human questions decide. "
        "Gained and kept: the embedder (nDCG@10 60.0 to 72.1, +12.1 [+3.0, +21.0], n = 60) "
        "and the generator (cited answer 25.0 to 50.0, +25.0 [+10.0, +40.0], n = 50). "
        "Refused: the reranker; no gain. "
        "Ships: hybrid retrieval with the tuned embedder (dense share 0.30 to 1.00), answers by "
        "the tuned generator, with nDCG@10 75.0 and citation accuracy 50.0 "
        "(nothing tuned: nDCG@10 65.0 and citation accuracy 20.0)."
    )


def test_the_verdict_lists_three_parts_as_a_sentence_does() -> None:
    whole = full_report()
    verdicts = tuple(
        replace(v, is_kept=True, comparison=whole.verdicts[0].comparison) for v in whole.verdicts
    )
    (said,) = re.findall(
        r"Gained and kept: (.*?)\. ", summarize(measured_otherwise(whole, verdicts=verdicts))
    )
    assert re.sub(r" \(.*?\)", "", said) == "the embedder, the reranker and the generator"


def reranked_report() -> Report:
    """What ships has the body of the base embedder rerank, and one dense share for all."""
    whole = measurements()
    base = System("hybrid", "base", "base")
    first = replace(whole.variants[-1], system=base, dense_share=CoverageShare.constant(0.35))
    row = replace(ranked("human", "hybrid", "base"), reranker="base", rerank_share=0.6)
    return measured_otherwise(
        full_report(),
        variants=(first, *whole.variants[:-1]),
        retrieval=(ranked("human", "hybrid", "base"), row),
    )


def test_a_rerankers_share_is_shown() -> None:
    text = render_markdown(reranked_report())
    header = "| retriever | embedder | dense share | reranker | its share | hit@1 |"
    assert header in text
    assert "| hybrid | base | 0.55 | – | – | 40.0 |" in text
    assert "| **hybrid** | **base** | **0.55** | **base** | **0.60** | **40.0** |" in text
    assert "| **none** | **hybrid** | **base** | **0.35** | **base** | **0.60** |" in text
    shipped = "hybrid retrieval with the base embedder (dense share 0.35)"
    assert f"Ships: {shipped}, reranked by the base reranker (share 0.60)" in text


def test_a_share_is_shown_of_what_has_one_alone() -> None:
    (first, *rest) = measurements().variants
    dense = replace(first, system=System("dense", "tuned", "none"))
    text = render_markdown(measured_otherwise(full_report(), variants=(dense, *rest)))
    parts = "**embedder and generator** | **dense** | **tuned**"
    assert f"| {parts} | **–** | **–** | **–** |" in text
    assert "Ships: dense retrieval with the tuned embedder, answers by" in text


def test_a_part_that_is_kept_for_what_it_gains_by_itself_is_not_said_to_have_gained() -> None:
    report = embedder_only()
    (refused,) = report.verdicts
    stack = Comparison(**gain("ndcg@10", 0.72, 0.71, -0.02, 0.01, 300))
    reason = "the 95 % interval includes a gain on the synthetic questions: nDCG@10"
    kept = replace(refused, is_kept=True, comparison=stack, reason=reason)
    said = summarize(measured_otherwise(report, verdicts=(kept,)))
    assert f"Kept: the embedder; {reason}. " in said
    assert "Gained" not in said and "No part gained" not in said


def test_a_run_without_gain_says_so() -> None:
    assert summarize(embedder_only()) == (
        "The 300 synthetic held-out questions decide; no human questions that a passage answers "
        "were given. "
        "No part gained enough to be kept. Refused: the embedder; a loss. "
        "Ships: hybrid retrieval with the base embedder (dense share 0.30 to 1.00), "
        "with nDCG@10 65.0."
    )


@pytest.mark.parametrize(
    ("is_kept", "said"),
    [
        (False, "An index must be rebuilt with the tuned embedder: 2,345 texts take 41 s"),
        (True, "An index can be kept: the tuned embedder changes questions alone (2,345"),
    ],
)
def test_the_summary_says_what_becomes_of_an_index(is_kept: bool, said: str) -> None:
    indexing = Indexing(texts=2345, seconds=41.2, is_kept=is_kept)
    report = replace(full_report(), indexing=indexing)
    variants = report.measured.variants
    assert said in summarize(report)
    untuned = measured_otherwise(report, variants=variants[1:])
    assert "index" not in summarize(untuned)


def test_what_the_collapse_guard_saw_is_shown_with_what_came_of_it() -> None:
    report = full_report()
    assert "Watched during training" not in render_markdown(report)
    event = "all scores became alike at step 40 of 200: training stopped"
    probe = Probe(step=40, found=0.875, right=0.61, spread=0.1234, likeness=-0.5)
    embedder = replace(report.parts["embedder"], probes=(probe,), event=event)
    text = render_markdown(replace(report, parts={**report.parts, "embedder": embedder}))
    (row,) = [line for line in text.splitlines() if "87.5" in line and "0.123" in line]
    assert [cell.strip() for cell in row.strip("|").split("|")] == [
        *("embedder", "40", "87.5", "0.610", "0.123", "-0.500"),
    ]
    assert f"The embedder: {event}." in text


def test_few_human_questions_do_not_decide_and_a_kept_part_may_not_ship() -> None:
    counts = measurements().questions
    few = QuestionCounts(questions=9, documents=2, is_crossed=True)
    report = measured_otherwise(
        full_report(),
        questions={**counts, "human": few},
        deciding="synthetic",
        variants=(
            variant(("generator",), "base", 0.68, 0.4),
            variant(("embedder",), "tuned", 0.65),
        ),
    )
    text = summarize(report)
    assert "decide; 9 human questions were given, and it takes 50 to decide." in text
    assert "Kept but not shipped: the embedder; the whole system is better without." in text
    row = "| embedder | hybrid | tuned | 0.30 to 1.00 | – | – | 65.0 | – | – | – |"
    assert row in render_markdown(report)  # which answers nothing


@pytest.mark.parametrize(
    ("documents", "said"),
    [
        (1, "All of them are about one document, so that no interval can be given."),
        (9, "They are about 9 documents only: the intervals tend to be too narrow."),
        (10, None),
        (None, None),
    ],
)
def test_few_documents_are_pointed_out(documents: int | None, said: str | None) -> None:
    counts = QuestionCounts(questions=60, documents=documents, is_crossed=True)
    report = measured_otherwise(full_report(), questions={"human": counts})
    if said:
        assert said in summarize(report) and said in render_html(report)
    else:
        assert "documents only" not in summarize(report)


def test_sections_that_count_as_documents_are_pointed_out() -> None:
    counts = QuestionCounts(questions=60, documents=9, is_crossed=True, are_sections=True)
    said = summarize(measured_otherwise(full_report(), questions={"human": counts}))
    assert "They are about 9 sections, which count as documents, as the corpus has few: " in said
    assert "documents only" not in said


def test_whether_choices_are_kept_apart_from_what_is_reported_is_said_of_the_deciding_set() -> None:
    apart = "Each question was measured with what was chosen on questions about other documents"
    together = "Choices were made on the questions that are reported"
    counts = measurements().questions
    whole = QuestionCounts(questions=60, documents=1, is_crossed=False)
    for name, questions, said, unsaid in (
        ("human", counts, apart, together),
        ("human", {**counts, "human": whole}, together, apart),
        ("human", {**counts, "synthetic": whole}, apart, together),
        ("synthetic", {**counts, "human": whole}, apart, together),
    ):
        report = measured_otherwise(full_report(), questions=questions, deciding=name)
        for text in (render_markdown(report), render_html(report)):
            assert said in text and unsaid not in text


def test_a_gain_without_an_interval_is_shown_without_one() -> None:
    first, embedder, *rest = measurements().comparisons
    alone = replace(embedder, low=None, high=None, clusters=1)
    report = measured_otherwise(full_report(), comparisons=(first, alone, *rest))
    text = render_markdown(report)
    assert "| **+12.1** | **–** | **60** | **1** |" in text
    assert not Page(render_html(report)).open


def test_a_part_that_cannot_be_judged_is_shown_with_the_reason() -> None:
    verdict = replace(measurements().verdicts[2], is_kept=False, comparison=None, reason="unknown")
    report = measured_otherwise(full_report(), verdicts=(verdict,))
    assert "| generator | refused | unknown |" in render_markdown(report)
    assert "Refused: the generator; unknown." in summarize(report)


def test_sections_that_a_run_has_nothing_for_are_left_out() -> None:
    whole, part = render_markdown(full_report()), render_markdown(embedder_only())
    assert "## Answers" in whole and "Human questions" in whole
    assert "## Answers" not in part and "Human questions" not in part
    titles = [line for line in render_markdown(Report()).splitlines() if line.startswith("#")]
    assert titles == ["# Aloft report", "## How to read this"]
    assert "<svg" not in render_html(Report())


@pytest.mark.parametrize("name", Report.__slots__)
def test_any_fact_of_a_run_may_be_missing(name: str) -> None:
    report = replace(full_report(), **{name: getattr(Report(), name)})
    assert not Page(render_html(report)).open
    assert render_markdown(report)


@pytest.mark.parametrize("name", Measurements.__slots__)
def test_any_measurement_may_be_missing(name: str) -> None:
    report = measured_otherwise(full_report(), **{name: getattr(Measurements(), name)})
    assert not Page(render_html(report)).open
    assert render_markdown(report)


def test_texts_are_escaped() -> None:
    report = full_report()
    first, *others = report.funnel
    embedder = replace(report.parts["embedder"], base_model=EVIL, event=EVIL)
    whole = report.measured
    hostile = replace(
        report,
        command=EVIL,
        machine={EVIL: EVIL},
        config={**report.config, "teacher": EVIL, EVIL: [EVIL]},
        parts={**report.parts, "embedder": embedder},
        funnel=(replace(first, stage=EVIL, dropped={EVIL: 1}), *others),
        previous_run=PreviousRunFacts(
            run=EVIL, passages=2, new_passages=1, new_pairs=1, replayed_pairs=0
        ),
        connections_refused=(EVIL,),
        text_sent_to=(EVIL,),
        measured=replace(
            whole,
            comparisons=(replace(whole.comparisons[0], part=EVIL), *whole.comparisons[1:]),
            verdicts=(replace(whole.verdicts[0], is_kept=False, reason=EVIL),),
        ),
    )
    page = render_html(hostile)
    assert "<script" not in page and "&lt;script&gt;" in page
    assert "script" not in Page(page).tags
    text = render_markdown(hostile)
    assert "<" not in text and "](" not in text and "![" not in text
    assert all(len(set(widths)) == 1 for widths in markdown_tables(text))
    assert from_json(json.loads(dump(hostile))) == hostile


def test_underscores_around_a_word_of_markdown_stay() -> None:
    text = render_markdown(replace(full_report(), command="aloft run /data/_own_ --out a_b__"))
    assert "aloft run /data/\\_own\\_ --out a_b\\_\\_" in text


def test_the_name_of_a_question_set_is_escaped_in_charts_too() -> None:
    name = '"><b'
    whole = measurements()
    report = measured_otherwise(
        full_report(),
        questions={name: whole.questions["human"]},
        deciding=name,
        comparisons=tuple(replace(c, question_set=name) for c in whole.comparisons),
        retrieval=tuple(replace(row, question_set=name) for row in whole.retrieval),
    )
    assert "b" not in Page(render_html(report)).tags


def test_names_that_cannot_be_encoded_are_shown_as_far_as_they_can() -> None:
    report = replace(full_report(), command="aloft run caf\udce9", config={"earlier": "r\udcff"})
    for text in (render_html(report), render_markdown(report)):
        assert "aloft run caf\ufffd" in text
        text.encode()
    dump(report).encode()
    assert from_json(json.loads(dump(report))) == report


def test_connections_are_counted_and_named() -> None:
    text = render_markdown(full_report())
    assert "| network | 0 outbound connections were attempted |" in text
    hosts = ("a.example", "a.example", "b.example")
    tried = replace(full_report(), connections_refused=hosts)
    expected = "3 outbound connections were attempted and refused: a.example, b.example"
    assert expected in render_markdown(tried) and expected in render_html(tried)


def test_the_teachers_usage_is_stated_and_unknown_counts_are_not_zero() -> None:
    asked = [
        "| pairs | 3,100 | 1,240,000 | 62,000 | 80.0 | 79,754 | 210 |",
        "| pair_ratings | 3,600 | – | – | 1.2 | – | – |",
    ]
    assert all(line in render_markdown(full_report()).splitlines() for line in asked)
    assert '<td class="number">1,240,000</td>' in render_html(full_report())
    report = full_report()
    silent = tuple(replace(stage, teacher={}) for stage in report.funnel)
    assert "teacher was asked" not in render_markdown(replace(report, funnel=silent))


def test_rows_for_other_tables_are_in_percent() -> None:
    rows = headline_rows(full_report())
    assert [(r.part, r.metric) for r in rows] == [  # hit@5 is no headline
        ("what ships", "nDCG@10"),
        ("embedder", "nDCG@10"),
        ("tuned hybrid over BM25", "nDCG@10"),
        ("reranker", "nDCG@10"),
        ("generator", "cited answer"),
        ("generator, shuffled", "cited answer"),
    ]
    assert (rows[1].before, rows[1].n, rows[1].interval) == ("60.0", 60, "[+3.0, +21.0]")
    assert (rows[1].gain, rows[1].clusters) == ("+12.1", 12)
    assert verdict_rows(full_report())[1] == ("reranker", "refused", "no gain")


def test_a_report_read_back_from_json_gives_the_same_page() -> None:
    report = full_report()
    read = from_json(json.loads(dump(report)))
    assert render_html(read) == render_html(report)
    assert render_markdown(read) == render_markdown(report)


def test_a_bar_is_as_long_as_its_value() -> None:
    bar = Length(group="", label="a", value=25, rest=50, figure="25", mark="tuned")
    drawn = draw_bars("x", "X", [bar], 100.0)
    assert re.findall(r'<rect x="([\d.]+)"[^>]* width="([\d.]+)"', drawn) == [
        ("230.0", "125.0"),  # the plot is 500 wide
        ("355.0", "250.0"),
    ]


@pytest.mark.parametrize("losses", [[0.0], [1.0], [0.5, 0.5], [9.6, 0.001], [0.0, 0.0]])
def test_any_losses_can_be_drawn(losses: list[float]) -> None:
    assert draw_curve("x", "X", losses).count(f"{losses[-1]:.3f}") >= 1


def test_a_forest_without_gains_is_drawn_too() -> None:
    assert "<svg" in draw_forest("x", "X", [])


def test_losses_that_diverged_do_not_stop_the_report() -> None:
    report = full_report()
    lost = replace(report.parts["embedder"], losses=(2.5, float("nan"), float("inf")))
    whole = replace(report, parts={"embedder": lost})
    assert "2.500 nan inf" in render_html(whole)
    (read,) = from_json(json.loads(dump(whole))).parts.values()
    assert str(read.losses) == "(2.5, nan, inf)"
    alone = replace(lost, losses=(float("nan"),))
    assert "Loss of the embedder" not in render_html(replace(report, parts={"embedder": alone}))


def test_what_ships_where_nothing_gained_is_named_in_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("aloft.cli.views.show_funnel", lambda _: None)  # there is no run folder
    show_report(tmp_path, embedder_only())
    assert "Ships: the untuned models, in " in capsys.readouterr().out
    facts = PreviousRunFacts(run="one", passages=3, new_passages=1, new_pairs=2, replayed_pairs=0)
    show_report(tmp_path, replace(embedder_only(), previous_run=facts))
    assert "Ships: the previous run's models, in " in capsys.readouterr().out


def test_a_terminal_of_80_columns_shows_every_row_of_a_report_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("aloft.cli.views.show_funnel", lambda _: None)  # there is no run folder
    show_report(tmp_path, full_report())
    shown = capsys.readouterr().out
    assert "…" not in shown
    for part in ("what ships", "embedder", "tuned hybrid over BM25"):
        assert f"{part}, human questions" in shown
    rows = [" ".join(line.split()) for line in shown.splitlines()]
    for row in headline_rows(full_report()):
        figures = f"{row.before} {row.after} {row.gain} {row.interval} {row.n} {row.clusters}"
        assert f"{row.metric} {figures}" in rows
