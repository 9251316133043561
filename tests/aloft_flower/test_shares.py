"""What shares gain, as the server averages it: by questions, and within bounds."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aloft.api import SharedWeights, State, gains_key, no_gains, read_weights, write_weights
from aloft.config import FederationConfig

pytestmark = pytest.mark.flower
EMBEDDER = SharedWeights(base="base", tensors={"weights": np.ones((2, 3), np.float32)})


class Measuring:
    """Answers with the same gain of all lines."""

    config = FederationConfig()

    def __init__(self, folder: Path, gain: float, questions: int) -> None:
        self.budget_file = folder / "spent.json"
        self._gain, self._questions = gain, questions
        self.taken: dict[str, Any] = {}

    def fault(self, order: Mapping[str, Any]) -> str:
        known = order["base"] == gains_key(EMBEDDER.base, EMBEDDER.tensors)
        return "" if order["part"] == "shares" and known else "something else was asked"

    def update(self, order: Mapping[str, Any], weights: State) -> tuple[State, int]:
        gains = {name: np.full_like(values, self._gain) for name, values in no_gains().items()}
        return gains, self._questions

    def take(self, facts: Mapping[str, Any], weights: State) -> None:
        self.taken = {**facts, "gain": float(weights["tuned_late"].mean())}


def measure(folder: Path, sites: Mapping[str, Any], **config: Any) -> dict[str, Any]:
    """What came of asking."""
    from aloft_flower.rounds import read_rounds, run_shares
    from aloft_flower.testing import LocalGrid

    write_weights(folder / "embedder.safetensors", EMBEDDER)
    run_shares(LocalGrid(sites), folder, FederationConfig(min_sites=1, **config))
    (found,) = read_rounds(folder)
    return found


@pytest.mark.parametrize("strategy", ["fedavg", "fedprox", "fedadam"])
def test_gains_are_averaged_by_questions_in_one_round(tmp_path: Path, strategy: str) -> None:
    # one gain is a thousand times the other: unlike updates of weights, gains have no usual size
    sites = {"a": Measuring(tmp_path, 0.0004, 1), "b": Measuring(tmp_path, 0.4, 3)}
    found = measure(tmp_path, sites, strategy=strategy, rounds=3)
    assert (found["part"], found["rounds"], found["rows"]) == ("shares", 1, {"a": 1, "b": 3})
    average = read_weights(tmp_path / "shares.safetensors").tensors
    for values in average.values():
        np.testing.assert_allclose(values, 0.3001, rtol=1e-6)
    for name, own in (("a", 1), ("b", 3)):
        taken = sites[name].taken
        assert (taken["rows"], taken["own-rows"], taken["sites"]) == (4, own, 2)
        assert taken["gain"] == pytest.approx(0.3001)
        assert taken["is-last"]


def spoil_shape(gains: dict[str, Any]) -> None:
    gains["tuned_late"] = gains["tuned_late"][:, 1:].copy()


def spoil_value(gains: dict[str, Any]) -> None:
    gains["tuned_late"][0, 5] = np.nan


def spoil_scale(gains: dict[str, Any]) -> None:
    gains["tuned_late"] *= 1000


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (spoil_shape, "tuned_late has the shape"),
        (spoil_value, "not finite"),
        (spoil_scale, "tuned_late holds a gain beyond 1"),
    ],
)
def test_what_are_no_gains_is_left_out_and_its_site_named(
    tmp_path: Path, spoil: Callable[[dict[str, Any]], None], said: str
) -> None:
    class Spoiling(Measuring):
        def update(self, order: Mapping[str, Any], weights: State) -> tuple[State, int]:
            gains, questions = super().update(order, weights)
            spoil(gains)
            return gains, questions

    sites = {"good": Measuring(tmp_path, 0.2, 5), "bad": Spoiling(tmp_path, 0.4, 50)}
    found = measure(tmp_path, sites)
    assert found["rows"] == {"good": 5}
    assert said in found["refused"]["bad"]
    assert (sites["bad"].taken["rows"], sites["bad"].taken["own-rows"]) == (5, 0)
    assert sites["good"].taken["gain"] == pytest.approx(0.2)
