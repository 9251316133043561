"""Why a passage is a negative: read back from a run folder, and shown."""

from pathlib import Path

import pytest
from scripted import write_records

from aloft.cli import main
from aloft.errors import DataError
from aloft.records import Candidate, LinkedQuestion, Negatives, Passage, QAPair
from aloft.retrieval.explaining import read_mined

PASSAGES = [
    Passage(document_id=f"{i}.txt", text=text, start=0)
    for i, text in enumerate(["Mary [pilots].", "Mary pilots the tug.", "A quay."])
]
PAIR = QAPair(passage_id=PASSAGES[0].id, question="Who pilots?", answer="Mary")
LOGGED = LinkedQuestion(
    passage_id=PASSAGES[2].id, question="Who pilots at night?", answer="", confidence=0.9
)
LOOKED_AT = (
    Candidate(
        passage_id=PASSAGES[1].id, rank=1, score=0.9, verdict="dropped", reason="holds the answer"
    ),
    Candidate(passage_id=PASSAGES[2].id, rank=3, score=0.6, verdict="negative"),
)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    run = tmp_path / "run"
    mined = [
        Negatives(pair_id=PAIR.id, score=0.8, candidates=LOOKED_AT),
        Negatives(pair_id=LOGGED.id, score=0.0, candidates=()),
    ]
    write_records(run / "passages.jsonl", PASSAGES)
    write_records(run / "filtered.jsonl", [PAIR])
    write_records(run / "links.jsonl", [LOGGED])
    write_records(run / "negatives.jsonl", mined)
    (run / "manifests").mkdir()
    (run / "manifests" / "negatives.json").write_text("{}")
    return run


@pytest.mark.parametrize("question", ["Who pilots?", "who  PILOTS", "Who pilots"])
def test_a_question_is_found_as_it_is_asked(run: Path, question: str) -> None:
    found = read_mined(run, question)  # although the other one begins with it
    assert (found.pair, found.right) == (PAIR, PASSAGES[0])
    assert found.negatives.candidates == LOOKED_AT
    assert found.passages == (PASSAGES[1], PASSAGES[2])


def test_a_part_of_a_logged_question_is_enough(run: Path) -> None:
    assert read_mined(run, "at night").pair == LOGGED.pair


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("Who rows?", "None of 2 questions contains these words"),
        ("Who", "2 questions contain these words, such as: Who pilots?; Who pilots at night?"),
    ],
)
def test_a_question_that_can_not_be_told_is_said(run: Path, question: str, said: str) -> None:
    with pytest.raises(DataError) as error:
        read_mined(run, question)
    assert said in str(error.value)


def test_passages_that_are_no_longer_those_that_were_mined_are_said(run: Path) -> None:
    write_records(run / "passages.jsonl", PASSAGES[:1])  # of PAIR a candidate is gone
    with pytest.raises(DataError, match=r"have changed .* aloft negatives"):
        read_mined(run, "Who pilots?")
    with pytest.raises(DataError, match=r"have changed .* aloft negatives"):
        read_mined(run, "at night")  # and here the right one


def test_before_mining_there_is_nothing_to_show(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["negatives", str(tmp_path / "none"), "--explain", "Who?"]) == 2
    assert "contains no negatives yet" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "none").exists()


def test_candidates_are_shown_with_their_reasons(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aloft.terminal.console.screen.width", 200)
    assert main(["negatives", str(run), "--explain", "who pilots"]) == 0
    said = capsys.readouterr().out
    rows = [[c.strip() for c in r.split("│")[1:-1]] for r in said.splitlines() if "│" in r]
    assert rows == [
        ["", "0.800", "", "positive", "", "0.txt: Mary [pilots]."],
        ["1", "0.900", "-12 %", "dropped", "holds the answer", "1.txt: Mary pilots the tug."],
        ["3", "0.600", "25 %", "negative", "", "2.txt: A quay."],
    ]
    assert "Who pilots?" in said
