"""An embedder, tuned or not, as LangChain embeddings."""

from pathlib import Path
from typing import Self

from langchain_core.embeddings import Embeddings
from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from aloft.api import Embedder, SharedModels, read_bundle, read_question, read_texts
from aloft.config import ModelName, read_path


class AloftEmbeddings(BaseModel, Embeddings):
    """Embeds with a local model, which is loaded on first use; thread-safe.

    Args:
        model: An `embedded:` name, a folder, or a Hugging Face id that is on this machine.
        models: Loads the model; pass one object to several components to share weights.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    model: ModelName
    models: SkipJsonSchema[SharedModels] = Field(
        default_factory=SharedModels, exclude=True, repr=False
    )

    def __init__(self, model: str, *, models: SharedModels | None = None) -> None:
        super().__init__(model=model, **({"models": models} if models else {}))

    @classmethod
    def from_run(cls, run_folder: str | Path, *, models: SharedModels | None = None) -> Self:
        """The embedder that a run ships: the tuned one, or the base model if that is better.

        Raises:
            DataError: the folder holds no finished run.
        """
        return cls(read_bundle(read_path("run_folder", run_folder)).embedder, models=models)

    @property
    def fingerprint(self) -> str:
        """Identifies weights, pooling, prompts and tokenizer, by content; safe in a file name.

        The namespace for `CacheBackedEmbeddings`, and for a record manager of embedded documents.

        Raises:
            ModelError: the model is not on this machine.
        """
        return self.models.fingerprint(self.model)

    @property
    def _embedder(self) -> Embedder:
        return self.models.embedder(self.model)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed passages; each vector has length one.

        Raises:
            DataError: one of them is no text.
        """
        passages = read_texts(texts, "A passage")
        vectors: list[list[float]] = self._embedder.encode_passages(passages).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """Embed a question; the vector has length one.

        Raises:
            DataError: the question is no text.
        """
        (vector,) = self._embedder.encode_queries([read_question(text)]).tolist()
        return list(vector)
