"""What commands print: tables of what was kept, measured and estimated."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.markup import escape
from rich.table import Column, Table

from aloft.terminal.console import screen

if TYPE_CHECKING:
    from aloft.backends.packaged import ListedModel
    from aloft.evaluation.report import Report
    from aloft.records import Passage
    from aloft.run.estimate import Estimate
    from aloft.run.ranges import Range

_SHOWN = 10
_NODES = (1, 2, 4, 8, 16, 32)  # that a run on a cluster is estimated for
_EXCERPT = 80  # characters of a passage
_MEASURED = ("metric", "before", "after", "gain \\[95 %]", "n", "clusters")


def show_skipped(path: Path, stage: str, reason: str = "") -> None:
    """Print the files or lines that a stage skipped, for one reason or for any."""
    from aloft.api import read_skipped

    skipped = [found for found in read_skipped(path, stage) if reason in ("", found.reason)]
    for rejection in skipped[:_SHOWN]:
        line = f"{rejection.subject_id}: {rejection.reason}. {rejection.detail}"
        screen.print(f"[yellow]skipped[/yellow] {escape(line)}")
    if len(skipped) > _SHOWN:
        more = f"{len(skipped) - _SHOWN} more in {path / 'rejections' / f'{stage}.jsonl'}"
        screen.print(f"[yellow]skipped[/yellow] {escape(more)}")


def show_funnel(path: Path) -> None:
    """Print skipped files, what each stage kept and dropped, and the teacher's calls."""
    from aloft.api import read_funnel
    from aloft.evaluation.pages.rows import TEACHER_HEADER, teacher_rows

    show_skipped(path, "documents")
    show_skipped(path, "questions")
    table = Table("stage", "kept", "dropped", "seconds", title="Funnel")
    funnel = read_funnel(path)
    for row in funnel:
        reasons = "; ".join(f"{n} {reason}" for reason, n in row.dropped.items()) or "-"
        table.add_row(row.stage, str(row.kept), escape(reasons), f"{row.seconds:.0f}")
    screen.print(table)
    asked = teacher_rows(funnel)
    if asked:
        table = Table(*TEACHER_HEADER)
        for cells in asked:
            table.add_row(*cells)
        screen.print(table)


def show_candidates(path: Path, question: str) -> None:
    """Print the candidates for a question's negatives, with ranks, scores and reasons."""
    from aloft.retrieval.explaining import read_mined

    mined = read_mined(path, question)
    screen.print(f"{escape(mined.pair.question)}\n{escape(mined.pair.answer)}", style="bold")
    table = Table("rank", "score", "below positive", "verdict", "reason", "passage")
    right = mined.negatives.score
    table.add_row("", f"{right:.3f}", "", "positive", "", _excerpt(mined.right))
    for candidate, passage in zip(mined.negatives.candidates, mined.passages, strict=True):
        table.add_row(
            str(candidate.rank),
            f"{candidate.score:.3f}",
            f"{100 * (right - candidate.score) / abs(right):.0f} %" if right else "",
            candidate.verdict,
            escape(candidate.reason),
            _excerpt(passage),
        )
    screen.print(table)


def _excerpt(passage: "Passage") -> str:
    text = " ".join(passage.content.split())
    return escape(f"{passage.document_id}: {text[:_EXCERPT]}{'…' if len(text) > _EXCERPT else ''}")


def show_report(path: Path, content: "Report") -> None:
    """Print the funnel, the before/after table, the verdicts and where the report is."""
    from aloft.evaluation.pages.rows import headline_rows, verdict_rows

    show_funnel(path)
    tables: dict[str, Table] = {}
    for row in headline_rows(content):
        title = f"{row.part}, {row.question_set} questions"
        if title not in tables:
            tables[title] = Table(*_MEASURED, title=title, title_justify="left", box=SIMPLE)
        figures = row.before, row.after, f"{row.gain} {row.interval}", f"{row.n:,}", row.clusters
        tables[title].add_row(row.metric, *(escape(str(figure)) for figure in figures))
    for table in tables.values():
        screen.print(table)
    for part, verdict, reason in verdict_rows(content):
        colour = "green" if verdict == "kept" else "red"
        screen.print(f"{part}: [{colour}]{verdict}[/{colour}]: {escape(reason)}")
    shipped = content.shipped.parts if content.shipped else ()
    untuned = "the previous run's models" if content.previous_run else "the untuned models"
    parts = ", ".join(shipped) or untuned
    screen.print(f"Ships: {escape(parts)}, in {escape(str(path / 'models'))}")
    screen.print(f"Report: {escape(str(path / 'report.html'))}")


def show_estimate(estimate: "Estimate", nodes: int | None = None) -> None:
    """Print what remains of a run, stage by stage, and what it takes.

    Args:
        estimate: What remains.
        nodes: Of the cluster that would work it out; None: it is worked out here alone.
    """
    counts = f"{estimate.passages:,} passages, {estimate.asked_about:,} of them asked about"
    if estimate.read is not None:
        counts += f", like the {estimate.read:,} that were read"
    table = Table("stage", "remaining", "calls", "tokens in", "tokens out", "time", title=counts)
    for line in estimate.lines:
        teacher = [_span(count) for count in (line.calls, line.tokens_in, line.tokens_out)]
        left = f"{_span(line.left)} {line.unit}"
        table.add_row(line.stage, left, *teacher, _time(line.seconds))
    screen.print(table)
    if not estimate.lines:
        screen.print("Nothing remains to be done.")
        return
    measured = "; ".join(f"{line.stage}: {line.measured}" for line in estimate.lines)
    screen.print(f"Measured: {measured}.")
    gigabytes = f"{estimate.disk / 1e9:.1f} GB of disk, {estimate.memory / 1e9:.1f} GB of memory"
    screen.print(f"Total: {_time(estimate.seconds)}; {gigabytes} at the peak.")
    if estimate.plan:
        how = "with" if estimate.plan.has_checkpoints else "without"
        planned = f"{estimate.plan.total / 1e9:.1f} GB, {how} gradient checkpointing"
        screen.print(f"Memory planned for training the generator: {planned}.")
    if nodes is not None:
        _show_nodes(estimate, nodes)


def _show_nodes(estimate: "Estimate", present: int) -> None:
    """Print what the run takes on several numbers of nodes, those of the cluster among them."""
    from aloft.run.cluster_plan import plan_nodes, useful_nodes

    table = Table("nodes", "time", "node-hours", title="On nodes like this machine")
    for one in plan_nodes(estimate, sorted({present, *_NODES})):
        mark = " (this cluster)" if one.nodes == present else ""
        table.add_row(f"{one.nodes}{mark}", _time(one.seconds), _span(one.node_hours, 1))
    screen.print(table)
    most = useful_nodes(estimate)
    screen.print(f"Beyond {most:,} nodes what is not divided, such as a training, takes longest.")


def show_models(models: "Sequence[ListedModel]") -> None:
    """Print the embedded models; a name is never cut, however narrow the terminal."""
    widest = max(len(model.name) for model in models)
    table = Table(
        Column("model", no_wrap=True, min_width=widest), "licence", "size", "here", box=None
    )
    for model in models:
        size = f"{model.size / 1e6:.0f} MB"
        table.add_row(escape(model.name), model.licence, size, "yes" if model.is_present else "no")
    screen.print(table, crop=False)
    if not all(model.is_present for model in models):
        screen.print("To download one: aloft models fetch MODEL")


def show_comparison(out: Path, compared: Mapping[str, Any]) -> None:
    """Print the table of strategies, what it says, and how to go on with one of them."""
    from aloft.run.comparison import HEADER, describe_comparison, rows_of

    table = Table(Column(HEADER[0], no_wrap=True), *HEADER[1:])
    for cells in rows_of(compared):
        table.add_row(*map(escape, cells))
    screen.print(table)
    screen.print(escape(describe_comparison(compared)))
    screen.print(f"Table: {escape(str(out / 'compare.md'))}")
    screen.print(f"To evaluate and ship a strategy: aloft evaluate {escape(str(out / 'NAME'))}")


def _span(count: "Range | None", digits: int = 0) -> str:
    """A number, or a range of numbers."""
    if count is None:
        return "–"
    low, high = f"{count.low:,.{digits}f}", f"{count.high:,.{digits}f}"
    return low if low == high else f"{low}–{high}"


def _time(seconds: "Range") -> str:
    """In seconds, minutes or hours, whichever reads best."""
    sizes = {"h": 3600, "min": 60, "s": 1}
    unit = next((name for name, size in sizes.items() if seconds.high >= 1.5 * size), "s")
    low, high = (f"{end / sizes[unit]:.1f}" for end in (seconds.low, seconds.high))
    return f"{low} {unit}" if low == high else f"{low}–{high} {unit}"
