"""Learning curves: which rows are drawn, and a run that is trained with fewer pairs."""

import json
from pathlib import Path

import pytest
from scripted import long_words

from aloft.config import check_config
from aloft.errors import ConfigError
from aloft.evaluation.learning import draw_rows
from aloft.evaluation.report import read_report
from aloft.records import Document, EmbedderRow, QAPair
from aloft.run.job import open_run
from aloft.testing import ScriptedTeacher, tiny_encoder

PAIRS = [QAPair(passage_id=f"p{i}", question=f"What is {i}?", answer=f"{i}") for i in range(8)]


def row(pair_id: str, positive: str) -> EmbedderRow:
    return EmbedderRow(pair_id=pair_id, anchor="What?", positive=positive, negatives=())


# two rows of the first pair, one of each other, and two of no pair
ROWS = [row(PAIRS[0].id, "also"), *(row(pair.id, pair.answer) for pair in PAIRS)]
ROWS += [row("p8", "8"), row("p9", "9")]


def test_fewer_pairs_are_part_of_more_and_rows_of_no_pair_stay() -> None:
    for seed in range(5):
        drawn = [draw_rows(ROWS, PAIRS, share, seed=seed) for share in (0.25, 0.5, 1.0)]
        assert [count for count, _ in drawn] == [2, 4, 8]
        quarter, half, whole = ({one.pair_id for one in rows} - {"p8", "p9"} for _, rows in drawn)
        assert quarter < half < whole
        assert (len(quarter), len(half)) == (2, 4)
        for _, rows in drawn:
            assert [one.pair_id for one in rows][-2:] == ["p8", "p9"]
            assert rows == [one for one in ROWS if one in rows]
    assert drawn[2][1] == ROWS
    assert draw_rows(ROWS, [*PAIRS, *PAIRS], 0.5, seed=0)[0] == 4  # repeated pairs count once
    assert draw_rows(ROWS, PAIRS[:1], 0.25, seed=0)[0] == 1
    others = {tuple(one.id for one in draw_rows(ROWS, PAIRS, 0.25, seed=s)[1]) for s in range(9)}
    assert len(others) > 1


@pytest.mark.parametrize(
    ("parts", "wanted", "refused"),
    [
        (("embedder",), {"probes": True}, "trains no generator, whose answers --probes measures"),
        (("generator",), {"learning_curve": True}, "trains no embedder by rows of pairs"),
    ],
)
def test_what_a_run_has_no_part_for_is_refused_rather_than_left_out(
    parts: tuple[str, ...], wanted: dict[str, bool], refused: str, tmp_path: Path, encoder: Path
) -> None:
    config = check_config({"teacher": "given", "embedder": str(encoder), "parts": parts})
    with open_run(tmp_path / "run", config, ScriptedTeacher(long_words)) as run:
        with pytest.raises(ConfigError, match=refused):
            run.measure_also(**wanted)
        run.measure_also(probes="generator" in parts, learning_curve="embedder" in parts)


DOCUMENTS = [
    Document(
        id=f"{i}.txt",
        text=f"Berth {i} of the port of Aberley is {i + 40} metres long, of {1800 + i}.",
    )
    for i in range(40)
]


@pytest.mark.model
def test_a_run_is_trained_with_fewer_pairs_where_that_is_wanted(tmp_path: Path) -> None:
    config = check_config(
        {
            "teacher": "given",
            "embedder": str(tiny_encoder(tmp_path / "encoder")),
            "parts": ("embedder", "reranker"),
            "pairs": {"form": "examples", "per_passage": 1},
            "filters": {"use": ["duplicate"]},
            "embedder_training": {"num_train_epochs": 1.0},
        }
    )
    with open_run(tmp_path / "run", config, ScriptedTeacher(long_words)) as run:
        run.give(DOCUMENTS)
        plain = run.report()
        assert plain.learning == ()
        run.measure_also(learning_curve=True)
        report = run.report()
    pairs = json.loads((tmp_path / "run" / "manifests" / "sets.json").read_text())
    whole = pairs["kept"]
    assert [point.pairs for point in report.learning] == [round(whole / 4), round(whole / 2), whole]
    assert {point.question_set for point in report.learning} == {"synthetic"}
    assert {point.gain.before for point in report.learning} == {report.learning[0].gain.before}
    assert report.measured == plain.measured
    assert read_report(tmp_path / "run") == report


@pytest.mark.model
def test_a_loss_that_asks_a_reranker_does_so_with_fewer_pairs_and_in_a_federation(
    tmp_path: Path,
) -> None:
    from aloft.backends.sentence_transformers import load_cross_encoder
    from aloft.run.federation import FederatedSite
    from aloft.training.federated import initial_weights

    encoder = tiny_encoder(tmp_path / "encoder")
    load_cross_encoder(encoder).save_pretrained(str(tmp_path / "reranker"))
    config = check_config(
        {
            "teacher": "given",
            "embedder": str(encoder),
            "reranker": str(tmp_path / "reranker"),
            "parts": ("embedder",),
            "pairs": {"form": "examples", "per_passage": 1},
            "filters": {"use": ["duplicate"]},
            "negatives": {"guards": []},
            "embedder_training": {
                "num_train_epochs": 1.0,
                "per_device_train_batch_size": 8,
                "loss": "distilled",
                "method": "lora",
            },
            "evaluation": {"rerank_depth": 2, "read_depth": 2, "resamples": 100},
        }
    )
    with open_run(tmp_path / "run", config, ScriptedTeacher(long_words)) as run:
        run.give(DOCUMENTS)
        first = initial_weights(str(encoder), config.embedder_training, 0)
        order = {"part": "embedder", "rounds": 1, "server-round": 1}
        trained, rows = FederatedSite(run).update(order, first.tensors)
        run.measure_also(learning_curve=True)
        report = run.report()
    assert rows > 0
    assert any((trained[name] != weights).any() for name, weights in first.tensors.items())
    assert len(report.learning) == 3
