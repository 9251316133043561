"""What each strategy trains, what it asks of the settings, and the table of all of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aloft.cli import main
from aloft.config import load_config
from aloft.config.strategies import (
    STRATEGIES,
    Phase,
    Strategy,
    needed_by,
    phases_of,
    trained_before,
)
from aloft.datasets.rows import retrieved_rows
from aloft.errors import ConfigError
from aloft.prompts.formats import format_of
from aloft.records import Passage, QAPair
from aloft.retrieval.ranking import Ranking
from aloft.run.comparison import config_for, render_comparison, rows_of

FITTING: dict[str, Any] = {
    "embedder_training": {"method": "query_lora"},
    "training_sets": {"format": "ralt"},
}


def test_phases_of_parts_that_are_not_wanted_are_left_out() -> None:
    assert phases_of("independent", ("embedder", "generator")) == [
        Phase(("embedder",), "rows"),
        Phase(("generator",), "rows"),
    ]
    assert phases_of("two_phase", ("embedder", "generator")) == [
        Phase(("generator",), "marginal"),
        Phase(("embedder",), "marginal"),
    ]


def test_what_is_trained_before_a_part_decides_whose_negatives_it_gets() -> None:
    everything = ("embedder", "reranker", "generator")
    before = {name: trained_before("generator", STRATEGIES[name]) for name in ("ra_dit", "joint")}
    assert before == {"ra_dit": [], "joint": ["embedder"]}
    phases = phases_of("independent", everything)
    assert trained_before("generator", phases) == ["embedder", "reranker"]
    assert trained_before("reranker", phases) == ["embedder"]


@pytest.mark.parametrize(
    ("strategy", "parts"),
    [("independent", ()), ("joint", ("embedder", "generator")), ("lsr", ("embedder",))],
)
def test_a_strategy_can_not_do_without_what_it_trains(
    strategy: Strategy, parts: tuple[str, ...]
) -> None:
    assert needed_by(strategy) == parts


def test_settings_that_a_strategy_can_not_use_are_told_together() -> None:
    with pytest.raises(ConfigError) as fault:
        load_config(overrides={"strategy": "joint", "parts": ("generator",)})
    told = str(fault.value)
    for setting in ("Set parts to", "embedder_training.method to", "training_sets.format to"):
        assert setting.removeprefix("Set ") in told
    with pytest.raises(ConfigError, match="parts"):
        load_config(overrides={"strategy": "lsr", **FITTING})
    fitting = load_config(
        overrides={"strategy": "lsr", "parts": ("embedder", "reranker")} | FITTING
    )
    assert [phase.by for phase in phases_of(fitting.strategy, fitting.parts)] == ["lsr", "rows"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_strategies_are_compared_with_all_that_they_need(strategy: Strategy) -> None:
    config = config_for(load_config(overrides={"seed": 7}), strategy)
    assert (config.strategy, config.seed) == (strategy, 7)
    assert config.embedder_training.method == "query_lora"
    assert config.training_sets.format == "ralt"
    wanted = ("embedder",) if strategy == "lsr" else ("embedder", "generator")
    assert config.parts == wanted


def test_retrieved_passages_are_put_before_the_generator_one_by_one() -> None:
    corpus = [Passage(document_id=name, text=f"All of {name}.", start=0) for name in "abc"]
    pair = QAPair(passage_id=corpus[0].id, question="What of c?", answer="All.")
    ranking = Ranking(columns=np.array([[2, 1]]), scores=np.array([[0.5, 0.25]], np.float32))
    form = format_of("ralt", abstains=False)
    (row,) = retrieved_rows([pair], ranking, corpus, form)
    assert (row.columns, row.scores) == ((2, 1), (0.5, 0.25))  # the right one is not put in
    assert row.prompts == tuple(
        form.render("What of c?", [f"All of {name}."]).messages for name in "cb"
    )
    assert (row.prefix, row.answer, row.logs) == (form.prefix, "All.", ())


COMPARED = {
    "questions": "human",
    "pairs": 40,
    "rows": [
        {
            "strategy": "base",
            "metrics": {
                "answer exact match": 0.1,
                "answer f1": 0.25,
                "recall@5": 0.5,
                "ndcg@10": 0.5,
            },
        },
        {
            "strategy": "lsr",
            "metrics": {
                "answer exact match": 0.2,
                "answer f1": 0.25,
                "recall@5": 0.75,
                "ndcg@10": 0.5,
            },
            "gains": [
                {"metric": "answer exact match", "gain": 0.1, "low": 0.0, "high": 0.2, "n": 10},
                {"metric": "answer f1", "gain": 0.0, "low": -0.1, "high": 0.1, "n": 10},
                {"metric": "recall@5", "gain": 0.25, "low": 0.125, "high": 0.5, "n": 20},
                {"metric": "ndcg@10", "gain": 0.0, "low": -0.05, "high": 0.05, "n": 20},
            ],
            "minutes": 1.26,
        },
    ],
}


def test_the_table_holds_each_gain_with_its_interval() -> None:
    base, lsr = rows_of(COMPARED)
    assert base == ("base", "10.0", "25.0", "50.0", "50.0", "–")
    assert lsr == (
        "lsr",
        "20.0 (+10.0 [+0.0, +20.0])",
        "25.0 (+0.0 [-10.0, +10.0])",
        "75.0 (+25.0 [+12.5, +50.0])",
        "50.0 (+0.0 [-5.0, +5.0])",
        "1.3",
    )
    page = render_comparison(COMPARED)
    assert "| strategy | EM | F1 | recall@5 | nDCG@10 | minutes |\n| --- |" in page
    assert "20 human questions, 10 of them answered" in page
    assert "on 40 pairs" in page


def test_an_unknown_strategy_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    docs, out = str(tmp_path), str(tmp_path / "out")
    assert main(["compare", docs, "--out", out, "--strategies", "joint,both"]) == 2
    told = capsys.readouterr().err
    assert '--strategies names "both"' in told and "two_phase" in told
