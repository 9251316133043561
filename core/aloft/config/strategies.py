"""The strategies of training a RAG system, each a short recipe of phases.

What a phase leaves out stays as it is. In every phase that reads what was retrieved the passages of
a question are the first k that the untuned embedder finds, worked out once; that one of them is
known to be right is told nowhere. Their vectors stay as they are: of the embedder questions alone
are trained.

Sources: independent, two_phase and joint, Lawton et al. (arXiv:2510.01600) with the two losses of
RAG (arXiv:2005.11401); lsr, REPLUG (arXiv:2301.12652); ra_dit (arXiv:2310.01352), whose generator
is trained here on all passages in one prompt.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Trained = Literal["embedder", "reranker", "generator"]
Strategy = Literal["independent", "two_phase", "joint", "lsr", "ra_dit"]


@dataclass(frozen=True, slots=True)
class Phase:
    """One training.

    Attributes:
        trains: What it changes.
        by: "rows": a part's own rows, with the right passage told; "marginal": how likely the
            answer is over all retrieved passages; "lsr": which of them make the answer likely.
    """

    trains: tuple[Trained, ...]
    by: Literal["rows", "marginal", "lsr"]

    @property
    def name(self) -> str:
        """What it trains, in words."""
        return " and ".join(self.trains)

    @property
    def paced_by(self) -> Trained:
        """The part whose epochs, batches and schedule hold for all that it trains."""
        return "generator" if "generator" in self.trains else self.trains[0]


_RERANKER = Phase(("reranker",), "rows")  # whatever the strategy, last of those that retrieve
STRATEGIES: dict[Strategy, tuple[Phase, ...]] = {
    "independent": (Phase(("embedder",), "rows"), _RERANKER, Phase(("generator",), "rows")),
    "two_phase": (Phase(("generator",), "marginal"), Phase(("embedder",), "marginal"), _RERANKER),
    "joint": (Phase(("embedder", "generator"), "marginal"), _RERANKER),
    "lsr": (Phase(("embedder",), "lsr"), _RERANKER),
    "ra_dit": (Phase(("generator",), "rows"), Phase(("embedder",), "lsr"), _RERANKER),
}


def phases_of(strategy: Strategy, parts: Sequence[Trained]) -> list[Phase]:
    """The phases of a strategy whose parts are wanted, in order."""
    return [phase for phase in STRATEGIES[strategy] if set(phase.trains) <= set(parts)]


def needed_by(strategy: Strategy) -> tuple[Trained, ...]:
    """The parts that a strategy can not do without; of "independent" any may be left out."""
    if strategy == "independent":
        return ()
    trained = {part for phase in STRATEGIES[strategy] for part in phase.trains}
    return tuple(part for part in ("embedder", "generator") if part in trained)


def trained_before(part: Trained, phases: Sequence[Phase]) -> list[Trained]:
    """The parts that phases train before they come to one."""
    order: list[Trained] = [one for phase in phases for one in phase.trains]
    return order[: order.index(part)]
