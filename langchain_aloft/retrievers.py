"""A run's whole retrieval, reranker and fusion included, as a LangChain retriever."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

from langchain_core.callbacks import (
    AsyncCallbackManagerForRetrieverRun,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import Field, PrivateAttr

from aloft.api import (
    Bundle,
    ConfigError,
    Retriever,
    SharedModels,
    open_retriever,
    open_run_retriever,
    read_bundle,
)
from langchain_aloft.convert import from_passages, to_passages, with_score


class AloftRetriever(BaseRetriever):
    """Retrieves documents the way a contract says; they come back as copies with their metadata.

    Attributes:
        documents: What is retrieved, each as one passage; embedded when the first query comes.
        contract: With what: see `from_run`.
        k: Documents returned; None: as many as the contract's prompts hold.
        search_kwargs: What a call is given where it says nothing else: `k`, and `filter`, metadata
            that a document must have, or a function from a document to whether it may be found.
        models: Where models are loaded from; pass one to several components to share weights.
    """

    documents: list[Document] = Field(repr=False)
    contract: Bundle
    k: int | None = Field(default=None, ge=1)
    search_kwargs: dict[str, Any] = Field(default_factory=dict)
    models: SharedModels = Field(default_factory=SharedModels, exclude=True, repr=False)
    _retriever: Retriever = PrivateAttr()
    _places: dict[str, int] = PrivateAttr()

    def model_post_init(self, context: Any) -> None:
        """Prepare, without loading a model."""
        super().model_post_init(context)
        passages = to_passages(self.documents)
        self._prepare(open_retriever(self.contract, passages, self.models))

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
            contract = read_bundle(Path(run_folder) / "models")
            return cls(documents=documents, contract=contract, **fields)
        models = fields.setdefault("models", SharedModels())
        own = open_run_retriever(Path(run_folder), models)
        contract = read_bundle(Path(run_folder) / "models")
        made = cls(documents=from_passages(own.passages), contract=contract, **fields)
        made._prepare(own)
        return made

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **search_kwargs: Any
    ) -> list[Document]:
        asked = {"k": self.k, "filter": None, **self.search_kwargs, **search_kwargs}
        if asked.keys() != {"k", "filter"}:
            unknown = ", ".join(sorted(asked.keys() - {"k", "filter"}))
            raise ConfigError(f"A search has no {unknown}. It may be given k and filter.")
        among = None if asked["filter"] is None else _places_of(self.documents, asked["filter"])
        (found,) = self._retriever.retrieve([query], asked["k"], among)
        return [with_score(self.documents[self._places[f.passage.id]], f.score) for f in found]

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **search_kwargs: Any
    ) -> list[Document]:
        # the host's own drops what a call is given
        find = partial(self._get_relevant_documents, run_manager=run_manager.get_sync())
        return await asyncio.to_thread(find, query, **search_kwargs)


def _places_of(
    documents: Sequence[Document], wanted: dict[str, Any] | Callable[[Document], bool]
) -> set[int]:
    """Where the documents stand that may be found."""

    def has_all(document: Document) -> bool:
        return isinstance(wanted, dict) and wanted.items() <= document.metadata.items()

    allowed = wanted if callable(wanted) else has_all
    return {place for place, document in enumerate(documents) if allowed(document)}
