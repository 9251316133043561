"""Turns models into the same models whose every result is kept: no call is made twice.

The key of a result holds the model's fingerprint and everything that the call was given, so that a
changed prompt, pattern, seed or limit is another call. What a result cost is kept with it: a stage
that finds it there accounts for it as if it had asked.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from aloft.errors import ModelError
from aloft.protocols import (
    Floats,
    LanguageModel,
    Progress,
    Prompt,
    ReadingModel,
    Reply,
    Reranker,
    ScoringModel,
    TokenReadingModel,
    no_progress,
)
from aloft.records import cache_key, content_id
from aloft.run.cache import CallCache
from aloft.run.usage import Meter, Usage

_REPLIES = 32  # prompts between two writes to the cache: what a kill can cost
_READ = 128  # enough that prompts about one passage meet in a batch
_SCORED = 512


class NotCachedError(Exception):
    """A result would have to be worked out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """What a cached model needs.

    Attributes:
        role: What the model is for, such as "teacher"; its usage is counted under it.
        fingerprint: Names the model's weights.
        cache, meter: Where results and usage go.
        progress: Called with `label`, results done and results missing, after each write.
        label: What is being done, for a person.
        at_once: Prompts that the model is given at a time; None: as its kind of call has it.
        offline: Whether a missing result is an error.
    """

    role: str
    fingerprint: str
    cache: CallCache
    meter: Meter
    progress: Progress = no_progress
    label: str = ""
    at_once: int | None = None
    offline: bool = False

    def results(
        self,
        kind: str,
        keys: Sequence[str],
        work: Callable[[list[int]], Iterable[tuple[Any, Usage]]],
        size: int,
    ) -> list[Any]:
        """The result under each key; those that the cache lacks are worked out batch by batch.

        Args:
            kind: Of call.
            keys: Without the fingerprint; equal keys are worked out once.
            work: Results and costs of some rows.
            size: Rows of a batch.
        """
        whole = [content_id(kind, self.fingerprint, key) for key in keys]
        known = self.cache.get(list(dict.fromkeys(whole)))
        missing = list({key: row for row, key in enumerate(whole) if key not in known}.items())
        if missing and self.offline:
            raise NotCachedError
        size = self.at_once or size
        if self.label and len(missing) > size:
            self.progress(self.label, 0, len(missing))
        for start in range(0, len(missing), size):
            batch = missing[start : start + size]
            results = work([row for _, row in batch])
            new = {
                key: (value, _as_cost(usage))
                for (key, _), (value, usage) in zip(batch, results, strict=True)
            }
            self.cache.add(new)
            known.update(new)
            if self.label:
                self.progress(self.label, start + len(batch), len(missing))
        for key in dict.fromkeys(whole):
            cost = known[key][1]
            if cost:
                self.meter.count(self.role, Usage(**cost))
        return [known[key][0] for key in whole]


def _as_cost(usage: Usage) -> dict[str, Any] | None:
    if not usage.calls:
        return None
    return {
        "calls": usage.calls,
        "tokens_in": usage.tokens_in,
        "tokens_out": usage.tokens_out,
        "seconds": usage.seconds,
    }


class CachedLanguageModel:
    """A language model that is loaded when a result is missing.

    Args:
        load: Returns the model.
        caller: Where results go.
    """

    def __init__(self, load: Callable[[], LanguageModel], caller: Caller) -> None:
        self._load = load
        self._caller = caller

    @property
    def fingerprint(self) -> str:
        """Names the weights."""
        return self._caller.fingerprint

    @cached_property
    def _model(self) -> LanguageModel:
        return self._load()

    def complete(
        self, prompts: Sequence[Prompt], *, max_new_tokens: int, stop: Sequence[str] = ()
    ) -> list[Reply]:
        """Reply to each prompt."""

        def work(rows: list[int]) -> Iterable[tuple[Any, Usage]]:
            started = time.monotonic()
            replies = self._model.complete(
                [prompts[row] for row in rows], max_new_tokens=max_new_tokens, stop=stop
            )
            seconds = (time.monotonic() - started) / len(rows)
            return [(_reply_values(reply), _usage_of(reply, seconds)) for reply in replies]

        keys = [cache_key(_values(one), max_new_tokens, list(stop)) for one in prompts]
        found = self._caller.results("complete", keys, work, _REPLIES)
        return [Reply(**values) for values in found]

    def choice_probabilities(self, prompts: Sequence[Prompt], choices: Sequence[str]) -> Floats:
        """Probability of each choice's first token; (prompts, choices).

        Raises:
            ModelError: the model does not return probabilities.
        """

        def work(rows: list[int]) -> Iterable[tuple[Any, Usage]]:
            model = self._needed(ScoringModel, "token probabilities")
            asked = [prompts[row] for row in rows]
            return self._counted(rows, lambda: model.choice_probabilities(asked, choices).tolist())

        keys = [cache_key(_values(prompt), list(choices)) for prompt in prompts]
        found = self._caller.results("choices", keys, work, _READ)
        return np.array(found, np.float32).reshape(len(prompts), len(choices))

    def score_replies(self, prompts: Sequence[Prompt], replies: Sequence[str]) -> Floats:
        """Mean log-probability of the tokens of each reply, in nats; (prompts,).

        Raises:
            ModelError: the model does not return log-probabilities of a given reply.
        """

        def work(rows: list[int]) -> Iterable[tuple[Any, Usage]]:
            model = self._needed(ReadingModel, "the likelihood of a given answer")
            asked = [prompts[row] for row in rows], [replies[row] for row in rows]
            return self._counted(rows, lambda: model.score_replies(*asked).tolist())

        found = self._caller.results("score", _keys(prompts, replies), work, _READ)
        return np.array(found, np.float32)

    def token_logprobs(
        self, prompts: Sequence[Prompt], replies: Sequence[str]
    ) -> list[list[float]]:
        """Log-probabilities of each reply's tokens, in nats.

        Raises:
            ModelError: the model does not return log-probabilities of a given reply.
        """

        def work(rows: list[int]) -> Iterable[tuple[Any, Usage]]:
            model = self._needed(TokenReadingModel, "the likelihood of a given answer")
            asked = [prompts[row] for row in rows], [replies[row] for row in rows]
            return self._counted(rows, lambda: model.token_logprobs(*asked))

        found: list[list[float]] = self._caller.results(
            "logprobs", _keys(prompts, replies), work, _READ
        )
        return found

    def _needed(self, protocol: type, what: str) -> Any:
        if not isinstance(self._model, protocol):
            raise ModelError(
                f"The {self._caller.role} does not return {what}. Choose a model on this machine, "
                'or settings that need none: ratings.method = "generate", and neither dependency '
                "nor needs_all in filters.use, nor reading in negatives.guards."
            )
        return self._model

    def _counted(
        self, rows: list[int], work: Callable[[], list[Any]]
    ) -> Iterable[tuple[Any, Usage]]:
        """Results, each with its share of what was read and of the time."""
        read: int = getattr(self._model, "tokens_scored", 0)
        started = time.monotonic()
        results = work()
        seconds = (time.monotonic() - started) / len(rows)
        tokens = getattr(self._model, "tokens_scored", 0) - read
        shares = np.diff(np.linspace(0, tokens, len(rows) + 1).astype(int)).tolist()
        return [
            (result, Usage(calls=1, tokens_in=share, seconds=seconds))
            for result, share in zip(results, shares, strict=True)
        ]


class CachedReranker:
    """A reranker that is loaded when a score is missing."""

    def __init__(self, load: Callable[[], Reranker], caller: Caller) -> None:
        self._load = load
        self._caller = caller

    @property
    def fingerprint(self) -> str:
        """Names the weights."""
        return self._caller.fingerprint

    @cached_property
    def _model(self) -> Reranker:
        return self._load()

    def score(self, pairs: Sequence[tuple[str, str]]) -> Floats:
        """Higher is better; (pairs,)."""

        def work(rows: list[int]) -> Iterable[tuple[Any, Usage]]:
            scores = self._model.score([pairs[row] for row in rows]).tolist()
            return [(score, Usage()) for score in scores]

        keys = [content_id(*pair) for pair in pairs]
        return np.array(self._caller.results("rerank", keys, work, _SCORED), np.float32)


def _keys(prompts: Sequence[Prompt], replies: Sequence[str]) -> list[str]:
    return [cache_key(_values(one), reply) for one, reply in zip(prompts, replies, strict=True)]


def _values(prompt: Prompt) -> list[Any]:
    """All of a prompt, as JSON types; what later versions added only where it is used.

    So what an earlier version was answered is found again.
    """
    turns = [[message.role, message.content] for message in prompt.messages]
    cut = [prompt.top_p] if prompt.top_p < 1 else []
    drawn = [prompt.seed, prompt.temperature, *cut] if prompt.seed is not None else None
    held = [prompt.json_schema] if prompt.json_schema is not None else []
    return [turns, prompt.prefix, prompt.is_plain, drawn, prompt.pattern, *held]


def _reply_values(reply: Reply) -> dict[str, Any]:
    return {
        "text": reply.text,
        "is_finished": reply.is_finished,
        "prompt_tokens": reply.prompt_tokens,
        "new_tokens": reply.new_tokens,
        "is_anew": reply.is_anew,
    }


def _usage_of(reply: Reply, seconds: float) -> Usage:
    return Usage(
        calls=1, tokens_in=reply.prompt_tokens, tokens_out=reply.new_tokens, seconds=seconds
    )
