"""A report as pages to read: Markdown, and HTML that stands on its own.

Both show the same sections. A chart is shown in HTML only; the table beside it has its figures.
Everything in a report is data, commands and reasons too, and the templates escape it.
"""

import re
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from aloft.evaluation.pages import making, results
from aloft.evaluation.pages.abstention import abstention
from aloft.evaluation.pages.blocks import Picture, Section, Table
from aloft.evaluation.pages.rows import verdict_rows
from aloft.evaluation.pages.summary import summarize
from aloft.evaluation.report import FILE, Report, dump
from aloft.files import write_text

_READING = (
    "All metrics are means over questions, in percent; gains are in percentage points. hit@k: a "
    "right passage is among the first k. MRR@10: the reciprocal rank of the first right passage. "
    "nDCG@10: how close the first ten ranks come to the ideal order. Citation accuracy: a right "
    "passage is among those that the answer cites; precision: the share of cited passages that is "
    "right; recall: the share of right passages that is cited. Answer F1: words shared with the "
    "gold answer. Right answer, wrong citation: the answer contains a gold answer, but no right "
    "passage is cited; lower is better. Groundedness: the share of answers that the untuned "
    "generator finds likelier, by 0.5 nats per token or more, with the cited passages than without "
    "any; this judges by likelihood, and does not prove that an answer is right.",
    "A gain's 95 % interval is a paired bootstrap by document: documents are drawn again and "
    "again, with replacement, each with all of its questions, and both systems are compared on "
    "each draw. Questions about one document are not independent; resampled one by one they would "
    "make the interval too narrow. A question belongs to the document of its (first) right "
    'passage; "clusters" is the number of documents. With few documents the interval still tends '
    "to be too narrow, and with one there is none. An interval above zero says that questions "
    "about other documents of this kind would very likely show a gain, too; one that contains "
    "zero says that the gain may be chance. A part is kept only where its gain is above "
    "zero, and it is not significantly worse on another set of questions. Embedder and reranker "
    "are blended with BM25 and with what they were tuned from; a generator replaces another one, "
    "and is kept only where the interval on the deciding questions does not include a loss. Where "
    "synthetic questions decide, an embedder is judged by what it gains by itself, whose interval "
    "must not include a loss, and the stack with it must not be significantly worse.",
    "Synthetic questions were written by the teacher from held-out documents, as the training "
    "questions were from others: gains on them tend to be larger than on questions that people "
    "ask. What each part counts for in a hybrid is therefore fitted on human questions, "
    "where those decide; otherwise it is what was best over many corpora.",
)
_SURROGATE = re.compile("[\ud800-\udfff]")
_MARKUP = re.compile(r"[\\`*~|]|(?<![^\W_])_|_(?![^\W_])")  # not the underscore within a word


def sections(report: Report) -> list[Section]:
    """All sections; a section that a run has nothing for is left out."""
    made = (
        ("Questions", results.questions(report)),
        ("Before and after", results.gains(report)),
        ("Retrieval", results.retrieval(report)),
        ("Shares", results.shares(report)),
        ("Learning curve", results.learning(report)),
        ("Answers", results.answers(report)),
        ("Abstention", abstention(report)),
        ("Place and number of passages", results.probes(report)),
        ("Forgetting check", results.forgetting(report)),
        ("Verdicts", results.verdicts(report)),
        ("Combinations, end to end", results.variants(report)),
        ("From documents to training rows", making.funnel(report)),
        ("Training", making.training(report)),
        ("How the run was made", making.circumstances(report)),
        ("Settings", making.settings(report)),
        ("How to read this", iter(_READING)),
    )
    found = [Section(title=title, blocks=list(blocks)) for title, blocks in made]
    return [section for section in found if section.blocks]


def render_markdown(report: Report, note: str = "") -> str:
    """The report as Markdown with tables, below a note where there is one."""
    return _render("report.md", report, note)


def render_html(report: Report, note: str = "") -> str:
    """The report as one HTML page that loads nothing: styles and charts are inside."""
    return _render("report.html", report, note)


def write_report(report: Report, run: Path) -> None:
    """Write report.json, report.md and report.html into a run folder."""
    write_text(run / FILE, dump(report))
    write_pages(report, run)


def write_pages(report: Report, run: Path, note: str = "") -> None:
    """Write report.md and report.html into a run folder, with a note above the report."""
    write_text(run / "report.md", render_markdown(report, note))
    write_text(run / "report.html", render_html(report, note))


def _render(template: str, report: Report, note: str) -> str:
    text = (
        _environment(is_html=template.endswith(".html"))
        .get_template(template)
        .render(
            report=report,
            note=note,
            summary=summarize(report),
            verdicts=verdict_rows(report),
            sections=sections(report),
        )
    )
    return _SURROGATE.sub("\ufffd", text)  # of a name that is no text


@cache
def _environment(*, is_html: bool) -> Environment:
    """Templates whose every expression is escaped, for HTML or for Markdown."""
    environment = Environment(
        loader=PackageLoader("aloft.evaluation.pages"),
        autoescape=select_autoescape(["html"]),
        finalize=None if is_html else _markdown_text,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.tests |= {"table": _is_table, "picture": _is_picture}
    return environment


def _is_table(block: object) -> bool:
    return isinstance(block, Table)


def _is_picture(block: object) -> bool:
    return isinstance(block, Picture)


def _markdown_text(text: Any) -> str:
    """A text that Markdown shows as it is: no markup, no tags, no links, one line."""
    escaped = _MARKUP.sub(r"\\\g<0>", " ".join(str(text).split()))
    escaped = escaped.replace("&", "&amp;").replace("<", "&lt;").replace("](", "]\\(")
    return escaped.replace("![", "!\\[")
