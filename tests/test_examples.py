"""Every example, run as its reader would run it: from an empty folder, with real models."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from aloft.config import RunConfig

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("0*.py"))
PROGRAMS = [*(ROOT / "examples").rglob("*.py"), *(ROOT / "benchmarks").glob("*.py")]
OURS = {"aloft": ROOT / "core", "llama_index_aloft": ROOT, "langchain_aloft": ROOT}
SAYS = {  # what its last lines must hold, whatever the figures
    "01_first_run": "embedder: ",
    "02_llama_index": "embedder: ",
    "03_langchain": "embedder: ",
    "04_llama_index_citations": "What does the assert statement do?",
    "05_llama_index_migration": " dimensions",
    "06_qdrant_without_reembedding": "of while: while: ",
    "07_own_teacher": "your model was asked ",
    "08_vllm_server": "10 of 10 answers cite a passage",
    "09_app_before_and_after": "all: hit@5 ",
}


def test_examples_are_short_and_all_known() -> None:
    assert [example.stem for example in EXAMPLES] == list(SAYS)
    assert [int(stem[:2]) for stem in SAYS] == list(range(1, len(SAYS) + 1))
    assert all(len(example.read_text().splitlines()) < 80 for example in EXAMPLES)


def imported(program: Path) -> Iterator[tuple[Path, str]]:
    """What a program takes from our packages: a module's path without its suffix, and a name."""
    for node in ast.walk(ast.parse(program.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            first, *rest = node.module.split(".")
            if first in OURS:
                yield from ((OURS[first].joinpath(first, *rest), name.name) for name in node.names)


def holds(module: Path, name: str) -> bool:
    """Whether a module has a name, by its text: importing it may take a model library."""
    if module.joinpath(f"{name}.py").exists() or module.joinpath(name, "__init__.py").exists():
        return True
    file = module / "__init__.py" if module.is_dir() else module.with_suffix(".py")
    return file.exists() and name in {
        word for node in ast.walk(ast.parse(file.read_text("utf-8"))) for word in names_of(node)
    }


def names_of(node: ast.AST) -> list[str]:
    match node:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.Name(id=name):
            return [name]
        case ast.alias(name=name, asname=other):
            return [other or name]
        case ast.Constant(value=str(name)):  # of a table of names that are loaded when first used
            return [name]
    return []


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.stem)
def test_a_program_imports_what_there_is(program: Path) -> None:
    assert [str(found) for found in imported(program) if not holds(*found)] == []


@pytest.mark.example
@pytest.mark.timeout(900)
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.stem)
def test_an_example_runs(example: Path, embedded_models: RunConfig, tmp_path: Path) -> None:
    if "vllm" in example.stem and not os.environ.get("ALOFT_VLLM_PYTHON"):
        pytest.skip("ALOFT_VLLM_PYTHON names no Python that has vLLM: make test-examples")
    ran = subprocess.run(
        [sys.executable, str(example)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert SAYS[example.stem] in ran.stdout
