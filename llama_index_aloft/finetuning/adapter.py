"""An embedding model with a trained linear map of questions."""

from pathlib import Path
from typing import Any, Self

import numpy as np
from llama_index.core.base.embeddings.base import BaseEmbedding, Embedding
from llama_index.core.bridge.pydantic import ConfigDict, PrivateAttr, SerializeAsAny
from llama_index.core.embeddings.loading import load_embed_model

from aloft.api import DataError, Floats, check_kind, content_id
from aloft.config import FolderName
from llama_index_aloft.embedding import AloftEmbedding
from llama_index_aloft.identity import Identified, IdentifiedEmbedding

MAP = "query_map.npy"  # in the folder that the engine writes


class AdapterEmbedding(IdentifiedEmbedding):
    """An embedding model with a linear map on questions; texts are embedded as before.

    Args:
        base: Any embedding model.
        folder: The folder that `EmbeddingAdapterFinetuneEngine` wrote.
    """

    model_config = ConfigDict(extra="forbid")

    base: SerializeAsAny[BaseEmbedding]
    folder: FolderName
    _matrix: Floats = PrivateAttr()

    def __init__(self, base: BaseEmbedding, folder: str, **fields: Any) -> None:
        check_kind("base", base, BaseEmbedding, "One of ours is AloftEmbedding(name).")
        named = {"model_name": f"{base.model_name} with {folder}"}
        super().__init__(**{**named, **fields, "base": base, "folder": folder})
        self._matrix = read_map(Path(self.folder))

    @classmethod
    def class_name(cls) -> str:
        """The class name in LlamaIndex's serialized form."""
        return "AdapterEmbedding"

    @classmethod
    def from_dict(cls, data: dict[str, Any], **kwargs: Any) -> Self:
        """Make an embedding model of the serialized form of another one.

        Raises:
            ValueError: LlamaIndex cannot make `base` of its serialized form; pass it as `base`.
        """
        fields = {**data, **kwargs}
        if isinstance(base := fields["base"], dict):
            is_ours = base.get("class_name") == AloftEmbedding.class_name()
            fields["base"] = AloftEmbedding.from_dict(base) if is_ours else load_embed_model(base)
        return super().from_dict(fields)

    def _fingerprint(self) -> str:
        if isinstance(self.base, Identified):
            base = self.base._fingerprint()
        else:
            base = content_id(type(self.base).__qualname__, self.base.model_name)
        return content_id(base, self._matrix.tobytes().hex())

    def _mapped(self, vector: Embedding) -> Embedding:
        if len(vector) != len(self._matrix):
            raise DataError(
                f"The base model gives vectors of {len(vector)} numbers, but {self.folder} maps "
                f"such of {len(self._matrix)}. Pass the base model that it was trained on."
            )
        mapped = self._matrix @ np.asarray(vector, np.float32)
        scaled: Embedding = (mapped / max(float(np.linalg.norm(mapped)), 1e-12)).tolist()
        return scaled

    def _get_query_embedding(self, query: str) -> Embedding:
        return self._mapped(self.base.get_query_embedding(query))

    async def _aget_query_embedding(self, query: str) -> Embedding:
        return self._mapped(await self.base.aget_query_embedding(query))

    def _get_text_embedding(self, text: str) -> Embedding:
        return self.base.get_text_embedding(text)

    def _get_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return self.base.get_text_embedding_batch(texts)

    async def _aget_text_embedding(self, text: str) -> Embedding:
        return await self.base.aget_text_embedding(text)

    async def _aget_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return await self.base.aget_text_embedding_batch(texts)


def read_map(folder: Path) -> Floats:
    """The map that the engine wrote; (dimensions, dimensions).

    Raises:
        DataError: the folder holds no map, or a damaged one.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} does not exist yet. Call finetune() first.")
    file = folder / MAP
    if not file.exists():
        raise DataError(f"{folder} holds no {MAP}. Pass the folder that the engine wrote.")
    try:
        matrix: Floats = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{file} is damaged ({error}). Train the map again.") from error
    return matrix
