"""Reads and replaces the weights that a training changes, and holds them near where they began."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import TrainerCallback

from aloft.errors import DataError
from aloft.protocols import Floats
from aloft.training.shared_weights import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Weights that a training begins with, in place of newly drawn ones.

    Attributes:
        weights: All that it changes, by name.
        proximal_mu: Weight of half the squared distance to them in the loss; 0: none.

    Source: the proximal term of FedProx (arXiv:1812.06127).
    """

    weights: State
    proximal_mu: float = 0.0

    def load(self, model: nn.Module) -> list[TrainerCallback]:
        """Put the weights into a model; returns what holds its training near them.

        Raises:
            DataError: they are not those of this model.
        """
        own = trained_parameters(model)
        names = own.keys() ^ self.weights.keys()
        shapes = [
            name
            for name, weights in self.weights.items()
            if name in own and tuple(own[name].shape) != weights.shape
        ]
        infinite = [
            n for n, weights in self.weights.items() if not torch_of(weights).isfinite().all()
        ]
        if names or shapes or infinite:
            raise DataError(
                f"The shared weights do not fit this model: {len(names)} names and {len(shapes)} "
                f"shapes differ, and {len(infinite)} tensors hold values that are not finite. All "
                "sites need the same base model, method and rank."
            )
        with torch.no_grad():
            for name, parameter in own.items():
                parameter.copy_(torch_of(self.weights[name]))
        if not self.proximal_mu:
            return []
        return [ProximalTerm(list(own.values()), self.proximal_mu)]


class ProximalTerm(TrainerCallback):
    """Adds the proximal term's gradient, mu times the distance so far, before each step."""

    def __init__(self, parameters: list[nn.Parameter], mu: float) -> None:
        self._parameters = parameters
        self._before = [parameter.detach().clone() for parameter in parameters]
        self._mu = mu

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Add to the gradients of the loss."""
        for parameter, before in zip(self._parameters, self._before, strict=True):
            if parameter.grad is not None:
                parameter.grad.add_(parameter.detach() - before, alpha=self._mu)


def trained_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Parameters that a training changes, by name."""
    return {name: one for name, one in model.named_parameters() if one.requires_grad}


def trained_weights(model: nn.Module) -> dict[str, Floats]:
    """Copies of their values."""
    return {
        name: parameter.detach().to("cpu", torch.float32).numpy().copy()
        for name, parameter in trained_parameters(model).items()
    }


def torch_of(weights: Floats) -> torch.Tensor:
    """The same values for torch."""
    return torch.from_numpy(weights)
