"""The program `aloft`: its commands, and how a fault ends it.

Exit codes: 0, done; 2, something that the user can put right, in one line; 130, interrupted.
"""

import errno
from collections.abc import Sequence
from typing import Annotated

import typer

from aloft import __version__
from aloft.cli import compare, federate, models, questions, run, serve, stages
from aloft.errors import AloftError
from aloft.files import FULL_DISK
from aloft.network_guard import forbid_telemetry
from aloft.terminal.console import (
    discard_output,
    printed_warnings,
    replace_unprintable_characters,
    report_error,
    screen,
)

_UNWRITABLE = (*FULL_DISK, errno.EIO)  # a full or a broken disk
_INTERRUPTED = 130  # what typer returns after Ctrl-C

app = typer.Typer(
    name="aloft",
    help="Make a RAG system good at your documents, on this machine, and prove it.",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
models_app = typer.Typer(help="Download and list models.", invoke_without_command=True)
federate_app = typer.Typer(
    help="Train with other sites, whose documents stay with them.", invoke_without_command=True
)


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        screen.print(f"aloft {__version__}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


@models_app.callback()
@federate_app.callback()
def _group(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


for room in (run, serve, questions, compare, stages):  # in the order of the help
    for name, command in room.COMMANDS.items():
        app.command(name)(command)
models_app.command("fetch")(models.fetch)
models_app.command("list")(models.list_known)
for name, command in federate.COMMANDS.items():
    federate_app.command(name)(command)
app.add_typer(federate_app, name="federate")
app.add_typer(models_app, name="models")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    forbid_telemetry()
    replace_unprintable_characters()
    arguments = None if argv is None else list(argv)
    try:
        with printed_warnings():
            status = app(args=arguments, prog_name="aloft", standalone_mode=False)
    except AloftError as error:
        report_error(str(error))
        return 2
    except OSError as error:
        if error.errno not in _UNWRITABLE or error.filename is not None:
            raise
        discard_output()
        report_error(
            f"the output cannot be written ({error.strerror}). Finished work is kept; run the same "
            "command again with another place for its output."
        )
        return 2
    except (KeyboardInterrupt, typer.Abort):  # as older versions of typer pass it on
        status = _INTERRUPTED
    except Exception as error:
        usage_fault = getattr(error, "format_message", None)  # of the command line itself
        if usage_fault is None:
            raise
        report_error(f"{usage_fault()} Try: aloft --help")
        return 2
    if status == _INTERRUPTED:
        report_error("interrupted. Finished work is kept; run the same command to resume.")
    return status if isinstance(status, int) else 0
