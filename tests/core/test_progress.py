"""Progress where the output is no terminal: lines by a clock that the test turns."""

import pytest

from aloft.terminal.console import errors
from aloft.terminal.progress import ProgressLines, shown_progress


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def written() -> list[str]:
    return []


@pytest.fixture
def lines(clock: Clock, written: list[str]) -> ProgressLines:
    return ProgressLines(written.append, clock)


def test_a_stage_is_named_at_its_start_and_its_end(
    lines: ProgressLines, clock: Clock, written: list[str]
) -> None:
    lines.report("rating", 0, 200)
    clock.now += 10
    lines.report("rating", 100, 200)  # too soon for a line
    clock.now += 15
    lines.report("rating", 200, 200)
    assert written == ["rating: started", "rating: done in 25 s"]


def test_a_few_more_of_what_was_ended_are_no_news(
    lines: ProgressLines, clock: Clock, written: list[str]
) -> None:
    lines.report("reranking", 512, 512)
    lines.report("reranking", 3, 3)
    lines.report("reranking", 5, 9)  # this lasts
    clock.now += 5
    lines.report("reranking", 9, 9)
    assert written == [
        "reranking: done",
        "reranking: started at 55 % (5 of 9)",
        "reranking: done in 5 s",
    ]


def test_every_thirty_seconds_the_share_done_and_the_time_left(
    lines: ProgressLines, clock: Clock, written: list[str]
) -> None:
    lines.report("writing pairs", 0, 1500)
    for done in range(10, 130, 10):
        clock.now += 10
        lines.report("writing pairs", done, 1500)
    assert written == [
        "writing pairs: started",
        "writing pairs: 2 % (30 of 1,500), about 24 min left",  # a second each
        "writing pairs: 4 % (60 of 1,500), about 24 min left",
        "writing pairs: 6 % (90 of 1,500), about 24 min left",
        "writing pairs: 8 % (120 of 1,500), about 23 min left",
    ]


def test_what_was_done_before_a_resumed_stage_does_not_count_for_its_pace(
    lines: ProgressLines, clock: Clock, written: list[str]
) -> None:
    lines.report("writing pairs", 900, 1000)
    clock.now += 30
    lines.report("writing pairs", 910, 1000)
    assert written == [
        "writing pairs: started at 90 % (900 of 1,000)",
        "writing pairs: 91 % (910 of 1,000), about 4 min left",  # 90 at 3 s each
    ]


def test_a_silent_stage_still_gets_a_line(
    lines: ProgressLines, clock: Clock, written: list[str]
) -> None:
    lines.tick()
    assert written == []
    clock.now += 31
    lines.tick()
    assert written.pop() == "still working, 31 s since the start"
    lines.report("training", 0, 40)
    written.clear()
    clock.now += 29
    lines.tick()
    assert written == []
    clock.now += 1
    lines.tick()
    assert written == ["training: 0 % (0 of 40), time left not known yet"]
    clock.now += 10
    lines.tick()
    assert len(written) == 1


def test_stages_side_by_side_each_have_their_lines(
    lines: ProgressLines, clock: Clock, written: list[str]
) -> None:
    for step in range(8):
        lines.report("training the reranker", step, 8)
        lines.report("training the generator", 2 * step, 40)
        clock.now += 10
    assert written == [
        "training the reranker: started",
        "training the generator: started",
        "training the generator: 10 % (4 of 40), about 4 min left",
        "training the reranker: 37 % (3 of 8), about 50 s left",
        "training the generator: 25 % (10 of 40), about 3 min left",
        "training the reranker: 75 % (6 of 8), about 20 s left",
    ]


def test_a_stage_may_end_with_its_first_report_or_begin_anew(
    lines: ProgressLines, clock: Clock, written: list[str]
) -> None:
    lines.report("evaluating", 1, 1)
    lines.report("embedding", 0, 2)
    clock.now += 4000
    lines.report("embedding", 2, 2)
    lines.report("mining", 0, 0)
    lines.report("embedding", 0, 2)
    assert written == [
        "evaluating: done",
        "embedding: started",
        "embedding: done in 67 min",
        "mining: done",
        "embedding: started",
    ]


def test_progress_is_shown_unless_it_is_not_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    for is_shown in (True, False):
        with shown_progress(is_shown) as report:
            report("rating", 0, 2)
        assert capsys.readouterr().err == ("rating: started\n" if is_shown else "")


def test_of_two_at_a_time_on_a_terminal_one_draws_bars_and_the_other_writes_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(errors, "_force_terminal", True)
    for _ in range(2):  # what was drawn in one block is over in the next
        with shown_progress() as first, shown_progress() as second:
            first("rating", 1, 2)
            second("training", 0, 2)
        drawn = capsys.readouterr().err
        assert "training: started" in drawn
        assert "1/2" in drawn
        assert "0/2" not in drawn


def test_a_notebook_gets_plain_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(errors, "is_jupyter", True)
    with shown_progress() as report:
        report("reading \x1b[2J", 0, 2)
    assert capsys.readouterr().err == "reading \\x1b[2J: started\n"
