"""Settings: the paper's constants, what lies over what, and one line for every fault."""

import json
import math
from collections.abc import Callable, Iterator
from functools import reduce
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import pytest
from pydantic import BaseModel, ValidationError

from aloft.config import (
    PARTS,
    PRESETS,
    PairsConfig,
    RunConfig,
    check_config,
    load_config,
    read_run_config,
)
from aloft.config.loading import RENAMED
from aloft.errors import ConfigError, DataError


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


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load_config().seed = 1


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"negatives": {"coutn": 3}}, ["negatives.coutn"]),
        ({"tacher": "x"}, ["tacher"]),
        ({"negatives": {"count": "many"}}, ["negatives.count", "should be a whole number."]),
        ({"negatives": {"count": 0}}, ["negatives.count", "greater than or equal to 1"]),
        ({"negatives": {"margin": 1.0}}, ["negatives.margin", "less than 1"]),
        (
            {"parts": "embedder"},
            ["should be a list of 'embedder', 'reranker' or 'generator', in square brackets."],
        ),
        (
            {"embedder_training": {"matryoshka": 64}},
            ["is 64, but should be a list of whole numbers"],
        ),
        ({"pairs": {"style": "who?"}}, ["is 'who?', but should be a list of texts, in square"]),
        ({"pairs": {"kinds": ["fact"]}}, ["pairs.kinds is ['fact'], but should be a table of"]),
        ({"pairs": {"kinds": {"a": 1}}}, ["pairs.kinds.a is 'a', but should be 'fact'"]),
        ({"passages": {"min_characters": 2.5}}, ["is 2.5, but should be a whole number."]),
        ({"ratings": {"drop_share": "half"}}, ["is 'half', but should be a number."]),
        ({"allow_remote": "perhaps"}, ["is 'perhaps', but should be true or false."]),
        ({"embedder": 3}, ["embedder is 3, but should be a text in quotes."]),
        ({"negatives": 3}, ["negatives is 3, but should be a table of settings"]),
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
        ({"pairs": {"kinds": {}}}, ["pairs: kinds has no share above 0"]),
        ({"pairs": {"kinds": {"how": 0}}}, ["pairs: kinds has no share above 0"]),
        ({"pairs": {"kinds": {"how": 2, "why": -1}}}, ["pairs.kinds.why is -1", "equal to 0"]),
        ({"seed": -1}, ["seed is -1, but should be greater than or equal to 0"]),
        ({"seed": 2**32}, ["seed is 4294967296, but should be less than 4294967296"]),
        ({"parts": ()}, ["parts: list one or more of embedder, reranker, generator, each once"]),
        ({"parts": ["embedder", "embedder"]}, ["parts: list one or more of", "each once"]),
        ({"embedder_training": {"matryoshka": (0, -3)}}, ["matryoshka.0 is 0", "matryoshka.1"]),
        ({"embedder_training": {"matryoshka": (64, 128)}}, ["each dimension once, the largest"]),
        ({"embedder_training": {"matryoshka": (64, 64)}}, ["each dimension once, the largest"]),
        (
            {"embedder_training": {"loss": "graded"}},
            ["needs the grades of a reranker, but no reranker is configured"],
        ),
        ({"filters": {"use": ["leak", "leak"]}}, ["filters: use lists a filter twice"]),
        ({"negatives": {"guards": ["copy", "copy"]}}, ["negatives: guards lists a guard twice"]),
        ({"teacher": " "}, ["teacher: it is empty"]),
        ({"pairs": {"form": "instruct", "style": ["", "why?"]}}, ["pairs.style.0: it is empty"]),
        ({"documents": {"max_megabytes": float("inf")}}, ["max_megabytes is inf", "finite"]),
        ({"pairs": {"kinds": {"how": float("nan")}}}, ["pairs.kinds.how is nan", "finite"]),
        ({3: 4}, ["3"]),
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


def test_all_faults_are_reported_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        load_config("cpu", overrides={"seed": "x", "negatives": {"count": 0, "margin": 2.0}})
    message = str(caught.value)
    assert all(
        name in message for name in ("seed is ", "negatives.count is ", "negatives.margin is ")
    )
    assert "\n" not in message


@pytest.mark.parametrize("preset", ["8gb", "12gb", "24gb", "80gb"])
def test_a_sized_preset_wants_its_models_named(preset: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(preset, overrides={"parts": ["generator"]})
    assert str(caught.value) == (
        "teacher is not set, and the preset names no model. Name one that fits this machine. "
        "embedder is not set, and the preset names no model. Name one that fits this machine."
    )
    config = load_config(preset, overrides={"teacher": "t", "embedder": "e"})
    assert config.generator_model == "t"


def test_an_unknown_preset_is_reported_with_the_known_ones() -> None:
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
        (rb'teacher = "C:\Users\me\model"', "is not valid TOML: .*Write paths with / or in single"),
        (rb'teacher = "D:\models\small"', "is not valid TOML: .*Write paths with / or in single"),
        (b"x = " + b"[" * 5000 + b"]" * 5000, "is not valid TOML: it nests too deeply"),
        (b"seed = " + b"1" * 5000, "is not valid TOML: .*digits"),
        (None, "cannot be read .*Check --config"),
    ],
)
def test_a_file_that_cannot_be_read_is_reported(
    tmp_path: Path, raw: bytes | None, words: str
) -> None:
    path = tmp_path / "run.toml"
    if raw is not None:
        path.write_bytes(raw)
    with pytest.raises(ConfigError, match=words) as caught:
        load_config("cpu", path)
    assert str(caught.value).startswith(f"{path} ")
    assert "\n" not in str(caught.value)


def settings_of(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting with its annotation, those of the sections by their dotted names."""
    for name, field in model.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from settings_of(annotation, f"{name}.")
        else:
            yield prefix + name, annotation


def types_of(annotation: Any) -> set[Any]:
    """The types that a setting may have, without their bounds."""
    if get_origin(annotation) is Annotated:
        return types_of(get_args(annotation)[0])
    if get_origin(annotation) is UnionType or get_origin(annotation) is Union:
        return set().union(*map(types_of, get_args(annotation)))
    return {annotation}


SETTINGS = {name: types_of(annotation) for name, annotation in settings_of(RunConfig)}
NUMBERS = [name for name, types in SETTINGS.items() if {int, float} & types]
NO_NUMBERS = [-(10**30), 10**30, 10**400, -math.inf, math.inf, math.nan, True, "x", [1], {"a": 1}]


def test_the_property_below_sees_the_numeric_settings() -> None:
    assert len(NUMBERS) > 45
    seen = {"seed", "documents.max_megabytes", "filters.gain", "passages.window_tokens"}
    assert seen <= set(NUMBERS)


@pytest.mark.parametrize("name", NUMBERS)
def test_every_numeric_setting_has_bounds_and_a_type(name: str) -> None:
    for value in [*NO_NUMBERS, *([] if float in SETTINGS[name] else [1.5])]:
        *section, setting = name.split(".")
        overrides = {section[0]: {setting: value}} if section else {setting: value}
        with pytest.raises(ConfigError) as caught:
            load_config("cpu", overrides=overrides)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 250


@pytest.mark.parametrize("name", SETTINGS)
def test_no_setting_takes_an_arbitrary_object(name: str) -> None:
    *section, setting = name.split(".")
    for value in (object(), {"a": {"b": [1]}}, [[["x"]]], b"bytes"):
        overrides = {section[0]: {setting: value}} if section else {setting: value}
        with pytest.raises(ConfigError, match=name) as caught:
            load_config("cpu", overrides=overrides)
        assert "\n" not in str(caught.value)


def test_a_path_object_names_a_model_or_a_folder(tmp_path: Path) -> None:
    config = load_config(overrides={"embedder": tmp_path, "earlier": tmp_path})
    assert (config.embedder, config.earlier) == (str(tmp_path), str(tmp_path))


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_bytes("\ufeffseed = 3\r\n[negatives]\r\ncount = 7\r\n".encode())
    assert load_config("cpu", path).seed == 3
    assert load_config("cpu", str(path)).negatives.count == 7


def test_a_file_unsets_what_a_preset_sets(tmp_path: Path) -> None:
    file = write(tmp_path, '[pairs]\nmax_passages = "none"\n')
    assert load_config("cpu").pairs.max_passages == 1500
    assert load_config("cpu", file).pairs.max_passages is None


def test_kinds_of_questions_are_replaced_and_not_added_to(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(load_config().model_dump_json())
    config = load_config(after=tmp_path, overrides={"pairs": {"kinds": {"how": 2.0}}})
    assert config.pairs.kinds == {"how": 2.0}


def test_contradictions_of_several_stages_are_reported_at_once() -> None:
    overrides = {
        "embedder": "openai:http://localhost#m",
        "training_sets": {"contexts": 20},
        "negatives": {"guards": ["reranker"]},
    }
    with pytest.raises(ConfigError) as caught:
        load_config(overrides=overrides)
    words = ["cannot be trained", "negatives.count is 9", "no reranker is configured"]
    assert [word for word in words if word not in str(caught.value)] == []


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_an_old_name_is_accepted_with_a_line_that_names_the_new_one(
    old: str, new: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    values = {"copied": 0.5, "start": "/x", "trains": "lora", "fewest_contexts": 3}
    (section, before), after = old.split("."), new.split(".")[1]
    value = values.get(before, 1)
    preset = {"teacher": "t", "embedder": "e"}
    toml = f"[{section}]\n{before} = {json.dumps(value)}\n"
    (tmp_path / "config.json").write_text(json.dumps({**preset, section: {before: value}}))
    loads: list[Callable[[], RunConfig]] = [
        lambda: load_config("cpu", write(tmp_path, toml)),
        lambda: load_config("cpu", overrides={section: {before: value}}),
        lambda: check_config({**preset, section: {before: value}}),
        lambda: read_run_config(tmp_path),
        lambda: load_config(after=tmp_path),
    ]
    for load in loads:
        caplog.clear()
        assert getattr(getattr(load(), section), after) == value
        (line,) = caplog.messages
        assert f"the setting {old} is now called {new}" in line


def test_the_old_and_the_new_name_together_are_refused() -> None:
    both = {"ratings": {"keep_at_least": 5.0, "min_rating": 6.0}}
    with pytest.raises(ConfigError, match=r"both ratings\.keep_at_least and ratings\.min_rating"):
        load_config(overrides=both)


def test_an_old_name_in_a_file_replaces_the_new_one_of_the_preset(tmp_path: Path) -> None:
    file = write(tmp_path, "[ratings]\nkeep_at_least = 5.0\n")
    assert load_config("paper", file).ratings.min_rating == 5.0


@pytest.mark.parametrize(
    ("kinds", "share", "kept"),
    [
        ({"fact": 2, "why": 1, "multi_hop": 1}, 0.25, {"fact": 2.0, "why": 1.0}),
        ({"multi_hop": 3}, 1.0, PairsConfig().kinds),
        ({"fact": 0, "multi_hop": 3}, 1.0, PairsConfig().kinds),
        ({"fact": 1, "multi_hop": 0}, 0.0, {"fact": 1.0}),
    ],
)
def test_a_share_of_multi_hop_questions_is_now_one_of_composed_pairs(
    kinds: dict[str, float],
    share: float,
    kept: dict[str, float],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "config.json").write_text(
        json.dumps({"teacher": "t", "embedder": "e", "pairs": {"kinds": kinds}})
    )
    for config in (load_config(overrides={"pairs": {"kinds": kinds}}), read_run_config(tmp_path)):
        assert (config.pairs.multi_hop, config.pairs.kinds) == (share, kept)
        assert "pairs.kinds.multi_hop is now pairs.multi_hop" in caplog.messages[-1]
    with pytest.raises(ConfigError, match="sets both"):
        load_config(overrides={"pairs": {"kinds": kinds, "multi_hop": 0.1}})


@pytest.mark.parametrize("share", ["much", None, -1, 10**400])
def test_a_share_that_is_none_is_reported(share: object) -> None:
    with pytest.raises(ConfigError, match=r"pairs\.multi_hop is "):
        load_config(overrides={"pairs": {"kinds": {"fact": 1, "multi_hop": share}}})


def test_a_run_folder_may_hold_settings_that_no_longer_exist(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    saved = load_config().model_dump(mode="json")
    saved["retired"] = 1
    saved["retired_section"] = {"a": 1}
    saved["negatives"]["retired_too"] = [1]
    (tmp_path / "config.json").write_text(json.dumps(saved))
    assert read_run_config(tmp_path) == load_config()
    names = ("retired", "retired_section", "negatives.retired_too")
    path = tmp_path / "config.json"
    assert sorted(caplog.messages) == sorted(
        f"{path}: the setting {name} no longer exists and is ignored." for name in names
    )
    with pytest.raises(ConfigError, match=r"no setting negatives.retired_too. It may be one of: c"):
        load_config(overrides={"negatives": {"retired_too": 1}})


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (None, "is not a run folder"),
        (b"{", "is damaged"),
        (b"[1]", "is damaged"),
        (b"[" * 200_000, "is damaged"),
        (b"\xff", "is damaged"),
    ],
)
def test_a_run_folder_without_readable_settings_is_one_line(
    raw: bytes | None, words: str, tmp_path: Path
) -> None:
    if raw is not None:
        (tmp_path / "config.json").write_bytes(raw)
    with pytest.raises(DataError, match=words) as caught:
        read_run_config(tmp_path)
    assert "\n" not in str(caught.value)


def test_every_preset_is_a_packaged_file() -> None:
    from importlib.resources import files

    packaged = {file.name for file in files("aloft.config").joinpath("presets").iterdir()}
    assert packaged == {f"{name}.toml" for name in PRESETS}


def test_paths_count_from_where_settings_were_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("encoder", "writer", "adapter"):
        (tmp_path / name).mkdir()
    file = write(
        tmp_path,
        'embedder = "encoder"\nteacher = "vllm:writer"\ngenerator = "owner/name"\n'
        'reranker = "~no-such-user/ranks"\n[generator_training]\ninit_adapter = "adapter"\n',
    )
    config = load_config("cpu", "run.toml", {"seed": 3})
    assert config.embedder == str(tmp_path / "encoder")
    assert config.teacher == f"vllm:{tmp_path / 'writer'}"
    assert config.generator == "owner/name"
    assert config.reranker == str(tmp_path / "~no-such-user/ranks")
    assert config.generator_training.init_adapter == str(tmp_path / "adapter")
    (tmp_path / "config.json").write_text(config.model_dump_json())
    monkeypatch.chdir(file.parent / "adapter")
    assert read_run_config(tmp_path) == config


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("[passages]\nmax_tokens = 100\nseed = 1\n", "passages.seed. It may be seed (above all"),
        ("max_tokens = 100\n", "max_tokens. It may be passages.max_tokens."),
        ("[passages]\nmax_new_tokens = 99\n", "pairs.max_new_tokens or evaluation.max_new_tokens."),
        ("[passages]\nmax_token = 99\n", "It may be one of: max_tokens, window_tokens, "),
    ],
)
def test_a_setting_in_another_section_is_told_where_it_belongs(
    tmp_path: Path, text: str, hint: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(file=write(tmp_path, text))
    assert hint in str(caught.value)
