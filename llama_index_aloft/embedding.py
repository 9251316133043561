"""An embedder, tuned or not, as a LlamaIndex embedding model."""

import asyncio
from pathlib import Path
from typing import Any, Self

from llama_index.core.base.embeddings.base import Embedding
from llama_index.core.bridge.pydantic import ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from aloft.api import Embedder, SharedModels, read_bundle, read_question, read_texts
from aloft.config import ModelName, read_path
from llama_index_aloft.identity import IdentifiedEmbedding


class AloftEmbedding(IdentifiedEmbedding):
    """Embeds with a local model, which is loaded on first use; thread-safe.

    Args:
        model_name: An `embedded:` name, a folder, or a Hugging Face id that is on this machine.
        models: Loads the model; pass one object to several components to share weights.
    """

    model_config = ConfigDict(extra="forbid")

    model_name: ModelName
    models: SkipJsonSchema[SharedModels] = Field(
        default_factory=SharedModels, exclude=True, repr=False
    )

    def __init__(self, model_name: str, **fields: Any) -> None:
        super().__init__(model_name=model_name, **fields)

    @classmethod
    def from_run(cls, run_folder: str | Path, **fields: Any) -> Self:
        """The embedder that a run ships: the tuned one, or the base model if that is better.

        Raises:
            DataError: the folder holds no finished run.
        """
        return cls(read_bundle(read_path("run_folder", run_folder)).embedder, **fields)

    @classmethod
    def class_name(cls) -> str:
        """The class name in LlamaIndex's serialized form."""
        return "AloftEmbedding"

    def _fingerprint(self) -> str:
        return self.models.fingerprint(self.model_name)

    @property
    def _embedder(self) -> Embedder:
        return self.models.embedder(self.model_name)

    def _get_query_embedding(self, query: str) -> Embedding:
        vector: Embedding = self._embedder.encode_queries([read_question(query)])[0].tolist()
        return vector

    def _get_text_embedding(self, text: str) -> Embedding:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        passages = read_texts(texts, "A passage")
        vectors: list[Embedding] = self._embedder.encode_passages(passages).tolist()
        return vectors

    async def _aget_query_embedding(self, query: str) -> Embedding:
        return await asyncio.to_thread(self._get_query_embedding, query)

    async def _aget_text_embedding(self, text: str) -> Embedding:
        return await asyncio.to_thread(self._get_text_embedding, text)

    async def _aget_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return await asyncio.to_thread(self._get_text_embeddings, texts)
