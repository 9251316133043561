"""An embedder, tuned or not, as LangChain embeddings."""

from pathlib import Path
from typing import Self

from langchain_core.embeddings import Embeddings

from aloft.api import SharedModels, read_bundle


class AloftEmbeddings(Embeddings):
    """Embeds with a local model, loaded on first use; threads may share it.

    Args:
        model: An `embedded:` name, a folder, or a Hugging Face id that is on this machine.
        models: Where it is loaded from; pass one to several components to share weights.
    """

    def __init__(self, model: str, *, models: SharedModels | None = None) -> None:
        self.model = model
        self._embedder = (models or SharedModels()).embedder(model)

    @classmethod
    def from_run(cls, run_folder: str | Path, *, models: SharedModels | None = None) -> Self:
        """The embedder that a run ships: the tuned one, or the base where that one is better.

        Raises:
            DataError: the folder holds no finished run.
        """
        return cls(read_bundle(Path(run_folder) / "models").embedder, models=models)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Vectors of passages, each of length one."""
        vectors: list[list[float]] = self._embedder.encode_passages(texts).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """The vector of a question, of length one."""
        vector: list[float] = self._embedder.encode_queries([text])[0].tolist()
        return vector
