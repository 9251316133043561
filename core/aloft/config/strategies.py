"""Training strategies for a RAG system: which parts are trained together, in which order.

Phases that train on retrieved passages use the first k passages that the untuned embedder retrieves
for each question; they are retrieved once, and the gold passage is not marked. Passage vectors stay
fixed: only the encoding of questions is trained.

Sources: independent, two_phase and joint: Lawton et al. (arXiv:2510.01600) with the two losses of
RAG (arXiv:2005.11401). lsr: REPLUG (arXiv:2301.12652). ra_dit: RA-DIT (arXiv:2310.01352), here with
all passages in one prompt.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Trained = Literal["embedder", "reranker", "generator"]
Strategy = Literal["independent", "two_phase", "joint", "lsr", "ra_dit"]


@dataclass(frozen=True, slots=True)
class Phase:
    """One training run within a strategy.

    Attributes:
        trains: The parts whose weights change.
        by: The training signal. "rows": the part's own training rows with the gold passage;
            "marginal": the likelihood of the answer, marginalised over the retrieved passages;
            "lsr": the retrieved passages that make the answer likely.
    """

    trains: tuple[Trained, ...]
    by: Literal["rows", "marginal", "lsr"]

    @property
    def name(self) -> str:
        """The names of the trained parts, joined."""
        return " and ".join(self.trains)

    @property
    def paced_by(self) -> Trained:
        """The part whose epochs, batch size and schedule apply to the phase."""
        return "generator" if "generator" in self.trains else self.trains[0]


_RERANKER = Phase(("reranker",), "rows")  # in every strategy after the embedder
STRATEGIES: dict[Strategy, tuple[Phase, ...]] = {
    "independent": (Phase(("embedder",), "rows"), _RERANKER, Phase(("generator",), "rows")),
    "two_phase": (Phase(("generator",), "marginal"), Phase(("embedder",), "marginal"), _RERANKER),
    "joint": (Phase(("embedder", "generator"), "marginal"), _RERANKER),
    "lsr": (Phase(("embedder",), "lsr"), _RERANKER),
    "ra_dit": (Phase(("generator",), "rows"), Phase(("embedder",), "lsr"), _RERANKER),
}


def phases_of(strategy: Strategy, parts: Sequence[Trained]) -> list[Phase]:
    """Return the phases of a strategy that train some of the given parts only, in order."""
    return [phase for phase in STRATEGIES[strategy] if set(phase.trains) <= set(parts)]


def needed_by(strategy: Strategy) -> tuple[Trained, ...]:
    """Return the parts that a strategy requires; "independent" requires none in particular."""
    if strategy == "independent":
        return ()
    trained = {part for phase in STRATEGIES[strategy] for part in phase.trains}
    return tuple(part for part in ("embedder", "generator") if part in trained)


def trained_before(part: Trained, phases: Sequence[Phase]) -> list[Trained]:
    """Return the parts that are trained before a given part."""
    order: list[Trained] = [one for phase in phases for one in phase.trains]
    return order[: order.index(part)]
