"""The teacher's account: every prompt, token and second of it, whatever ends a run."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from aloft.cli.views import show_funnel
from aloft.config import RunConfig, check_config
from aloft.protocols import Floats, LanguageModel, Prompt, Reply
from aloft.records import Document, Message
from aloft.run.funnel import merge
from aloft.run.job import open_run, read_funnel
from aloft.run.usage import Meter, Usage, as_account
from aloft.testing import ScriptedTeacher

DOCUMENTS = [
    Document(
        id=f"{i}.txt", text=f"Berth {i} of the port of Aberley takes ships of {i + 40} metres."
    )
    for i in range(70)  # two batches: 64 and 6
]


class PowerCutError(Exception):
    """Ends a run as a kill does."""


class CountingTeacher(ScriptedTeacher):
    """Tells 100 tokens for every prompt and a token for every word that it writes."""

    def __init__(self, reply: Any, *, dies_at: int | None = None) -> None:
        super().__init__(reply)
        self.tokens_scored = 0
        self._dies_at = dies_at

    def complete(
        self, prompts: Sequence[Prompt], *, max_new_tokens: int, stop: Sequence[str] = ()
    ) -> list[Reply]:
        if self._dies_at is not None and len(self.asked) >= self._dies_at:
            raise PowerCutError
        replies = super().complete(prompts, max_new_tokens=max_new_tokens, stop=stop)
        return [replace(r, prompt_tokens=100, new_tokens=len(r.text.split())) for r in replies]

    def choice_probabilities(self, prompts: Sequence[Prompt], choices: Sequence[str]) -> Floats:
        self.tokens_scored += 90 * len(prompts)
        return super().choice_probabilities(prompts, choices)


def berth(prompt: Prompt) -> str:
    """Six words about the berth; those of the berths from 60 on come at the second try only."""
    number = int(prompt.messages[-1].content.split("Text: Berth ")[1].split()[0])
    is_first = prompt.seed is None
    return "" if is_first and number >= 60 else f" What takes berth {number}?\nAnswer: ships"


def ask(text: str) -> Prompt:
    return Prompt(messages=(Message(role="user", content=text),))


def settings(encoder: Path, **more: Any) -> RunConfig:
    return check_config(
        {
            "teacher": "given",
            "embedder": str(encoder),
            "ratings": {"method": "expect", "drop_share": 0.0},
            "pairs": {"form": "examples", "max_new_tokens": 64},
            **more,
        }
    )


def work(out: Path, config: RunConfig, teacher: LanguageModel) -> dict[str, dict[str, Any]]:
    """Write the pairs; the account of each stage by its name, seconds aside."""
    with open_run(out, config, teacher) as run:
        run.give(DOCUMENTS)
        run.do("pairs")
    accounts = {}
    for row in read_funnel(out):
        for name, usage in row.teacher.items():
            account = asdict(usage)
            assert account.pop("seconds") >= 0
            accounts[name] = account
    return accounts


def test_usage_is_added_up_by_role() -> None:
    meter = Meter()
    meter.count("teacher", Usage(calls=1, tokens_in=10))
    meter.count("teacher", Usage(calls=2, tokens_in=20, seconds=0.5))
    meter.count("generator", Usage(calls=4))
    assert meter.by_role == {
        "teacher": Usage(calls=3, tokens_in=30, seconds=0.5),
        "generator": Usage(calls=4),
    }


def test_tokens_that_are_not_told_are_not_nought() -> None:
    told = {"calls": 2, "tokens_in": 180, "tokens_out": 0, "seconds": 1.3}
    assert as_account(Usage(calls=2, tokens_in=180, seconds=1.26)) == told
    untold = {"calls": 2, "tokens_in": None, "tokens_out": None, "seconds": 0.0}
    assert as_account(Usage(calls=2)) == untold


def manifest(stage: str, kept: int, usage: Usage | None = None, **facts: Any) -> dict[str, Any]:
    own = {} if usage is None else {"usage": {"teacher": asdict(usage)}}
    return {"stage": stage, "kept": kept, "dropped": {}, "seconds": 1.0, **own, **facts}


def test_pairs_an_hour_are_those_kept_in_the_teachers_seconds() -> None:
    drafts = manifest("drafts", 60, Usage(calls=60, seconds=80))
    rated = manifest("single_hop", 40, Usage(calls=9, seconds=10))
    line = merge([drafts, rated, manifest("pairs", 45)], {})  # 45 in 90 s
    assert line["pairs_an_hour"] == 1800
    assert {name: account["calls"] for name, account in line["teacher"].items()} == {
        "pairs": 60,
        "pair_ratings": 9,
    }
    assert "teacher" not in merge([manifest("passages", 3)], {})


def test_a_line_tells_what_its_last_stage_kept_and_what_all_dropped_and_took() -> None:
    first = manifest("screened", 8) | {"dropped": {"leak": 2, "support": 1}}
    last = manifest("filters", 7, rows=3) | {"dropped": {"support": 4}}
    assert merge([first, last], {}) == {
        "kept": 7, "dropped": {"support": 5, "leak": 2}, "seconds": 2.0, "rows": 3,
    }  # fmt: skip


def test_what_was_asked_in_advance_and_in_vain_counts() -> None:
    drafts = manifest("drafts", 5, Usage(calls=5, tokens_in=50))
    line = merge([drafts], {"drafts": Usage(calls=7, tokens_in=70)})
    assert (line["teacher"]["pairs"]["calls"], line["teacher"]["pairs"]["tokens_in"]) == (7, 70)


def test_a_run_states_what_its_teacher_was_asked(tmp_path: Path, encoder: Path) -> None:
    accounts = work(tmp_path / "run", settings(encoder), CountingTeacher(berth))
    assert accounts == {
        "ratings": {"calls": 70, "tokens_in": 6300, "tokens_out": 0},  # 90 for each score
        # ten replies are empty and asked for again; six words in each of the 70 that are not
        "pairs": {"calls": 80, "tokens_in": 8000, "tokens_out": 420},
    }
    repaired = {row.stage: row.repaired for row in read_funnel(tmp_path / "run")}
    assert repaired["pairs"] == 10


def test_marks_of_pairs_have_an_account_of_their_own(tmp_path: Path, encoder: Path) -> None:
    def reply(prompt: Prompt) -> str:
        return berth(prompt) if "Text: Berth" in prompt.messages[-1].content else "9"

    pairs = {"form": "examples", "max_new_tokens": 64, "rating": True}
    config = settings(encoder, ratings={"method": "none"}, pairs=pairs)
    accounts = work(tmp_path / "run", config, CountingTeacher(reply))
    assert accounts == {
        "pairs": {"calls": 80, "tokens_in": 8000, "tokens_out": 420},
        "pair_ratings": {"calls": 140, "tokens_in": 14000, "tokens_out": 140},  # two marks a pair
    }


def test_what_was_spent_before_a_kill_counts(tmp_path: Path, encoder: Path) -> None:
    whole = work(tmp_path / "whole", settings(encoder), CountingTeacher(berth))
    assert (whole["ratings"]["calls"], whole["pairs"]["calls"]) == (70, 80)
    killed, config = tmp_path / "killed", settings(encoder)
    with pytest.raises(PowerCutError):  # 70 marks and the first batch: 64, and 4 once more
        work(killed, config, CountingTeacher(berth, dies_at=70 + 64 + 4))
    last = CountingTeacher(berth)
    assert work(killed, config, last) == whole
    assert len(last.asked) == 12  # the other 6, each twice
    nobody = CountingTeacher(berth, dies_at=0)
    assert work(killed, config, nobody) == whole  # read back


def test_a_host_that_counts_nothing_shows_no_figure(
    tmp_path: Path, encoder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    accounts = work(tmp_path / "run", settings(encoder), ScriptedTeacher(berth))
    assert accounts["pairs"] == {"calls": 80, "tokens_in": None, "tokens_out": None}
    show_funnel(tmp_path / "run")
    shown = capsys.readouterr().out
    (row,) = [line for line in shown.splitlines() if line.startswith("│ pairs ") and "80" in line]
    assert [cell.strip() for cell in row.strip("│").split("│")][1:4] == ["80", "–", "–"]


class PacedTeacher(CountingTeacher):
    """Is asked one prompt at a time, as many hosts' models are."""

    at_once = 1


def test_of_a_teacher_that_is_asked_one_by_one_no_reply_is_lost(
    tmp_path: Path, encoder: Path
) -> None:
    config = settings(encoder, ratings={"method": "none"})
    stopped, second = PacedTeacher(berth, dies_at=9), PacedTeacher(berth)
    with pytest.raises(PowerCutError):
        work(tmp_path / "run", config, stopped)

    work(tmp_path / "run", config, second)

    assert len(stopped.asked) == 9
    assert len(second.asked) == 61 + 10  # of 70 berths and ten second tries
