"""What ships is written, and opens whole wherever it lies."""

import json
import logging
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scripted import CONTRACT, ScriptedModels, write_run

from aloft.backends.fingerprint import fingerprint_folder
from aloft.config import PARTS, Part, RunConfig
from aloft.errors import DataError, ModelError
from aloft.evaluation.systems import System, SystemVariant
from aloft.jsonl import encode_record
from aloft.records import Passage
from aloft.retrieval.fusion import CoverageShare
from aloft.retrieval.relevance import Relevance
from aloft.retrieval.retriever import RetrievalSettings
from aloft.run.stages.bundle import config_of, settings_of
from aloft.run.store import RunStore
from aloft.serving.bundle import open_run_retriever, read_bundle, reranker_of, write_bundle
from aloft.serving.bundle_file import ModelReference, read_bundle_file


def model(folder: Path, weights: str = "weights") -> Path:
    """A folder that passes for a model until it is loaded."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_text(weights)
    return folder


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with base models, named by relative paths in `config`."""
    for name in ("encoder", "language-model", "reranker"):
        model(tmp_path / "base" / name, name)
    monkeypatch.chdir(tmp_path / "base")
    return tmp_path / "base"


def config(**changes: Any) -> RunConfig:
    return RunConfig(**{"teacher": "language-model", "embedder": "encoder", **changes})


def stack(
    *parts: Part,
    retriever: str = "hybrid",
    reranker: str = "none",
    order_weight: float | None = None,
    abstention_threshold: float | None = None,
) -> SystemVariant:
    return SystemVariant(
        parts=parts,
        system=System(retriever, "tuned" if "embedder" in parts else "base", reranker),
        dense_share=CoverageShare(uncovered=1.2, covered=0.4),
        rerank_share=CoverageShare.constant(0.6),
        question_set="human",
        metrics={},
        n=1,
        order_weight=order_weight,
        abstention_threshold=abstention_threshold,
    )


def trained(run: Path, *parts: str) -> Path:
    for part in parts:
        (run / part / "deep").mkdir(parents=True)
        (run / part / "deep" / "weights").write_text(f"weights of the {part}")
    if "generator" in parts:
        (run / "generator" / "adapter_config.json").write_text("{}")
    return run


def test_kept_parts_ship_with_their_files_and_refused_ones_do_not(
    tmp_path: Path, base: Path
) -> None:
    run = trained(tmp_path / "run", "embedder", "reranker", "generator")
    chosen = config(training_sets={"format": "raft"})

    content = write_bundle(run, chosen, stack("embedder", "generator"))

    assert (content.embedder.weights, content.generator.adapter) == ("embedder", "generator")
    assert content.reranker is None
    found = sorted(str(p.relative_to(run / "models")) for p in (run / "models").rglob("weights"))
    assert found == [str(Path(part, "deep", "weights")) for part in ("embedder", "generator")]
    bundle = read_bundle(run)
    assert (Path(bundle.embedder) / "deep/weights").read_text() == "weights of the embedder"
    assert bundle.generator == str(base / "language-model")
    assert bundle.adapter == str(run / "models" / "generator")
    assert bundle.retrieval == RetrievalSettings(
        retriever="hybrid",
        dense_share=CoverageShare(uncovered=1.2, covered=0.4),
        rerank_depth=30,
        rerank_share=CoverageShare.constant(0.6),
        count=10,
    )
    assert (bundle.contexts, bundle.max_new_tokens, bundle.format) == (10, 256, "raft")


def test_scores_are_computed_in_a_bundle_as_the_run_fitted_them(tmp_path: Path, base: Path) -> None:
    run = trained(tmp_path / "run")
    relevance = Relevance(constant=-9.5, similarity=0.6, overlap=7.25, reranker=1.5)
    alone = Relevance(constant=-4.0, similarity=0.0, overlap=0.0, reranker=6.0)
    doubting = Relevance(constant=-9.0, similarity=0.5, overlap=6.5, reranker=2.5)
    fitted = replace(
        stack(), relevance=relevance, reranker_relevance=alone, abstention_relevance=doubting
    )
    write_bundle(run, config(), fitted)
    bundle = read_bundle(run)
    assert (bundle.retrieval.relevance, bundle.reranker_relevance) == (relevance, alone)
    assert bundle.abstention_relevance == doubting
    write_bundle(run, config(), stack())
    assert read_bundle(run).retrieval.relevance is None
    assert "relevance" not in (run / "models" / "aloft.json").read_text()


@pytest.mark.parametrize("engine", ["", "vllm:"])
def test_a_generator_trained_whole_ships_in_place_of_its_model(
    tmp_path: Path, base: Path, engine: str
) -> None:
    run = trained(tmp_path / "run", "generator")
    (run / "generator" / "adapter_config.json").unlink()
    chosen = config(generator=f"{engine}language-model")
    content = write_bundle(run, chosen, stack("generator"))
    assert (content.generator.weights, content.generator.adapter) == ("generator", None)
    assert read_bundle(run).generator == f"{engine}{run / 'models' / 'generator'}"


@pytest.mark.parametrize(
    ("shipped", "own", "expected"),
    [
        (stack(), None, None),
        (stack(), "reranker", None),
        (stack(reranker="base"), "reranker", "base"),
        (stack("reranker", reranker="tuned"), None, "tuned"),
        (stack("reranker", reranker="tuned"), "reranker", "tuned"),
        (stack(reranker="base"), None, "body"),
        (stack("embedder", reranker="base"), None, "body"),
        (stack("embedder", reranker="base"), "reranker", "base"),
        (stack("embedder", "reranker", reranker="tuned"), None, "tuned body"),
        (stack("embedder", "reranker", reranker="tuned"), "reranker", "tuned"),
        (stack("embedder"), None, None),
    ],
)
def test_the_reranker_that_was_measured_ships(
    tmp_path: Path, base: Path, shipped: SystemVariant, own: str | None, expected: str | None
) -> None:
    run = trained(tmp_path / "run", "embedder", "reranker")
    write_bundle(run, config(reranker=own), shipped)

    folders = {
        "base": base / "reranker",
        "tuned": run / "models" / "reranker",
        "body": base / "encoder",
        "tuned body": run / "models" / "embedder",
    }
    found = read_bundle(run).reranker
    assert found == (str(folders[expected]) if expected else None)
    if expected:
        assert reranker_of(run) == found


def test_late_interaction_ships_before_what_reads_its_first_passages(
    tmp_path: Path, base: Path
) -> None:
    run = trained(tmp_path / "run", "embedder", "reranker")
    late = CoverageShare(uncovered=0.9, covered=0.3)
    named = config(reranker="reranker", evaluation={"rerank_depth": 25, "read_depth": 6})
    shipped = replace(stack("embedder", reranker="base"), late_share=late)
    write_bundle(run, named, shipped)
    bundle = read_bundle(run)
    assert (bundle.retrieval.late_depth, bundle.retrieval.late_share) == (25, late)
    assert (bundle.retrieval.rerank_depth, bundle.reranker) == (6, str(base / "reranker"))
    write_bundle(run, named, stack("embedder", reranker="body"))  # it reads nothing
    bundle = read_bundle(run)
    assert (bundle.retrieval.late_depth, bundle.retrieval.rerank_depth) == (0, 25)
    assert bundle.reranker == bundle.embedder == str(run / "models" / "embedder")


def test_the_body_that_reranks_is_the_embedders_own_reference(tmp_path: Path, base: Path) -> None:
    run = trained(tmp_path / "run", "embedder", "reranker")
    shipped = stack("embedder", "reranker", reranker="tuned")
    content = write_bundle(run, config(), shipped)
    assert content.reranker == content.embedder
    found = sorted(p.name for p in (run / "models").iterdir())
    assert found == ["aloft.json", "embedder"]  # once


def test_a_body_that_was_trained_further_ships_its_own_weights(tmp_path: Path, base: Path) -> None:
    run = trained(tmp_path / "run", "embedder", "reranker")
    own = config(reranker_training={"num_train_epochs": 1})
    write_bundle(run, own, stack("embedder", "reranker", reranker="tuned"))
    bundle = read_bundle(run)
    assert bundle.embedder == str(run / "models" / "embedder")
    assert bundle.reranker == str(run / "models" / "reranker")


def test_the_tuned_body_reranks_for_an_embedder_that_was_refused(
    tmp_path: Path, base: Path
) -> None:
    run = trained(tmp_path / "run", "embedder", "reranker")
    write_bundle(run, config(), stack("reranker", reranker="tuned"))
    bundle = read_bundle(run)
    assert bundle.embedder == str(base / "encoder")
    assert bundle.reranker == str(run / "models" / "reranker")


def test_a_server_and_a_packaged_model_keep_their_names(tmp_path: Path, base: Path) -> None:
    names = {"generator": "openai:http://localhost:9/v1#tuned", "embedder": "embedded:all-minilm"}
    chosen = config(**names, parts=("embedder",))
    write_bundle(trained(tmp_path / "run"), chosen, stack(retriever="dense"))
    bundle = read_bundle(tmp_path / "run")
    assert (bundle.generator, bundle.embedder) == (names["generator"], names["embedder"])
    assert bundle.adapter is None


def test_a_second_run_leaves_nothing_of_the_first(tmp_path: Path, base: Path) -> None:
    run = trained(tmp_path / "run", "embedder", "generator")
    write_bundle(run, config(), stack("embedder"))
    write_bundle(run, config(), stack("generator"))

    assert sorted(p.name for p in (run / "models").iterdir()) == ["aloft.json", "generator"]
    assert sorted(p.name for p in run.iterdir()) == ["embedder", "generator", "models"]
    assert (run / "embedder" / "deep" / "weights").exists()  # only the copy went


# ---- where it is opened


@pytest.mark.parametrize("engine", ["", "vllm:"])
def test_base_models_are_found_from_any_working_directory(
    tmp_path: Path, base: Path, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained(tmp_path / "run", "embedder")
    write_bundle(run, config(generator=f"{engine}language-model"), stack())
    for folder in ("elsewhere", "elsewhere/below"):
        (tmp_path / folder).mkdir()
        monkeypatch.chdir(tmp_path / folder)
        bundle = read_bundle(Path(os.path.relpath(run)))
        assert bundle.embedder == str(base / "encoder")
        assert bundle.generator == f"{engine}{base / 'language-model'}"


def test_what_was_opened_by_a_relative_path_is_found_after_a_change_of_directory(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained(tmp_path / "run", "embedder", "generator")
    write_bundle(run, config(), stack("embedder", "generator"))
    monkeypatch.chdir(tmp_path)
    bundle = read_bundle(Path("run"))
    monkeypatch.chdir(base)
    names = (bundle.embedder, bundle.generator, bundle.adapter or "")
    assert all(Path(name).is_dir() for name in names)


def test_a_bundle_opens_after_a_move_without_its_run(tmp_path: Path, base: Path) -> None:
    run = trained(tmp_path / "run", "embedder", "generator")
    write_bundle(run, config(), stack("embedder", "generator"))
    shutil.copytree(run / "models", tmp_path / "shared" / "any name")
    shutil.rmtree(run)
    bundle = read_bundle(tmp_path / "shared" / "any name")
    assert bundle.embedder == str(tmp_path / "shared" / "any name" / "embedder")
    assert bundle.generator == str(base / "language-model")
    with pytest.raises(DataError, match=r"no passages\.jsonl: it is a bundle without the run"):
        open_run_retriever(tmp_path / "shared" / "any name")


def test_a_run_that_is_moved_with_its_base_models_finds_them(tmp_path: Path, base: Path) -> None:
    write_bundle(trained(base / "runs" / "one"), config(), stack())
    os.chdir(tmp_path)
    base.rename(tmp_path / "moved")
    assert read_bundle(tmp_path / "moved" / "runs" / "one").embedder == str(
        (tmp_path / "moved" / "encoder").resolve()
    )


def test_another_model_in_a_base_models_place_is_refused_in_one_line(
    tmp_path: Path, base: Path
) -> None:
    write_bundle(trained(tmp_path / "run"), config(), stack())
    (base / "encoder" / "model.safetensors").write_text("other weights")
    with pytest.raises(ModelError, match="is not the model that") as caught:
        read_bundle(tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert str(base / "encoder") in str(caught.value)


def test_the_model_that_fits_is_taken_of_several_in_its_place(tmp_path: Path, base: Path) -> None:
    write_bundle(trained(base / "run"), config(), stack())
    shutil.copytree(base, tmp_path / "copy")
    (base / "encoder" / "model.safetensors").write_text("other weights")
    found = read_bundle(tmp_path / "copy" / "run")
    assert found.embedder == str((tmp_path / "copy" / "encoder").resolve())


def test_a_base_model_that_is_gone_is_named_by_its_path(tmp_path: Path, base: Path) -> None:
    write_bundle(trained(tmp_path / "run"), config(), stack())
    shutil.rmtree(base / "encoder")
    assert read_bundle(tmp_path / "run").embedder == str(base / "encoder")


def test_a_run_in_use_is_retrieved_from_and_nothing_is_locked(tmp_path: Path, base: Path) -> None:
    run = trained(tmp_path / "run")
    write_bundle(run, config(), stack())
    texts = ("red fox", "blue whale")
    passages = [Passage(document_id="a", text=text, start=0) for text in texts]
    (run / "passages.jsonl").write_bytes(b"".join(map(encode_record, passages)))
    with RunStore(run):  # as a run that is evaluated again
        (found,) = open_run_retriever(run, ScriptedModels()).retrieve(["whale"], 1)
    assert found[0].passage.text == "blue whale"
    kept = {one.name.split("-")[0] for one in (run / "work").iterdir()}
    assert kept == {"bm25", "passages", "unrelated"}  # and nothing that is locked


# ---- the file


def test_the_file_has_relative_paths_names_and_fingerprints(tmp_path: Path, base: Path) -> None:
    run = trained(tmp_path / "run", "embedder")
    content = write_bundle(run, config(), stack("embedder"))
    text = (run / "models" / "aloft.json").read_text(encoding="utf-8")
    values = json.loads(text)

    assert values == content.to_json()
    assert (values["format"], values["prompts"]) == (2, 1)
    assert values["blend_weights"] == {"embedder": 0.75}
    assert values["retrieval"] == {
        "retriever": "hybrid",
        "dense_share": {"uncovered": 1.2, "covered": 0.4},
        "rerank_depth": 30,
        "rerank_share": {"uncovered": 0.6, "covered": 0.6},
    }
    assert values["aloft"]
    assert values["embedder"]["weights"] == "embedder"
    generator = values["generator"]
    assert generator["name"] == "language-model"
    assert generator["path"] == str(base / "language-model")
    assert generator["relative_path"] == "../../base/language-model"
    assert generator["fingerprint"] not in ("", values["embedder"]["fingerprint"])
    assert str(run) not in text
    assert text.endswith("}\n")


@pytest.mark.parametrize("weight", [0.0, 2.0, 100.0])
def test_what_the_order_counts_for_is_written_and_read_back(
    tmp_path: Path, base: Path, weight: float
) -> None:
    run = trained(tmp_path / "run", "generator")
    content = write_bundle(run, config(), stack("generator", order_weight=weight))
    assert content.answering.order_weight == weight
    values = json.loads((run / "models" / "aloft.json").read_bytes())
    assert values["answering"]["order_weight"] == weight
    assert read_bundle(run).order_weight == weight


@pytest.mark.parametrize("threshold", [0.0, 0.0000124, 1.0])
def test_the_threshold_of_abstention_is_written_and_read_back(
    tmp_path: Path, base: Path, threshold: float
) -> None:
    run = trained(tmp_path / "run", "generator")
    ships = stack("generator", order_weight=4.0, abstention_threshold=threshold)
    content = write_bundle(run, config(), ships)
    values = json.loads((run / "models" / "aloft.json").read_bytes())
    assert values["answering"]["abstention_threshold"] == threshold
    assert read_bundle(run).abstention_threshold == threshold
    rewrite(run, answering={**content.to_json()["answering"], "abstention_threshold": 1.5})
    with pytest.raises(DataError, match=r"damaged \(answering\.abstention_threshold"):
        read_bundle(run)


def test_a_file_without_what_the_order_counts_for_opens(tmp_path: Path, base: Path) -> None:
    run = trained(tmp_path / "run", "generator")
    write_bundle(run, config(), stack("generator"))
    answering = json.loads((run / "models" / "aloft.json").read_bytes())["answering"]
    assert answering == {
        "format": "aloftrag",
        "abstains": False,
        "contexts": 10,
        "max_new_tokens": 256,
    }
    assert read_bundle(run).order_weight is None
    assert read_bundle(run).abstention_threshold is None


def test_a_power_below_zero_is_damage(tmp_path: Path, base: Path) -> None:
    run = trained(tmp_path / "run")
    content = write_bundle(run, config(), stack(order_weight=1.0))
    rewrite(run, answering={**content.to_json()["answering"], "order_weight": -1})
    with pytest.raises(DataError, match=r"damaged \(answering\.order_weight"):
        read_bundle(run)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ((), {}),
        (("generator",), {}),
        (("embedder",), {"embedder": 0.25}),
        (("reranker",), {"reranker": 0.75}),
        (("embedder", "reranker", "generator"), {"embedder": 0.25, "reranker": 0.75}),
    ],
)
def test_shares_of_tuned_weights_are_told_of_the_parts_that_ship(
    tmp_path: Path, base: Path, parts: tuple[Part, ...], expected: dict[str, float]
) -> None:
    run = trained(tmp_path / "run", "embedder", "reranker", "generator")
    shares: dict[str, Any] = {
        "embedder_training": {"tuned_share": 0.25},
        "reranker_training": {"tuned_share": 0.75},
    }
    reranker = "tuned" if "reranker" in parts else "none"
    content = write_bundle(run, config(**shares), stack(*parts, reranker=reranker))
    assert content.blend_weights == expected
    values = json.loads((run / "models" / "aloft.json").read_bytes())
    assert values["blend_weights"] == expected
    assert read_bundle_file(run / "models") == content


@pytest.mark.parametrize(
    "own",
    [
        {"embedder_training": {"tuned_share": 0.25}},
        {"reranker_training": {"num_train_epochs": 2}},
        {"parts": ("embedder",)},
        {"embedder_training": {"method": "query_lora"}},
        {"passages": {"window_tokens": 99}},
    ],
)  # fmt: skip
def test_a_runs_bundle_is_written_by_the_runs_own_settings(
    tmp_path: Path, base: Path, own: dict[str, Any]
) -> None:
    run = trained(tmp_path / "run", "embedder", "reranker", "generator")
    chosen = config(**own)
    shipped = stack(*(part for part in PARTS if part in chosen.parts), reranker="tuned")
    assert write_bundle(run, chosen, shipped) == write_bundle(
        run, config_of(settings_of(chosen)), shipped
    )


def rewrite(run: Path, **changes: Any) -> None:
    path = run / "models" / "aloft.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **changes}), encoding="utf-8")


def test_unknown_fields_are_ignored_with_a_line(
    tmp_path: Path, base: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = trained(tmp_path / "run")
    write_bundle(run, config(), stack())
    known = read_bundle(run)
    values = json.loads((run / "models" / "aloft.json").read_bytes())
    generator = {**values["generator"], "quantized": 4}
    rewrite(run, format="2.3", colour="red", generator=generator)
    with caplog.at_level(logging.WARNING):
        assert read_bundle(run) == known
    assert [name for name in ("colour", "generator.quantized") if name in caplog.text] == [
        "colour",
        "generator.quantized",
    ]
    assert len(caplog.records) == 2


def test_a_newer_format_is_refused_in_one_line(tmp_path: Path, base: Path) -> None:
    run = trained(tmp_path / "run")
    write_bundle(run, config(), stack())
    rewrite(run, format=3, aloft="9.1")
    with pytest.raises(DataError, match=r"has format 3, written by Aloft 9\.1.*Upgrade") as caught:
        read_bundle(run)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        *("", "{", "[]", "null", "[" * 5000, '{"embedder": 3}', "{}"),
        '{"format": "x", "embedder": {}}',
        '{"format": 1, "embedder": {"name": "e"}, "generator": {"name": 5}}',
        json.dumps({"format": 1, "embedder": {"name": "e", "weights": "../../etc"}}),
        '{"format": 1, "embedder": {"name": "e"}, "retrieval": {"retriever": "dense"}}',
        '{"format": 1, "embedder": {"name": "e"}, "retrieval": 3}',
        '{"format": 2, "embedder": {"name": "e"}, "generator": {"name": "g"}, "retrieval": '
        '{"retriever": "hybrid", "dense_share": 0.5, "rerank_depth": 3, "rerank_share": 1}}',
        '{"format": 2, "embedder": {"name": "e"}, "generator": {"name": "g"}, "retrieval": '
        '{"retriever": "dense", "dense_weight": 0.5, "rerank_depth": 3}}',
    ],
)
def test_a_damaged_file_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "aloft.json").write_text(content)
    with pytest.raises(DataError, match="damaged") as caught:
        read_bundle(tmp_path)
    assert "\n" not in str(caught.value)
    assert "aloft.json" in str(caught.value)


@pytest.mark.parametrize("folder", ["../up", "/root", "a/b", "..", "c:\\x", ""])
def test_weights_lie_inside_the_bundle(folder: str) -> None:
    with pytest.raises(ValueError, match="inside the bundle"):
        ModelReference(name="any", weights=folder)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no modes")
def test_what_ships_can_be_read_by_whoever_may_read_new_files(tmp_path: Path, base: Path) -> None:
    run = trained(tmp_path / "run", "embedder")
    (run / "embedder" / "deep" / "weights").chmod(0o600)  # as safetensors writes
    write_bundle(run, config(), stack("embedder"))
    modes = {p.stat().st_mode & 0o777 for p in (run / "models").rglob("*") if p.is_file()}
    (tmp_path / "new").write_text("")
    assert modes == {(tmp_path / "new").stat().st_mode & 0o777}


# ---- earlier formats


def test_format_0_with_a_new_field_opens(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = write_run(tmp_path / "run", embedder="embedder", colour="red")
    with caplog.at_level(logging.WARNING):
        bundle = read_bundle(run)
    assert bundle.embedder == str(run / "models" / "embedder")
    assert (bundle.retrieval, bundle.generator) == (CONTRACT.retrieval, CONTRACT.generator)
    assert "colour" in caplog.text


def test_format_1_opens_with_one_share_and_a_rerankers_order_alone(
    tmp_path: Path, base: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = trained(tmp_path / "run", "embedder")
    content = write_bundle(run, config(reranker="reranker"), stack("embedder", reranker="base"))
    known = read_bundle(run)
    retrieval = content.to_json()["retrieval"]
    del retrieval["dense_share"], retrieval["rerank_share"]
    rewrite(run, format=1, retrieval={**retrieval, "dense_weight": 0.7, "rerank_depth": 20})
    with caplog.at_level(logging.WARNING):
        bundle = read_bundle(run)
    assert caplog.records == []
    assert bundle.retrieval == RetrievalSettings(
        retriever="hybrid",
        dense_share=CoverageShare.constant(0.7),
        rerank_depth=20,
        rerank_share=CoverageShare.constant(1.0),
        count=10,
    )
    assert replace(bundle, retrieval=known.retrieval) == known


@pytest.mark.parametrize("read", [read_bundle, reranker_of])
def test_an_unfinished_run_says_what_to_do(tmp_path: Path, read: Any) -> None:
    with pytest.raises(DataError, match=r"holds no aloft\.json\. Finish a run first: aloft run"):
        read(tmp_path)


def test_a_path_that_cannot_be_looked_at_is_where_no_model_lies(
    tmp_path: Path, encoder: Path
) -> None:
    elsewhere = str(tmp_path / ("x" * 300))  # as one in another user's home
    known = {"name": str(encoder), "fingerprint": fingerprint_folder(encoder)}
    assert ModelReference(**known, path=elsewhere).locate(tmp_path) == str(encoder)
