"""By what LlamaIndex's caches know our components: by the content of the models they hold."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding, Embedding
from llama_index.core.bridge.pydantic import model_validator
from llama_index.core.schema import BaseComponent
from llama_index.core.storage.kvstore.types import DEFAULT_COLLECTION, BaseKVStore
from pydantic import computed_field

from aloft.api import ModelError, content_id


class Identified(BaseComponent):
    """A component whose serialized form holds the fingerprint of its model.

    An ingestion cache hashes the serialized form, so it does not answer for a model that was
    trained again in the same folder.
    """

    def _fingerprint(self) -> str:
        raise NotImplementedError

    @computed_field(repr=False)  # type: ignore[prop-decorator]
    @property
    def fingerprint(self) -> str | None:
        """Identifies the model by the content of its files; None if it is not on this machine."""
        try:
            return self._fingerprint()
        except ModelError:
            return None

    @model_validator(mode="before")
    @classmethod
    def _read_what_was_written(cls, given: Any) -> Any:
        """Fields alone: what LlamaIndex and pydantic write down of a component has more."""
        if not isinstance(given, dict):
            return given
        further = {"fingerprint", "class_name"} - cls.model_fields.keys()
        return {name: value for name, value in given.items() if name not in further}


_asked_for: ContextVar[tuple[str, ...]] = ContextVar("aloft_embedding_asked_for", default=())


class ModelCache(BaseKVStore):
    """A host's cache of embeddings, with the model in each key, and whether it read a question.

    LlamaIndex's own keys are the texts alone: a cache that two models share, or a model that was
    trained again, or one that reads questions and passages differently, got the wrong vectors.
    """

    def __init__(self, cache: BaseKVStore) -> None:
        self.cache = cache

    def __getattr__(self, name: str) -> Any:
        """What else the host's cache can do, such as `persist`."""
        if name == "cache":  # not there yet while a copy is made
            raise AttributeError(name)
        return getattr(self.cache, name)

    def put(self, key: str, val: dict[str, Any], collection: str = DEFAULT_COLLECTION) -> None:
        """Keep a vector."""
        self.cache.put(_keyed(key), val, collection)

    async def aput(
        self, key: str, val: dict[str, Any], collection: str = DEFAULT_COLLECTION
    ) -> None:
        """Keep a vector."""
        await self.cache.aput(_keyed(key), val, collection)

    def get(self, key: str, collection: str = DEFAULT_COLLECTION) -> dict[str, Any] | None:
        """The vector of a text; None if it is not known."""
        return self.cache.get(_keyed(key), collection)

    async def aget(self, key: str, collection: str = DEFAULT_COLLECTION) -> dict[str, Any] | None:
        """The vector of a text; None if it is not known."""
        return await self.cache.aget(_keyed(key), collection)

    def get_all(self, collection: str = DEFAULT_COLLECTION) -> dict[str, dict[str, Any]]:
        """All that the host's cache holds, by its own keys."""
        return self.cache.get_all(collection)

    async def aget_all(self, collection: str = DEFAULT_COLLECTION) -> dict[str, dict[str, Any]]:
        """All that the host's cache holds, by its own keys."""
        return await self.cache.aget_all(collection)

    def delete(self, key: str, collection: str = DEFAULT_COLLECTION) -> bool:
        """Forget a vector."""
        return self.cache.delete(_keyed(key), collection)

    async def adelete(self, key: str, collection: str = DEFAULT_COLLECTION) -> bool:
        """Forget a vector."""
        return await self.cache.adelete(_keyed(key), collection)


def _keyed(text: str) -> str:
    asked_for = _asked_for.get()
    return content_id(*asked_for, text) if asked_for else text


class IdentifiedEmbedding(Identified, BaseEmbedding):
    """An embedding model whose `embeddings_cache` keeps models, questions and texts apart."""

    def _key_cache_by_model(self) -> None:
        cache = self.embeddings_cache
        if isinstance(cache, BaseKVStore) and not isinstance(cache, ModelCache):
            self.embeddings_cache = ModelCache(cache)

    @contextmanager
    def _asked(self, kind: str) -> Iterator[None]:
        """Key what the cache is asked for meanwhile by the model and the kind of text."""
        self._key_cache_by_model()  # here, since it may be set at any time
        known = (self._fingerprint(), kind) if self.embeddings_cache is not None else ()
        outer = _asked_for.set(known)
        try:
            yield
        finally:
            _asked_for.reset(outer)

    async def _look_up(self) -> None:
        """Read the model's files in a thread, where a cache is to know them."""
        if self.embeddings_cache is not None:
            await asyncio.to_thread(self._fingerprint)

    def get_query_embedding(self, query: str) -> Embedding:
        """Embed a question."""
        with self._asked("query"):
            return super().get_query_embedding(query)

    async def aget_query_embedding(self, query: str) -> Embedding:
        """Embed a question."""
        await self._look_up()
        with self._asked("query"):
            return await super().aget_query_embedding(query)

    def get_text_embedding(self, text: str) -> Embedding:
        """Embed a text."""
        with self._asked("text"):
            return super().get_text_embedding(text)

    async def aget_text_embedding(self, text: str) -> Embedding:
        """Embed a text."""
        await self._look_up()
        with self._asked("text"):
            return await super().aget_text_embedding(text)

    def get_text_embedding_batch(
        self, texts: list[str], show_progress: bool = False, **kwargs: Any
    ) -> list[Embedding]:
        """Embed texts, in batches."""
        with self._asked("text"):
            return super().get_text_embedding_batch(texts, show_progress, **kwargs)

    async def aget_text_embedding_batch(
        self, texts: list[str], show_progress: bool = False, **kwargs: Any
    ) -> list[Embedding]:
        """Embed texts, in batches."""
        await self._look_up()
        with self._asked("text"):
            return await super().aget_text_embedding_batch(texts, show_progress, **kwargs)
