"""Watches a training for collapse by scoring a few rows before, during and after it.

Loss curves of a collapsed encoder look fine. Signs of a collapse are that all scores become alike
or that positives rank worse than before; training then stops and the best weights are restored.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from torch import nn
from transformers import TrainerCallback

from aloft.protocols import Floats
from aloft.records import Probe
from aloft.training.distributed import from_first
from aloft.training.trainer import PARTS_OF_TRAINING

WATCHED = 32  # rows scored each time
_LEAST_SPREAD = 0.1  # share of the spread before training
_MOST_LOST = 0.1  # loss of mean reciprocal rank


class CollapseGuard(TrainerCallback):
    """Scores the same rows repeatedly, stops a collapse and keeps the best weights.

    Args:
        model: The trained model; its current weights are the first ones kept.
        score: Returns the model's current scores of the watched rows; (questions, passages).
        right: Column of each question's positive.
        steps: Optimizer steps of the whole training.
    """

    def __init__(
        self, model: nn.Module, score: Callable[[], Floats], right: Sequence[int], steps: int
    ) -> None:
        self._model = model
        self._score: Callable[[], Floats] = partial(from_first, score)  # all are to decide alike
        self._right = np.array(right)
        self._every = max(1, steps // PARTS_OF_TRAINING)
        self._base = self._score()
        self.probes = [self._look(0)]
        self.event = ""
        self._best = (self.probes[0].found, 0, self._weights())

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Probe after every fifth of the training and at its end."""
        if state.global_step % self._every and state.global_step < state.max_steps:
            return
        probe = self._look(state.global_step)
        self.probes.append(probe)
        trouble = self._trouble(probe)
        if trouble:
            control.should_training_stop = True
            self._restore(f"{trouble} at step {probe.step} of {state.max_steps}")
        elif probe.found >= self._best[0]:
            self._best = (probe.found, probe.step, self._weights())

    def _look(self, step: int) -> Probe:
        scores = self._score() if step else self._base
        own = np.take_along_axis(scores, self._right[:, None], axis=1)
        ranks = (scores > own).sum(axis=1) + 1
        return Probe(
            step=step,
            found=round(float((1 / ranks).mean()), 4),
            spread=round(float(scores.std(axis=1).mean()), 4),
            right=round(float(own.mean()), 4),
            likeness=round(_rank_correlation(scores, self._base), 4),
        )

    def _trouble(self, probe: Probe) -> str:
        """Sign of a collapse; "" where there is none."""
        first = self.probes[0]
        if not np.isfinite([probe.spread, probe.right]).all():
            return "scores were not finite"
        if probe.spread < _LEAST_SPREAD * first.spread:
            return "all scores became alike"
        if probe.found < first.found - _MOST_LOST:
            return "positives ranked worse than before"
        return ""

    def _weights(self) -> dict[str, Any]:
        named = self._model.named_parameters()
        return {name: w.detach().clone() for name, w in named if w.requires_grad}

    def _restore(self, trouble: str) -> None:
        _, step, weights = self._best
        for name, weight in self._model.named_parameters():
            if name in weights:
                weight.data.copy_(weights[name])
        kept = f"those of step {step}" if step else "those before training"
        self.event = f"{trouble}: training stopped, and the weights are {kept}"


def _rank_correlation(first: Floats, second: Floats) -> float:
    """Mean over questions of Spearman's rank correlation."""
    ranks = [np.argsort(np.argsort(scores, axis=1), axis=1) for scores in (first, second)]
    centred = [each - each.mean(axis=1, keepdims=True) for each in ranks]
    products = (centred[0] * centred[1]).sum(axis=1)
    lengths = np.sqrt((centred[0] ** 2).sum(axis=1) * (centred[1] ** 2).sum(axis=1))
    return float((products / np.maximum(lengths, 1e-12)).mean())
