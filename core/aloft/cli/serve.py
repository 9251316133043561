"""The commands that use what a finished run ships: `aloft ask`, `aloft export`."""

from collections.abc import Callable
from typing import Annotated

import typer
from rich.markup import escape
from rich.text import Text

from aloft.cli import options
from aloft.cli.holding import hold_run
from aloft.errors import ConfigError
from aloft.terminal.console import screen
from aloft.terminal.progress import shown_progress


def ask(
    run: options.RunFolderPath,
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="Your question, in quotes.")],
) -> None:
    """Answer a question from a finished run's documents, and show the source."""
    from aloft.api import ask_run

    if not question.strip():
        raise ConfigError("The question is empty. Write it in quotes after the run folder.")
    with shown_progress() as progress:  # until there is something to read
        answers = ask_run(run, question, progress)
        answer = next(answers)
    screen.print(Text(answer.text, "bold"), end="")
    for grown in answers:
        screen.print(Text(grown.text[len(answer.text) :], "bold"), end="")
        answer = grown
    screen.print("" if answer.text else "[bold](no answer)[/bold]")
    for found in answer.cited:
        place = f"{found.passage.document_id}, characters {found.passage.start}-{found.passage.end}"
        screen.print(f"\n[dim]Source: {escape(place)}[/dim]\n{escape(found.passage.content)}")
    if not answer.cited:
        names = ", ".join(dict.fromkeys(found.passage.document_id for found in answer.contexts))
        screen.print(f"[yellow]No passage is cited.[/yellow] Retrieved from: {escape(names)}")


def export(
    run: options.RunFolderPath,
    merge: Annotated[
        bool, typer.Option("--merge", help="Write the generator as one model, without an adapter.")
    ] = False,
) -> None:
    """Write what ships as plain Hugging Face folders, each with a model card."""
    stage = "export-merged" if merge else "export"
    with hold_run(run) as opened:
        opened.do(stage)
    screen.print(f"The models are in {escape(str(run / stage))}")


COMMANDS: dict[str, Callable[..., None]] = {"ask": ask, "export": export}
