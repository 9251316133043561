"""What a person who types a command meets: one line for each fault, and nothing lost."""

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scripted import ScriptedModels, WordByWord, write_records, write_run

from aloft.cli import main
from aloft.config import load_config
from aloft.evaluation.pages import write_report
from aloft.evaluation.report import Report
from aloft.protocols import Prompt, Reply
from aloft.records import Passage
from aloft.run.changes import ReportManifest
from aloft.run.job import open_run
from aloft.run.store import RunStore

PROSE = "The harbour master keeps the tide tables in the tower and renews them every spring. " * 3


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "tides.txt").write_text(PROSE)
    return folder


@pytest.fixture
def settings(tmp_path: Path, encoder: Path) -> Path:
    file = tmp_path / "aloft.toml"
    file.write_text(f'embedder = "{encoder}"\n')
    return file


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """The only line of the error; rich may not have wrapped it."""
    faults = [line for line in capsys.readouterr().err.splitlines() if line.startswith("aloft: ")]
    assert len(faults) == 1, faults
    return faults[0]


def cut(corpus: Path, out: Path, settings: Path, *more: str) -> int:
    return main(["passages", str(corpus), "--out", str(out), "--config", str(settings), *more])


def test_a_missing_folder(
    tmp_path: Path, settings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cut(tmp_path / "nowhere", tmp_path / "run", settings) == 2
    assert "nowhere" in one_line(capsys)


def test_an_empty_folder(
    tmp_path: Path, settings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert cut(tmp_path / "empty", tmp_path / "run", settings) == 2
    assert "empty" in one_line(capsys)


def test_bad_files_among_good_ones_are_skipped_and_listed(
    tmp_path: Path, corpus: Path, settings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (corpus / "broken.pdf").write_bytes(b"%PDF-1.7\nnot really")
    (corpus / "latin.txt").write_bytes("caf\xe9 ".encode("latin-1") * 30)
    with (corpus / "huge.txt").open("wb") as file:
        for _ in range(50):
            file.write(b"word " * 209_715)
    assert cut(corpus, tmp_path / "run", settings) == 0
    lines = (tmp_path / "run" / "rejections" / "documents.jsonl").read_text().splitlines()
    rejected = {row["subject_id"]: row for row in map(json.loads, lines)}
    assert set(rejected) == {"broken.pdf", "latin.txt", "huge.txt"}
    assert "UTF-8" in str(rejected["latin.txt"])
    assert "max_megabytes" in str(rejected["huge.txt"])
    shown = capsys.readouterr().out
    assert all(name in shown for name in rejected)


def test_invalid_utf8_alone(
    tmp_path: Path, settings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "docs2"
    folder.mkdir()
    (folder / "latin.txt").write_bytes("caf\xe9".encode("latin-1"))
    assert cut(folder, tmp_path / "run", settings) == 2
    assert "UTF-8" in one_line(capsys)


def test_a_question_about_an_unknown_document(
    tmp_path: Path, corpus: Path, settings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    questions = tmp_path / "questions.jsonl"
    questions.write_text(
        '{"question": "When?", "answers": ["spring"], "document_id": "tide.txt"}\n'
    )
    assert cut(corpus, tmp_path / "run", settings, "--questions", str(questions)) == 2
    line = one_line(capsys)
    assert "tide.txt" in line
    assert "tides.txt" in line  # the close match
    assert str(questions) in line  # and not the run's copy
    assert (tmp_path / "run" / "passages.jsonl").exists()  # nothing is lost


def test_an_unknown_preset(
    tmp_path: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(corpus), "--out", str(tmp_path / "run"), "--preset", "gpu9"]) == 2
    line = one_line(capsys)
    assert "gpu9" in line
    assert "paper" in line


def test_an_unknown_model(
    tmp_path: Path, corpus: Path, settings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["run", str(corpus), "--out", str(tmp_path / "run"), "--config", str(settings)]
    assert main([*arguments, "--teacher", "nobody/nothing-1b"]) == 2
    assert "aloft models fetch nobody/nothing-1b" in one_line(capsys)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (None, "cannot be read"),
        ("\n \n", "holds 0 questions. Give 1 to 12"),
        ("how?\n" * 13, "holds 13 questions"),
        ("wheres my parcel\n", 'form "examples" has no room for it'),  # the preset's form
    ],
)
def test_a_style_that_can_not_be_taken_over(
    lines: str | None,
    words: str,
    tmp_path: Path,
    corpus: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    style = tmp_path / "style.txt"
    if lines is not None:
        style.write_text(lines)
    out = tmp_path / "run"
    assert main(["run", str(corpus), "--out", str(out), "--style", str(style)]) == 2
    assert words in one_line(capsys)
    assert not out.exists()


@pytest.mark.parametrize(
    "command",
    [
        ("ask", "NAME", "Who keeps the tide tables?"),
        ("negatives", "NAME", "--explain", "tide"),
        ("models", "fetch", "NAME"),
        ("run", "DOCS", "--out", "RUN", "--from", "NAME"),
        ("run", "DOCS", "--out", "RUN", "--embedder", "NAME", "--dry-run"),
    ],
)
@pytest.mark.parametrize(
    ("name", "why"),
    [("x" * 300, "File name too long"), ("closed/run", "Permission denied")],
    ids=["long", "closed"],
)
def test_a_path_that_cannot_be_looked_at(
    tmp_path: Path,
    corpus: Path,
    command: tuple[str, ...],
    name: str,
    why: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "closed" / "run").mkdir(parents=True)
    (tmp_path / "closed").chmod(0)
    if why == "Permission denied" and os.access("closed/run", os.F_OK):
        pytest.skip("this user may look into closed folders")
    stands_for = {"NAME": name, "DOCS": str(corpus), "RUN": str(tmp_path / "run")}
    try:
        assert main([stands_for.get(word, word) for word in command]) == 2
    finally:
        (tmp_path / "closed").chmod(0o700)
    assert f"cannot be read ({why})" in one_line(capsys)


@pytest.mark.parametrize(
    "command",
    [
        ("passages", "DOCS", "--out", ""),
        ("passages", " ", "--out", "RUN"),
        ("run", "", "--out", "RUN"),
        ("compare", "DOCS", "--out", ""),
        ("evaluate", ""),
        ("run", "DOCS", "--out", "RUN", "--questions", ""),
        ("run", "DOCS", "--out", "RUN", "--config", ""),
        ("run", "DOCS", "--out", "RUN", "--style", ""),
        ("run", "DOCS", "--out", "RUN", "--from", ""),
        ("import-questions", "DOCS", "--out", ""),
        ("import-questions", "", "--out", "RUN"),
        ("federate", "run", ""),
        ("federate", "site", "RUN", "--join", ""),
    ],
)
def test_an_empty_path_is_not_the_working_folder(
    tmp_path: Path,
    corpus: Path,
    command: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)  # as where a variable in a script is not set
    stands_for = {"DOCS": str(corpus), "RUN": str(tmp_path / "run")}
    assert main([stands_for.get(word, word) for word in command]) == 2
    assert "it is empty" in one_line(capsys)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["docs"]


def test_the_users_home_is_found_where_the_shell_leaves_it(
    tmp_path: Path, corpus: Path, settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(corpus)
    arguments = ["~/docs", "--out=~/~run", "--config=~/aloft.toml"]
    assert main(["passages", *arguments]) == 0
    assert (tmp_path / "~run" / "passages.jsonl").is_file()
    assert [one.name for one in corpus.iterdir()] == ["tides.txt"]


def test_an_unknown_part(tmp_path: Path, corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(corpus), "--out", str(tmp_path / "run"), "--only", "retriever"]) == 2
    assert "embedder, reranker, generator" in one_line(capsys)


def test_faulty_settings_are_reported_all_at_once(
    tmp_path: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bad.toml"
    file.write_text("[passages]\nmax_tokens = 1\n[pairs]\nper_pasage = 2\n")
    assert cut(corpus, tmp_path / "run", file) == 2
    line = one_line(capsys)
    assert "passages.max_tokens" in line
    assert "pairs.per_pasage" in line


def test_a_run_folder_that_another_process_holds(
    tmp_path: Path, corpus: Path, settings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hold = textwrap.dedent("""
        import sys, pathlib
        from aloft.run.store import RunStore
        with RunStore(pathlib.Path(sys.argv[1])):
            print("held", flush=True)
            sys.stdin.read()
    """)
    out = tmp_path / "run"
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(out)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        assert cut(corpus, out, settings) == 2
        assert "held by another aloft process" in one_line(capsys)
        other.communicate()
    assert cut(corpus, out, settings) == 0


def test_a_run_on_other_documents_is_not_replaced(
    tmp_path: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    (run / "models").mkdir(parents=True)
    (run / "models" / "aloft.json").write_text("{}")
    for command in ("run", "passages"):
        assert main([command, str(corpus), "--out", str(run)]) == 2
        error = capsys.readouterr().err
        assert "holds what a run ships, but not the run. Choose another" in error
        assert "--overwrite" in error
    assert {path.name for path in run.iterdir()} >= {"models"}
    assert not (run / "documents.jsonl").exists()
    assert not (run / "config.json").exists()
    main(["passages", str(corpus), "--out", str(run), "--overwrite"])  # up to the missing model
    assert (run / "documents.jsonl").exists()


def test_a_stage_without_a_run_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pairs", str(tmp_path / "nothing")]) == 2
    assert "not a run folder" in one_line(capsys)


@pytest.mark.parametrize(
    "command", ["rate", "pairs", "filter", "negatives", "sets", "train", "evaluate"]
)
def test_a_stage_runs_where_it_is_asked_to(
    tmp_path: Path, corpus: Path, settings: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert cut(corpus, tmp_path / "run", settings) == 0
    capsys.readouterr()
    assert main([command, str(tmp_path / "run"), "--executor", "dask"]) == 2
    assert "may be: local, ray, ray://HOST:PORT" in one_line(capsys)


def test_a_log_before_there_is_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "log.csv").write_text("question\nWhen?\n")
    arguments = ["import-questions", str(tmp_path / "log.csv"), "--out", str(tmp_path / "run")]
    assert main(arguments) == 2
    assert "not a run folder" in one_line(capsys)


def test_a_log_without_questions(
    tmp_path: Path, corpus: Path, settings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cut(corpus, tmp_path / "run", settings) == 0
    (tmp_path / "log.csv").write_text("text,answer\nWhen?,now\n")
    arguments = ["import-questions", str(tmp_path / "log.csv"), "--out", str(tmp_path / "run")]
    assert main(arguments) == 2
    assert 'no column "question", but text, answer' in one_line(capsys)
    assert not (tmp_path / "run" / "manifests" / "log.json").exists()


@pytest.mark.model
def test_a_log_is_taken_in_and_its_bad_lines_are_shown(
    tmp_path: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from aloft.testing import tiny_encoder

    settings = tmp_path / "aloft.toml"
    settings.write_text(f'embedder = "{tiny_encoder(tmp_path / "tiny")}"\n')
    (tmp_path / "log.csv").write_text(
        "question,thumbs,clicked\nWho keeps the tide tables?,up,tides.txt\nWho?,hm,\nWhy?,down,\n"
    )
    assert cut(corpus, tmp_path / "run", settings) == 0
    arguments = ["import-questions", str(tmp_path / "log.csv"), "--out", str(tmp_path / "run")]
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert 'line 3: bad line. "thumbs" is "hm"' in shown
    assert "line 4" not in shown  # it is counted
    assert "1 bad line; 1 thumbs down" in shown
    assert "Linked questions: 1; by their confidence" in shown
    assert f"aloft evaluate {tmp_path / 'run'}" in shown

    (tmp_path / "log.csv").write_text("question,clicked\nWho?,other.txt\n")
    assert main(arguments) == 0
    assert "No question is linked, and nothing changes" in capsys.readouterr().out


def test_a_report_that_is_not_there_yet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with RunStore(tmp_path / "run"):
        pass
    assert main(["report", str(tmp_path / "run")]) == 2
    assert "aloft evaluate" in one_line(capsys)


def test_a_report_says_what_has_changed_since(
    tmp_path: Path, corpus: Path, settings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = reported(corpus, tmp_path / "run", settings)

    def shown() -> list[str]:
        """What the report says of changes in the terminal and in its pages."""
        capsys.readouterr()
        assert main(["report", str(run)]) == 0
        said = capsys.readouterr().out.splitlines()[0]
        pages = [(run / f"report.{kind}").read_text() for kind in ("md", "html")]
        return [text[text.find("Changed since: ") :].split(". ")[0] for text in (said, *pages)]

    nothing = shown()
    assert not any("Changed" in said for said in nothing)
    (corpus / "more.txt").write_text(f"Of the quay. {PROSE[::-1]}")
    assert cut(corpus, run, settings) == 0
    assert shown() == ["Changed since: documents, passages"] * 3
    (corpus / "more.txt").unlink()
    assert cut(corpus, run, settings) == 0
    assert shown() == nothing
    settings.write_text(f"{settings.read_text()}seed = 5\npairs.per_passage = 7\n")
    assert cut(corpus, run, settings) == 0
    assert shown() == ["Changed since: seed, pairs.per_passage"] * 3
    log = tmp_path / "log.csv"
    log.write_text("question\nWhere is the quay?\n")
    with open_run(run) as opened:
        opened.import_log(log)
    assert shown() == ["Changed since: log, seed, pairs.per_passage"] * 3


def reported(corpus: Path, run: Path, settings: Path) -> Path:
    """A run folder with passages and a report that has nothing to tell."""
    assert cut(corpus, run, settings) == 0
    store = RunStore(run)
    made_of = {name: store.facts(name)["key"] for name in ("documents", "passages")}
    write_report(Report(config=json.loads((run / "config.json").read_bytes())), run)
    ReportManifest(key="key", made_of=made_of).write(run)
    return run


@pytest.mark.parametrize(
    ("file", "content", "fault"),
    [
        ("manifests/passages.json", "{}", "stage: Field required"),
        ("manifests/passages.json", "[1]", "Input should be"),
        ("manifests/documents.json", '{"stage": "documents", "kept": []}', "kept: Input should"),
        ("manifests/report.json", '{"key": "key", "made_of": 3}', "made_of: Input should"),
        ("manifests/report.json", "null", "Input should be"),
        ("report.json", "{}", "it holds no report"),
        ("report.json", '{"funnel": 3}', "funnel: Input should"),
        ("config.json", "[]", "it holds no JSON object"),
        ("config.json", "{}", "config.json: teacher is not set"),
        ("config.json", '{"pairs": 3}', "pairs is 3"),
    ],
)
def test_a_file_of_the_run_that_holds_something_else(
    tmp_path: Path,
    corpus: Path,
    settings: Path,
    file: str,
    content: str,
    fault: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = reported(corpus, tmp_path / "run", settings)
    (run / file).write_text(content)
    capsys.readouterr()
    assert main(["report", str(run)]) == 2
    line = one_line(capsys)
    assert fault in line
    assert Path(file).name in line
    assert main(["evaluate", str(run)]) == 2
    one_line(capsys)


@pytest.mark.parametrize("command", [[], ["models"]])
def test_a_command_without_arguments_prints_its_help(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command) == 0
    shown = capsys.readouterr()
    assert " ".join(["Usage: aloft", *command]) in shown.out
    assert shown.err == ""


def test_an_old_name_of_a_setting_is_a_line_and_no_fault(
    tmp_path: Path, corpus: Path, settings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.write_text(f"{settings.read_text()}[negatives]\ncopied = 0.7\n")
    assert cut(corpus, tmp_path / "run", settings) == 0
    assert "negatives.copied is now called negatives.copy_threshold" in one_line(capsys)


def test_an_interrupted_command_says_how_to_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("aloft.backends.packaged.list_models", interrupt)
    assert main(["models", "list"]) == 130
    assert "run the same command to resume" in one_line(capsys)


@pytest.mark.parametrize("width", [80, 60, 34])
def test_names_of_models_are_never_cut(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from aloft.backends.packaged import list_models

    monkeypatch.setenv("COLUMNS", str(width))
    assert main(["models", "list"]) == 0
    shown = capsys.readouterr().out.split()
    assert {model.name for model in list_models()} <= set(shown)


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8"])
def test_a_console_that_lacks_a_letter_shows_a_mark_for_it(
    encoding: str, tmp_path: Path, settings: Path
) -> None:
    docs = tmp_path / "文書"
    docs.mkdir()
    (docs / "港.txt").write_text(PROSE, encoding="utf-8")
    (docs / "壊れた.pdf").write_bytes(b"%PDF-1.7\nnot really")
    program = "import sys; from aloft.cli import main; sys.exit(main(sys.argv[1:]))"
    arguments = ["passages", str(docs), "--out", str(tmp_path / "走"), "--config", str(settings)]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )
    assert done.returncode == 0, done.stderr.decode(encoding)
    shown = done.stdout.decode(encoding)
    assert ("壊れた.pdf" if encoding == "utf-8" else "???.pdf") in shown


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("command", [["models", "list"], ["--help"], ["--version"]])
def test_output_that_cannot_be_written_is_one_line(command: list[str]) -> None:
    program = "import sys; from aloft.cli import main; sys.exit(main(sys.argv[1:]))"
    arguments = [sys.executable, "-c", program, *command]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(arguments, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("aloft: the output cannot be written (No space left on device).")
    assert done.stderr.count("\n") == 1
    reader, writer = os.pipe()
    os.close(reader)  # as of a pager that was left
    left = subprocess.run(arguments, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert left.returncode != 0
    assert left.stderr == ""


def test_a_usage_fault_is_one_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run"]) == 2
    assert "--help" in one_line(capsys)


def test_a_full_disk_is_one_line_and_nothing_is_lost(
    tmp_path: Path, corpus: Path, settings: Path
) -> None:
    for number in range(40):
        (corpus / f"log-{number}.txt").write_text(f"Entry {number} of the log. {PROSE}")
    program = (
        "import resource, sys;"
        "limit = int(sys.argv[1]);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit));"
        "from aloft.cli import main;"
        "sys.exit(main(sys.argv[2:]))"
    )
    command = ["passages", str(corpus), "--out", str(tmp_path / "run"), "--config", str(settings)]

    def start(limit: int) -> subprocess.CompletedProcess[str]:
        arguments = [sys.executable, "-c", program, str(limit), *command]
        return subprocess.run(arguments, capture_output=True, text=True)

    full = start(6_000)
    assert full.returncode == 2
    assert "is full" in full.stderr
    assert "Traceback" not in full.stderr
    assert not list((tmp_path / "run").glob(".*.tmp*"))  # no half a file stays
    assert start(10_000_000).returncode == 0


@pytest.mark.parametrize("reply", ["1\n\n### Answer\nA [blue] whale sings.", ""])
def test_an_answer_is_shown_while_it_is_written_and_then_its_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], reply: str
) -> None:
    seen: list[str] = []

    class Watched(WordByWord):
        def stream(self, prompt: Prompt, **limits: Any) -> Iterator[Reply]:
            for piece in super().stream(prompt, **limits):
                seen.append(capfd.readouterr().out)
                yield piece

    models = ScriptedModels()
    models.teacher_model = Watched(lambda _: reply)
    monkeypatch.setattr("aloft.serving.answering.Models", lambda **_: models)
    run = write_run(tmp_path / "run")
    (run / "config.json").write_text(load_config("cpu").model_dump_json())
    passage = Passage(document_id="a.txt", text="The blue whale sings.", start=7)
    write_records(run / "passages.jsonl", [passage])

    assert main(["ask", str(run), "Which whale?"]) == 0
    told = capfd.readouterr().out
    if not reply:
        assert "".join([*seen, told]).startswith("(no answer)\n")
    else:
        assert "".join(seen) == "A [blue] whale"  # before the last piece is told
        assert "".join([*seen, told]).startswith("A [blue] whale sings.\n")
        assert "Source: a.txt, characters 7-28\nThe blue whale sings." in told


@pytest.mark.parametrize(
    "command",
    [
        ["server", "FED", "--address", "127.0.0.1:9092", "--sites", "a"],
        ["site", "RUN", "--join", "FED"],
        ["run", "FED"],
    ],
)
def test_a_federation_without_its_extra_is_told_how_to_get_it(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["federate", *command]) == 2
    assert one_line(capsys).endswith(
        'flwr is not installed. Run: pip install "aloft-rag[train,flower]"'
    )


def test_labelled_questions_among_the_documents_are_no_document(
    tmp_path: Path, corpus: Path, settings: Path
) -> None:
    questions = corpus / "questions.csv"
    questions.write_text("question,answers,document_id\nWhen?,every spring,tides.txt\n")
    (corpus / "link.csv").symlink_to(questions)
    assert cut(corpus, tmp_path / "run", settings, "--questions", str(questions)) == 0
    (document,) = (tmp_path / "run" / "documents.jsonl").read_text().splitlines()
    assert "tides.txt" in document
    assert "When?" in (tmp_path / "run" / "human.jsonl").read_text()
