"""A run's whole retrieval, reranker and fusion included, as a LangChain retriever."""

from pathlib import Path
from typing import Any, Self

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import Field, PrivateAttr

from aloft.backends.shared import SharedModels
from aloft.stack import Contract, Retriever, read_contract
from langchain_aloft.convert import from_passages, to_passages, with_score


class AloftRetriever(BaseRetriever):
    """Retrieves documents the way a contract says; they come back as copies with their metadata.

    Attributes:
        documents: What is retrieved, each as one passage; embedded when the first query comes.
        contract: With what: see `from_run`.
        k: Documents returned; None: as many as the contract's prompts hold.
        models: Where models are loaded from; pass one to several components to share weights.
    """

    documents: list[Document] = Field(repr=False)
    contract: Contract
    k: int | None = Field(default=None, ge=1)
    models: SharedModels = Field(default_factory=SharedModels, exclude=True, repr=False)
    _retriever: Retriever = PrivateAttr()
    _places: dict[str, int] = PrivateAttr()

    def model_post_init(self, context: Any) -> None:
        """Prepare, without loading a model."""
        super().model_post_init(context)
        self._prepare(Retriever(self.contract, to_passages(self.documents), self.models))

    def _prepare(self, retriever: Retriever) -> None:
        self._retriever = retriever
        self._places = {passage.id: place for place, passage in enumerate(retriever.passages)}

    @classmethod
    def from_run(
        cls, run_folder: str | Path, documents: list[Document] | None = None, **fields: Any
    ) -> Self:
        """Retrieve with what a run ships.

        Args:
            run_folder: A finished run.
            documents: What to retrieve; None: the run's own passages, whose vectors are known.
            **fields: `k`, `models` and the fields of every LangChain retriever.

        Raises:
            DataError: the folder holds no finished run.
        """
        if documents is not None:
            contract = read_contract(Path(run_folder) / "models")
            return cls(documents=documents, contract=contract, **fields)
        models = fields.setdefault("models", SharedModels())
        own = Retriever.of_run(Path(run_folder), models)
        made = cls(documents=from_passages(own.passages), contract=own.contract, **fields)
        made._prepare(own)
        return made

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        (found,) = self._retriever.retrieve([query], k or self.k)
        return [with_score(self.documents[self._places[f.passage.id]], f.score) for f in found]
