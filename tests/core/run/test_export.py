"""What ships, as plain Hugging Face folders with a model card each."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scripted import CONTRACT, long_words, write_topics

from aloft.cli import main
from aloft.config import load_config
from aloft.run.job import open_run
from aloft.run.stages import export
from aloft.testing import ScriptedTeacher, tiny_encoder, tiny_language_model

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a generator and an embedder."""
    folder = tmp_path_factory.mktemp("export")
    settings: dict[str, Any] = {
        "teacher": "given",
        "generator": str(tiny_language_model(folder / "language-model")),
        "embedder": str(tiny_encoder(folder / "encoder")),
        "parts": ("embedder", "generator"),
        "passages": {"max_tokens": 200},
        "pairs": {"form": "examples", "per_passage": 1, "max_passages": 12},
        "filters": {"use": ["duplicate"]},
        "training_sets": {"contexts": 2, "held_out_share": 0.25},
        "generator_training": {"num_train_epochs": 1.0, "max_length": 4096},
        "evaluation": {"max_answer_questions": 3, "max_new_tokens": 8, "resamples": 200},
    }
    with open_run(
        folder / "run", load_config("cpu", None, settings), ScriptedTeacher(long_words)
    ) as run:
        run.give(write_topics(folder / "docs"))
        run.report()
        run.do("export", "export-merged")
    return folder / "run"


def test_each_part_loads_by_its_own_library_and_has_a_card(run: Path) -> None:
    from sentence_transformers import SentenceTransformer

    embedder = SentenceTransformer(str(run / "export" / "embedder"), local_files_only=True)
    assert embedder.encode_query(["a question"]).shape[0] == 1
    for part in ("embedder", "generator"):
        card = (run / "export" / part / "README.md").read_text(encoding="utf-8")
        assert card.startswith("---\nlibrary_name: ")
        assert f"# The {part} of a RAG system" in card
        assert "\nKept: " in card or "\nRefused: " in card  # its verdict, with figures
        assert str(run) not in card


def test_a_body_is_exported_as_a_model_of_its_own_unless_the_embedder_is_it(run: Path) -> None:
    from aloft.backends.late_interaction import LateInteractionReranker
    from aloft.serving.bundle import read_bundle

    bundle = read_bundle(run)
    folder = run / "export" / "reranker"
    assert folder.exists() == (bundle.reranker not in (None, bundle.embedder))
    if folder.exists():
        pairs = [("what is an import", text) for text in ("The import statement", "Rain")]
        expected = LateInteractionReranker(str(bundle.reranker)).score(pairs)
        assert LateInteractionReranker(str(folder)).score(pairs) == pytest.approx(
            expected, abs=1e-5
        )
        assert (folder / "config_sentence_transformers.json").exists()


def test_a_run_whose_reranker_is_a_language_model_exports_what_ranks(tmp_path: Path) -> None:
    """Untuned it ranks by likelihood; the run trains it, and its card says how what ships ranks."""
    from aloft.backends.loading import load_reranker
    from aloft.serving.bundle import read_bundle

    model = str(tiny_language_model(tmp_path / "language-model"))
    settings: dict[str, Any] = {
        "teacher": "given",
        "generator": model,
        "embedder": str(tiny_encoder(tmp_path / "encoder")),
        "reranker": model,
        "parts": ("reranker",),
        "passages": {"max_tokens": 200},
        "pairs": {"form": "examples", "per_passage": 1, "max_passages": 12},
        "filters": {"use": ["duplicate"]},
        "training_sets": {"held_out_share": 0.25},
        "reranker_training": {"num_train_epochs": 1.0, "method": "lora"},
        "evaluation": {"resamples": 200, "rerank_depth": 4},
    }
    config = load_config("cpu", None, settings)
    with open_run(tmp_path / "run", config, ScriptedTeacher(long_words)) as run:
        run.give(write_topics(tmp_path / "docs"))
        run.report()
        run.do("export")
    bundle = read_bundle(tmp_path / "run")
    folder = tmp_path / "run" / "export" / "reranker"
    pairs = [("what is an import", text) for text in ("The import statement", "Rain")]
    shipped, exported = load_reranker(str(bundle.reranker)), load_reranker(str(folder))
    assert exported.score(pairs) == pytest.approx(shipped.score(pairs), abs=1e-5)
    card = (folder / "README.md").read_text(encoding="utf-8")
    is_base = bundle.reranker == model
    assert ("load_reranker" in card, "CrossEncoder" in card) == (is_base, not is_base)


def test_the_merged_generator_is_a_whole_model(run: Path) -> None:
    from transformers import AutoModelForCausalLM

    folder = run / "export-merged" / "generator"
    assert not (folder / "adapter_config.json").exists()
    AutoModelForCausalLM.from_pretrained(str(folder), local_files_only=True)


def test_a_generator_at_a_server_is_left_there_and_an_earlier_runs_part_is_called_that(
    run: Path, tmp_path: Path
) -> None:
    from aloft.backends.late_interaction import LateInteractionReranker

    copy = Path(shutil.copytree(run, tmp_path / "run"))
    shutil.rmtree(copy / "export")
    bundle, measured = copy / "models" / "aloft.json", copy / "work" / "stages" / "measured.json"
    values = json.loads(bundle.read_text(encoding="utf-8"))
    values["generator"] = {"name": "openai:http://127.0.0.1:9/v1#teacher"}
    values["embedder"]["weights"] = "embedder"
    values["reranker"] = values["embedder"]  # its body
    bundle.write_text(json.dumps(values), encoding="utf-8")
    shutil.copytree(copy / "embedder", copy / "models" / "embedder", dirs_exist_ok=True)
    values = json.loads(measured.read_text(encoding="utf-8"))
    values["variants"][0]["parts"] = []  # nothing of this run ships
    measured.write_text(json.dumps(values), encoding="utf-8")
    assert main(["export", str(copy)]) == 0
    assert not (copy / "export" / "generator").exists()
    card = (copy / "export" / "embedder" / "README.md").read_text(encoding="utf-8")
    assert "Tuned on questions" in card and "An earlier run did that" in card
    assert "Not tuned" not in card
    (_, body) = re.findall("```python\n(.*?)```", card, re.DOTALL)
    folder, found = str(copy / "export" / "embedder"), dict[str, Any]()
    exec(body.replace("path/to/embedder", folder), found)  # as its reader would
    expected = LateInteractionReranker(str(copy / "models" / "embedder")).score(
        [("How long is the crossing?", "The crossing takes an hour.")]
    )
    assert found["scores"] == pytest.approx(expected, abs=1e-5)


def test_an_adapter_names_its_base_as_it_is_known_elsewhere(run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    shutil.rmtree(copy / "export")
    shutil.copytree(copy / "generator", copy / "models" / "generator", dirs_exist_ok=True)
    bundle = copy / "models" / "aloft.json"
    values = json.loads(bundle.read_text(encoding="utf-8"))
    values["generator"]["adapter"] = "generator"
    bundle.write_text(json.dumps(values), encoding="utf-8")
    before = (copy / "models" / "generator" / "adapter_config.json").read_bytes()
    assert main(["export", str(copy)]) == 0
    folder = copy / "export" / "generator"
    settings = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    assert settings == json.loads(before) | {"base_model_name_or_path": "language-model"}
    assert (copy / "models" / "generator" / "adapter_config.json").read_bytes() == before
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "A LoRA adapter of language-model; load both with peft." in card
    assert not any(str(run.parent) in file.read_text() for file in folder.glob("*.json"))


@pytest.mark.parametrize(
    "name", ["openai:http://127.0.0.1:9/v1#small", "embedded:smollm2-135m-instruct"]
)
def test_an_untuned_generator_that_is_elsewhere_keeps_nothing_from_being_exported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    bundle = replace(CONTRACT, generator=name, adapter=None)
    context: Any = None  # of what is merged alone
    export._write_part("generator", bundle, tmp_path / "generator", context, merged=False)
    assert not (tmp_path / "generator").exists()
    assert f"{name}, was not tuned and is not on this machine" in caplog.text


def test_what_ships_is_not_changed_by_it(run: Path) -> None:
    before = {path: path.read_bytes() for path in (run / "models").rglob("*") if path.is_file()}
    shutil.rmtree(run / "export")
    assert main(["export", str(run)]) == 0  # the host's teacher is not needed
    assert (run / "export" / "embedder" / "README.md").is_file()
    assert {path: path.read_bytes() for path in before} == before


def test_a_command_measures_what_the_hosts_teacher_wrote(run: Path) -> None:
    before = (run / "report.json").read_bytes()
    assert main(["evaluate", str(run)]) == 0
    assert (run / "report.json").read_bytes() == before
