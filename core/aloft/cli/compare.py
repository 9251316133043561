"""The command that compares strategies of training: `aloft compare`."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from aloft.cli import options
from aloft.cli.views import show_comparison
from aloft.config import load_config
from aloft.config.strategies import STRATEGIES, Strategy
from aloft.errors import ConfigError
from aloft.terminal.progress import shown_progress


def compare(
    docs: options.Docs,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="FOLDER",
            help="Folder of run folders, one per strategy.",
            parser=options.named_path,
        ),
    ],
    strategies: Annotated[
        str, typer.Option(metavar="NAMES", help="Strategies of training, with commas.")
    ] = ",".join(STRATEGIES),
    questions: options.Questions = None,
    preset: options.Preset = None,
    config: options.ConfigFile = None,
    teacher: options.Teacher = None,
    generator: options.Generator = None,
    embedder: options.EmbedderName = None,
    seed: options.Seed = None,
    overwrite: options.Overwrite = False,
) -> None:
    """Train embedder and generator by several strategies, and print a table of their results."""
    from aloft.api import compare_strategies

    named = {"teacher": teacher, "generator": generator, "embedder": embedder, "seed": seed}
    settings = load_config(preset, config, options.given(named))
    chosen = _parse_strategies(strategies)
    with shown_progress() as progress:
        given = (docs, out, settings, chosen, questions, progress)
        compared = compare_strategies(*given, overwrite=overwrite)
    show_comparison(out, compared)


def _parse_strategies(names: str) -> list[Strategy]:
    chosen = [name.strip().replace("-", "_") for name in names.split(",") if name.strip()]
    unknown = [name for name in chosen if name not in STRATEGIES]
    if unknown or not chosen:
        wrong, known = unknown[0] if unknown else names, ", ".join(STRATEGIES)
        raise ConfigError(f'--strategies names "{wrong}", but may name: {known}.')
    return [name for name in STRATEGIES if name in chosen]


COMMANDS: dict[str, Callable[..., None]] = {"compare": compare}
