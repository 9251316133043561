"""Makes a temporary copy of a run folder for a dry run, with hard links where possible."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aloft.errors import AloftError
from aloft.files import friendly_io_errors, link
from aloft.run.federated_parts import FOLDER as FEDERATION
from aloft.run.graph import declared_stages
from aloft.run.store import RunStore
from aloft.serving.bundle import CARRIED

_COPY = Path("work") / ".copy.tmp"
_BESIDE_OUTPUTS = (CARRIED, FEDERATION, "manifests", "rejections", "work/stages")


@contextmanager
def copied(store: RunStore) -> Iterator[RunStore]:
    """A copy of a run folder that is held; it is deleted at the end.

    Only what models return, vectors and indexes, which depend on nothing but what they are made of,
    are kept in the run folder itself. A fault is told in the names of the run folder.
    """
    folder = store.path / _COPY
    try:
        with friendly_io_errors(folder):
            shutil.rmtree(folder, ignore_errors=True)  # of a process that was killed
            _lay_out(store.path, folder)
        yield RunStore(folder, store.path)
    except AloftError as error:
        error.args = (str(error).replace(str(folder), str(store.path)),)
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _lay_out(source: Path, target: Path) -> None:
    """Link all that stages read and write; every one of these files is replaced, never changed."""
    outputs = {file.file for one in declared_stages() for file in one.outputs.values()}
    files = {file for one in declared_stages() for file in one.files}
    target.mkdir(parents=True)
    firsts = {Path(file).parts[0] for file in outputs | files} - {"work"}
    for name in sorted({*firsts, *_BESIDE_OUTPUTS}):
        if (source / name).is_dir():
            hidden = shutil.ignore_patterns(".*")
            shutil.copytree(source / name, target / name, copy_function=link, ignore=hidden)
        elif (source / name).is_file():
            link(source / name, target / name)
