"""A run's whole retrieval, reranker and fusion included, as a LlamaIndex retriever."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.schema import BaseNode, NodeWithScore, QueryBundle
from llama_index.core.vector_stores.types import MetadataFilters
from llama_index.core.vector_stores.utils import build_metadata_filter_fn

from aloft.api import (
    Bundle,
    Retriever,
    SharedModels,
    open_retriever,
    open_run_retriever,
    read_bundle,
)
from llama_index_aloft.convert import to_nodes, to_passage


class AloftRetriever(BaseRetriever):
    """Retrieves nodes the way a contract says; the nodes given stay as they are.

    Args:
        nodes: What is retrieved, each as one passage; embedded when the first query comes.
        contract: With what: see `from_run`.
        similarity_top_k: Nodes returned; None: as many as the contract's prompts hold.
        filters: What a node's metadata must be for it to be found.
        models: Where models are loaded from; pass one to several components to share weights.
        fields: Of every LlamaIndex retriever, such as `callback_manager`.
    """

    def __init__(
        self,
        nodes: Sequence[BaseNode],
        contract: Bundle,
        *,
        similarity_top_k: int | None = None,
        filters: MetadataFilters | None = None,
        models: SharedModels | None = None,
        **fields: Any,
    ) -> None:
        super().__init__(**fields)
        passages = [to_passage(node) for node in nodes]
        self.contract = contract
        self._prepare(open_retriever(contract, passages, models), nodes)
        self.similarity_top_k = similarity_top_k
        self.filters = filters

    def _prepare(self, retriever: Retriever, nodes: Sequence[BaseNode]) -> None:
        self._retriever = retriever
        self._nodes = {p.id: node for p, node in zip(retriever.passages, nodes, strict=True)}

    @classmethod
    def from_run(
        cls, run_folder: str | Path, nodes: Sequence[BaseNode] | None = None, **fields: Any
    ) -> Self:
        """Retrieve with what a run ships.

        Args:
            run_folder: A finished run.
            nodes: What to retrieve; None: the run's own passages, whose vectors are known.
            **fields: `similarity_top_k`, `filters`, `models` and the fields of every LlamaIndex
                retriever.

        Raises:
            DataError: the folder holds no finished run.
        """
        if nodes is not None:
            return cls(nodes, read_bundle(Path(run_folder) / "models"), **fields)
        own = open_run_retriever(Path(run_folder), fields.get("models"))
        made = cls([], read_bundle(Path(run_folder) / "models"), **fields)
        made._prepare(own, to_nodes(own.passages))
        return made

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        among = None if self.filters is None else self._places_of(self.filters)
        (found,) = self._retriever.retrieve([query_bundle.query_str], self.similarity_top_k, among)
        return [NodeWithScore(node=self._nodes[f.passage.id], score=f.score) for f in found]

    def _places_of(self, filters: MetadataFilters) -> set[int]:
        """Where the nodes stand that may be found."""
        is_wanted = build_metadata_filter_fn(lambda i: self._nodes[i].metadata, filters)
        return {i for i, passage in enumerate(self._retriever.passages) if is_wanted(passage.id)}
