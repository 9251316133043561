"""The commands about models: `aloft models fetch` and `aloft models list`."""

from typing import Annotated

import typer
from rich.markup import escape

from aloft.terminal.console import screen
from aloft.terminal.progress import shown_progress


def fetch(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="An embedded:NAME or a Hugging Face id.")
    ],
) -> None:
    """Download a model: the only command that uses the network."""
    from aloft.backends.packaged import fetch_model

    with shown_progress() as progress:
        folder = fetch_model(name, progress)
    screen.print(f"{escape(name)} is at {escape(str(folder))}")


def list_known() -> None:
    """List the embedded models, and which of them are on this machine."""
    from aloft.backends.packaged import list_models
    from aloft.cli.views import show_models

    show_models(list_models())
