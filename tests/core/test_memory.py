"""The plan of a training's memory: counted by hand for a tiny decoder."""

from dataclasses import replace
from typing import Any

import pytest

from aloft.config import GeneratorTrainingConfig, load_config
from aloft.training.memory import Body, Load, plan_training, read_body

FACTS = {
    "num_hidden_layers": 2,
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "vocab_size": 100,
    "tie_word_embeddings": True,
}
BODY = Body(
    layers=2, hidden=8, intermediate=16, queries=8, keys=4, vocabulary=100, is_tied=True
)  # fmt: skip
LOAD = Load(tokens=10, targets=3, number_bytes=2, is_on_processor=False)
ROOMY = 1e12
# a layer leaves of a token: in 2 bytes the inputs of its maps (8 + 8 + 8 + 8 + 8 + 8 + 16 = 64),
# query, key, value and what attention gives (8 + 4 + 4 + 8 = 24), three of the feed-forward
# layer's (48) and the seven adapters' ranks (7 * 2 = 14); and two norms' inputs in 4 bytes (16)
LAYER = 2 * (64 + 24 + 48 + 14) + 4 * 16


def settings(**changes: Any) -> GeneratorTrainingConfig:
    return GeneratorTrainingConfig(r=2, lora_dropout=0, **changes)


def test_a_models_measures_are_read() -> None:
    assert read_body(FACTS) == BODY
    assert read_body({"text_config": FACTS, "vision_config": {}}) == BODY
    wide = read_body(FACTS | {"head_dim": 6})
    assert wide is not None
    assert (wide.queries, wide.keys) == (12, 6)
    experts = read_body(FACTS | {"num_experts": 4, "moe_intermediate_size": 3})
    assert experts is not None
    assert experts.intermediate == 12
    assert read_body({"n_layer": 2, "n_embd": 8}) is None


def test_weights_are_those_of_the_maps_and_of_the_tokens() -> None:
    # a layer: 8*8 + 8*4 + 8*4 + 8*8 + 3 * 8*16 = 576; tokens: 100 * 8
    assert BODY.linear_weights == 2 * 576
    assert plan_training(BODY, LOAD, settings(), ROOMY).weights == 2 * (2 * 576 + 800)
    untied = read_body(FACTS | {"tie_word_embeddings": False})
    assert untied is not None
    assert plan_training(untied, LOAD, settings(), ROOMY).weights == 2 * (2 * 576 + 1600)


def test_four_bits_hold_the_maps_alone() -> None:
    plan = plan_training(BODY, LOAD, settings(method="qlora"), ROOMY)
    assert plan.weights == round(0.53 * 2 * 576 + 2 * 800)


def test_each_new_weight_has_a_gradient_and_two_moments() -> None:
    # inputs and outputs of the seven maps: 16 + 12 + 12 + 16 + 24 + 24 + 24 = 128, twice for r
    plan = plan_training(BODY, LOAD, settings(), ROOMY)
    assert plan.trained == 2 * 2 * 128 * (4 + 4 + 8 + 2)


def test_trained_whole_each_weight_has_what_a_new_one_has() -> None:
    plan = plan_training(BODY, LOAD, settings(method="full"), ROOMY)
    every = 2 * 576 + 800
    assert plan.weights == 4 * every
    assert plan.trained == every * (4 + 8 + 2)  # gradient, two moments, what is computed with
    exact = plan_training(BODY, replace(LOAD, number_bytes=4), settings(method="full"), ROOMY)
    assert exact.trained == every * (4 + 8)
    assert plan.activations == 10 * (2 + 2) * (LAYER - 2 * 14)  # no adapters' ranks


def test_logits_are_those_of_the_tokens_that_are_learnt_and_one() -> None:
    assert plan_training(BODY, LOAD, settings(), ROOMY).logits == 4 * 100 * 14


def test_each_layer_is_kept_for_the_way_back_and_two_are_worked_on() -> None:
    plan = plan_training(BODY, LOAD, settings(gradient_checkpointing=False), 0)
    assert plan.activations == 10 * (2 + 2) * LAYER
    assert not plan.has_checkpoints


def test_a_processor_keeps_fourteen_layers_more_of_what_was_freed() -> None:
    plan = plan_training(BODY, replace(LOAD, is_on_processor=True), settings(), ROOMY)
    assert plan.activations == 10 * (2 + 16) * LAYER


def test_with_checkpoints_each_layer_keeps_its_input_alone() -> None:
    plan = plan_training(BODY, LOAD, settings(gradient_checkpointing=True), ROOMY)
    assert plan.activations == 10 * (2 * 8 * 2 + 2 * LAYER)
    assert plan.has_checkpoints


@pytest.mark.parametrize(
    ("changes", "more"),
    [
        ({"lora_dropout": 0.1}, 4 * 64),  # by what each input of a map is multiplied
        ({"method": "dora"}, 2 * 2 * 64),  # what base and adapter give: 8+4+4+8+16+16+8 numbers
    ],
)
def test_dropout_and_lengths_leave_more_of_a_token(changes: dict[str, Any], more: int) -> None:
    config = settings().model_copy(update=changes)
    assert plan_training(BODY, LOAD, config, ROOMY).activations == 10 * 4 * (LAYER + more)


def test_it_recomputes_only_where_three_quarters_of_the_memory_are_too_little() -> None:
    total = plan_training(BODY, LOAD, settings(gradient_checkpointing=False), 0).total
    assert not plan_training(BODY, LOAD, settings(), total / 0.75 + 1).has_checkpoints
    assert plan_training(BODY, LOAD, settings(), total / 0.75 - 1).has_checkpoints


@pytest.mark.parametrize(
    ("gigabytes", "measures"),  # of the Qwen2.5 models that the presets are sized for
    [
        (8, (28, 1536, 8960, 12, 2, True)),
        (12, (36, 2048, 11008, 16, 2, True)),
        (24, (28, 3584, 18944, 28, 4, False)),
        (80, (48, 5120, 13824, 40, 8, False)),
    ],
)
def test_a_sized_preset_fits_what_it_is_sized_for(gigabytes: int, measures: Any) -> None:
    body = read_body(dict(zip(FACTS, (*measures[:5], 152_064, measures[5]), strict=True)))
    assert body is not None
    config = load_config(f"{gigabytes}gb", overrides={"teacher": "t", "embedder": "e"})
    training, memory = config.generator_training, gigabytes << 30
    load = Load(
        tokens=training.max_length, targets=512, number_bytes=2, is_on_processor=False
    )  # fmt: skip
    plan = plan_training(body, load, training, memory)
    assert plan.has_checkpoints
    assert 0.5 * memory < plan.total < 0.9 * memory
