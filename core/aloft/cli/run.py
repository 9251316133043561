"""The command that does everything: `aloft run`."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from aloft.cli import options
from aloft.cli.holding import hold_run
from aloft.cli.views import show_estimate, show_report
from aloft.config import load_config
from aloft.errors import ConfigError

Style = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Up to 12 real questions, one a line, whose form and tone are imitated.",
        parser=options.named_path,
    ),
]
From = Annotated[
    Path | None,
    typer.Option(
        "--from",
        metavar="RUN",
        help="A finished run to continue from, with its settings: its parts are trained further, "
        "and only new passages are asked about.",
        parser=options.named_path,
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Estimate remaining time, tokens, memory and disk from a short pilot, then exit. With "
        "--executor ray, for several numbers of nodes like this machine.",
    ),
]
Passages = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="With --dry-run: estimate the whole run for N passages like those of DOCS.",
    ),
]


def run(
    docs: options.Docs,
    out: options.Out,
    questions: options.Questions = None,
    preset: options.Preset = None,
    config: options.ConfigFile = None,
    only: options.Only = None,
    teacher: options.Teacher = None,
    generator: options.Generator = None,
    embedder: options.EmbedderName = None,
    reranker: options.RerankerName = None,
    style: Style = None,
    seed: options.Seed = None,
    earlier: From = None,
    overwrite: options.Overwrite = False,
    executor: options.ExecutorName = "local",
    dry_run: DryRun = False,
    passages: Passages = None,
) -> None:
    """Run all stages: read, synthesise, train, evaluate, report.

    Run the same command again to resume: finished work is never repeated.
    """
    from aloft.api import estimate_run
    from aloft.evaluation.report import Report

    if passages is not None and not dry_run:
        raise ConfigError("--passages is a number to estimate for. Add --dry-run.")
    named = {"teacher": teacher, "generator": generator, "embedder": embedder}
    chosen = options.given({**named, "reranker": reranker, "seed": seed})
    chosen |= options.parse_parts(only) | options.read_style(style)
    settings = load_config(preset, config, chosen, after=earlier)
    with hold_run(out, executor, settings, dry_run=dry_run) as opened:
        opened.give(docs, questions, overwrite=overwrite)
        if dry_run:  # says no to what the run itself would
            opened.check()
        done = estimate_run(opened, passages) if dry_run else opened.report()
        nodes = opened.runner.executor.nodes
    if isinstance(done, Report):
        show_report(out, done)
    else:
        show_estimate(done, nodes)


COMMANDS: dict[str, Callable[..., None]] = {"run": run}
