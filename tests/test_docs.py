"""Every snippet of README and docs as it stands: checked without models, run with them."""

import ast
import importlib
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from pydoc_data.topics import topics
from shutil import copytree
from unittest import SkipTest

import pytest
import typer.main
from sybil import Document, Example, Region, Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import SkipParser
from sybil.parsers.markdown.lexers import FencedCodeBlockLexer
from sybil.typing import Evaluator

import aloft
from aloft import Aloft, load_config, records
from aloft.cli import app
from aloft.questions.labelled import read_questions

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FIRST_RUN = ROOT / "docs" / "tutorial" / "first-run.md"  # whose commands are run, too
TOPICS = ("break", "pass", "raise", "while")  # documents of the finished run, `docs/NAME.txt`
QUESTIONS = '{"question": "What does a bare raise do?", "document_id": "raise.txt"}\n'
TEXTS = {  # documents that the questions of README and docs point at
    "travel.md": "A travel claim is signed by the line manager.",
    "backups.md": "Backups are deleted after 90 days.",
    **{f"{name}.txt": topics[name] for name in TOPICS},
}
SKIP = re.compile(r"<!-- skip: (\w+)(.*?)-->")
_fences = FencedCodeBlockLexer(".+", {"language": "arguments", "source": "source"})


def snippets(path: Path, evaluate: Evaluator) -> Document:
    """A page with its snippets, whatever their language."""

    def parse(document: Document) -> Iterable[Region]:
        for region in _fences(document):
            region.parsed, region.evaluator = region.lexemes["source"], evaluate
            yield region

    return Sybil([parse, SkipParser()]).parse(path)


def language(example: Example) -> str:
    return str(example.region.lexemes["arguments"]).split()[0]


def title(example: Example) -> str | None:
    """The file that a snippet is to be saved as."""
    found = re.search(r'title="([^"]+)"', str(example.region.lexemes["arguments"]))
    return found and found[1]


def evaluate(document: Document) -> None:
    for example in document.examples():
        try:
            example.evaluate()
        except SkipTest:
            continue


def commands(source: str) -> Iterator[list[str]]:
    for line in source.replace("\\\n", " ").splitlines():
        if words := shlex.split(line, comments=True):
            yield words


# The fast tier


def check_python(source: str) -> None:
    """It is Python, and what it takes from our packages is there."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and "aloft" in node.module:
            module = importlib.import_module(node.module)
            assert [name.name for name in node.names if not hasattr(module, name.name)] == []


def check_aloft(arguments: list[str]) -> None:
    """The command line knows the command, its arguments and its options."""
    command, words = typer.main.get_command(app), list(arguments)
    while commands_of := getattr(command, "commands", None):
        assert words[0] in commands_of, f"aloft has no command {words[0]}"
        command = commands_of[words.pop(0)]
    command.make_context("aloft", words)


def check_program(arguments: list[str]) -> None:
    """A program of this repository has the options that it is given."""
    if arguments[0] == "-m":
        return
    program = ROOT / arguments[0]
    source = program.read_text(encoding="utf-8")
    for name in re.findall(r"^from (\w+) import .*\bparse\b", source, re.MULTILINE):
        source += (program.parent / f"{name}.py").read_text(
            encoding="utf-8"
        )  # whose options it has
    options = [word for word in arguments if word.startswith("--")]
    assert [option for option in options if f'"{option}"' not in source] == []


def check_pip(arguments: list[str]) -> None:
    """The distribution has the extras that are to be installed."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for wanted in re.findall(r"aloft-rag\[(.+?)\]", " ".join(arguments)):
        assert set(wanted.split(",")) <= set(extras["optional-dependencies"])


def check_make(arguments: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert [target for target in arguments if f"\n{target}:" not in makefile] == []


SHELL = {
    "aloft": check_aloft,
    "python": check_program,
    "pip": check_pip,
    "make": check_make,
    "export": lambda _: None,
}


def check_toml(source: str, folder: Path) -> None:
    """Settings load over the default preset."""
    file = folder / "snippet.toml"
    file.write_text(source, encoding="utf-8")
    load_config("cpu", file)


def check_questions(source: str, folder: Path) -> None:
    """Labelled questions are read, and point at the documents that they name."""
    file = folder / "snippet.jsonl"
    file.write_text(source, encoding="utf-8")
    documents = [records.Document(id=name, title="", text=text) for name, text in TEXTS.items()]
    passages = [
        records.Passage(document_id=one.id, text=one.text, start=0, title="") for one in documents
    ]
    assert len(read_questions(file, documents, passages)) == len(source.splitlines())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_snippets_are_what_they_seem(page: Path, tmp_path: Path) -> None:
    def check(example: Example) -> None:
        source = str(example.parsed)
        match language(example):
            case "python":
                check_python(source)
            case "sh":
                for program, *arguments in commands(source):
                    SHELL[Path(program).name](arguments)
            case "toml":
                check_toml(source, tmp_path)
            case "json":
                check_questions(source, tmp_path)
            case other:
                assert other in ("mermaid", "text")

    evaluate(snippets(page, check))


def test_a_snippet_is_left_out_for_a_reason_and_seldom() -> None:
    left_out = [
        (page.name, *found)
        for page in PAGES
        for found in SKIP.findall(page.read_text(encoding="utf-8"))
    ]
    assert all(action == "next" and ast.literal_eval(why.strip()) for _, action, why in left_out)
    assert len(left_out) <= 5


def test_links_between_pages_lead_somewhere() -> None:
    """Those of pages that the site does not hold; MkDocs follows the others."""
    for page in (ROOT / "README.md", *ROOT.glob("CON*.md"), *ROOT.glob("[be]*/README.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("line", ["run DOCS --out RUN --surprise", "rune DOCS", "run DOCS"])
def test_a_command_that_does_not_exist_is_seen(line: str) -> None:
    with pytest.raises((AssertionError, typer.BadParameter.__base__)):
        check_aloft(line.split())


def test_every_variable_of_the_environment_is_in_the_table() -> None:
    table = (ROOT / "docs" / "reference" / "environment.md").read_text(encoding="utf-8")
    sources = [*(ROOT / "core").rglob("*.py"), ROOT / "tests" / "conftest.py"]
    read = {
        name for file in sources for name in re.findall(r'"(ALOFT_\w+)"', file.read_text("utf-8"))
    }
    assert read == set(re.findall(r"\| `(ALOFT_\w+)`", table))


def test_every_public_name_is_in_the_reference() -> None:
    page = (ROOT / "docs" / "reference" / "python-api.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"::: aloft\.(\w+)", page))
    assert set(aloft.__all__) - documented == {"AloftError", "PRESETS", "RunConfig"}


def test_readme_is_a_first_page() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) < 150


# The example tier


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, _fetched_models: Path) -> Path:
    """A folder with documents, a question and a finished run, in which pages are tried."""
    folder = tmp_path_factory.mktemp("docs")
    (folder / "docs").mkdir()
    for name in TOPICS:
        (folder / "docs" / f"{name}.txt").write_text(topics[name], encoding="utf-8")
    (folder / "my_questions.jsonl").write_text(QUESTIONS, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALOFT_HOME", str(_fetched_models))
        patch.chdir(folder)
        config = load_config("cpu", overrides={"parts": ("embedder",)})
        asked = Path("my_questions.jsonl")
        Aloft(config).run(Path("docs"), Path("runs/handbook"), questions=asked)
    return folder


def run_command(words: list[str]) -> None:
    if words[0] != "aloft":
        return  # pip, whose work is done
    program = [sys.executable, "-c", "from aloft.cli import main; raise SystemExit(main())"]
    ran = subprocess.run([*program, *words[1:]], capture_output=True, text=True)
    assert ran.returncode == 0, f"{shlex.join(words)}\n{ran.stdout[-1000:]}{ran.stderr[-2000:]}"


def has_python(page: Path) -> bool:
    return "```python" in page.read_text(encoding="utf-8")


@pytest.mark.example
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("embedded_models")
@pytest.mark.parametrize(
    "page", filter(has_python, PAGES), ids=lambda page: page.relative_to(ROOT).as_posix()
)
def test_a_page_runs_from_its_top_to_its_end(
    page: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "place"
    copytree(finished, place)
    monkeypatch.chdir(place)
    run_python = PythonEvaluator()

    def run(example: Example) -> None:
        if name := title(example):
            Path(name).write_text(str(example.parsed), encoding="utf-8")
        if language(example) == "python":
            run_python(example)
        if language(example) == "sh" and page == FIRST_RUN:
            for words in commands(str(example.parsed)):
                run_command(words)

    evaluate(snippets(page, run))
