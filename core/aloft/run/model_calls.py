"""Calls of models and functions as values, so that any process can work them out."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from aloft.backends.loading import Models
from aloft.errors import ModelError
from aloft.protocols import ReadingModel, ScoringModel, TokenReadingModel

Loaded = Literal["teacher", "language_model", "embedder", "reranker"]
_NEEDED: Mapping[str, tuple[type, str]] = {
    "choice_probabilities": (ScoringModel, "token probabilities"),
    "score_replies": (ReadingModel, "the likelihood of a given answer"),
    "token_logprobs": (TokenReadingModel, "the likelihood of a given answer"),
}


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A model by what it is loaded by.

    Attributes:
        load: The method of `Models` that returns it.
        name: As configured, or the folder of a trained one.
        adapter: Folder of an adapter of a language model.
    """

    load: Loaded
    name: str
    adapter: Path | None = None

    def of(self, models: Models) -> Any:
        """The model, loaded where it is not yet."""
        load: Callable[..., Any] = getattr(models, self.load)
        return load(self.name, self.adapter) if self.load == "language_model" else load(self.name)


class Call(Protocol):
    """What a process can be asked to work out; it can be pickled."""

    @property
    def name(self) -> str:
        """What is called, for messages."""
        ...

    def perform(self, models: Models) -> Any:
        """Work it out with the models of this process."""
        ...


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """A function that needs no model, and what it is given.

    Attributes:
        function: Of a module, so that it can be sent by its name. What it returns may be worked
            out only as it is read.
    """

    function: Callable[[Any], Iterable[Any]]
    argument: Any

    @property
    def name(self) -> str:
        """The function's."""
        function = self.function.func if isinstance(self.function, partial) else self.function
        return getattr(function, "__qualname__", type(function).__name__)

    def perform(self, _models: Models) -> Iterable[Any]:
        """What the function returns."""
        return self.function(self.argument)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCall:
    """A method of a model, and what it is given; it can be pickled.

    Attributes:
        model: Whose method it is.
        method: Such as "complete".
        role: What the model is for, such as "teacher"; for messages.
        arguments, options: Of the method.
    """

    model: ModelRef
    method: str
    role: str = ""
    arguments: tuple[Any, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The model's."""
        return self.model.name

    def perform(self, models: Models) -> "CallResult":
        """What the model returns, loaded where it is not yet."""
        return self.of(self.model.of(models))

    def of(self, model: Any) -> "CallResult":
        """What a model returns, and what that took.

        Raises:
            ModelError: it has no such method.
        """
        protocol, what = _NEEDED.get(self.method, (object, ""))
        if not isinstance(model, protocol):
            raise ModelError(
                f"The {self.role} does not return {what}. Choose a model on this machine, or "
                'settings that need none: ratings.method = "generate", and neither dependency nor '
                "needs_all in filters.use, nor reading in negatives.guards."
            )
        read: int = getattr(model, "tokens_scored", 0)
        started = time.monotonic()
        values = getattr(model, self.method)(*self.arguments, **self.options)
        seconds = time.monotonic() - started
        return CallResult(values, getattr(model, "tokens_scored", 0) - read, seconds)


@dataclass(frozen=True, slots=True)
class CallResult:
    """What a call returned.

    Attributes:
        values: As the method has them: replies, or an array.
        tokens: Read of what was scored, where the model counts them.
        seconds: Time in which the model was waited for.
    """

    values: Any
    tokens: int
    seconds: float

    @property
    def tokens_each(self) -> list[int]:
        """The tokens in shares as even as whole numbers are."""
        count = len(self.values)
        shares: list[int] = np.diff(np.linspace(0, self.tokens, count + 1).astype(int)).tolist()
        return shares


Perform = Callable[[Iterable[ModelCall]], Iterator[tuple[int, CallResult]]]
"""Works calls out: the place of each among the calls and its result, in any order."""


def perform_in_order(calls: Iterable[Call], models: Models) -> Iterator[tuple[int, Any]]:
    """Work calls out in this process, one after the other."""
    return ((place, call.perform(models)) for place, call in enumerate(calls))
