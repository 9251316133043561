"""A finished run answers wherever it lies, to whoever may read it, and to several at once."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.model
QUESTION = "When was the lighthouse of Dunbar opened?"
ASK = "import sys; from aloft.cli import main; sys.exit(main(['ask', *sys.argv[1:]]))"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A small finished run, moved away from where it was made; nothing in it is known by vectors.

    Its base models lie beside it.
    """
    source = Path(__file__).parents[1] / "fixtures" / "format-0"
    shutil.copytree(source, tmp_path / "moved")
    for file in (tmp_path / "moved" / "run" / "work").glob("passages-*"):
        file.unlink()
    return tmp_path / "moved" / "run"


def start(command: list[str], cwd: Path, **options: object) -> subprocess.Popen[str]:
    folders = [str(Path(__file__).parents[2] / name) for name in ("core", ".")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders)}
    return subprocess.Popen(  # type: ignore[call-overload]
        command,
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        **options,
    )


def answer_of(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    return out


def files_of(run: Path) -> set[str]:
    return {file.relative_to(run).as_posix() for file in run.rglob("*")}


def test_two_ask_a_run_at_once_from_another_working_directory(run: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    name = os.path.relpath(run, tmp_path / "elsewhere")
    before = files_of(run)
    both = [
        start([sys.executable, "-c", ASK, name, QUESTION], tmp_path / "elsewhere") for _ in range(2)
    ]
    one, other = (answer_of(process) for process in both)
    assert one == other != ""
    new = sorted(file for file in files_of(run) - before if file.count("/") == 1)
    kept = [name.partition("-")[0] for name in new]
    # what its passages are searched and scored by, each once
    assert kept == ["work/bm25", "work/passages", "work/unrelated", "work/windows"]


def test_a_read_only_run_answers_and_nothing_is_written(run: Path, tmp_path: Path) -> None:
    before = files_of(run)
    ask = [sys.executable, "-c", ASK, str(tmp_path / "ro" / "run"), QUESTION]
    if hasattr(os, "geteuid") and os.geteuid() == 0:  # modes do not bind root: a mount does
        (tmp_path / "ro").mkdir()
        mount = 'mount --bind "$0" "$1" && mount -o remount,ro,bind "$1" && shift && exec "$@"'
        unshare = shutil.which("unshare")
        command = [str(unshare), "-m", "sh", "-c", mount, str(run.parent), str(tmp_path / "ro")]
        if unshare is None or subprocess.run([*command, "true"], check=False).returncode:
            pytest.skip("no read-only mount can be made here")
        process = start([*command, *ask], tmp_path)
    else:
        (tmp_path / "ro").symlink_to(run.parent)
        for path in (run, *run.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        process = start(ask, tmp_path)
    try:
        assert answer_of(process)
    finally:
        for path in (run, *run.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
    assert files_of(run) == before


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become another user"
)
def test_a_run_of_another_user_answers(run: Path, tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_mode & 0o005 != 0o005:
            pytest.skip(f"{folder} is closed to other users")
    before = files_of(run)
    readable = all(os.stat(p).st_mode & 0o005 for p in Path(sys.executable).resolve().parents)
    if not readable:
        pytest.skip("Python itself is closed to other users")
    process = start([sys.executable, "-c", ASK, str(run), QUESTION], Path("/"), user=65534)
    assert answer_of(process)
    assert files_of(run) == before
