"""The estimate: what a sample is carried over to, and a dry run that wastes nothing it asks."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import pytest
from openai_server import Serve
from scripted import ScriptedModels

from aloft.cli import main
from aloft.cli.views import show_estimate
from aloft.config import FiltersConfig, RunConfig, load_config
from aloft.errors import ConfigError, RunFolderError
from aloft.evaluation.report import read_report
from aloft.network_guard import NetworkGuard
from aloft.protocols import Prompt
from aloft.records import Document
from aloft.run.cluster_plan import plan_nodes, useful_nodes
from aloft.run.context import Shared
from aloft.run.copying import copied
from aloft.run.disk import weight_of
from aloft.run.estimate import (
    Estimate,
    Line,
    answers_of,
    estimate_run,
    expect_amounts,
    expect_pairs,
    scores_per_question,
)
from aloft.run.job import OpenRun, open_run
from aloft.run.pilot import Asked, Pace
from aloft.run.ranges import Range, exactly, share_of
from aloft.run.store import RunStore
from aloft.run.usage import Usage
from aloft.testing import ScriptedTeacher
from aloft.training.memory import Plan

DOCUMENTS = [
    Document(id=f"{i}.txt", text=f"Berth {i} of the port of Aberley is {i + 40} metres in length.")
    for i in range(70)
]


def asked(subjects: int, left: int, sampled: int, replies: int, kept: int) -> Asked:
    spent = Usage(calls=replies + 2, tokens_in=1000, tokens_out=100, seconds=4.0)
    pace = Pace(amount=sampled, unit="passages", seconds=4.0, startup=2.0)
    return Asked(subjects=subjects, left=left, spent=spent, pace=pace, replies=replies, kept=kept)


def near(low: float, high: float) -> Any:
    return pytest.approx((low, high), abs=0.02)


def ends(some: Range) -> tuple[float, float]:
    return some.low, some.high


def test_a_pace_is_carried_over_behind_what_comes_once() -> None:
    pace = Pace(amount=8, unit="passages", seconds=4.0, startup=2.0)
    assert pace.seconds_for(20) == 12.0
    assert pace.seconds_for(0) == 0.0
    assert str(pace) == "8 passages in 4.0 s"


@pytest.mark.parametrize(
    ("kept", "of", "low", "high"),
    [
        (7, 14, 0.375, 0.625),  # 8 of 16: a half, with an error of 1/8
        (14, 14, 0.877, 0.998),  # 15 of 16, with 0.0605: some doubt stays
        (0, 0, 0.146, 0.854),  # nothing is known: a half, with 0.354
    ],
)
def test_a_samples_share_has_its_error(kept: int, of: int, low: float, high: float) -> None:
    assert ends(share_of(kept, of)) == near(low, high)


def test_pairs_are_expected_by_the_samples_share() -> None:
    config = load_config()
    sample = {"pairs": asked(subjects=60, left=52, sampled=7, replies=14, kept=7)}
    expected = expect_pairs(sample, 60, 60, config)
    assert ends(expected.passages) == (60, 60)
    assert expected.kept is not None
    assert ends(expected.kept) == near(60 * 2 * 0.375, 60 * 2 * 0.625)


def test_passages_are_asked_about_by_the_share_that_is_rated_well() -> None:
    config = load_config(overrides={"ratings": {"method": "expect", "drop_share": 0.5}})
    sample = {
        "ratings": asked(subjects=100, left=86, sampled=14, replies=14, kept=14),
        "pairs": asked(subjects=7, left=0, sampled=7, replies=7, kept=7),
    }
    expected = expect_pairs(sample, 7, 100, config)
    # between 37.5 and 62.5 of 100 are rated well, but half of them is dropped in any case
    assert ends(expected.passages) == near(37.5, 50)
    # a reply each; 8 of 9 can be used, with an error of 0.1048
    assert ends(expected.written) == near(37.5 * 0.7841, 50 * 0.9937)


def test_marked_pairs_are_kept_by_the_share_that_is_marked_well() -> None:
    sample = {"pair_ratings": asked(subjects=200, left=186, sampled=14, replies=14, kept=7)}
    expected = expect_pairs(sample, 60, 60, load_config())
    assert ends(expected.written) == (200, 200)  # they are there, only the marks are not
    assert expected.kept is not None
    assert ends(expected.kept) == near(75, 125)
    assert expect_pairs({}, 60, 60, load_config()).kept is None


def test_rows_and_questions_follow_from_the_pairs() -> None:
    sets = {"held_out_share": 0.2, "reranker_negatives": 3, "max_generator_rows": 70}
    config = load_config(overrides={"training_sets": sets})
    amounts = expect_amounts(Range(80, 100), 200, config)
    assert {part: ends(rows) for part, rows in amounts.rows.items()} == {
        "embedder": (64, 240),  # and of passages that none asks about, most of what is not held out
        "reranker": (256, 320),  # one right, three wrong
        "generator": (64, 70),
    }
    assert ends(amounts.held_out) == (16, 20)


def test_answers_are_those_before_and_after_shuffled_and_in_order() -> None:
    evaluation = {"max_answer_questions": 50, "max_stack_questions": 30, "min_human_questions": 60}
    config = load_config(overrides={"evaluation": evaluation})
    synthetic = {"synthetic": Range(16, 20)}
    told = 2 * 22  # instructions
    # in order two generators behind what ships, and one before it, where that retrieves otherwise
    assert ends(answers_of(synthetic, config)) == (2 * 16 + 2 * 16 + told, 2 * 20 + 3 * 20 + told)
    # each set is answered, whichever decides
    low, high = 2 * (16 + 50) + 2 * (16 + 30) + told, 2 * (20 + 50) + 3 * (20 + 30) + told
    few = {**synthetic, "human": exactly(59)}  # too few to decide
    assert ends(answers_of(few, config)) == (low, high)
    many = {**synthetic, "human": exactly(60)}
    assert ends(answers_of(many, config)) == (low, high)
    probing = load_config(overrides={"evaluation": {**evaluation, "probes": True}})
    variants = 5 + 4 + 1  # places, numbers and none
    assert ends(answers_of(many, probing)) == (low + 40 * 2 * variants, high + 40 * 2 * variants)
    # too few human questions to decide: the synthetic ones are probed
    assert ends(answers_of(few, probing)) == (low + 16 * 2 * variants, high + 20 * 2 * variants)
    sets = {"abstaining_share": 0.1}
    abstaining = load_config(overrides={"evaluation": evaluation, "training_sets": sets})
    # all of it twice, and 7 that nothing answers
    low, high = 4 * (16 + 50) + 2 * (2 * (16 + 30) + 7), 4 * (20 + 50) + 3 * (2 * (20 + 30) + 7)
    told += 2 * 7
    assert ends(answers_of(many, abstaining, 7)) == (low + told, high + told)
    assert ends(answers_of(many, config, 7)) == ends(answers_of(many, config))


@pytest.mark.parametrize(
    ("settings", "low", "high"),
    [
        # two rankings: the hybrids of the embedder before and after; either body reranks both
        ({}, 40, 80),
        ({"embedder_training": {"method": "query_lora"}}, 40, 80),
        ({"parts": ("reranker",)}, 40, 40),
        ({"parts": ("embedder",)}, 20, 40),  # the untuned body
        ({"reranker": "own"}, 20, 40),  # it scores before it is trained too, what bodies put first
        ({"reranker": "own", "parts": ("embedder",)}, 10, 20),
        ({"parts": ("generator",)}, 20, 20),  # the body alone
    ],
)
def test_what_rankings_share_is_scored_once(
    settings: dict[str, Any], low: float, high: float
) -> None:
    evaluation = {"evaluation": {"rerank_depth": 20}}
    config = load_config(overrides={**evaluation, **settings})
    assert ends(scores_per_question(config)) == (low, high)


class Teaching(ScriptedModels):
    """A teacher that asks about berths and rates them; nothing of it needs weights."""

    def __init__(self, read: Callable[[Prompt, str], float] | None = None) -> None:
        super().__init__()
        self.given = self.teacher_model = ScriptedTeacher(ask_of_berth, read=read)


def ask_of_berth(prompt: Prompt) -> str:
    """A pair about the berth; those of the berths from 60 on come at the second try only."""
    number = int(prompt.messages[-1].content.split("Text: Berth ")[1].split()[0])
    is_usable = number < 60 or prompt.seed is not None
    return f" How long is berth {number}?\nAnswer: {number + 40} metres" if is_usable else ""


@pytest.fixture
def config(encoder: Path) -> RunConfig:
    changes = {
        "teacher": "given",
        "embedder": str(encoder),
        "ratings": {"method": "expect", "drop_share": 0.0},
        "pairs": {"form": "examples", "per_passage": 1, "max_passages": 66},
    }
    chosen = load_config(overrides=changes)
    return chosen.model_copy(update={"parts": ()})  # their trainings need weights


def open_folder(
    store: RunStore,
    config: RunConfig,
    read: Callable[[Prompt, str], float] | None = None,
    documents: Sequence[Document] = DOCUMENTS,
    questions: Path | None = None,
) -> tuple[OpenRun, ScriptedTeacher]:
    models = Teaching(read)
    run = OpenRun(config, Shared(store, models), NetworkGuard())
    run.give(documents, questions)
    return run, models.teacher_model


def test_what_a_dry_run_asks_is_not_asked_again(tmp_path: Path, config: RunConfig) -> None:
    with RunStore(tmp_path / "whole") as folder:
        whole, teacher = open_folder(folder, config)
        whole.do("pairs")
        wanted = [(prompt.messages, prompt.seed) for prompt in teacher.asked]
    with RunStore(tmp_path / "dry") as folder:
        dry, first = open_folder(folder, config)
        estimate = estimate_run(dry)
        left = {line.stage: line for line in estimate.lines}
        assert (estimate.passages, estimate.asked_about) == (70, 66)
        assert ends(left["ratings"].left) == (58, 58)  # 8 of 66 were rated
        assert ends(left["pairs"].left)[1] <= 58
        assert list(left) == ["ratings", "pairs", "negatives", "evaluate"]
        assert not (folder.path / "pairs.jsonl").exists()
        assert (folder.path / "passages.jsonl").exists()
        assert 16 <= len(first.asked) < 33

        run, second = open_folder(folder, config)
        run.do("pairs")
        both = [(prompt.messages, prompt.seed) for prompt in (*first.asked, *second.asked)]
        assert sorted(map(str, both)) == sorted(map(str, wanted))
        assert list(run.records("pairs")) == list(whole.records("pairs"))


def test_a_dry_run_of_a_started_folder_tells_what_is_left(
    tmp_path: Path, config: RunConfig
) -> None:
    config = config.model_copy(update={"ratings": load_config().ratings})  # none
    with RunStore(tmp_path / "run") as folder:
        for left in (58, 50):  # of 66, and of the 58
            run, _ = open_folder(folder, config)
            lines = {line.stage: line for line in estimate_run(run).lines}
            assert ends(lines["pairs"].left) == (left, left)
        assert lines["pairs"].tokens_in is None  # this teacher tells no counts
        run.do("pairs")
        again, nobody = open_folder(folder, config)
        lines = {line.stage: line for line in estimate_run(again).lines}
        assert list(lines) == ["negatives", "evaluate"]
        assert nobody.asked == []
        assert ends(lines["evaluate"].left) == near(0.2 * 66, 0.2 * 66)
        again.do("sets")
        lines = {line.stage: line for line in estimate_run(open_folder(folder, config)[0]).lines}
        assert list(lines) == ["evaluate"]
        assert lines["evaluate"].left == exactly(len(again.records("held_out")))


def test_a_dry_run_changes_nothing_that_is_read_later(tmp_path: Path, config: RunConfig) -> None:
    questions = tmp_path / "mine.jsonl"
    asked = '{"question": "How long is berth 7?", "answers": ["47 metres"], "document_id": "7.txt"}'
    questions.write_text(f"{asked}\n")
    other = config.model_copy(update={"seed": 4, "pairs": load_config().pairs})
    killed = tmp_path / "run" / "work" / ".copy.tmp"
    killed.mkdir(parents=True)
    with RunStore(tmp_path / "run") as folder:
        assert not killed.exists()  # that of a dry run which was killed
        run, _ = open_folder(folder, config, questions=questions)
        run.do("pairs", "questions")
        before = files_of(folder.path)
        for settings, documents in ((config, DOCUMENTS), (other, DOCUMENTS[:50])):
            with copied(folder) as copy:
                run, _ = open_folder(copy, settings, documents=documents)
                lines = [line.stage for line in estimate_run(run).lines]
            assert lines[-2:] == ["negatives", "evaluate"]
            assert ("pairs" in lines) == (settings is other)  # what is finished counts
            assert files_of(folder.path) == before
        strange = [Document(id="a.txt", text="The tide tables of Aberley are renewed in spring.")]
        with pytest.raises(RunFolderError) as refused, copied(folder) as copy:
            open_folder(copy, config, documents=strange)
        assert str(refused.value).startswith(f"{folder.path} holds a run on other documents")
        assert files_of(folder.path) == before


def files_of(run: Path) -> dict[str, bytes]:
    """All that a run folder holds, but its lock and what models returned."""
    names = {file.relative_to(run).as_posix(): file for file in run.rglob("*") if file.is_file()}
    own = (name for name in names if not name.startswith((".lock", "work/calls.sqlite")))
    return {name: names[name].read_bytes() for name in own}


@pytest.mark.parametrize(("reranker", "scored"), [(None, 1), ("own", 2)])
def test_a_reranker_that_reads_is_timed_beside_the_body_that_orders(
    tmp_path: Path, config: RunConfig, reranker: str | None, scored: int
) -> None:
    config = config.model_copy(update={"ratings": load_config().ratings, "reranker": reranker})
    with RunStore(tmp_path / "run") as folder:
        run, _ = open_folder(folder, config)
        (line,) = [one for one in estimate_run(run).lines if one.stage == "evaluate"]
        assert line.measured.count(" scores in ") == scored


def test_a_run_is_estimated_for_more_passages_than_were_read(
    tmp_path: Path, config: RunConfig
) -> None:
    all_of_them = config.pairs.model_copy(update={"max_passages": None})
    config = config.model_copy(update={"pairs": all_of_them})
    with RunStore(tmp_path / "run") as folder:
        run, _ = open_folder(folder, config)
        small = {line.stage: line for line in estimate_run(run).lines}
        run, teacher = open_folder(folder, config)
        estimate = estimate_run(run, passages=200_000)
        lines = {line.stage: line for line in estimate.lines}
        reading = ["documents", "split", "passages"]
        assert list(lines) == [*reading, "ratings", "pairs", "negatives", "evaluate"]
        assert (estimate.passages, estimate.asked_about, estimate.read) == (200_000, 200_000, 70)
        facts = run.runner.store.facts("documents")
        assert ends(lines["documents"].seconds) == near(*[facts["seconds"] / 70 * 200_000] * 2)
        assert lines["documents"].undivided.high <= lines["documents"].seconds.high
        assert 0 < lines["passages"].undivided.high < lines["passages"].seconds.high
        assert ends(lines["split"].undivided) == (0, 0)
        assert ends(lines["ratings"].left) == (200_000 - 16, 200_000 - 16)  # that two dry runs had
        assert lines["pairs"].left.high / small["pairs"].left.high == pytest.approx(
            200_000 / 70, rel=0.2
        )
        # BM25 and exact search count where the corpus is large
        assert "comparisons in" in lines["evaluate"].measured
        assert "comparisons in" in lines["negatives"].measured
        assert "comparisons in" not in small["evaluate"].measured
        assert lines["evaluate"].undivided.low > 0
        assert teacher.asked  # nothing else but what the pilot asks
        assert estimate.disk > 200_000 * 2 * 16 * 10  # two indexes of ten terms a passage at least
        capped = config.model_copy(
            update={"pairs": all_of_them.model_copy(update={"max_passages": 90})}
        )
        run, _ = open_folder(folder, capped)
        assert estimate_run(run, passages=200_000).asked_about == 90
        run.do("pairs")
        run, _ = open_folder(folder, capped)
        with pytest.raises(ConfigError, match="has its pairs"):
            estimate_run(run, passages=200_000)


def test_nodes_share_what_can_be_divided() -> None:
    written = Line(
        stage="pairs",
        left=exactly(9),
        unit="passages",
        seconds=Range(7200, 14400),
        undivided=exactly(720),
        measured="",
    )
    trained = replace(written, stage="embedder", seconds=exactly(1800), undivided=exactly(1800))
    estimate = Estimate(passages=9, asked_about=9, lines=(written, trained), disk=0, memory=0)
    one, four = plan_nodes(estimate, (1, 4))
    assert ends(one.seconds) == ends(estimate.seconds) == (9000, 16200)
    # 2,520 s are one node's, and 6,480 to 13,680 s are shared
    assert ends(four.seconds) == (2520 + 1620, 2520 + 3420)
    assert ends(four.node_hours) == pytest.approx((4.6, 6.6))
    assert useful_nodes(estimate) == 6  # 13,680 s are shared by six in less than 2,520 s
    # less is left than what comes once
    little = replace(estimate, lines=(replace(written, seconds=exactly(60)),))
    assert ends(plan_nodes(little, (8,))[0].seconds) == (60, 60)


def test_several_numbers_of_nodes_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    line = Line(stage="pairs", left=exactly(9), unit="passages", seconds=exactly(7200), measured="")
    shown = Estimate(passages=10**7, asked_about=9, lines=(line,), disk=0, memory=0, read=70)
    show_estimate(shown, nodes=3)
    said = capsys.readouterr().out
    rows = [[c.strip() for c in r.split("│")[1:-1]] for r in said.splitlines() if "│" in r]
    assert rows[1:5] == [
        ["1", "2.0 h", "2.0"],
        ["2", "60.0 min", "2.0"],
        ["3 (this cluster)", "40.0 min", "2.0"],
        ["4", "30.0 min", "2.0"],
    ]
    assert "10,000,000 passages, 9 of them asked about, like the 70 that were read" in said
    show_estimate(shown)
    assert "node-hours" not in capsys.readouterr().out


def test_a_number_of_passages_goes_with_a_dry_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_text("The quay of Aberley is long.")
    out = tmp_path / "run"
    assert main(["run", str(tmp_path / "a.txt"), "--out", str(out), "--passages", "9"]) == 2
    assert "--passages is a number to estimate for. Add --dry-run." in capsys.readouterr().err
    assert not out.exists()


def test_what_filters_read_is_counted_and_not_read_again(tmp_path: Path, config: RunConfig) -> None:
    usual = {"ratings": load_config().ratings}
    with RunStore(tmp_path / "without") as folder:
        run, _ = open_folder(folder, config.model_copy(update=usual))
        assert "readings" not in {line.stage for line in estimate_run(run).lines}
    config = config.model_copy(update={**usual, "filters": FiltersConfig(use=("dependency",))})
    read: list[tuple[str, str]] = []

    def find(prompt: Prompt, reply: str) -> float:
        read.append((prompt.messages[-1].content, reply))
        return 1.0 if "Berth" in prompt.messages[-1].content else 0.0

    with RunStore(tmp_path / "with") as folder:
        run, _ = open_folder(folder, config, find)
        line = next(one for one in estimate_run(run).lines if one.stage == "readings")
        sampled = len(read) // 2  # with the passage and without it
        assert 6 <= sampled <= 8  # of 8 passages; a pair of the last six may be lost
        assert line.unit == "readings"
        assert line.left.low < 2 * (66 - sampled) * 0.95 < line.left.high <= 2 * 66 - 2 * sampled
        run, _ = open_folder(folder, config, find)
        run.do("filters")
        assert len(read) == len(set(read)) == 2 * len(run.records("pairs"))
        assert len(run.records("filtered")) == len(run.records("pairs"))


def test_an_estimate_is_shown_line_by_line(capsys: pytest.CaptureFixture[str]) -> None:
    pairs = Line(
        stage="pairs",
        left=exactly(149),
        unit="passages",
        seconds=exactly(85.4),
        calls=Range(298.2, 310.0),
        tokens_in=None,
        tokens_out=exactly(90),
        measured="8 passages in 0.5 s",
    )
    generator = Line(
        stage="generator",
        left=Range(400, 500),
        unit="rows",
        seconds=Range(3600, 7200),
        measured="8 rows in 12.0 s",
    )
    some = (pairs, generator)
    shown = Estimate(passages=2000, asked_about=1500, lines=some, disk=0.64e9, memory=6.28e9)
    plan = Plan(
        weights=2 * 10**9, trained=10**9, activations=0, logits=0, has_checkpoints=True
    )  # fmt: skip
    shown = replace(shown, plan=plan)
    assert ends(shown.seconds) == (3685.4, 7285.4)
    show_estimate(shown)
    said = capsys.readouterr().out
    rows = [[c.strip() for c in r.split("│")[1:-1]] for r in said.splitlines() if "│" in r]
    assert rows == [
        ["pairs", "149 passages", "298–310", "–", "90", "85.4 s"],
        ["generator", "400–500 rows", "–", "–", "–", "1.0–2.0 h"],
    ]
    assert "2,000 passages, 1,500 of them asked about" in said
    assert "Measured: pairs: 8 passages in 0.5 s; generator: 8 rows in 12.0 s" in said
    assert "Total: 1.0–2.0 h; 0.6 GB of disk, 6.3 GB of memory at the peak." in said
    assert "Memory planned for training the generator: 3.1 GB, with gradient checkpointing." in said


def test_nothing_is_left_of_a_finished_run(capsys: pytest.CaptureFixture[str]) -> None:
    show_estimate(Estimate(passages=9, asked_about=9, lines=(), disk=2e9, memory=1e9))
    assert "Nothing remains to be done." in capsys.readouterr().out


def answer_of(body: dict[str, Any]) -> tuple[int, Any]:
    """What a server's teacher replies: a question about the longest words of its span."""
    words = sorted(set(body["prompt"].split("Text: ")[-1].split()), key=lambda w: (-len(w), w))
    text = f" What is meant by {' and '.join(words[1:4])}?\nAnswer: {words[0]}"
    usage = {"prompt_tokens": 100, "completion_tokens": 10}
    return 200, {"choices": [{"text": text, "finish_reason": "stop"}], "usage": usage}


@pytest.mark.model
def test_the_command_measures_and_the_run_goes_on_from_there(
    tmp_path: Path, serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    from aloft.testing import tiny_encoder

    (tmp_path / "docs").mkdir()
    for name in ("assert", "pass", "del", "return", "raise", "break", "global", "lambda"):
        (tmp_path / "docs" / f"{name}.txt").write_text(topics[name], encoding="utf-8")
    server = serve(lambda _path, body: answer_of(body))
    (tmp_path / "aloft.toml").write_text(
        f"""
        teacher = "openai:{server.url}#small"
        embedder = "{tiny_encoder(tmp_path / "encoder")}"
        parts = ["embedder", "reranker"]
        reranker_training.num_train_epochs = 1
        passages.max_tokens = 60
        pairs.max_passages = 24
        """
    )
    out = tmp_path / "run"
    questions = tmp_path / "mine.jsonl"
    questions.write_text('{"question": "What may be deleted?", "document_id": "del.txt"}\n')
    command = ["run", str(tmp_path / "docs"), "--out", str(out)]
    command += ["--config", str(tmp_path / "aloft.toml")]
    assert main([*command, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "24 of them asked about" in said
    for stage in ("pairs: 8 passages", "embedder: ", "reranker: ", "evaluate: "):
        assert stage in said
    assert not any((out / name).exists() for name in ("report.json", "embedder", "pairs.jsonl"))
    sampled = len(server.calls)
    assert main([*command, "--questions", str(questions)]) == 0
    before = files_of(out)
    assert main([*command, "--questions", str(questions), "--dry-run"]) == 0
    assert "Nothing remains to be done." in capsys.readouterr().out
    prompts = [body["prompt"] for _, body in server.calls]
    assert sampled == 8  # these passages have one span each
    assert len(prompts) == len(set(prompts)) == 24
    measured = read_report(out).measured
    account = read_report(out).funnel[3].teacher["pairs"]
    assert (account.calls, account.tokens_in, account.tokens_out) == (24, 2400, 240)
    assert main([*command, "--seed", "7", "--dry-run"]) == 0  # and without questions
    assert files_of(out) == before
    (out / "report.json").write_text("{}")
    assert main(["evaluate", str(out)]) == 0  # which writes it anew, as it says
    assert read_report(out).measured == measured


@pytest.mark.model
def test_a_generators_steps_and_answers_are_timed(tmp_path: Path) -> None:
    from aloft.testing import tiny_encoder, tiny_language_model

    changes = {
        "teacher": "given",
        "generator": str(tiny_language_model(tmp_path / "language-model")),
        "embedder": str(tiny_encoder(tmp_path / "encoder")),
        "parts": ("generator",),
        "pairs": {"form": "examples", "per_passage": 1},
        "generator_training": {"num_train_epochs": 2.0},
        "evaluation": {"max_new_tokens": 8},
    }
    config = load_config(overrides=changes)
    with open_run(tmp_path / "run", config, ScriptedTeacher(ask_of_berth)) as run:
        run.give(DOCUMENTS)
        estimate = estimate_run(run)
        weight = weight_of("generator", config)
    lines = {line.stage: line for line in estimate.lines}
    assert list(lines) == ["pairs", "negatives", "generator", "evaluate"]
    assert 0 < lines["generator"].seconds.low < lines["generator"].seconds.high
    assert lines["generator"].left.high <= 2 * 0.8 * 70
    assert "8 answers in" in lines["evaluate"].measured
    # of both layers: the attention's four, the feed-forward network's three
    assert weight == 4 * 32 * 2 * (2 * (32 + 32) + 2 * (32 + 16) + 3 * (32 + 64))
    assert estimate.disk > 6 * weight
    # two layers' maps, and 259 tokens of 32 numbers read by other weights than they are written by
    numbers = 2 * (2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 64) + 2 * 259 * 32
    assert estimate.plan is not None
    assert estimate.plan.weights in {2 * numbers, 4 * numbers}
    assert not estimate.plan.has_checkpoints
    assert not (tmp_path / "run" / "generator").exists()


@pytest.mark.model
@pytest.mark.parametrize(
    ("strategy", "stages", "is_read", "is_planned"),
    [
        ("joint", ["embedder and generator"], False, False),
        ("lsr", ["embedder"], True, False),
        ("ra_dit", ["generator", "embedder"], True, True),
    ],
)
def test_the_phases_of_a_strategy_are_timed(
    strategy: str, stages: list[str], is_read: bool, is_planned: bool, tmp_path: Path
) -> None:
    from aloft.testing import tiny_encoder, tiny_language_model

    changes = {
        "teacher": "given",
        "generator": str(tiny_language_model(tmp_path / "language-model")),
        "embedder": str(tiny_encoder(tmp_path / "encoder")),
        "strategy": strategy,
        "parts": ("embedder",) if strategy == "lsr" else ("embedder", "generator"),
        "pairs": {"form": "examples", "per_passage": 1},
        "training_sets": {"format": "ralt"},
        "embedder_training": {"method": "query_lora", "num_train_epochs": 3.0},
        "evaluation": {"max_new_tokens": 8},
    }
    config = load_config(overrides=changes)
    with open_run(tmp_path / "run", config, ScriptedTeacher(ask_of_berth)) as run:
        run.give(DOCUMENTS)
        estimate = estimate_run(run)
    lines = {line.stage: line for line in estimate.lines}
    assert list(lines) == ["pairs", "negatives", *stages, "evaluate"]
    last = lines[stages[-1]]
    assert 0 < last.seconds.low < last.seconds.high
    # the embedder's epochs where it is trained alone, or else the generator's
    assert last.left.high <= (1 if strategy == "joint" else 3) * 0.8 * 70
    assert ("readings in" in last.measured) == is_read
    assert (estimate.plan is not None) == is_planned
    assert not any((tmp_path / "run" / part).exists() for part in ("embedder", "generator"))
