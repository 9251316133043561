"""Settings: the paper's constants, what lies over what, and one line for every fault."""

from functools import reduce
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from aloft.config import PARTS, load_config
from aloft.errors import ConfigError


def write(folder: Path, text: str) -> Path:
    path = folder / "run.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        # the models
        ("teacher", "Qwen/Qwen2-7B-Instruct"),
        ("generator", None),  # the teacher itself is trained
        ("generator_model", "Qwen/Qwen2-7B-Instruct"),
        ("embedder", "BAAI/bge-m3"),
        ("reranker", None),
        ("parts", ("generator",)),
        # step 1: a mark from 0 to 10, written, kept from 8 on
        ("ratings.method", "generate"),
        ("ratings.min_rating", 8.0),
        ("ratings.drop_share", 0.0),
        # step 2: one pair a passage, from the whole of it
        ("pairs.form", "paper"),
        ("pairs.per_passage", 1),
        ("pairs.max_passages", None),
        # step 3: off by default; 8 where it is on
        ("pairs.rating", False),
        ("pairs.min_rating", 8.0),
        ("filters.use", ()),
        # step 4: the n - 1 passages most similar to the question, whatever they hold
        ("negatives.count", 9),
        ("negatives.guards", ()),
        ("negatives.margin", 0.0),
        ("training_sets.contexts", 10),
        ("training_sets.max_generator_rows", None),
        # step 5: LoRA
        ("generator_training.r", 64),
        ("generator_training.lora_alpha", 32),
        ("generator_training.lora_dropout", 0.05),
        ("generator_training.num_train_epochs", 1.0),
        ("generator_training.learning_rate", 2e-4),
        ("generator_training.warmup_share", 0.0),
        ("generator_training.per_device_train_batch_size", 1),
        ("generator_training.max_length", 20_000),
        ("generator_training.gradient_checkpointing", True),
        # evaluation: every question, long answers
        ("evaluation.max_answer_questions", None),
        ("evaluation.max_new_tokens", 2048),
    ],
)
def test_the_paper_preset_is_the_papers(setting: str, value: Any) -> None:
    found = reduce(getattr, setting.split("."), load_config("paper"))
    assert found == value
    assert type(found) is type(value)


def test_the_cpu_preset_asks_of_a_small_machine_what_it_can() -> None:
    config = load_config()
    assert config == load_config("cpu")
    assert config.teacher == config.generator_model == "embedded:smollm2-135m-instruct"
    assert config.embedder == "embedded:all-minilm-l6-v2"
    assert config.parts == PARTS == ("embedder", "reranker", "generator")
    assert (config.pairs.form, config.ratings.method) == ("examples", "none")
    assert config.negatives.count >= config.training_sets.contexts - 1


def test_a_file_lies_over_the_preset_and_choices_over_both(tmp_path: Path) -> None:
    file = write(tmp_path, "seed = 3\n[training_sets]\ncontexts = 6\nheld_out_share = 0.3\n")
    config = load_config("cpu", file, {"training_sets": {"contexts": 7}})
    assert config.training_sets.contexts == 7  # 5 in the preset, 6 in the file
    assert config.training_sets.held_out_share == 0.3  # the file's, where no choice is made
    assert config.training_sets.max_generator_rows == 500  # the preset's, where nothing is said
    assert config.training_sets.reranker_negatives == 4  # the default
    assert config.seed == 3


def test_loading_leaves_presets_and_choices_as_they_were() -> None:
    chosen = {"negatives": {"count": 12}}
    assert load_config("paper", overrides={**chosen, "negatives": {"depth": 90}}) != load_config(
        "paper"
    )
    assert load_config("cpu", overrides=chosen).negatives.count == 12
    assert load_config("cpu").negatives.count == 9
    assert chosen == {"negatives": {"count": 12}}


def test_a_generator_of_its_own_is_the_one_trained() -> None:
    assert load_config("cpu", overrides={"generator": "mine"}).generator_model == "mine"


def test_a_configuration_can_not_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load_config().seed = 1


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"negatives": {"coutn": 3}}, ["negatives.coutn"]),
        ({"tacher": "x"}, ["tacher"]),
        ({"negatives": {"count": "many"}}, ["negatives.count", "should be a valid integer"]),
        ({"negatives": {"count": 0}}, ["negatives.count", "greater than or equal to 1"]),
        ({"negatives": {"margin": 1.0}}, ["negatives.margin", "less than 1"]),
        ({"negatives": 3}, ["negatives: ", "dictionary"]),
        ({"ratings": {"method": "guess"}}, ["ratings.method", "'generate', 'expect' or 'none'"]),
        ({"parts": ["embeder"]}, ["parts.0", "'embedder', 'reranker' or 'generator'"]),
        (
            {"negatives": {"count": 101}},
            ["negatives: count is 101", "1 and depth (100)", "Lower count or raise depth"],
        ),
        (
            {"pairs": {"form": "paper", "per_passage": 2}},
            ["pairs: per_passage is 2", "Set per_passage to 1 or form to"],
        ),
        ({"pairs": {"kinds": {}}}, ["pairs.kinds: shares are numbers from 0"]),
        ({"pairs": {"kinds": {"how": 0}}}, ["pairs.kinds: shares", "one at least is above 0"]),
        ({"pairs": {"kinds": {"how": 2, "why": -1}}}, ["pairs.kinds: shares are numbers from 0"]),
        ({"pairs": {"kinds": {"who": 1}}}, ["pairs.kinds.who", "'fact', 'definition', 'how'"]),
        ({"filters": {"use": ["leaks"]}}, ["filters.use.0", "'self_contained', 'leak'"]),
        (
            {"training_sets": {"contexts": 11}},  # ten beside the right one, but nine are kept
            ["negatives.count is 9", "need 10", "Raise negatives.count or lower"],
        ),
        (
            {"training_sets": {"reranker_negatives": 10}},
            ["negatives.count is 9", "need 10", "Raise negatives.count"],
        ),
    ],
)
def test_a_bad_setting_is_named_in_one_line(overrides: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config("cpu", overrides=overrides)
    message = str(caught.value)
    assert [word for word in words if word not in message] == []
    assert "\n" not in message


def test_limits_themselves_are_allowed() -> None:
    load_config("cpu", overrides={"negatives": {"count": 100}})  # as many as the depth
    load_config("cpu", overrides={"training_sets": {"contexts": 10}})  # nine and the right one
    load_config("cpu", overrides={"pairs": {"form": "paper", "per_passage": 1}})


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        load_config("cpu", overrides={"seed": "x", "negatives": {"count": 0, "margin": 2.0}})
    told = str(caught.value)
    assert all(name in told for name in ("seed: ", "negatives.count: ", "negatives.margin: "))
    assert "\n" not in told


@pytest.mark.parametrize("preset", ["8gb", "12gb", "24gb", "80gb"])
def test_a_sized_preset_wants_its_models_named(preset: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(preset, overrides={"parts": ["generator"]})
    assert str(caught.value) == (
        "teacher is not set, and the preset names no model. Name one that fits this machine; "
        "embedder is not set, and the preset names no model. Name one that fits this machine"
    )
    config = load_config(preset, overrides={"teacher": "t", "embedder": "e"})
    assert config.generator_model == "t"


def test_a_preset_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(ConfigError) as caught:
        load_config("papr")
    assert (
        str(caught.value)
        == 'There is no preset "papr". It may be one of: cpu, 8gb, 12gb, 24gb, 80gb, paper.'
    )


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"seed = 1\nparts = [", "is not valid TOML"),
        (b"[negatives\ncount = 3", "is not valid TOML: .*line 1"),
        (b"seed = 1\nseed = 2\n", "is not valid TOML: .*line 2"),
        (b"teacher = '\xff'", "is not valid TOML: .*utf-8"),
        (None, "can not be read .*Check --config"),
    ],
)
def test_a_file_that_can_not_be_read_is_told(tmp_path: Path, raw: bytes | None, words: str) -> None:
    path = tmp_path / "run.toml"
    if raw is not None:
        path.write_bytes(raw)
    with pytest.raises(ConfigError, match=words) as caught:
        load_config("cpu", path)
    assert str(caught.value).startswith(f"{path} ")
    assert "\n" not in str(caught.value)
