"""What a run folder holds of federations: what is shared, and what the site did."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from aloft.config import PARTS, SHARES_PART, Part
from aloft.config.strategies import phases_of
from aloft.files import read_json
from aloft.run.stage import Setup

FOLDER = "federation"  # of a run folder
BUDGET = f"{FOLDER}/spent.json"
EXPECTED_GAINS = "expected_gains"  # an output, where sites have measured shares
_SOURCE = "federated "  # before a part's name, among the sources of a run


def weights_file(part: str) -> str:
    """What is shared of a part, below the run folder."""
    return f"{FOLDER}/{part}.safetensors"


def facts_file(part: str) -> str:
    """What is known of the federation that made it, below the run folder."""
    return f"{FOLDER}/{part}.json"


def federated_sources(run: Path) -> frozenset[str]:
    """What a run folder has of a federation, as sources of its setup."""
    known = (part for part in (*PARTS, SHARES_PART) if (run / weights_file(part)).exists())
    return frozenset(f"{_SOURCE}{part}" for part in known)


def has_shared(part: str) -> Callable[[Setup], bool]:
    """Whether a run has a part of a federation, whatever else it trains."""
    return lambda setup: f"{_SOURCE}{part}" in setup.sources


def with_expected(setup: Setup, inputs: tuple[str, ...]) -> tuple[str, ...]:
    """Inputs of a stage that chooses shares."""
    return (*inputs, EXPECTED_GAINS) if has_shared(SHARES_PART)(setup) else inputs


def is_federated(part: Part) -> Callable[[Setup], bool]:
    """Whether a run has a part that a federation trained."""

    def found(setup: Setup) -> bool:
        phases = phases_of(setup.config.strategy, setup.config.parts)
        by_rows = any(phase.trains == (part,) and phase.by == "rows" for phase in phases)
        return by_rows and has_shared(part)(setup)

    return found


@dataclass(slots=True, kw_only=True)
class Participation:
    """What a site did in a federation of one part, and what it knows of it.

    Attributes:
        round: The last round whose global part was received.
        rounds: Of the federation.
        answered: Rounds in which this site trained or measured.
        rows: Its training rows; of shares its questions.
        others: Of shares, the questions of the other sites.
        sites: Sites whose updates the last round averaged; of shares the other ones.
        bytes_sent: Weights, before encryption.
        bytes_received: Likewise.
    """

    round: int = 0
    rounds: int = 0
    answered: int = 0
    rows: int = 0
    others: int = 0
    sites: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0


def read_participation(run: Path, part: str) -> Participation:
    """What a run folder did in a federation.

    Raises:
        DataError: what it holds of it is damaged.
    """
    path = run / facts_file(part)
    repair = "Take part in the federation again."
    found = read_json(path, Participation, missing=f"{path} is missing. {repair}", repair=repair)
    return Participation(**found)
