"""Chooses the passage that an answer cites, or none: by what the generator reads, and by the order.

A small generator finds the right passage less often than the retriever has it in front, and errs
elsewhere. So both are asked, and the answer goes on from the winner. Both tell whether to abstain,
too.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from aloft.prompts.abstention import NONE
from aloft.protocols import Floats, Prompt

Choosing = Callable[[Sequence[Prompt], Sequence[str]], Floats]
"""Probability of each choice's first token; (prompts, choices)."""

MOST = 9  # of a passage further back the number begins as another one does
NOTHING = 0  # in place of a number: no passage holds the answer
_LEAST = 1e-6  # no probability counts as less


def cited(
    probabilities: Floats,
    passages: int,
    weight: float,
    threshold: float | None = None,
    relevance: NDArray[np.float64] | None = None,
) -> NDArray[np.intp]:
    """The number of the passage that each answer cites, from 1, or `NOTHING`; (questions,).

    A generator that was trained on shuffled passages expects the right one at every place equally.
    Its probabilities are multiplied by the chance that a passage at that place is right, which
    falls with a power of the place.

    Args:
        probabilities: Of the numbers of the first passages and, where there is one more, of saying
            that none holds the answer; (questions, choices).
        passages: Passages shown, in the order of their retrieval, of which at most `MOST` count.
        weight: The power. 0: the generator's own choice; large: the first passage.
        threshold: See `declines`.
        relevance: See `doubts`.
    """
    numbered = min(passages, MOST)
    chances = np.maximum(probabilities[:, :numbered], _LEAST)
    places = np.arange(1, numbered + 1)
    found: NDArray[np.intp] = 1 + (np.log(chances) - weight * np.log(places)).argmax(axis=1)
    if probabilities.shape[1] > numbered:
        found[declines(probabilities, threshold, relevance)] = NOTHING
    return found


def declines(
    probabilities: Floats,
    threshold: float | None,
    relevance: NDArray[np.float64] | None = None,
) -> NDArray[np.bool_]:
    """Whether no passage is cited; (questions,). The order does not count for it.

    Args:
        probabilities: As in `cited`, the last of them that none holds the answer; rows sum to 1.
        threshold: Of `doubts`, above which the question is declined; None: it is where no number
            is likelier.
        relevance: See `doubts`.
    """
    if threshold is None:
        likeliest: NDArray[np.bool_] = probabilities.argmax(axis=1) == probabilities.shape[1] - 1
        return likeliest
    above: NDArray[np.bool_] = doubts(probabilities, relevance) > threshold
    return above


def doubts(
    probabilities: Floats, relevance: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """How likely none of the passages shown holds the answer; (questions,).

    The generator has read them, and the retriever knows how far each of them resembles the
    question: two opinions, whose odds are multiplied.

    Args:
        probabilities: As in `declines`.
        relevance: Of each question's passages, the highest probability that one answers, by
            `aloft.retrieval.relevance`; (questions,). None: the generator decides alone.

    Source: a product of experts, Hinton 2002 (Neural Computation 14).
    """
    none = probabilities[:, -1].astype(np.float64)
    if relevance is None:
        return none
    combined: NDArray[np.float64] = 1 / (1 + np.exp(_log_odds(relevance) - _log_odds(none)))
    return combined


def _log_odds(chances: NDArray[np.float64]) -> NDArray[np.float64]:
    within = np.clip(chances, _LEAST, 1 - _LEAST)
    found: NDArray[np.float64] = np.log(within / (1 - within))
    return found


def read_choices(
    choose: Choosing, prompts: Sequence[Prompt], passages: int, *, abstains: bool
) -> Floats:
    """How likely replies begin with each citation; see `cited` for the columns.

    Args:
        choose: Of the generator.
        prompts: In a format whose replies begin with a citation.
        passages: Shown in each of them.
        abstains: Whether replies may say that no passage holds the answer.
    """
    numbers = [str(number) for number in range(1, min(passages, MOST) + 1)]
    return choose(prompts, [*numbers, *([NONE] if abstains else [])])


def named(number: int) -> str:
    """A number of `cited`, as a reply has it."""
    return str(number) if number else NONE
