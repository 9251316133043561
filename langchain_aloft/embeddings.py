"""An embedder, tuned or not, as LangChain embeddings."""

from pathlib import Path
from typing import Self

from langchain_core.embeddings import Embeddings

from aloft.api import SharedModels, read_bundle, read_question, replace_surrogates


class AloftEmbeddings(Embeddings):
    """Embeds with a local model, which is loaded on first use; thread-safe.

    Args:
        model: An `embedded:` name, a folder, or a Hugging Face id that is on this machine.
        models: Loads the model; pass one object to several components to share weights.
    """

    def __init__(self, model: str, *, models: SharedModels | None = None) -> None:
        self.model = model
        self._embedder = (models or SharedModels()).embedder(model)

    @classmethod
    def from_run(cls, run_folder: str | Path, *, models: SharedModels | None = None) -> Self:
        """The embedder that a run ships: the tuned one, or the base model if that is better.

        Raises:
            DataError: the folder holds no finished run.
        """
        return cls(read_bundle(Path(run_folder)).embedder, models=models)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed passages; each vector has length one."""
        passages = [replace_surrogates(text) for text in texts]
        vectors: list[list[float]] = self._embedder.encode_passages(passages).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """Embed a question; the vector has length one.

        Raises:
            DataError: the question is no text.
        """
        (vector,) = self._embedder.encode_queries([read_question(text)]).tolist()
        return list(vector)
