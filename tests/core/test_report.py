"""The report: its figures as they are rounded, its escaping, and what it does where parts lack."""

import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from aloft.evaluation.charts import Length, Line, draw_bars, draw_curve, draw_lines
from aloft.evaluation.report import (
    headline_rows,
    render_html,
    render_markdown,
    summarize,
    verdict_lines,
)

EVIL = "<script>alert('x')</script> | [a](http://evil.example) ![b](c) `d` & *e*"
VOID = {"meta", "br", "hr", "img", "link", "input"}
RETRIEVAL_METRICS = ("hit@1", "hit@5", "hit@10", "recall@5", "mrr@10", "ndcg@10")


def gain(
    metric: str, before: float, after: float, low: float, high: float, n: int
) -> dict[str, Any]:
    values = {"before": before, "after": after, "gain": after - before, "low": low, "high": high}
    return {"metric": metric, "n": n, **values}


def account(calls: int, read: int | None, written: int | None, seconds: float) -> dict[str, Any]:
    return {"calls": calls, "tokens_in": read, "tokens_out": written, "seconds": seconds}


def ranked(name: str, retriever: str, embedder: str, reranker: str, first: float) -> dict[str, Any]:
    metrics = {m: first + 0.05 * i for i, m in enumerate(RETRIEVAL_METRICS)}
    return {
        "question_set": name,
        "retriever": retriever,
        "embedder": embedder,
        "reranker": reranker,
        "weight": 0.6 if retriever == "hybrid" else None,
        "n": 60,
        "metrics": metrics,
    }


def stack(parts: list[str], embedder: str, ndcg: float, cited: float) -> dict[str, Any]:
    return {
        "parts": parts,
        "system": {"retriever": "hybrid", "embedder": embedder, "reranker": "none"},
        "weight": 0.6,
        "question_set": "human",
        "metrics": {"hit@1": 0.5, "ndcg@10": ndcg, "citation accuracy": cited},
        "n": 60,
        "score": (ndcg + cited) / 2,
    }


def full_report() -> dict[str, Any]:
    embedder = gain("ndcg@10", 0.6, 0.72149, 0.0304, 0.2096, 60)
    reranker = gain("ndcg@10", 0.72149, 0.71749, -0.03, 0.02, 60)
    generator = gain("citation accuracy", 0.25, 0.5, 0.1, 0.4, 50)
    systems = [("bm25", "none"), ("dense", "base"), ("dense", "tuned"), ("hybrid", "tuned")]
    stacks = [
        stack(["embedder", "generator"], "tuned", 0.75, 0.5),
        stack(["embedder"], "tuned", 0.75, 0.25),
        stack(["generator"], "base", 0.65, 0.4),
        stack([], "base", 0.65, 0.2),
    ]
    return {
        "aloft": "0.1.0",
        "created": "2026-01-02T03:04:05+00:00",
        "command": "aloft run docs --out run",
        "machine": {"processor": "x86_64", "cores": 2, "torch": "2.9"},
        "config": {
            "teacher": "a-teacher",
            "reranker": None,
            "parts": ["embedder", "reranker", "generator"],
            "seed": 7,
            "evaluation": {"min_human_questions": 50, "max_stack_questions": 40},
        },
        "funnel": [
            {"stage": "documents", "kept": 12, "dropped": {"no text": 1}, "seconds": 1.5},
            {
                "stage": "pairs",
                "kept": 1800,
                "dropped": {"no reply": 1100, "cut": 20},
                "seconds": 88.5,
                "teacher": {
                    "pairs": account(3100, 1_240_000, 62_000, 80.0),
                    "pair_ratings": account(3600, None, None, 1.25),
                },
                "pairs_an_hour": 79754,  # 1800 in 81.25 s
                "mended": 210,
            },
            {"stage": "sets", "kept": 0, "dropped": {}, "seconds": 0.2, "rows": {"held_out": 300}},
            {"stage": "embedder", "kept": 1, "dropped": {}, "seconds": 30.0, "rows": 1500},
            {"stage": "evaluate", "kept": 0, "dropped": {}, "seconds": 9.8},
        ],
        "questions": {"human": 60, "synthetic": 300},
        "deciding": "human",
        "parts": {
            part: {"base_model": "a-model", "seconds": 1234.56, "losses": [2.5, 1.25, 0.9004]}
            for part in ("embedder", "reranker", "generator")
        },
        "retrieval": [
            ranked(s, r, e, "none", 0.4) for s in ("human", "synthetic") for r, e in systems
        ],
        "answers": [
            {
                "question_set": "human",
                "generator": f"{which}, {some}",
                "weight": None,
                "n": n,
                "metrics": {"citation accuracy": 0.25, "answer f1": 0.3333},
            }
            for which in ("base", "tuned")
            for some, n in (("all", 50), ("easy", 41), ("hard", 9))
        ],
        "comparisons": [
            {"part": "embedder", "question_set": "human", **embedder},
            {"part": "tuned hybrid over BM25", "question_set": "human", **embedder},
            {"part": "reranker", "question_set": "human", **reranker},
            {"part": "generator", "question_set": "human", **generator},
            {
                "part": "embedder",
                "question_set": "synthetic",
                **gain("hit@5", 0.5, 0.5, -0.0001, 0, 300),
            },
        ],
        "verdicts": [
            {
                "part": "embedder",
                "is_kept": True,
                "comparison": embedder,
                "reason": "excludes harm",
            },
            {"part": "reranker", "is_kept": False, "comparison": reranker, "reason": "no gain"},
            {
                "part": "generator",
                "is_kept": True,
                "comparison": generator,
                "reason": "excludes harm",
            },
        ],
        "stacks": stacks,
        "shipped": stacks[0],
        "probes": [
            {
                "probe": what,
                "value": value,
                "question_set": "human",
                "generator": generator,
                "n": 40,
                "metrics": {"answer f1": 0.25}
                | ({"citation accuracy": value / 8} if value else {}),
            }
            for generator in ("base", "tuned")
            for what, value in (
                ("place of the right passage", 1),
                ("place of the right passage", 2),
                ("passages shown", 2),
                ("passages shown", 5),
                ("no passage", 0),
            )
        ],
        "ability": {
            "perplexity": {"before": 12.345, "after": 13.0, "n": 8},
            "instructions": gain("instructions followed", 0.5, 0.4, -0.25, 0.04, 20),
        },
        "connections_refused": [],
        "peak_memory_megabytes": 2345,
    }


def embedder_only() -> dict[str, Any]:
    """Only the embedder was trained, on synthetic questions alone, and is refused."""
    report = full_report()
    report["questions"] = {"synthetic": 300}
    report["deciding"] = "synthetic"
    report["retrieval"] = [r for r in report["retrieval"] if r["question_set"] == "synthetic"]
    report["comparisons"] = report["comparisons"][-1:]
    report["verdicts"] = [report["verdicts"][0] | {"is_kept": False, "reason": "harm"}]
    report["answers"] = report["probes"] = []
    del report["ability"]
    untuned = report["stacks"][-1] | {"metrics": {"ndcg@10": 0.65}, "question_set": "synthetic"}
    report["stacks"], report["shipped"] = [untuned], untuned
    report["parts"] = {"embedder": report["parts"]["embedder"]}
    return report


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


REPORTS = {"full": full_report(), "embedder only": embedder_only(), "empty": {}}


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS.keys())
def test_the_page_is_whole_and_loads_nothing(report: dict[str, Any]) -> None:
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
    report: dict[str, Any],
) -> None:
    for widths in markdown_tables(render_markdown(report)):
        assert len(widths) >= 3
        assert len(set(widths)) == 1


def test_figures_are_rounded_to_a_tenth_of_a_percent() -> None:
    text = render_markdown(full_report())
    marked = [f"**{c}**" for c in ("embedder", "nDCG@10", "60.0", "72.1", "+12.1", "[+3.0, +21.0]")]
    assert f"| {' | '.join(marked)} | **60** |" in text
    assert "| tuned hybrid over BM25 | nDCG@10 | 60.0 | 72.1 | +12.1 | [+3.0, +21.0] | 60 |" in text
    assert "| embedder | hit@5 | 50.0 | 50.0 | +0.0 | [+0.0, +0.0] | 300 |" in text  # never -0.0
    assert "| dense | tuned | – | – | 40.0 | 45.0 | 50.0 | 55.0 | 60.0 | 65.0 |" in text
    assert "| **hybrid** | **tuned** | **–** | **0.6** | **40.0** | **45.0** |" in text  # ships
    assert "| tuned | hard | 9 | 25.0 | 33.3 |" in text
    assert "| reranker | refused | no gain |" in text
    assert "| none | hybrid | base | – | 0.6 | 65.0 | 20.0 | 42.5 | – |" in text
    assert "| pairs | 1,800 | 1,120 | 1,100 no reply; 20 cut | – | 88.5 |" in text
    assert "| sets | – | – | – | 300 held out | 0.2 |" in text
    assert "| embedder | a-model | 1,234.6 | 2.500 1.250 0.900 |" in text
    assert "| seconds in all | 130.0 (2.2 minutes) |" in text
    assert "| peak memory | 2,345 MB |" in text
    assert "| evaluation.min_human_questions | 50 |" in text
    assert "| parts | embedder, reranker, generator |" in text


def test_what_was_forgotten_and_what_passages_do_is_told() -> None:
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


def test_the_page_holds_the_same_figures_as_the_markdown() -> None:
    report = full_report()
    page = render_html(report)
    for line in render_markdown(report).splitlines():
        if line.startswith("| ") and "---" not in line:
            for cell in line.strip("| ").split(" | "):
                assert f">{cell.strip('*').replace('>', '&gt;')}<" in page, cell


def test_the_shipped_combination_is_marked_wherever_it_stands() -> None:
    report = full_report()
    report["stacks"].reverse()
    (line,) = [s for s in render_markdown(report).splitlines() if "shipped**" in s]
    assert line.startswith("| **embedder and generator** |")


def test_the_verdict_says_in_words_what_happened() -> None:
    assert summarize(full_report()) == (
        "The 60 human questions decide. "
        "Gained and kept: the embedder (nDCG@10 60.0 to 72.1, +12.1 [+3.0, +21.0], n = 60), "
        "and the generator (citation accuracy 25.0 to 50.0, +25.0 [+10.0, +40.0], n = 50). "
        "Refused: the reranker; no gain. "
        "What ships: hybrid retrieval with the tuned embedder (dense share 0.6), answers by the "
        "tuned generator, with nDCG@10 75.0 and citation accuracy 50.0 end to end (nothing tuned: "
        "nDCG@10 65.0 and citation accuracy 20.0), the best of 4 combinations."
    )


def test_a_run_without_gain_says_so() -> None:
    assert summarize(embedder_only()) == (
        "The 300 synthetic held-out questions decide; no human questions were given. "
        "No part gained enough to be kept. Refused: the embedder; harm. "
        "What ships: hybrid retrieval with the base embedder (dense share 0.6), "
        "with nDCG@10 65.0 end to end."
    )


@pytest.mark.parametrize(
    ("is_kept", "said"),
    [
        (False, "An index must be built anew with the tuned embedder: 2,345 texts take 41 s"),
        (True, "An index stays as it is: the tuned embedder changes questions alone (2,345"),
    ],
)
def test_it_is_said_what_becomes_of_an_index(is_kept: bool, said: str) -> None:
    report = full_report() | {"indexing": {"texts": 2345, "seconds": 41.2, "is_kept": is_kept}}
    report["shipped"] = report["stacks"][0] | {"parts": ("embedder",)}
    assert said in summarize(report)
    report["shipped"] = report["stacks"][0] | {"parts": ("generator",)}
    assert "index" not in summarize(report)


def test_what_a_watch_saw_is_shown_with_what_came_of_it() -> None:
    report = full_report()
    assert "Watched while training" not in render_markdown(report)
    probe = {"step": 40, "found": 0.875, "right": 0.61, "spread": 0.1234, "likeness": -0.5}
    report["parts"]["embedder"] |= {
        "probes": [probe],
        "event": "all scores became alike at step 40 of 200: training stopped",
    }
    text = render_markdown(report)
    (row,) = [line for line in text.splitlines() if "87.5" in line and "0.123" in line]
    assert [cell.strip() for cell in row.strip("|").split("|")] == [
        *("embedder", "40", "87.5", "0.610", "0.123", "-0.500"),
    ]
    assert "The embedder: all scores became alike at step 40 of 200: training stopped." in text


def test_few_human_questions_do_not_decide_and_a_kept_part_may_stay_home() -> None:
    report = full_report() | {"questions": {"human": 9, "synthetic": 300}, "deciding": "synthetic"}
    report["shipped"] = report["stacks"][1]
    text = summarize(report)
    assert "decide; 9 human ones were given, and it takes 50 to decide." in text
    assert "Kept but not shipped: the generator; the whole does no better with it." in text


def test_sections_that_a_run_has_nothing_for_are_left_out() -> None:
    whole, part = render_markdown(full_report()), render_markdown(embedder_only())
    assert "## Answers" in whole and "Human questions" in whole
    assert "## Answers" not in part and "Human questions" not in part
    titles = [line for line in render_markdown({}).splitlines() if line.startswith("#")]
    assert titles == ["# Aloft report", "## How to read this"]
    assert "<svg" not in render_html({})


@pytest.mark.parametrize("key", sorted(full_report()))
def test_any_one_key_may_be_missing(key: str) -> None:
    report = {name: value for name, value in full_report().items() if name != key}
    assert not Page(render_html(report)).open
    assert render_markdown(report)


def test_what_was_given_is_text_and_never_markup() -> None:
    report = full_report()
    report["command"] = report["verdicts"][1]["reason"] = EVIL
    report["config"]["teacher"] = report["parts"]["embedder"]["base_model"] = EVIL
    report["funnel"][0]["dropped"] = {EVIL: 1}
    report["funnel"][0]["stage"] = report["comparisons"][0]["part"] = EVIL
    page = render_html(report)
    assert "<script" not in page and "&lt;script&gt;" in page
    assert "script" not in Page(page).tags
    text = render_markdown(report)
    assert "<" not in text and "](" not in text and "![" not in text
    assert all(len(set(widths)) == 1 for widths in markdown_tables(text))
    hostile = report | {"questions": {'"><b': 1}, "deciding": '"><b'}
    hostile["comparisons"] = [c | {"question_set": '"><b'} for c in report["comparisons"]]
    assert "b" not in Page(render_html(hostile)).tags


def test_connections_are_counted_and_named() -> None:
    text = render_markdown(full_report())
    assert "| network | 0 outbound connections were attempted |" in text
    tried = full_report() | {"connections_refused": ["a.example", "a.example", "b.example"]}
    expected = "3 outbound connections were attempted and refused: a.example, b.example"
    assert expected in render_markdown(tried) and expected in render_html(tried)


def test_the_teachers_account_is_stated_and_what_it_does_not_tell_is_not_nought() -> None:
    asked = [
        "| pairs | 3,100 | 1,240,000 | 62,000 | 80.0 | 79,754 | 210 |",
        "| pair_ratings | 3,600 | – | – | 1.2 | – | – |",
    ]
    assert all(line in render_markdown(full_report()).splitlines() for line in asked)
    assert '<td class="number">1,240,000</td>' in render_html(full_report())
    report = full_report()
    del report["funnel"][1]["teacher"]
    assert "teacher was asked" not in render_markdown(report)


def test_rows_for_other_tables_are_in_percent() -> None:
    rows = headline_rows(full_report())
    assert [(r.part, r.metric) for r in rows] == [  # hit@5 is no headline
        ("embedder", "nDCG@10"),
        ("tuned hybrid over BM25", "nDCG@10"),
        ("reranker", "nDCG@10"),
        ("generator", "citation accuracy"),
    ]
    assert (rows[0].before, rows[0].n, rows[0].interval) == (60.0, 60, "[+3.0, +21.0]")
    assert rows[0].gain == pytest.approx(12.149)
    assert verdict_lines(full_report())[1] == ("reranker", "refused", "no gain")


def test_a_report_read_back_from_json_gives_the_same_page() -> None:
    report = full_report()
    report["config"]["parts"] = tuple(report["config"]["parts"])
    report["shipped"] = report["stacks"][0] | {"parts": ("embedder", "generator")}
    report["stacks"][0] = report["shipped"]
    read = json.loads(json.dumps(report))
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
