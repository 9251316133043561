"""The commands that run one stage, with the stages before it where they are missing."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from aloft.cli import options
from aloft.cli.holding import hold_run
from aloft.cli.views import show_candidates, show_funnel, show_report
from aloft.config import load_config
from aloft.terminal.console import screen


def passages(
    docs: options.Docs,
    out: options.Out,
    questions: options.Questions = None,
    preset: options.Preset = None,
    config: options.ConfigFile = None,
    only: options.Only = None,
    overwrite: options.Overwrite = False,
    executor: options.ExecutorName = "local",
) -> None:
    """Create a run folder: read the documents and split them into passages."""
    settings = load_config(preset, config, options.parse_parts(only))
    with hold_run(out, executor, settings) as opened:
        opened.give(docs, questions, overwrite=overwrite)
        opened.do("passages")
        opened.check_questions()
    show_funnel(out)


def _run_stage(stage: str, path: Path, executor: str) -> None:
    with hold_run(path, executor) as opened:
        opened.do(stage)
    show_funnel(path)


def rate(run: options.RunFolderPath, executor: options.ExecutorName = "local") -> None:
    """Rate the passages."""
    _run_stage("ratings", run, executor)


def pairs(run: options.RunFolderPath, executor: options.ExecutorName = "local") -> None:
    """Write questions and answers."""
    _run_stage("pairs", run, executor)


def filter_pairs(run: options.RunFolderPath, executor: options.ExecutorName = "local") -> None:
    """Drop the pairs that are not worth training on."""
    _run_stage("filters", run, executor)


def negatives(
    run: options.RunFolderPath,
    explain: Annotated[
        str | None,
        typer.Option(
            metavar="QUESTION",
            help="A question of the run, or a part of it: list its candidates with ranks, scores "
            "and reasons.",
        ),
    ] = None,
    executor: options.ExecutorName = "local",
) -> None:
    """Mine hard negatives."""
    if explain is None:
        _run_stage("negatives", run, executor)
    else:
        show_candidates(run, explain)


def sets(run: options.RunFolderPath, executor: options.ExecutorName = "local") -> None:
    """Build the training sets, split by document."""
    _run_stage("sets", run, executor)


def train(run: options.RunFolderPath, executor: options.ExecutorName = "local") -> None:
    """Train the parts."""
    with hold_run(run, executor) as opened:
        opened.check()
        opened.train()
    show_funnel(run)


def evaluate(
    run: options.RunFolderPath,
    probes: Annotated[
        bool,
        typer.Option(
            "--probes",
            help="Also measure how the position and the number of passages change the answers.",
        ),
    ] = False,
    learning_curve: Annotated[
        bool,
        typer.Option(
            "--learning-curve",
            help="Also train with a quarter and with half of the pairs, to see whether more would "
            "help.",
        ),
    ] = False,
    executor: options.ExecutorName = "local",
) -> None:
    """Compare before and after, decide what is kept, and write the report."""
    with hold_run(run, executor) as opened:
        if probes or learning_curve:
            opened.measure_also(probes=probes, learning_curve=learning_curve)
        content = opened.report()
    show_report(run, content)


def report(run: options.RunFolderPath) -> None:
    """Show the report of a finished run again."""
    from aloft.api import read_changes
    from aloft.evaluation.report import read_report

    content = read_report(run)
    if changed := read_changes(run):
        screen.print(f"[yellow]{escape(changed)}[/yellow]")
    show_report(run, content)


COMMANDS: dict[str, Callable[..., None]] = {
    "passages": passages,
    "rate": rate,
    "pairs": pairs,
    "filter": filter_pairs,
    "negatives": negatives,
    "sets": sets,
    "train": train,
    "evaluate": evaluate,
    "report": report,
}
