"""Loads a run's models by name, with one language model in memory at a time."""

import gc
from pathlib import Path
from typing import Any

import numpy as np

from aloft._extras import require
from aloft.backends.checking import (
    is_cross_encoder,
    is_language_model,
    reported_loading,
    window_of,
)
from aloft.backends.fingerprint import fingerprint_folder
from aloft.backends.host_state import library_turn
from aloft.backends.packaged import resolve_model
from aloft.backends.server_settings import DEFAULT_SETTINGS, ServerSettings
from aloft.config import SERVER, VLLM, in_place, plain_name
from aloft.errors import DataError, ModelError
from aloft.protocols import (
    Embedder,
    Floats,
    LanguageModel,
    Progress,
    Reranker,
    Tokenizer,
    no_progress,
)

_UNKNOWN_WINDOW = 2048
_TRIED = ("Who signs a permit?", "A permit is signed by the harbour master, or by a deputy.")


class Models:
    """Loads models by name when first needed; loading a language model releases the previous one.

    Attributes:
        given: A teacher that a host passed in, used as it is.
        server: What an application sets of the requests to servers.
    """

    def __init__(
        self,
        given: LanguageModel | None = None,
        progress: Progress = no_progress,
        server: ServerSettings = DEFAULT_SETTINGS,
    ) -> None:
        self.given = given
        self.server = server
        self._progress = progress
        self._language: tuple[tuple[str, Path | None], LanguageModel] | None = None
        self._encoders: dict[str, Embedder] = {}
        self._rerankers: dict[str, Reranker] = {}

    def __getstate__(self) -> dict[str, Any]:
        """What another process needs to load the same models; each loads them anew."""
        return {"given": self.given, "server": self.server}

    def __setstate__(self, state: dict[str, Any]) -> None:
        Models.__init__(self, **state)

    def fingerprint(self, name: str, adapter: Path | None = None) -> str:
        """Identify a model, with its adapter, without loading it; see `fingerprint_folder`.

        Raises:
            ModelError: the model is not on this machine, or a server whose model is not named does
                not respond.
        """
        if name.startswith(SERVER):
            from aloft.backends.server import fingerprint_of

            return fingerprint_of(name) or self.language_model(name).fingerprint
        folder = Path(resolve_model(plain_name(name)))
        return fingerprint_folder(*([folder, adapter] if adapter else [folder]))

    def context_window(self, name: str) -> int:
        """Context window of a language model in tokens, as its server or configuration states it.

        Raises:
            ModelError: the model is not on this machine, or its server does not respond.
        """
        if name.startswith(SERVER):
            from aloft.backends.server import ServerLanguageModel

            # sizing a prompt does not wait for a server to start
            served = ServerLanguageModel(name, attempts=1, settings=self.server)
            return served.context_window() or _UNKNOWN_WINDOW
        return window_of(Path(resolve_model(plain_name(name)))) or _UNKNOWN_WINDOW

    def tokenizer(self, name: str) -> Tokenizer:
        """The tokenizer of a language model, for counting; weights are not loaded.

        Raises:
            ModelError: the model is not on this machine.
        """
        if name.startswith(SERVER):
            from aloft.backends.server import ServerTokenizer

            return ServerTokenizer(name, self.server)
        with library_turn:
            _require("transformers")
            from aloft.backends.encoding import LocalTokenizer

            return LocalTokenizer(Path(resolve_model(plain_name(name))))

    def teacher(self, name: str) -> LanguageModel:
        """The teacher passed in by the host, or else the named model."""
        return self.given or self.language_model(name)

    def teacher_fingerprint(self, name: str) -> str:
        """Identifies the teacher."""
        return self.given.fingerprint if self.given else self.fingerprint(name)

    def language_model(self, name: str, adapter: Path | None = None) -> LanguageModel:
        """A language model, optionally with an adapter; releases the one loaded before."""
        if self._language is None or self._language[0] != (name, adapter):
            self.release()
            self._language = ((name, adapter), load_language_model(name, adapter, self.server))
        return self._language[1]

    def embedder(self, name: str) -> Embedder:
        """An embedder; all that were loaded are kept, as they are small."""
        if name not in self._encoders:
            self._release_language()  # vLLM, for example, occupies nearly all of a GPU
            self._encoders[name] = load_embedder(name, self._progress)
        return self._encoders[name]

    def reranker(self, name: str) -> Reranker:
        """A reranker, see `load_reranker`.

        It is kept until room is made: late interaction remembers vectors of passages.
        """
        if name not in self._rerankers:
            self._rerankers[name] = load_reranker(name)
        return self._rerankers[name]

    def release(self) -> None:
        """Release the language model and the rerankers, for example to make room for a training."""
        self._rerankers.clear()
        self._release_language()

    def _release_language(self) -> None:
        self._language = None
        gc.collect()


def trained_on(name: str, folder: Path) -> tuple[str, Path | None]:
    """A trained language model: its base and adapter, or the fully trained weights alone."""
    return (name, folder) if is_adapter(folder) else (in_place(name, folder), None)


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter rather than a whole model."""
    return (folder / "adapter_config.json").is_file()


def load_embedder(name: str, progress: Progress = no_progress) -> Embedder:
    """Load an embedder.

    Raises:
        ModelError: the model is not on this machine, or cannot be loaded.
    """
    with library_turn:
        _require("torch", "sentence_transformers")
        from aloft.backends.sentence_transformers import SentenceTransformersEmbedder

        return SentenceTransformersEmbedder(name, progress)


def try_encoders(models: Models, embedder: str, reranker: str | None) -> None:
    """Have the models that embed and rerank read a text, hours before they are needed.

    A language model that reranks is checked by its files: its weights may take minutes to load.

    Raises:
        ModelError: one of them cannot be loaded or used.
    """
    with reported_loading(f'The embedder "{embedder}"'):
        vectors = models.embedder(embedder).encode_queries(_TRIED)
    _check_numbers(vectors, f'The embedder "{embedder}"')
    if reranker is not None and not is_language_model(Path(resolve_model(reranker))):
        with reported_loading(f'The reranker "{reranker}"'):
            scores = models.reranker(reranker).score([_TRIED])
        _check_numbers(scores, f'The reranker "{reranker}"')
        models.release()


def _check_numbers(found: Floats, title: str) -> None:
    if not np.isfinite(found).all():
        raise ModelError(
            f"{title} returns values that are no numbers, as damaged weights do. Fetch it again, "
            "or choose another model."
        )


def load_reranker(name: str) -> Reranker:
    """Load a cross-encoder, an encoder that ranks by late interaction, or a language model.

    Raises:
        ModelError: the model is not on this machine, or cannot be loaded.
    """
    with library_turn:
        folder = Path(resolve_model(name))
        _require("torch", "sentence_transformers")
        if is_language_model(folder):
            from aloft.backends.likelihood import LikelihoodReranker
            from aloft.backends.transformers import TransformersLanguageModel

            return LikelihoodReranker(TransformersLanguageModel(name))
        if is_cross_encoder(folder):
            from aloft.backends.sentence_transformers import SentenceTransformersReranker

            return SentenceTransformersReranker(name)
        from aloft.backends.late_interaction import LateInteractionReranker

        return LateInteractionReranker(name)


def load_language_model(
    name: str, adapter: Path | None = None, server: ServerSettings = DEFAULT_SETTINGS
) -> LanguageModel:
    """Load a language model, with an adapter or without, in the engine that its name says.

    Raises:
        ModelError: the model is not on this machine, or cannot be loaded.
    """
    if name.startswith(SERVER):
        from aloft.backends.server import ServerLanguageModel

        if adapter is not None:
            raise ModelError(
                f"{name} is a server, which loads adapters itself. Start it with {adapter} and "
                f"name the adapter as its model: {SERVER}URL#NAME"
            )
        return ServerLanguageModel(name, settings=server)
    with library_turn:
        if name.startswith(VLLM):
            from aloft.backends.vllm import VllmLanguageModel

            return VllmLanguageModel(plain_name(name), adapter)
        _require("torch", "transformers")
        from aloft.backends.transformers import TransformersLanguageModel

        return TransformersLanguageModel(name, adapter)


def _require(*libraries: str) -> None:
    """The libraries of models in this process; what asks a server alone does without them.

    Raises:
        MissingExtraError: the extra `train` is not installed.
    """
    for library in libraries:
        require(library, extra="train")


def tokenizer_of(name: str) -> Any:
    """A model's own tokenizer, for counting; truncation and padding are switched off.

    Raises:
        DataError: the model has no fast tokenizer.
    """
    from tokenizers import Tokenizer

    folder = resolve_model(name)
    path = Path(folder) / "tokenizer.json"
    if not path.exists():
        raise DataError(f"{folder} holds no tokenizer.json. Choose a model with a fast tokenizer.")
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
