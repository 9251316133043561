"""What ships is written, and read back whole wherever it lies."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scripted import write_run

from aloft.config import Part, RunConfig
from aloft.errors import DataError
from aloft.evaluation.evaluator import System, SystemVariant
from aloft.serving.bundle import Bundle, read_bundle, reranker_of, write_bundle


def config(**changes: Any) -> RunConfig:
    return RunConfig(teacher="a teacher", embedder="an embedder", **changes)


def stack(*parts: Part, retriever: str = "hybrid", reranker: str = "none") -> SystemVariant:
    return SystemVariant(
        parts=parts,
        system=System(retriever, "tuned" if "embedder" in parts else "base", reranker),
        weight=0.7,
        question_set="human",
        metrics={},
        n=1,
        score=0.5,
    )


def trained(run: Path, *parts: str) -> Path:
    for part in parts:
        (run / part / "deep").mkdir(parents=True)
        (run / part / "deep" / "weights").write_text(f"weights of the {part}")
    if "generator" in parts:
        (run / "generator" / "adapter_config.json").write_text("{}")
    return run


def test_kept_parts_ship_with_their_files_and_refused_ones_do_not(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", "embedder", "reranker", "generator")
    shipped = stack("embedder", "generator")

    contract = write_bundle(run, config(training_sets={"format": "raft"}), shipped)

    assert contract == Bundle(
        embedder="embedder",
        generator="a teacher",
        reranker=None,
        adapter="generator",
        retriever="hybrid",
        dense_weight=0.7,
        contexts=10,  # the paper's
        rerank_depth=20,
        max_new_tokens=256,
        format="raft",
    )
    found = sorted(str(p.relative_to(run / "models")) for p in (run / "models").rglob("weights"))
    assert found == ["embedder/deep/weights", "generator/deep/weights"]

    back = read_bundle(run / "models")
    assert back == replace(
        contract, embedder=str(run / "models/embedder"), adapter=str(run / "models/generator")
    )
    assert (Path(back.embedder) / "deep/weights").read_text() == "weights of the embedder"


@pytest.mark.parametrize("engine", ["", "vllm:"])
def test_a_generator_trained_whole_ships_in_place_of_its_model(tmp_path: Path, engine: str) -> None:
    run = trained(tmp_path / "run", "generator")
    (run / "generator" / "adapter_config.json").unlink()
    contract = write_bundle(run, config(generator=f"{engine}some/model"), stack("generator"))
    assert (contract.generator, contract.adapter) == (f"{engine}generator", None)
    back = read_bundle(run / "models")
    assert back.generator == f"{engine}{run / 'models' / 'generator'}"


@pytest.mark.parametrize(
    ("shipped", "own", "expected"),
    [
        (stack(), None, None),
        (stack(), "a reranker", None),
        (stack(reranker="base"), "a reranker", "a reranker"),
        (stack("reranker", reranker="tuned"), None, "reranker"),
        (stack("reranker", reranker="tuned"), "a reranker", "reranker"),
    ],
)
def test_the_reranker_that_was_measured_ships(
    tmp_path: Path, shipped: SystemVariant, own: str | None, expected: str | None
) -> None:
    run = trained(tmp_path / "run", "reranker")

    assert write_bundle(run, config(reranker=own), shipped).reranker == expected
    if expected is not None:
        whole = run / "models" / "reranker" if expected == "reranker" else expected
        assert reranker_of(run) == str(whole)


def test_untrained_models_keep_their_names(tmp_path: Path) -> None:
    chosen = config(generator="a generator", training_sets={"contexts": 3})
    write_bundle(trained(tmp_path / "run"), chosen, stack(retriever="dense"))

    back = read_bundle(tmp_path / "run" / "models")
    assert (back.embedder, back.generator, back.adapter) == ("an embedder", "a generator", None)
    assert (back.retriever, back.contexts) == ("dense", 3)


def test_a_second_run_leaves_nothing_of_the_first(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", "embedder", "generator")
    write_bundle(run, config(), stack("embedder"))
    write_bundle(run, config(), stack("generator"))

    assert sorted(p.name for p in (run / "models").iterdir()) == ["aloft.json", "generator"]
    assert sorted(p.name for p in run.iterdir()) == ["embedder", "generator", "models"]
    assert (run / "embedder" / "deep" / "weights").exists()  # only the copy went


def test_the_contract_is_one_readable_file(tmp_path: Path) -> None:
    contract = write_bundle(trained(tmp_path / "run"), config(), stack())
    text = (tmp_path / "run" / "models" / "aloft.json").read_text()

    assert json.loads(text) == {name: getattr(contract, name) for name in Bundle.__slots__}
    assert text.endswith("}\n")


def test_a_moved_run_is_read_where_it_is_now(tmp_path: Path) -> None:
    write_run(tmp_path / "one", embedder="embedder")
    (tmp_path / "one").rename(tmp_path / "two")
    found = read_bundle(tmp_path / "two" / "models")
    assert found.embedder == str(tmp_path / "two" / "models" / "embedder")


@pytest.mark.parametrize("read", [read_bundle, reranker_of])
def test_an_unfinished_run_says_what_to_do(tmp_path: Path, read: Any) -> None:
    with pytest.raises(DataError, match=r"holds no aloft\.json\. Finish a run first: aloft run"):
        read(tmp_path)
