"""Turns a teacher into one that counts what it is asked, and the counts into a stage's account."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from aloft.protocols import Floats, LanguageModel, Prompt, ReadingModel, Reply, ScoringModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a teacher was asked, and what it took.

    Attributes:
        calls: Prompts; one that is asked a second time counts twice.
        tokens_in: Tokens read; 0 where the teacher does not tell.
        tokens_out: Tokens written.
        seconds: Time in which the teacher was waited for.
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


def total(spendings: Iterable[Usage]) -> Usage:
    """All of them together."""
    return sum(spendings, Usage())


def as_account(spent: Usage) -> dict[str, Any]:
    """What a manifest says of it; None stands for tokens that the teacher does not tell."""
    is_told = spent.tokens_in > 0  # no prompt is empty
    return {
        "calls": spent.calls,
        "tokens_in": spent.tokens_in if is_told else None,
        "tokens_out": spent.tokens_out if is_told else None,
        "seconds": round(spent.seconds, 1),
    }


def describe_teacher(spent: Mapping[str, Usage], kept: int | None = None) -> dict[str, Any]:
    """A stage's facts about its teacher; none where it asked none.

    Args:
        spent: By what the teacher did.
        kept: Pairs that came of it, where the stage writes pairs.
    """
    asked = {name: one for name, one in spent.items() if one.calls}
    if not asked:
        return {}
    facts: dict[str, Any] = {"teacher": {name: as_account(one) for name, one in asked.items()}}
    seconds = total(asked.values()).seconds
    if kept is not None and seconds:
        facts["pairs_an_hour"] = round(kept * 3600 / seconds)
    return facts


class Meter:
    """What a teacher was asked since it was last read."""

    def __init__(self) -> None:
        self._open = Usage()

    def count(self, spent: Usage) -> None:
        """Add what was asked."""
        self._open += spent

    def read(self) -> Usage:
        """What came together since the last reading; it is counted no second time."""
        spent, self._open = self._open, Usage()
        return spent

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Keep what is read inside apart from what was counted before, which is given back."""
        earlier = self.read()
        try:
            yield
        finally:
            self.count(earlier)


def metered(teacher: LanguageModel, meter: Meter) -> LanguageModel:
    """The same teacher, each call of which is counted; one that scores still does."""
    if isinstance(teacher, ReadingModel):
        return _Reading(teacher, meter)
    return _Scoring(teacher, meter) if isinstance(teacher, ScoringModel) else _Asked(teacher, meter)


class _Asked:
    def __init__(self, teacher: LanguageModel, meter: Meter) -> None:
        self._teacher: Any = teacher
        self._meter = meter

    @property
    def fingerprint(self) -> str:
        return str(self._teacher.fingerprint)

    def complete(
        self, prompts: Sequence[Prompt], *, max_new_tokens: int, stop: Sequence[str] = ()
    ) -> list[Reply]:
        started = time.monotonic()
        replies: list[Reply] = self._teacher.complete(
            prompts, max_new_tokens=max_new_tokens, stop=stop
        )
        self._meter.count(
            Usage(
                calls=len(prompts),
                tokens_in=sum(reply.prompt_tokens for reply in replies),
                tokens_out=sum(reply.new_tokens for reply in replies),
                seconds=time.monotonic() - started,
            )
        )
        return replies


class _Scoring(_Asked):
    def choice_probabilities(self, prompts: Sequence[Prompt], choices: Sequence[str]) -> Floats:
        with self._counted(len(prompts)):
            scores: Floats = self._teacher.choice_probabilities(prompts, choices)
        return scores

    @contextmanager
    def _counted(self, calls: int) -> Iterator[None]:
        """Scores come without counts: a teacher that can tell keeps a running one."""
        started, read = time.monotonic(), self._read()
        yield
        seconds = time.monotonic() - started
        self._meter.count(Usage(calls=calls, tokens_in=self._read() - read, seconds=seconds))

    def _read(self) -> int:
        return int(getattr(self._teacher, "tokens_scored", 0))


class _Reading(_Scoring):
    def score_replies(self, prompts: Sequence[Prompt], replies: Sequence[str]) -> Floats:
        with self._counted(len(prompts)):
            scores: Floats = self._teacher.score_replies(prompts, replies)
        return scores
