"""Turns models into the same models whose every result is kept: no call is made twice.

The key of a result holds the model's fingerprint and everything that the call was given, so that a
changed prompt, pattern, seed or limit is another call. What a result cost is kept with it: a stage
that finds it there accounts for it as if it had asked.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aloft.protocols import Floats, Progress, Prompt, Reply, no_progress
from aloft.records import cache_key, content_id
from aloft.run.cache import KeptCalls
from aloft.run.model_calls import CallResult, ModelCall, ModelRef, Perform
from aloft.run.usage import Meter, Usage

_REPLIES = 32  # prompts between two writes to the cache: what a kill can cost
_READ = 128  # enough that prompts about one passage meet in a batch
_SCORED = 512
_ANNOUNCED = 8  # results; more may take minutes on a slow machine, so that their start is reported


class NotCachedError(Exception):
    """A result would have to be worked out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """What a cached model needs.

    Attributes:
        role: What the model is for, such as "teacher"; its usage is counted under it.
        fingerprint: Names the model's weights.
        cache, meter: Where results and usage go.
        perform: Works out the calls whose results are missing.
        progress: Called with `label`, results done and results missing, after each write.
        label: What is being done, for a person.
        at_once: Prompts that the model is given at a time; None: as its kind of call has it.
        offline: Whether a missing result is an error.
    """

    role: str
    fingerprint: str
    cache: KeptCalls
    meter: Meter
    perform: Perform
    progress: Progress = no_progress
    label: str = ""
    at_once: int | None = None
    offline: bool = False

    def results(
        self,
        kind: str,
        keys: Sequence[str],
        call: Callable[[list[int]], ModelCall],
        read: Callable[[CallResult], list[tuple[Any, Usage]]],
        size: int,
    ) -> list[Any]:
        """The result under each key; those that the cache lacks are worked out batch by batch.

        Args:
            kind: Of call.
            keys: Without the fingerprint; equal keys are worked out once.
            call: Asks the model about some rows.
            read: The value to keep of each of those rows, and what it took.
            size: Rows of a batch.
        """
        whole = [content_id(kind, self.fingerprint, key) for key in keys]
        known = self.cache.get(list(dict.fromkeys(whole)))
        missing = list({key: row for row, key in enumerate(whole) if key not in known}.items())
        if missing and self.offline:
            raise NotCachedError
        size = self.at_once or size
        if self.label and len(missing) > min(size, _ANNOUNCED):
            self.progress(self.label, 0, len(missing))
        batches = [missing[start : start + size] for start in range(0, len(missing), size)]
        done = 0
        for place, result in self.perform(call([row for _, row in some]) for some in batches):
            new = {
                key: (value, _as_cost(usage))
                for (key, _), (value, usage) in zip(batches[place], read(result), strict=True)
            }
            self.cache.add(new)
            known.update(new)
            done += len(batches[place])
            if self.label:
                self.progress(self.label, done, len(missing))
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
    """A language model that is asked for what is missing.

    Args:
        model: Which one it is.
        caller: Where results go.
    """

    def __init__(self, model: ModelRef, caller: Caller) -> None:
        self._model = model
        self._caller = caller

    @property
    def fingerprint(self) -> str:
        """Names the weights."""
        return self._caller.fingerprint

    def complete(
        self, prompts: Sequence[Prompt], *, max_new_tokens: int, stop: Sequence[str] = ()
    ) -> list[Reply]:
        """Reply to each prompt."""
        options = {"max_new_tokens": max_new_tokens, "stop": stop}

        def call(rows: list[int]) -> ModelCall:
            return self._call("complete", [prompts[row] for row in rows], **options)

        keys = [cache_key(_values(one), max_new_tokens, list(stop)) for one in prompts]
        found = self._caller.results("complete", keys, call, _read_replies, _REPLIES)
        return [Reply(**values) for values in found]

    def choice_probabilities(self, prompts: Sequence[Prompt], choices: Sequence[str]) -> Floats:
        """Probability of each choice's first token; (prompts, choices).

        Raises:
            ModelError: the model does not return probabilities.
        """

        def call(rows: list[int]) -> ModelCall:
            return self._call("choice_probabilities", [prompts[row] for row in rows], choices)

        keys = [cache_key(_values(prompt), list(choices)) for prompt in prompts]
        found = self._caller.results("choices", keys, call, _read_scores, _REPLIES)
        return np.array(found, np.float32).reshape(len(prompts), len(choices))

    def score_replies(self, prompts: Sequence[Prompt], replies: Sequence[str]) -> Floats:
        """Mean log-probability of the tokens of each reply, in nats; (prompts,).

        Raises:
            ModelError: the model does not return log-probabilities of a given reply.
        """
        return np.array(self._read("score", "score_replies", prompts, replies), np.float32)

    def token_logprobs(
        self, prompts: Sequence[Prompt], replies: Sequence[str]
    ) -> list[list[float]]:
        """Log-probabilities of each reply's tokens, in nats.

        Raises:
            ModelError: the model does not return log-probabilities of a given reply.
        """
        return self._read("logprobs", "token_logprobs", prompts, replies)

    def _read(
        self, kind: str, method: str, prompts: Sequence[Prompt], replies: Sequence[str]
    ) -> list[Any]:
        def call(rows: list[int]) -> ModelCall:
            asked = [prompts[row] for row in rows], [replies[row] for row in rows]
            return self._call(method, *asked)

        return self._caller.results(kind, _keys(prompts, replies), call, _read_scores, _READ)

    def _call(self, method: str, *arguments: Any, **options: Any) -> ModelCall:
        role = self._caller.role
        return ModelCall(
            model=self._model, method=method, role=role, arguments=arguments, options=options
        )


class CachedReranker:
    """A reranker that is asked for the scores that are missing."""

    def __init__(self, model: ModelRef, caller: Caller) -> None:
        self._model = model
        self._caller = caller

    @property
    def fingerprint(self) -> str:
        """Names the weights."""
        return self._caller.fingerprint

    def score(self, pairs: Sequence[tuple[str, str]]) -> Floats:
        """Higher is better; (pairs,)."""

        def call(rows: list[int]) -> ModelCall:
            return ModelCall(
                model=self._model, method="score", arguments=([pairs[row] for row in rows],)
            )

        def read(result: CallResult) -> list[tuple[Any, Usage]]:
            return [(score, Usage()) for score in result.values.tolist()]

        keys = [content_id(*pair) for pair in pairs]
        # kept as "rerank" before, when late interaction did not read long passages to their end
        return np.array(self._caller.results("scores", keys, call, read, _SCORED), np.float32)


def _read_replies(result: CallResult) -> list[tuple[Any, Usage]]:
    seconds = result.seconds / len(result.values)
    return [(_reply_values(reply), _usage_of(reply, seconds)) for reply in result.values]


def _read_scores(result: CallResult) -> list[tuple[Any, Usage]]:
    """Each with its share of what was read and of the time."""
    values: Any = result.values
    rows = values if isinstance(values, list) else values.tolist()
    seconds = result.seconds / len(rows)
    return [
        (row, Usage(calls=1, tokens_in=tokens, seconds=seconds))
        for row, tokens in zip(rows, result.tokens_each, strict=True)
    ]


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
