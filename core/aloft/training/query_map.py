"""Trains a linear map of question vectors for any embedder.

It is what `method = "query_adapter"` trains, for embedders of which only vectors are known.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from aloft.protocols import Floats, Progress, no_progress
from aloft.training.losses import natural_scale
from aloft.training.trainer import seeded_training, steps_of

_WARM_UP = 0.1


def train_query_map(  # noqa: PLR0913 - a trainer's hyperparameters
    queries: Floats,
    passages: Floats,
    right: Sequence[int],
    *,
    start: Floats | None = None,
    epochs: float,
    batch_size: int,
    learning_rate: float,
    seed: int,
    progress: Progress = no_progress,
) -> tuple[Floats, list[float]]:
    """Train a square matrix that moves questions nearer to the passages that answer them.

    All passages of a batch are candidates for each of its questions; duplicates count once. Passage
    vectors do not change.

    Args:
        queries: Vectors of questions; (rows, dimensions).
        passages: Vectors of passages; (passages, dimensions).
        right: Index of the passage of each row.
        start: Matrix to continue from, (dimensions, dimensions); None: the identity.
        epochs: Passes over all rows.
        batch_size: Rows per step.
        learning_rate: Peak, reached after a tenth of the steps.
        seed: Seed of the order of rows.
        progress: Called after each step.

    Returns:
        The matrix, to multiply a question's vector from the left, and the loss of each step.

    Source: the contrastive loss of arXiv:1705.00652, at the scale of `natural_scale`.
    """
    asked, held = (
        functional.normalize(torch.from_numpy(some.astype(np.float32)), dim=1)
        for some in (queries, passages)
    )
    size, count = asked.shape[1], len(asked)

    def candidates(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Passages of a batch, each once, and which of them is each question's."""
        places = [right[row] for row in rows.tolist()]
        columns = sorted(set(places))
        return held[columns], torch.tensor([columns.index(place) for place in places])

    some = torch.arange(count)[:: max(1, count // batch_size)][:batch_size]
    shown, targets = candidates(some)
    scale = natural_scale((asked[some] @ shown.T).numpy(), targets.tolist())
    first = torch.eye(size) if start is None else torch.from_numpy(start.astype(np.float32))
    matrix = first.clone().requires_grad_()
    optimizer = torch.optim.AdamW([matrix], lr=learning_rate, weight_decay=0.0)
    steps = steps_of(count, batch_size, epochs)
    warm = max(1, round(_WARM_UP * steps))
    losses: list[float] = []
    with seeded_training(seed):
        order = torch.empty(0, dtype=torch.long)
        for step in range(steps):
            if not len(order):
                order = torch.randperm(count)
            rows, order = order[:batch_size], order[batch_size:]
            shown, targets = candidates(rows)
            mapped = functional.normalize(asked[rows] @ matrix.T, dim=1)
            loss = functional.cross_entropy(scale * mapped @ shown.T, targets)
            for group in optimizer.param_groups:
                left = (steps - step) / max(1, steps - warm)
                group["lr"] = learning_rate * min((step + 1) / warm, left)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(float(loss.detach()))
            progress("training the query map", step + 1, steps)
    trained: Floats = matrix.detach().numpy()
    return trained, losses
