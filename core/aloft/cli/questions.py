"""The command that takes in a log of past questions: `aloft import-questions`."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from aloft.cli import options
from aloft.cli.holding import hold_run
from aloft.cli.views import show_funnel, show_skipped
from aloft.terminal.console import screen


def import_questions(
    log: Annotated[
        Path,
        typer.Argument(
            metavar="LOG",
            help="CSV, JSON Lines or a JSON array: question, answer, clicked, thumbs, rating.",
            parser=options.named_path,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="RUN",
            help="Run folder that already has passages.",
            parser=options.named_path,
        ),
    ],
) -> None:
    """Import past questions with clicks, thumbs or accepted answers, to train on."""
    with hold_run(out) as opened:
        opened.import_log(log)
        opened.do("links")
        linked = opened.records("links")
    show_skipped(out, "log", "bad line")
    show_funnel(out)
    if linked:
        expected = sum(question.confidence for question in linked) / len(linked)
        screen.print(
            f"Linked questions: {len(linked)}; by their confidence {100 * expected:.0f} % of the "
            f"links are right. To train on them: aloft evaluate {escape(str(out))}"
        )
    else:
        reasons = escape(str(out / "rejections" / "links.jsonl"))
        screen.print(f"No question is linked, and nothing changes. Reasons: {reasons}")


COMMANDS: dict[str, Callable[..., None]] = {"import-questions": import_questions}
