"""Models that a host's threads share: loaded on first use, called by one thread at a time.

Loaded models are not thread-safe, and hosts call from many threads, so each model has a lock that
every call of it holds, of many passages for some at a time; different models work side by side.
What waits for a language model is answered together. A server, which handles concurrent requests,
needs no lock.
"""

import gc
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import Any, Literal
from weakref import WeakValueDictionary

import numpy as np

from aloft.backends.batching import ENCODED_AT_ONCE, Answer, Batcher, Threads
from aloft.backends.host_state import library_turn
from aloft.backends.loading import (
    Models,
    load_embedder,
    load_language_model,
    load_reranker,
)
from aloft.backends.server_settings import DEFAULT_SETTINGS, ServerSettings
from aloft.config import SERVER, VLLM
from aloft.errors import ProbabilitiesError
from aloft.protocols import (
    Embedder,
    Floats,
    Prompt,
    Reply,
    Reranker,
    ScoringModel,
    Tokenizer,
    stream_reply,
)

_to_servers = Threads(16, "aloft-server")  # they wait, mostly
_Role = Literal["embedder", "reranker", "language model"]
_Key = tuple[_Role, str, Path | None]  # name and adapter


class _Loaded:
    """A model in memory.

    Attributes:
        model: An embedder, a reranker or a language model.
        fingerprint: Of the files that it was loaded from.
        turn: Held during a call.
    """

    def __init__(self, model: Any, fingerprint: str, turn: AbstractContextManager[object]) -> None:
        self.model = model
        self.fingerprint = fingerprint
        self.turn = turn


_in_memory: "WeakValueDictionary[tuple[_Role, bool, str], _Loaded]" = WeakValueDictionary()
"""Models of this process by role, whether in vLLM, and fingerprint, as long as a part uses them."""


class SharedModels(Models):
    """Models that load on their first call and run one call at a time.

    Models whose files are equal are loaded once for the whole process and released with the last
    part that uses them. What is loaded stays as it is, even where its folder is trained again:
    new instances then load the new weights. Of an instance's language models only the last called
    stays loaded; pass the same instance to several components of a host to bound memory so.

    Copying returns the same object; unpickling in another process gives one that has loaded
    nothing yet.

    Args:
        source: Loads the models, for this instance alone; None: from this machine.
        server: What an application sets of the requests to servers.
    """

    def __init__(
        self, source: Models | None = None, server: ServerSettings = DEFAULT_SETTINGS
    ) -> None:
        super().__init__(server=server)
        self._own_source = source
        self._source = source or Models(server=server)
        self._lock = RLock()
        self._held: dict[_Key, _Loaded] = {}
        self._windows: dict[str, int] = {}
        self._tokenizers: dict[str, Tokenizer] = {}
        self._batchers: dict[tuple[str, Path | None], Batcher] = {}
        self._asking: dict[ServerSettings, SharedModels] = {}

    def asking(self, settings: ServerSettings) -> "SharedModels":
        """Models whose servers are asked by an application's own settings."""
        if settings in (DEFAULT_SETTINGS, self.server):
            return self
        found = self._asking.get(settings)
        return found or self._asking.setdefault(settings, SharedModels(self._own_source, settings))

    def embedder(self, name: str) -> Embedder:
        """The named embedder, loaded on its first call."""
        return _SharedEmbedder(self, name)

    def reranker(self, name: str) -> Reranker:
        """The named reranker, loaded on its first call."""
        return _SharedReranker(self, name)

    def language_model(self, name: str, adapter: Path | None = None) -> "SharedLanguageModel":
        """The named language model, loaded on its first call; only the last called stays loaded."""
        return SharedLanguageModel(self, name, adapter)

    def fingerprint(self, name: str, adapter: Path | None = None) -> str:
        """Identify a model: what is loaded, or else what its folder holds, without loading it.

        Raises:
            ModelError: the model is not on this machine, or a server whose model is not named does
                not respond.
        """
        if name.startswith(SERVER) and self._own_source is None:
            from aloft.backends.server import fingerprint_of

            return fingerprint_of(name) or self.loaded("language model", name).fingerprint
        held = [one for key, one in list(self._held.items()) if key[1:] == (name, adapter)]
        return held[0].fingerprint if held else self._source.fingerprint(name, adapter)

    def context_window(self, name: str) -> int:
        """Context window of a language model in tokens; looked up once."""
        if name not in self._windows:
            self._windows[name] = self._source.context_window(name)
        return self._windows[name]

    def tokenizer(self, name: str) -> Tokenizer:
        """The tokenizer of a language model; loaded once."""
        if name not in self._tokenizers:
            self._tokenizers[name] = self._source.tokenizer(name)
        return self._tokenizers[name]

    def batcher(self, name: str, adapter: Path | None, answer: Answer) -> Batcher:
        """Collects the prompts for a language model; one for each."""
        key = (name, adapter)
        found = self._batchers.get(key)
        return found or self._batchers.setdefault(key, Batcher(answer))

    def release(self) -> None:
        """Release all models; those that other parts use stay in memory."""
        with self._lock:
            self._source.release()
            self._held.clear()
            gc.collect()

    def loaded(self, role: _Role, name: str, adapter: Path | None = None) -> "_Loaded":
        """A model in memory; loaded if it is not there."""
        key = (role, name, adapter)
        found = self._held.get(key)  # without the lock, which is held during a loading
        if found is not None:
            return found
        with self._lock:
            if key not in self._held:
                self._make_room(role)
                self._held[key] = self._load(*key)
            return self._held[key]

    def _make_room(self, role: _Role) -> None:
        """Release language models for another one, and vLLM, which fills a GPU, for any model."""
        is_another = role == "language model"
        leaving = [
            key
            for key in self._held
            if key[0] == "language model" and (is_another or key[1].startswith(VLLM))
        ]
        for key in leaving:
            del self._held[key]
        if leaving:
            gc.collect()

    def _load(self, role: _Role, name: str, adapter: Path | None) -> "_Loaded":
        load = self._loader(role, name, adapter)
        if name.startswith(SERVER):
            model = load()
            return _Loaded(model, model.fingerprint, nullcontext())
        fingerprint = self._source.fingerprint(name, adapter)
        if self._own_source is not None:
            return _Loaded(load(), fingerprint, RLock())
        with library_turn:
            identity = (role, name.startswith(VLLM), fingerprint)
            found = _in_memory.get(identity)
            if found is None:
                found = _in_memory[identity] = _Loaded(load(), fingerprint, RLock())
            return found

    def _loader(self, role: _Role, name: str, adapter: Path | None) -> Callable[[], Any]:
        own = self._own_source
        if role == "embedder":
            return lambda: own.embedder(name) if own else load_embedder(name)
        if role == "reranker":
            return lambda: own.reranker(name) if own else load_reranker(name)
        if own:
            return lambda: own.language_model(name, adapter)
        return lambda: load_language_model(name, adapter, self.server)

    def __copy__(self) -> "SharedModels":
        return self

    def __deepcopy__(self, _memo: dict[int, Any]) -> "SharedModels":
        return self

    def __reduce__(self) -> tuple[type["SharedModels"], tuple[None, ServerSettings]]:
        return SharedModels, (None, self.server)


@dataclass(frozen=True, slots=True)
class _SharedEmbedder:
    models: SharedModels
    name: str

    @property
    def _loaded(self) -> _Loaded:
        return self.models.loaded("embedder", self.name)

    @property
    def fingerprint(self) -> str:
        return self.models.fingerprint(self.name)

    @property
    def reads(self) -> int | None:
        loaded = self._loaded
        with loaded.turn:
            reads: int | None = loaded.model.reads
        return reads

    def locate_tokens(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        loaded = self._loaded
        with loaded.turn:
            spans: list[list[tuple[int, int]]] = loaded.model.locate_tokens(texts)
        return spans

    def encode_queries(self, texts: Sequence[str]) -> Floats:
        loaded = self._loaded
        with loaded.turn:
            vectors: Floats = loaded.model.encode_queries(texts)
        return vectors

    def encode_passages(self, texts: Sequence[str]) -> Floats:
        loaded, found = self._loaded, list[Floats]()
        for start in range(0, max(1, len(texts)), ENCODED_AT_ONCE):
            with loaded.turn:
                found.append(loaded.model.encode_passages(texts[start : start + ENCODED_AT_ONCE]))
        return np.concatenate(found)


@dataclass(frozen=True, slots=True)
class _SharedReranker:
    models: SharedModels
    name: str

    @property
    def fingerprint(self) -> str:
        return self.models.fingerprint(self.name)

    def score(self, pairs: Sequence[tuple[str, str]]) -> Floats:
        loaded = self.models.loaded("reranker", self.name)
        with loaded.turn:
            scores: Floats = loaded.model.score(pairs)
        return scores


@dataclass(frozen=True, slots=True)
class SharedLanguageModel:
    """A language model that many threads and tasks ask; what waits for it is answered together."""

    models: SharedModels
    name: str
    adapter: Path | None

    @property
    def _loaded(self) -> _Loaded:
        return self.models.loaded("language model", self.name, self.adapter)

    @property
    def fingerprint(self) -> str:
        """Identifies everything that determines the replies."""
        return self.models.fingerprint(self.name, self.adapter)

    def complete(
        self, prompts: Sequence[Prompt], *, max_new_tokens: int, stop: Sequence[str] = ()
    ) -> list[Reply]:
        """Reply to each prompt, together with what other threads ask."""
        if self.name.startswith(SERVER):
            return self._answer(prompts, max_new_tokens, stop)
        return self._batcher.complete(prompts, max_new_tokens, stop)

    def submit(
        self, prompts: Sequence[Prompt], *, max_new_tokens: int, stop: Sequence[str] = ()
    ) -> "Future[list[Reply]]":
        """Reply to each prompt in another thread, together with whatever else waits."""
        if self.name.startswith(SERVER):
            return _to_servers.submit(self._answer, prompts, max_new_tokens, stop)
        return self._batcher.submit(prompts, max_new_tokens, stop)

    @property
    def _batcher(self) -> Batcher:
        return self.models.batcher(self.name, self.adapter, self._answer)

    def _answer(self, prompts: Sequence[Prompt], limit: int, stop: Sequence[str]) -> list[Reply]:
        loaded = self._loaded
        with loaded.turn:
            replies: list[Reply] = loaded.model.complete(prompts, max_new_tokens=limit, stop=stop)
        return replies

    def choice_probabilities(self, prompts: Sequence[Prompt], choices: Sequence[str]) -> Floats:
        """Probability of each choice's first token; (prompts, choices).

        Raises:
            ProbabilitiesError: the model returns none.
        """
        loaded = self._loaded
        with loaded.turn:
            if not isinstance(loaded.model, ScoringModel):
                raise ProbabilitiesError(
                    f"{self.name} returns no token probabilities. Name a model on this machine."
                )
            return loaded.model.choice_probabilities(prompts, choices)

    def stream(
        self, prompt: Prompt, *, max_new_tokens: int, stop: Sequence[str] = ()
    ) -> Iterator[Reply]:
        """The reply in pieces, between which other threads get their turn."""
        loaded = self._loaded
        pieces = stream_reply(loaded.model, prompt, max_new_tokens=max_new_tokens, stop=stop)
        while True:
            with loaded.turn:
                piece = next(pieces, None)
            if piece is None:
                return
            yield piece
