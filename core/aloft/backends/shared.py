"""Models that a host's threads share: loaded on first use, called by one thread at a time.

Loaded models are not thread-safe, and hosts call from many threads, so every call holds the lock of
the `SharedModels` that it came from. A server, which handles concurrent requests, needs no lock.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import Any

from aloft.backends.loading import Models
from aloft.config import SERVER
from aloft.errors import ProbabilitiesError
from aloft.protocols import (
    Embedder,
    Floats,
    LanguageModel,
    Prompt,
    Reply,
    Reranker,
    ScoringModel,
    stream_reply,
)


class SharedModels(Models):
    """Models that load on their first call and run one call at a time.

    Pass the same instance to several components of a host to share weights between them. Copying
    returns the same object; unpickling in another process gives one that has loaded nothing yet.

    Args:
        source: Loads the models; None: from this machine.
    """

    def __init__(self, source: Models | None = None) -> None:
        super().__init__()
        self._source = source or Models()
        self._lock = RLock()
        self._rerankers: dict[str, Reranker] = {}
        self._windows: dict[str, int] = {}

    def embedder(self, name: str) -> Embedder:
        """The named embedder, loaded on its first call."""
        return _SharedEmbedder(self, name)

    def reranker(self, name: str) -> Reranker:
        """The named reranker, loaded on its first call."""
        return _SharedReranker(self, name)

    def language_model(self, name: str, adapter: Path | None = None) -> LanguageModel:
        """The named language model, loaded on its first call; only the last called stays loaded."""
        return _SharedLanguageModel(self, name, adapter)

    def fingerprint(self, name: str) -> str:
        """Identify a model without loading it."""
        return self._source.fingerprint(name)

    def context_window(self, name: str) -> int:
        """Context window of a language model in tokens; looked up once."""
        if name not in self._windows:
            self._windows[name] = self._source.context_window(name)
        return self._windows[name]

    def release(self) -> None:
        """Release all models."""
        with self._lock:
            self._source.release()
            self._rerankers.clear()

    def __copy__(self) -> "SharedModels":
        return self

    def __deepcopy__(self, _memo: dict[int, Any]) -> "SharedModels":
        return self

    def __reduce__(self) -> tuple[type["SharedModels"], tuple[()]]:
        return SharedModels, ()


@dataclass(frozen=True, slots=True)
class _SharedEmbedder:
    models: SharedModels
    name: str

    @property
    def fingerprint(self) -> str:
        return self.models.fingerprint(self.name)

    @property
    def reads(self) -> int | None:
        with self.models._lock:
            return self.models._source.embedder(self.name).reads

    def locate_tokens(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        with self.models._lock:
            return self.models._source.embedder(self.name).locate_tokens(texts)

    def encode_queries(self, texts: Sequence[str]) -> Floats:
        with self.models._lock:
            return self.models._source.embedder(self.name).encode_queries(texts)

    def encode_passages(self, texts: Sequence[str]) -> Floats:
        with self.models._lock:
            return self.models._source.embedder(self.name).encode_passages(texts)


@dataclass(frozen=True, slots=True)
class _SharedReranker:
    models: SharedModels
    name: str

    @property
    def fingerprint(self) -> str:
        return self.models.fingerprint(self.name)

    def score(self, pairs: Sequence[tuple[str, str]]) -> Floats:
        with self.models._lock:
            loaded = self.models._rerankers
            if self.name not in loaded:
                loaded[self.name] = self.models._source.reranker(self.name)
            return loaded[self.name].score(pairs)


@dataclass(frozen=True, slots=True)
class _SharedLanguageModel:
    models: SharedModels
    name: str
    adapter: Path | None

    @property
    def _turn(self) -> AbstractContextManager[object]:
        return nullcontext() if self.name.startswith(SERVER) else self.models._lock

    @property
    def _loaded(self) -> LanguageModel:
        with self.models._lock:
            return self.models._source.language_model(self.name, self.adapter)

    @property
    def fingerprint(self) -> str:
        return self._loaded.fingerprint

    def complete(
        self, prompts: Sequence[Prompt], *, max_new_tokens: int, stop: Sequence[str] = ()
    ) -> list[Reply]:
        with self._turn:
            return self._loaded.complete(prompts, max_new_tokens=max_new_tokens, stop=stop)

    def choice_probabilities(self, prompts: Sequence[Prompt], choices: Sequence[str]) -> Floats:
        """Probability of each choice's first token; (prompts, choices).

        Raises:
            ProbabilitiesError: the model returns none.
        """
        with self._turn:
            model = self._loaded
            if not isinstance(model, ScoringModel):
                raise ProbabilitiesError(
                    f"{self.name} returns no token probabilities. Name a model on this machine."
                )
            return model.choice_probabilities(prompts, choices)

    def stream(
        self, prompt: Prompt, *, max_new_tokens: int, stop: Sequence[str] = ()
    ) -> Iterator[Reply]:
        """The reply in pieces, between which other threads get their turn."""
        with self._turn:
            pieces = stream_reply(self._loaded, prompt, max_new_tokens=max_new_tokens, stop=stop)
        while True:
            with self._turn:
                piece = next(pieces, None)
            if piece is None:
                return
            yield piece
