"""Every example, run as its reader would run it: from an empty folder, with real models."""

import ast
import gzip
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from aloft.config import RunConfig

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("0*.py"))
HOSTS = ROOT / "examples" / "hosts"
NOTEBOOKS = sorted(HOSTS.glob("*.ipynb"))
HOST_PROGRAMS = sorted(file for file in HOSTS.glob("*/*.py") if "# ours\n" in file.read_text())
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
FIGURE, INTERVAL = r"[01]\.\d{3}", r"[+-]\d\.\d{3} \[[+-]\d\.\d{3}, [+-]\d\.\d{3}\]"
GAIN = rf"hit@5 {FIGURE} -> ({FIGURE}), {INTERVAL}; nDCG@10 {FIGURE} -> {FIGURE}, {INTERVAL}"


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


@pytest.fixture
def corpus(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module that the host programs share."""
    monkeypatch.syspath_prepend(ROOT / "examples")
    from hosts import corpus

    return corpus


def test_the_first_right_piece_counts(corpus: ModuleType) -> None:
    asked = [
        corpus.Question("Who?", "a", "by hand"),
        corpus.Question("Where?", "b"),
        corpus.Question("When?", "c"),
    ]
    wrong = ("a", "without hands")
    host = [[wrong, ("a", "done by\n hand"), ("a", "by hand")], [], [wrong] * 10 + [("c", "")]]
    ours = [[("b", "by hand"), wrong], [("b", "anything")], [wrong] * 5 + [("c", "")]]
    hit, ndcg = corpus.compare_found(asked, host, ours)
    assert (hit.before, hit.after, hit.n) == (1 / 3, 1 / 3, 3)  # rank 2, none, 11; none, 1, 6
    assert ndcg.before == pytest.approx(0.6309298 / 3)  # 1 / log2(3)
    assert ndcg.after == pytest.approx((1 + 0.3562072) / 3)  # 1 / log2(2) and 1 / log2(7)


def test_pythons_reference_answers_the_questions_asked_of_it(corpus: ModuleType) -> None:
    whole = corpus.read_corpus()
    texts = {document.id: document.text for document in whole.documents}
    assert len(whole.questions) > 100
    assert all(
        one.is_answered_by(one.document_id, texts[one.document_id]) for one in whole.questions
    )
    part = whole.part(40_000)
    sizes = [len(document.text) for document in part.documents]
    assert sum(sizes[:-1]) < 40_000 <= sum(sizes)
    assert {one.document_id for one in part.questions} <= {one.id for one in part.documents}
    assert whole.part(40_000) == part and whole.sample(5) == whole.sample(5)


def test_the_table_of_host_programs_counts_the_changed_lines() -> None:
    rows = re.findall(
        r"^\| \[.+?\]\((\S+)\) \|.*\| (\d+) \|$", (HOSTS / "README.md").read_text(), re.M
    )
    changed = {
        f"{program.parent.name}/{program.name}": str(program.read_text().count("# ours\n"))
        for program in HOST_PROGRAMS
    }
    assert dict(rows) == changed
    assert all(len(program.read_text().splitlines()) < 60 for program in HOST_PROGRAMS)


@pytest.fixture(scope="session")
def host_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the host programs run, so that one run serves them all."""
    return tmp_path_factory.mktemp("hosts")


@pytest.fixture(scope="session")
def small_corpus(host_folder: Path) -> Path:
    """A part of Python's reference: here programs show that they run, not what they gain."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "examples")
        from hosts.corpus import read_corpus

        part = read_corpus().part(30_000)
    documents = [{"id": one.id, "title": one.title, "text": one.text} for one in part.documents]
    asked = [{"question": one.text, "doc_id": one.document_id} for one in part.questions]
    folder = host_folder / "reference"
    folder.mkdir()
    for name, rows in (("corpus", documents), ("qa", asked)):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    return folder


def run_in(folder: Path, *arguments: str) -> str:
    """What a Python program prints in the folder of the host programs."""
    ran = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "examples"), *sys.path])},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    return ran.stdout


@pytest.mark.example
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "program", HOST_PROGRAMS, ids=lambda file: f"{file.parent.name}-{file.stem}"
)
def test_a_host_program_runs(
    program: Path, embedded_models: RunConfig, host_folder: Path, small_corpus: Path
) -> None:
    module = f"hosts.{program.parent.name}.{program.stem}"
    said = run_in(host_folder, "-m", module, str(small_corpus)).splitlines()[-1]
    found = re.fullmatch(rf"{program.stem}: {GAIN}; n = [1-9]\d*", said)
    assert found, said
    assert float(found[1]) > 0, "ours found nothing"


def code_of(notebook: Path) -> list[str]:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_has_the_outputs_of_one_run(notebook: Path) -> None:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert "image/svg+xml" in outputs[-1]["data"], "the figure comes last"
    assert any("training the embedder" in "".join(output.get("text", [])) for output in outputs)


@pytest.mark.example
@pytest.mark.timeout(900)
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_runs(notebook: Path, embedded_models: RunConfig, host_folder: Path) -> None:
    *before, last = code_of(notebook)
    *lines, picture = last.splitlines()
    program = host_folder / f"{notebook.stem}_notebook.py"  # no name of a package
    program.write_text("\n".join([*before, *lines, f"print({picture})"]), encoding="utf-8")
    assert "<svg " in run_in(host_folder, str(program))
