"""Holds a run folder while a command works in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from aloft.config import RunConfig, read_run_config
from aloft.terminal.progress import shown_progress

if TYPE_CHECKING:
    from aloft.api import OpenRun


@contextmanager
def hold_run(
    path: Path,
    executor: str = "local",
    config: RunConfig | None = None,
    *,
    dry_run: bool = False,
) -> Iterator["OpenRun"]:
    """A run folder, with progress shown while it is held.

    Args:
        path: The folder.
        executor: Where the work is done; see `aloft.run.executors.opening`.
        config: What to do with documents that are then given; None: as the folder was made with.
        dry_run: Whether the folder stays as it is.

    Raises:
        AloftError: something that the user can put right.
    """
    from aloft.api import open_executor, open_run

    settings = config or read_run_config(path)
    with (
        open_executor(executor, allow_remote=settings.allow_remote) as where,
        shown_progress() as progress,
        open_run(path, config, progress=progress, executor=where, dry_run=dry_run) as opened,
    ):
        yield opened
