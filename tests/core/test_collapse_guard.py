"""The watch over a training: what it sees, when it stops one, and which weights it leaves."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from aloft.protocols import Floats
from aloft.records import EmbedderRow, Probe

pytestmark = pytest.mark.model

GOOD = [[0.9, 0.1, 0.2], [0.3, 0.8, 0.1]]  # the right ones are the first and the second


class Watched:
    """A model of one weight, scored by a script, and the watch over it."""

    def __init__(self, *tables: list[list[float]], steps: int = 5) -> None:
        import torch

        from aloft.training.collapse_guard import CollapseGuard

        self.model = torch.nn.Linear(1, 1, bias=False)
        self._tables = iter(tables)
        self.set(0.0)
        self.watch = CollapseGuard(self.model, self._score, [0, 1], steps)
        self.steps = steps

    def _score(self) -> Floats:
        return np.array(next(self._tables), np.float32)

    def set(self, weight: float) -> None:
        self.model.weight.data.fill_(weight)

    def step(self, number: int) -> bool:
        """Whether training is to stop behind this step, which makes its number the weight."""
        control = SimpleNamespace(should_training_stop=False)
        self.set(float(number))
        state = SimpleNamespace(global_step=number, max_steps=self.steps)
        self.watch.on_step_end(None, state, control)
        return control.should_training_stop


def test_what_is_seen_is_told_by_hand_worked_values() -> None:
    worse = [[0.1, 0.9, 0.2], [0.3, 0.8, 0.1]]  # the first question's right one is third
    watched = Watched([[0.9, 0.1, 0.2], [0.3, 0.2, 0.1]], worse)
    assert not watched.step(1)
    first, second = watched.watch.probes
    assert first == Probe(
        step=0,
        found=0.75,  # first and second place
        spread=pytest.approx((0.3559 + 0.0816) / 2, abs=1e-4),
        right=0.55,
        likeness=1.0,
    )
    assert second.found == pytest.approx((1 / 3 + 1) / 2, abs=1e-4)
    assert second.right == 0.45
    # ranks 3 1 2 become 1 3 2: -1; ranks 3 2 1 become 2 3 1: 0.5
    assert second.likeness == pytest.approx((-1 + 0.5) / 2)


@pytest.mark.parametrize(
    ("table", "event"),
    [
        ([[0.5, 0.5, 0.51], [0.5, 0.51, 0.5]], "all scores became alike"),
        ([[0.1, 0.9, 0.2], [0.8, 0.3, 0.1]], "positives ranked worse than before"),
        ([[float("nan")] * 3] * 2, "scores were not finite"),
    ],
)
def test_a_collapse_stops_training_and_brings_the_best_weights_back(
    table: list[list[float]], event: str
) -> None:
    watched = Watched(GOOD, GOOD, table)
    assert not watched.step(1)
    assert watched.step(2)
    assert watched.model.weight.item() == 1.0
    assert watched.watch.event == (
        f"{event} at step 2 of 5: training stopped, and the weights are those of step 1"
    )


def test_a_collapse_at_once_brings_the_weights_from_before_back() -> None:
    watched = Watched(GOOD, [[0.5] * 3] * 2)
    assert watched.step(1)
    assert watched.model.weight.item() == 0.0
    assert "the weights are those before training" in watched.watch.event


def test_it_looks_every_fifth_and_at_the_end() -> None:
    watched = Watched(*[GOOD] * 7, steps=11)
    for number in range(1, 12):
        assert not watched.step(number)
    assert [probe.step for probe in watched.watch.probes] == [0, 2, 4, 6, 8, 10, 11]
    assert watched.watch.event == ""


ROWS = [
    EmbedderRow(
        pair_id=animal,
        anchor=f"Where does the {animal} live?",
        positive=f"The {animal} lives in the {place}.",
        negatives=(f"Nobody lives in the {place}.",),
    )
    for animal, place in zip(
        ("cat", "dog", "owl", "eel", "bat", "fox"),
        ("attic", "yard", "barn", "pond", "cave", "wood"),
        strict=True,
    )
]


@pytest.mark.parametrize(("rate", "collapses"), [(1e-3, False), (30.0, True)])
def test_a_real_training_is_watched(tmp_path: Path, rate: float, collapses: bool) -> None:
    import torch
    from safetensors.torch import load_file

    from aloft.config import EmbedderTrainingConfig
    from aloft.testing import tiny_encoder
    from aloft.training import train_embedder

    encoder = tiny_encoder(tmp_path / "encoder")
    dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    config = encoder / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | dropout))
    usual = EmbedderTrainingConfig(
        num_train_epochs=20, per_device_train_batch_size=3, warmup_share=0
    )
    settings = usual.model_copy(update={"learning_rate": rate})  # beyond what users may set
    done = train_embedder(ROWS, str(encoder), tmp_path / "tuned", settings, seed=0)
    assert done.probes[0].step == 0
    assert done.probes[0].likeness == 1.0
    before = load_file(encoder / "model.safetensors")
    after = load_file(tmp_path / "tuned" / "model.safetensors")
    is_still = all(torch.equal(before[name], after[name]) for name in before)
    if collapses:
        assert "training stopped, and the weights are those before training" in done.event
        assert is_still
        assert done.probes[-1].step < 40
    else:
        assert done.event == ""
        assert done.probes[-1].step == 40
        assert done.probes[-1].found >= done.probes[0].found
        assert not is_still
