"""Builds the wheel and imports its three packages from it, away from the source tree."""

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = "aloft/evaluation/pages/templates"
PACKAGES = ("aloft", "llama_index_aloft", "langchain_aloft", "aloft_flower")
WANTED = (
    *(f"{package}/py.typed" for package in PACKAGES),
    "aloft_flower/app/pyproject.toml",
    "aloft_flower/app/federation.py",
    *(f"{PAGES}/report.{kind}" for kind in ("html", "md", "css")),
)
CHECK = """
import sys, importlib.metadata
import aloft, llama_index_aloft, langchain_aloft
for module in (aloft, llama_index_aloft, langchain_aloft):
    assert module.__file__.startswith(sys.argv[1]), module.__file__
assert "torch" not in sys.modules
assert aloft.load_config("paper").parts == ("generator",)  # the presets are packaged files
from aloft.evaluation.pages import render_html, render_markdown
from aloft.evaluation.report import Report
assert "<style>" in render_html(Report()) and "# Aloft" in render_markdown(Report())
from aloft.cli import main
raise SystemExit(main(["--version"]))
"""


def check_wheel() -> None:
    """Raise where the wheel lacks something; print one line where it does not."""
    with tempfile.TemporaryDirectory() as folder:
        build = [
            sys.executable,
            "-m",
            "build",
            "--wheel",
            "--no-isolation",
            "--outdir",
            folder,
            str(ROOT),
        ]
        subprocess.run(build, check=True, capture_output=True)
        (wheel,) = Path(folder).glob("*.whl")
        unpacked = Path(folder) / "unpacked"
        with zipfile.ZipFile(wheel) as archive:
            names = archive.namelist()
            archive.extractall(unpacked)
        for wanted in WANTED:
            assert wanted in names, f"{wanted} is not in the wheel"
        assert not [name for name in names if name.startswith(("tests/", "examples/", "core/"))]
        subprocess.run(
            [sys.executable, "-c", CHECK, str(unpacked)],
            check=True,
            cwd=folder,
            env={"PYTHONPATH": str(unpacked), "PATH": "/usr/bin:/bin"},
        )
    print("wheel: ok")


if __name__ == "__main__":
    check_wheel()
