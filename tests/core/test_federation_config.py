"""What can be federated of a run, and what a site says to an order that it cannot do."""

import pytest

from aloft.config import RunConfig, check_config
from aloft.errors import ConfigError
from aloft.run.federation import federated_parts
from aloft.run.graph import Graph
from aloft.run.stage import Setup

LORA = {"embedder_training": {"method": "lora"}}


def configured(**settings: object) -> RunConfig:
    return check_config({"teacher": "a", "embedder": "b", **settings})


def test_embedder_and_generator_are_federated_and_the_reranker_is_the_embedders_body() -> None:
    assert federated_parts(configured(**LORA)) == ["embedder", "generator"]
    assert federated_parts(configured(**LORA, parts=["reranker", "embedder"])) == ["embedder"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"parts": ["reranker"]}, "parts names neither"),
        ({"parts": ["embedder"]}, 'method is "all", which would send all weights'),
        ({**LORA, "generator_training": {"method": "full"}}, 'Set it to "lora"'),
        ({**LORA, "generator_training": {"init_adapter": "x"}}, "begins with the base model"),
        (
            {
                "strategy": "lsr",
                "parts": ["embedder"],
                "embedder_training": {"method": "query_lora"},
                "training_sets": {"format": "ralt"},
            },
            "trains each part on its own rows",
        ),
    ],
)
def test_what_cannot_be_federated_is_told(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        federated_parts(configured(**settings))


def test_stages_that_choose_shares_read_what_other_sites_measured_where_there_is_any() -> None:
    config = configured(**LORA, evaluation={"learning_curve": True})
    alone = frozenset({"federated embedder"})
    for sources in (alone, alone | {"federated shares"}):
        stages = Graph(Setup(config, sources)).stages
        read = {name for name, one in stages.items() if "expected_gains" in one.inputs}
        chooses = {"evaluate", "federated_embedder", "learning_curve"}
        assert read == (set() if sources == alone else chooses)
        assert "share_gains" in stages  # which does not, as it is over the prior


def test_noise_needs_a_bound_on_what_it_hides() -> None:
    with pytest.raises(ConfigError, match="Set clipping_norm"):
        configured(federation={"epsilon": 1.0})
