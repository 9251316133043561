"""Writes the references of commands and settings, and the graph of stages, from the code itself.

python docs/generate.py          write them
python docs/generate.py --check  write nothing; exit 1 if one of them is not current
"""

import re
import sys
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from aloft.cli import app
from aloft.config import PRESETS, RunConfig, load_config
from aloft.run.graph import Graph, draw
from aloft.run.stage import Setup

DOCS = Path(__file__).parent
_BEGIN, _END = "<!-- generated: stage graph -->", "<!-- end generated -->"
MADE = "<!-- Written by docs/generate.py. -->"


def render_cli() -> str:
    """The commands with their arguments and options, as Markdown."""
    root: Any = typer.main.get_command(app)
    lines = ["# Command line", "", MADE, "", root.help, ""]
    lines += [
        "Exit codes: 0, done; 2, something that you can put right, in one line; 130, interrupted. "
        "A command that is run again resumes where it stopped. Where the output is no terminal, "
        "progress is a line every 30 seconds.",
        "",
    ]
    for name, command in _commands(root, "aloft"):
        arguments = [p.metavar for p in command.params if p.param_type_name == "argument"]
        required = [
            f"{p.opts[0]} {p.metavar}"
            for p in command.params
            if p.param_type_name == "option" and p.required
        ]
        lines += [f"## `{name}`", "", cleandoc(command.help), ""]
        lines += ["```text", " ".join([name, *arguments, *required, "[OPTIONS]"]), "```", ""]
        rows = [(_signature(p), _described(p)) for p in command.params]
        lines += [*_table(("argument or option", "meaning"), rows), ""] if rows else []
    return "\n".join(lines).rstrip() + "\n"


def _commands(group: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}", command


def _signature(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{parameter.metavar}`"
    value = "" if parameter.is_flag else f" {parameter.metavar}"
    return f"`{parameter.opts[0]}{value}`"


def _described(parameter: Any) -> str:
    is_flag = getattr(parameter, "is_flag", False)
    default = "" if parameter.default in (None, ...) or is_flag else str(parameter.default)
    needed = " Required." if parameter.required else ""
    return f"{parameter.help}{needed}{f' Default: `{default}`.' if default else ''}"


def render_configuration() -> str:
    """Every setting with its default and the values it may have, as Markdown."""
    lines = ["# Configuration", "", MADE, ""]
    lines += [
        f"A TOML file (`--config`) replaces settings of a preset: {', '.join(PRESETS)} "
        '([presets](../how-to/gpu-presets.md)). `"none"` in a file stands for None. Settings that '
        "do not exist and values out of range are reported together, before any work.",
        "",
        "Settings in the first table stand at the top of the file, the others in a table of their "
        "stage:",
        "",
        "```toml",
        "seed = 1",
        "",
        "[negatives]",
        "count = 12",
        "```",
        "",
        "## The run",
        "",
    ]
    lines += [*_settings_table(RunConfig), ""]
    for name, field in RunConfig.model_fields.items():
        stage: Any = field.annotation
        if _is_stage(stage):
            lines += [f"## `[{name}]`", "", _summary(stage), "", *_settings_table(stage), ""]
    return "\n".join(lines).rstrip() + "\n"


def _is_stage(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _settings_table(model: type[BaseModel]) -> list[str]:
    meanings = attributes_of(model)
    rows = [
        (f"`{name}`", _default(field), _kind(field.annotation, field.metadata), meanings[name])
        for name, field in model.model_fields.items()
        if not _is_stage(field.annotation)
    ]
    return _table(("setting", "default", "values", "meaning"), rows)


def attributes_of(model: type[BaseModel]) -> dict[str, str]:
    """What the docstring of a settings class says of each setting."""
    _, _, listed = cleandoc(model.__doc__ or "").partition("Attributes:\n")
    found = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", listed, re.MULTILINE)
    return {name: " ".join(meaning.split()) for name, meaning in found}


def _summary(model: type[BaseModel]) -> str:
    text, _, _ = cleandoc(model.__doc__ or "").partition("\nAttributes:\n")
    return text.strip()


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if isinstance(value, dict):
        return ", ".join(f"`{name} = {share:g}`" for name, share in value.items())
    if isinstance(value, tuple):
        return ", ".join(f"`{element}`" for element in value) or "`[]`"
    if value is None:
        return "None"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _kind(annotation: Any, metadata: list[Any]) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kind(inner[0], [*metadata, *inner[1:]])
    if origin in (Union, UnionType):
        kinds = [_kind(kind, metadata) for kind in inner if kind is not NoneType]
        return " or ".join(kinds) + " or None"
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if origin is tuple:
        return f"list of: {_kind(inner[0], [])}"
    if origin is dict:
        return f"table of: {_kind(inner[0], [])}; each {_kind(inner[1], [])}"
    names = {int: "whole number", float: "number", bool: "`true`, `false`", str: "text"}
    return names[annotation] + _bounds(metadata)


def _bounds(metadata: list[Any]) -> str:
    limits: dict[str, Any] = {}
    for entry in metadata:
        for part in [entry, *getattr(entry, "metadata", ())]:
            limits |= {n: getattr(part, n) for n in ("gt", "ge", "lt", "le") if hasattr(part, n)}
    words = {"ge": "from", "gt": "above", "le": "to", "lt": "below"}
    shown = [f"{words[name]} {_number(limits[name])}" for name in words if name in limits]
    return f" {' '.join(shown)}" if shown else ""


def _number(value: float) -> str:
    return f"{value:,}" if value < 10**6 else f"{value:.0e}".replace("e+0", "e")


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    lines = [header, tuple("---" for _ in header), *rows]
    return [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in lines]


def render_architecture() -> str:
    """The page of the architecture, with the graph of the stages as they are declared."""
    page = (DOCS / "explain" / "architecture.md").read_text(encoding="utf-8")
    setup = Setup(load_config("cpu"), frozenset({"log"}))
    before, rest = page.split(_BEGIN)
    _, after = rest.split(_END)
    return f"{before}{_BEGIN}\n\n```mermaid\n{draw(Graph(setup))}```\n\n{_END}{after}"


PAGES = {
    "reference/cli.md": render_cli,
    "reference/configuration.md": render_configuration,
    "explain/architecture.md": render_architecture,
}


def outdated() -> list[str]:
    """Names of the pages that do not say what the code says."""
    return [
        name
        for name, render in PAGES.items()
        if (DOCS / name).read_text(encoding="utf-8") != render()
    ]


def main(arguments: list[str]) -> int:
    """Write the pages, or check them."""
    if arguments == ["--check"]:
        stale = outdated()
        for name in stale:
            print(f"docs/{name} is not current. Run: python docs/generate.py")
        return 1 if stale else 0
    for name, render in PAGES.items():
        (DOCS / name).write_text(render(), encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
