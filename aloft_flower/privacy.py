"""Clips a site's updates and adds noise to them, by Flower's mod for local differential privacy."""

import math
from collections.abc import Callable

import numpy as np
from flwr.app import Context, Message
from flwr.clientapp.mod import LocalDpMod

from aloft.config import FederationConfig

Answer = Callable[[Message, Context], Message]


def protect(config: FederationConfig, multiplier: float | None) -> Callable[..., Message]:
    """Flower's mod for a site's updates.

    The mod draws its noise by a formula that holds for budgets below 1 alone. So it is given the
    budget for which that formula draws the noise that `aloft.training.privacy_budget` calls for.

    Args:
        config: Of the site; it has a clipping norm.
        multiplier: Noise by sensitivity; None: updates are clipped alone.
    """
    clipping = config.clipping_norm or math.inf
    budget = math.inf
    if multiplier is not None:
        budget = math.sqrt(2 * math.log(1.25 / config.delta)) / multiplier
    mod = LocalDpMod(clipping, 2 * clipping, budget, config.delta)

    def apply(message: Message, context: Context, answer: Answer) -> Message:
        def answer_unseeded(received: Message, its_context: Context) -> Message:
            reply = answer(received, its_context)
            np.random.seed(None)
            return reply

        return mod(message, context, answer_unseeded)

    return apply
