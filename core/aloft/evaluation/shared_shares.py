"""What sites of a federation exchange about shares: what lines gain, and on how many questions.

Each site measures every line that a share may follow on its own labelled questions. The server
averages that by the number of questions. Of the average a site takes out what is its own: the rest
is what it expects of lines before its own questions are asked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aloft.evaluation.blending import (
    BODY_RERANK_SHARE,
    DENSE_SHARE,
    LINES,
    RERANK_SHARE,
    Expected,
    at_lines,
    points_of,
    standard_errors,
)
from aloft.protocols import Floats
from aloft.records import cache_key
from aloft.retrieval.fusion import CoverageShare

Gains = Mapping[str, Floats]
"""Of each share, by line: the mean gain in nDCG@10 over the prior, that mean's square, and the
variance of one question's gain; (3, lines)."""
PRIORS: Mapping[str, CoverageShare] = {
    "untuned_dense": DENSE_SHARE,
    "untuned_late": BODY_RERANK_SHARE,
    "tuned_dense": DENSE_SHARE,
    "tuned_late": RERANK_SHARE,
}
"""The shares that sites measure: of an untuned and a tuned embedder in a hybrid, and of late
interaction by the body of each."""
_SHAPE = (3, len(LINES))


def no_gains() -> dict[str, Floats]:
    """What is known before any site has measured."""
    return {name: np.zeros(_SHAPE, np.float32) for name in PRIORS}


def gains_key(base: str, weights: Mapping[str, Floats]) -> str:
    """Names what is measured: sites that differ in a model or in the lines do not add up.

    Args:
        base: Fingerprint of the untuned embedder.
        weights: Those that the federation has trained of it.
    """
    tensors = [(name, values.tobytes().hex()) for name, values in sorted(weights.items())]
    priors = points_of(list(PRIORS.values())).tolist()
    return cache_key(base, tensors, points_of(LINES).tolist(), priors)


def measure_gains(
    values: NDArray[np.float64],
    coverage: NDArray[np.float64],
    clusters: Sequence[str],
    prior: CoverageShare,
) -> Floats:
    """What each line gains over the prior on the questions of a site; (3, lines).

    Args:
        values: nDCG@10 at each of `SHARES`; (questions, shares).
        coverage: Of these questions; (questions,).
        clusters: Their documents, two or more; (questions,).
        prior: The line that gains are over.
    """
    gains = at_lines(values, LINES, coverage) - at_lines(values, [prior], coverage)
    means = gains.mean(axis=0)
    variances = len(gains) * standard_errors(gains, clusters) ** 2
    return np.stack([means, means**2, variances]).astype(np.float32)


def find_gains_fault(received: Gains) -> str | None:
    """Why these cannot be gains of nDCG@10; None: they can."""
    if received.keys() != PRIORS.keys():
        return f"it must hold {', '.join(PRIORS)}"
    for name, values in received.items():
        if values.shape != _SHAPE:
            return f"{name} has the shape {values.shape}, not {_SHAPE}"
        if not np.isfinite(values).all():
            return f"{name} holds values that are not finite"
        if np.abs(values[:2]).max() > 1:
            return f"{name} holds a gain beyond 1, which nDCG@10 does not reach"
        if values[1:].min() < 0:
            return f"{name} holds a square or a variance below 0"
    return None


def leave_out(average: Gains, questions: int, own: Gains, counted: int) -> dict[str, Floats]:
    """What the others have measured.

    Args:
        average: Of all sites.
        questions: Of all sites.
        own: What this site has measured.
        counted: Its questions in the average; 0: it is not in it.
    """
    others = questions - counted
    if others <= 0:
        return no_gains()
    found = {}
    for name, values in average.items():
        mine = own[name].astype(np.float64) * counted if counted else 0.0
        rest = (values.astype(np.float64) * questions - mine) / others
        rest[1:] = np.maximum(rest[1:], 0.0)  # rounded
        found[name] = rest.astype(np.float32)
    return found


def expect(gains: Gains, questions: int, sites: int) -> dict[str, Expected]:
    """What a site expects of lines, by what others have measured.

    Sites differ by more than their questions are uncertain, so that both count. How far sites lie
    apart is not known of a single one: nothing is expected then.

    Args:
        gains: Their average, by questions.
        questions: Theirs.
        sites: How many they are.
    """
    if sites < 2 or questions < 1:
        return {}
    found = {}
    for name, values in gains.items():
        means, squares, variances = values.astype(np.float64)
        apart = np.maximum(squares - means**2, 0.0) * sites / (sites - 1)
        spread = apart * (1 + 1 / sites) + variances / questions
        found[name] = Expected(means=means, variances=spread, noise=variances)
    return found


def expected_to_json(expected: Mapping[str, Expected]) -> dict[str, Any]:
    """What is expected as JSON types."""
    return {
        name: {side: values.tolist() for side, values in asdict(one).items()}
        for name, one in expected.items()
    }


def expected_from_json(values: Mapping[str, Any]) -> dict[str, Expected]:
    """What is expected from its values as JSON types."""
    return {
        name: Expected(**{side: np.array(some) for side, some in one.items()})
        for name, one in values.items()
    }
