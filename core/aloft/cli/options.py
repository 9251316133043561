"""Options that several commands share, and how they become settings."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from aloft.config import DEFAULT, MAX_STYLE_QUESTIONS, PARTS, PRESETS
from aloft.errors import ConfigError


def named_path(given: str) -> Path:
    """The path that was given; an empty one, as of a variable that is not set, is none.

    `~` is the user's home, which a shell leaves as it is in `--out=~/run`.

    Raises:
        typer.BadParameter: it is empty, for which the working folder would be taken.
    """
    if not given.strip():
        raise typer.BadParameter("it is empty. Write a path, or . for the folder you are in.")
    return Path(os.path.expanduser(given))  # noqa: PTH111 - Path's raises for an unknown user


Docs = Annotated[
    Path,
    typer.Argument(
        metavar="DOCS", help="Folder of documents, or a single document.", parser=named_path
    ),
]
RunFolderPath = Annotated[
    Path, typer.Argument(metavar="RUN", help="Run folder.", parser=named_path)
]
Out = Annotated[
    Path,
    typer.Option(
        "--out", metavar="RUN", help="Run folder; created, or resumed.", parser=named_path
    ),
]
Preset = Annotated[
    str | None,
    typer.Option(metavar="NAME", help=f"{', '.join(PRESETS)}. Default: {DEFAULT}."),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="TOML file of settings; they replace the preset's.",
        parser=named_path,
    ),
]
Questions = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Your own labelled questions (JSON Lines or CSV): question, answers, and document_id "
        "or passage.",
        parser=named_path,
    ),
]
Only = Annotated[
    str | None,
    typer.Option(metavar="PARTS", help=f"Parts to train, of {', '.join(PARTS)}; with commas."),
]
Teacher = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        help="Model that writes the training data; servers of one model with commas.",
    ),
]
Generator = Annotated[
    str | None, typer.Option(metavar="MODEL", help="Model that is trained to cite and answer.")
]
EmbedderName = Annotated[
    str | None, typer.Option("--embedder", metavar="MODEL", help="Encoder to train.")
]
RerankerName = Annotated[
    str | None,
    typer.Option(
        "--reranker",
        metavar="MODEL",
        help="Model to rerank with, and to train: a cross-encoder or causal language model reads "
        "what the embedder's body puts first, a multi-vector model takes its place.",
    ),
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        help="Replace a run on other documents; without it, one is never replaced.",
    ),
]
ExecutorName = Annotated[
    str,
    typer.Option(
        "--executor",
        metavar="NAME",
        help="Where the work is done: local, this process; ray, a Ray cluster that is started "
        "here; ray://HOST:PORT, one that runs.",
    ),
]
Seed = Annotated[int | None, typer.Option(metavar="NUMBER", help="Seed of the run.")]


def parse_parts(only: str | None) -> dict[str, Any]:
    """The settings that `--only` stands for.

    Raises:
        ConfigError: it names no part, or one that does not exist.
    """
    if only is None:
        return {}
    named = [part.strip() for part in only.split(",") if part.strip()]
    unknown = [part for part in named if part not in PARTS]
    if unknown or not named:
        wrong = unknown[0] if unknown else only
        raise ConfigError(f'--only names "{wrong}", but may name: {", ".join(PARTS)}.')
    return {"parts": tuple(part for part in PARTS if part in named)}


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were set."""
    return {name: value for name, value in options.items() if value is not None}


def read_style(file: Path | None) -> dict[str, Any]:
    """The settings that a file of style questions stands for.

    Raises:
        ConfigError: the file cannot be read, or holds none or too many.
    """
    if file is None:
        return {}
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise ConfigError(f"{file} cannot be read ({error.strerror}). Check --style.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is not UTF-8 ({error}). Save it as UTF-8.") from error
    questions = tuple(line.strip() for line in lines if line.strip())
    if not 1 <= len(questions) <= MAX_STYLE_QUESTIONS:
        raise ConfigError(
            f"{file} holds {len(questions)} questions. Give 1 to {MAX_STYLE_QUESTIONS}, one a line."
        )
    return {"pairs": {"style": questions}}
