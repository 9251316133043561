"""What model calls cost, added up as they are made or found in the cache."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a model was asked, and what it took.

    Attributes:
        calls: Prompts; a prompt that was asked a second time counts twice.
        tokens_in: Tokens read; 0 where the model does not count them.
        tokens_out: Tokens written.
        seconds: Time in which the model was waited for.
    """

    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            calls=self.calls + other.calls,
            tokens_in=self.tokens_in + other.tokens_in,
            tokens_out=self.tokens_out + other.tokens_out,
            seconds=self.seconds + other.seconds,
        )


def total(usages: Iterable[Usage]) -> Usage:
    """The sum of all."""
    return sum(usages, Usage())


def as_account(usage: Usage) -> dict[str, Any]:
    """A manifest's entry; None stands for tokens that the model does not count."""
    is_counted = usage.tokens_in > 0  # no prompt is empty
    return {
        "calls": usage.calls,
        "tokens_in": usage.tokens_in if is_counted else None,
        "tokens_out": usage.tokens_out if is_counted else None,
        "seconds": round(usage.seconds, 1),
    }


class Meter:
    """Adds up usage by role of the model."""

    def __init__(self) -> None:
        self._usages: dict[str, Usage] = {}

    def count(self, role: str, usage: Usage) -> None:
        """Add what a model was asked."""
        self._usages[role] = self._usages.get(role, Usage()) + usage

    @property
    def by_role(self) -> Mapping[str, Usage]:
        """What each role's model was asked so far."""
        return dict(self._usages)
