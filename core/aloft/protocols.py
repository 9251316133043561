"""What a stage may be given: the Protocols that models, ours or a host's, satisfy."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from aloft.records import Message

Floats = NDArray[np.float32]
Scorer = Callable[[Sequence[tuple[str, str]]], Floats]
"""Scores of (query, passage) pairs by a reranker, higher is better; (pairs,)."""
Progress = Callable[[str, int, int], None]
"""Told (what is being done, steps done, steps in all) while a stage works."""


def no_progress(_stage: str, _done: int, _total: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What a language model is asked.

    Attributes:
        messages: The conversation; contents are data, a control token in them is only text.
        prefix: The start of the reply, forced upon the model and not repeated in the reply.
        is_plain: The contents stand one after the other without a chat template, as small
            and untuned models follow examples best.
        seed: Of a sampled reply, the prompt's own, so that no other prompt changes it; None:
            the reply is greedy. A host's model that takes no seed replies as it is set to.
        temperature: Of a sampled reply.
        pattern: A regular expression for the whole reply behind the prefix, in what the dialects
            have in common. An engine that can hold the model to it does (vLLM, here or behind a
            server, and models in this process); to others it is nothing.
    """

    messages: tuple[Message, ...]
    prefix: str = ""
    is_plain: bool = False
    seed: int | None = None
    temperature: float = 0.7
    pattern: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a language model answered.

    Attributes:
        text: The new text, without the prompt's prefix and without the stop string.
        is_finished: False where the reply ran into `max_new_tokens` and was cut.
        prompt_tokens: Tokens read; 0 where the model tells no counts.
        new_tokens: Tokens written.
        is_anew: True where the model could not be made to go on from the prompt's prefix, so that
            the text may begin as it would have without it; a host's model is of that kind.
        is_piece: True where more of the reply follows, in a stream; the last piece tells its end
            and the counts.
    """

    text: str
    is_finished: bool
    prompt_tokens: int = 0
    new_tokens: int = 0
    is_anew: bool = False
    is_piece: bool = False


Reader = Callable[[Sequence[Prompt], Sequence[str]], Floats]
"""Mean log-likelihoods, in nats a token, that a model gives replies to prompts; (prompts,)."""


@runtime_checkable
class LanguageModel(Protocol):
    """A teacher, which writes and rates training data, or a generator, which answers."""

    @property
    def fingerprint(self) -> str:
        """Names the weights: another string means other replies."""
        ...

    def complete(
        self, prompts: Sequence[Prompt], *, max_new_tokens: int, stop: Sequence[str] = ()
    ) -> list[Reply]:
        """Reply to each prompt; a reply ends before any of the `stop` strings."""
        ...


@runtime_checkable
class StreamingModel(Protocol):
    """A language model that also tells a reply while it writes it."""

    def stream(
        self, prompt: Prompt, *, max_new_tokens: int, stop: Sequence[str] = ()
    ) -> Iterator[Reply]:
        """What `complete` would reply, in pieces; once nobody asks for more, no more is written."""
        ...


def stream_reply(
    model: LanguageModel, prompt: Prompt, *, max_new_tokens: int, stop: Sequence[str] = ()
) -> Iterator[Reply]:
    """A model's reply in pieces; in one where it does not stream."""
    if isinstance(model, StreamingModel):
        yield from model.stream(prompt, max_new_tokens=max_new_tokens, stop=stop)
    else:
        yield from model.complete([prompt], max_new_tokens=max_new_tokens, stop=stop)


@runtime_checkable
class ScoringModel(LanguageModel, Protocol):
    """A language model that also tells how likely it finds given continuations.

    One that counts tokens keeps the number that it read for scores so far in `tokens_scored`.
    """

    def choice_probabilities(self, prompts: Sequence[Prompt], choices: Sequence[str]) -> Floats:
        """Probability of each choice's first token; (prompts, choices), rows sum to 1."""
        ...


@runtime_checkable
class ReadingModel(ScoringModel, Protocol):
    """A language model that also tells how likely it finds a whole given reply."""

    def score_replies(self, prompts: Sequence[Prompt], replies: Sequence[str]) -> Floats:
        """Mean natural log-probability of the tokens of each reply after its prompt; (prompts,).

        What is read for it counts in `tokens_scored`. A reply has one token at least.
        """
        ...


@runtime_checkable
class TokenReadingModel(LanguageModel, Protocol):
    """A language model that tells of each token of a given reply how likely it finds it."""

    def token_logprobs(
        self, prompts: Sequence[Prompt], replies: Sequence[str]
    ) -> list[list[float]]:
        """Natural log-probabilities of the tokens of each reply after its prompt."""
        ...


@runtime_checkable
class Embedder(Protocol):
    """Turns texts to vectors of length one."""

    @property
    def fingerprint(self) -> str:
        """Names the weights: another string means other vectors."""
        ...

    @property
    def reads(self) -> int | None:
        """Tokens of a passage that it reads; None: all there are."""
        ...

    def locate_tokens(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        """Per text the character span of each of its tokens."""
        ...

    def encode_queries(self, texts: Sequence[str]) -> Floats:
        """Vectors of questions; (texts, dimensions), each row of length one."""
        ...

    def encode_passages(self, texts: Sequence[str]) -> Floats:
        """Vectors of passages; (texts, dimensions), each row of length one."""
        ...


@runtime_checkable
class Reranker(Protocol):
    """Scores how well a passage answers a query."""

    @property
    def fingerprint(self) -> str:
        """Names the weights: another string means other scores."""
        ...

    def score(self, pairs: Sequence[tuple[str, str]]) -> Floats:
        """Higher is better; (pairs,), each pair a query and a passage."""
        ...
