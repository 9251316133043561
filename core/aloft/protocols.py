"""Protocols of the models that stages work with, whether ours or a host's."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from aloft.records import Message

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")
Floats = NDArray[np.float32]
Scorer = Callable[[Sequence[tuple[str, str]]], Floats]
"""Scores of (query, passage) pairs by a reranker, higher is better; (pairs,)."""
Progress = Callable[[str, int, int], None]
"""Called with (activity, steps done, total steps) while a stage works."""


def no_progress(_activity: str, _done: int, _total: int) -> None:
    """Report nothing."""


class Spread(Protocol):
    """Has a function make something of each item, in whatever process; the results are in order."""

    def __call__(
        self, work: Callable[[ItemT], Iterable[ResultT]], items: Iterable[ItemT], /
    ) -> Iterator[Iterable[ResultT]]:
        """What `work` returns for each item; both can be pickled."""
        ...


def in_this_process(
    work: Callable[[ItemT], Iterable[ResultT]], items: Iterable[ItemT], /
) -> Iterator[Iterable[ResultT]]:
    """What `work` returns for each item, as it is asked for."""
    return (work(item) for item in items)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A function that a model may call.

    Attributes:
        parameters: JSON schema of its arguments, an object.
    """

    name: str
    description: str
    parameters: Mapping[str, Any] = field(hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A call that a model makes.

    Attributes:
        id: Tells the calls of a conversation apart.
        arguments: By the names of the tool's parameters.
    """

    id: str
    name: str
    arguments: Mapping[str, Any] = field(hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolTurn(Message):
    """A turn of the assistant that calls tools, or a turn with the result of such a call.

    Attributes:
        tool_calls: The assistant's calls.
        tool_call_id: Of a result: the call that it answers.
        name: Of a result: the tool's name, where it is known.
    """

    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """Input of a language model.

    Attributes:
        messages: The conversation. Contents are data: a control token in them is plain text.
        prefix: Forced beginning of the reply; it is not repeated in the reply.
        is_plain: Whether contents are concatenated without a chat template, as small or untuned
            models follow worked examples best.
        seed: Seed of a sampled reply, independent of the other prompts of a call; None: greedy
            decoding. A host's model that takes no seed samples as it is configured.
        temperature: Temperature of a sampled reply.
        top_p: Share of the probability that a sampled reply is drawn from, the likeliest tokens
            first.
        pattern: Regular expression that the whole reply after the prefix must match, in the syntax
            that the common dialects share. Models in this process and vLLM enforce it; other
            engines ignore it.
        json_schema: JSON schema that the whole reply must satisfy; None: the reply is free. It is
            enforced, or the prompt is refused.
        tools: Functions that the reply may call, described by the model's own chat template.
        tool_choice: "auto", "none", "required", or the name of the tool that must be called.
        calls_in_parallel: Whether one reply may make several calls.
    """

    messages: tuple[Message, ...]
    prefix: str = ""
    is_plain: bool = False
    seed: int | None = None
    temperature: float = 0.7
    top_p: float = 1.0
    pattern: str = ""
    json_schema: Mapping[str, Any] | None = field(default=None, hash=False)
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"
    calls_in_parallel: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """Output of a language model.

    Attributes:
        text: The new text, without the prompt's prefix and without the stop string.
        is_finished: False where the reply reached `max_new_tokens` and was cut.
        prompt_tokens: Tokens of the prompt; 0 where the model reports no counts.
        new_tokens: Generated tokens; 0 where the model reports no counts.
        is_anew: True where the model could not be forced to continue from the prompt's prefix, as
            hosts' models cannot, so that the text may begin as it would have without it.
        is_piece: True where more of a streamed reply follows. The last piece has the counts and
            says whether the reply is finished.
        tool_calls: Calls that the reply makes; their text is no part of `text`.
        is_unread: True where the prompt exceeds the model's context window, so that nothing of it
            was read.
    """

    text: str
    is_finished: bool
    prompt_tokens: int = 0
    new_tokens: int = 0
    is_anew: bool = False
    is_piece: bool = False
    tool_calls: tuple[ToolCall, ...] = ()
    is_unread: bool = False

    @property
    def finish_reason(self) -> str:
        """Why the reply ended, as OpenAI's protocol names it."""
        ended = "tool_calls" if self.tool_calls else "stop"
        return ended if self.is_finished else "length"


Reader = Callable[[Sequence[Prompt], Sequence[str]], Floats]
"""Mean log-likelihoods of replies to prompts by a model, in nats per token; (prompts,)."""


@runtime_checkable
class LanguageModel(Protocol):
    """A teacher, which writes and rates training data, or a generator, which answers."""

    @property
    def fingerprint(self) -> str:
        """Identifies everything that determines the replies, such as weights and tokenizer."""
        ...

    def complete(
        self, prompts: Sequence[Prompt], *, max_new_tokens: int, stop: Sequence[str] = ()
    ) -> list[Reply]:
        """Reply to each prompt; a reply ends before the first of the `stop` strings."""
        ...


@runtime_checkable
class PacedModel(LanguageModel, Protocol):
    """A language model that is no faster with more prompts at a time than it says."""

    @property
    def at_once(self) -> int:
        """Prompts per call, after each of which replies are kept: what an interruption costs."""
        ...


@runtime_checkable
class StreamingModel(Protocol):
    """A language model that can return a reply while it is being generated."""

    def stream(
        self, prompt: Prompt, *, max_new_tokens: int, stop: Sequence[str] = ()
    ) -> Iterator[Reply]:
        """The reply of `complete` in pieces; generation stops when no more are requested."""
        ...


def stream_reply(
    model: LanguageModel, prompt: Prompt, *, max_new_tokens: int, stop: Sequence[str] = ()
) -> Iterator[Reply]:
    """A model's reply in pieces, or as a single one where the model does not stream."""
    if isinstance(model, StreamingModel):
        yield from model.stream(prompt, max_new_tokens=max_new_tokens, stop=stop)
    else:
        yield from model.complete([prompt], max_new_tokens=max_new_tokens, stop=stop)


@runtime_checkable
class Tokenizer(Protocol):
    """Counts what a language model reads, as the model itself does."""

    @property
    def takes_tools(self) -> bool:
        """Whether the model can be given tools to call."""
        ...

    def encode(self, text: str) -> list[int]:
        """Token ids of a text alone, without a chat template."""
        ...

    def count(self, prompt: Prompt) -> int:
        """Number of tokens that the model reads of a prompt."""
        ...


@runtime_checkable
class ScoringModel(LanguageModel, Protocol):
    """A language model that also returns probabilities of given continuations.

    A model that counts tokens keeps the number read for scores so far in `tokens_scored`.
    """

    def choice_probabilities(self, prompts: Sequence[Prompt], choices: Sequence[str]) -> Floats:
        """Probability of each choice's first token; (prompts, choices), rows sum to 1."""
        ...


@runtime_checkable
class ReadingModel(ScoringModel, Protocol):
    """A language model that also returns the likelihood of a whole given reply."""

    def score_replies(self, prompts: Sequence[Prompt], replies: Sequence[str]) -> Floats:
        """Mean log-probability of each reply's tokens after its prompt, in nats; (prompts,).

        Tokens read count in `tokens_scored`. A reply has at least one token.
        """
        ...


@runtime_checkable
class TokenReadingModel(LanguageModel, Protocol):
    """A language model that returns the likelihood of each token of a given reply."""

    def token_logprobs(
        self, prompts: Sequence[Prompt], replies: Sequence[str]
    ) -> list[list[float]]:
        """Log-probabilities of each reply's tokens after its prompt, in nats."""
        ...


@runtime_checkable
class Embedder(Protocol):
    """Embeds texts as unit vectors."""

    @property
    def fingerprint(self) -> str:
        """Identifies everything that determines the vectors, such as weights and prompts."""
        ...

    @property
    def reads(self) -> int | None:
        """Maximum number of tokens of a passage that are read; None: unlimited."""
        ...

    def locate_tokens(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        """Character span of each token, per text."""
        ...

    def encode_queries(self, texts: Sequence[str]) -> Floats:
        """Vectors of questions; (texts, dimensions), rows of unit length."""
        ...

    def encode_passages(self, texts: Sequence[str]) -> Floats:
        """Vectors of passages; (texts, dimensions), rows of unit length."""
        ...


@runtime_checkable
class Reranker(Protocol):
    """Scores how well a passage answers a query."""

    @property
    def fingerprint(self) -> str:
        """Identifies everything that determines the scores, such as weights and tokenizer."""
        ...

    def score(self, pairs: Sequence[tuple[str, str]]) -> Floats:
        """Scores of (query, passage) pairs, higher is better; (pairs,)."""
        ...
