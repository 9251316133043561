"""The retrieval that a run ships, with fusion and reranker, as a LlamaIndex retriever."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.schema import BaseNode, NodeWithScore, QueryBundle
from llama_index.core.vector_stores.types import MetadataFilters
from llama_index.core.vector_stores.utils import build_metadata_filter_fn

from aloft.api import (
    Bundle,
    ConfigError,
    Retriever,
    SharedModels,
    open_retriever,
    open_run_retriever,
    read_bundle,
    read_question,
)
from llama_index_aloft.convert import has_text, read_nodes, to_nodes, to_passage


@dataclass(frozen=True, slots=True)
class _Opened:
    """A retriever, and the attributes that it was opened for."""

    nodes: tuple[BaseNode, ...]
    contract: Bundle
    models: SharedModels
    retriever: Retriever
    by_passage: dict[str, BaseNode]  # nodes with text, by the id of their passage


class AloftRetriever(BaseRetriever):
    """Retrieves nodes with what a run ships; the nodes given are not changed.

    A copy shares the models and the vectors; what another process unpickles has loaded nothing.
    Nodes, contract and models may be replaced: the next query retrieves with the new ones.

    Args:
        nodes: The corpus; each node is one passage, and nodes without text are left out. They are
            embedded when the first query comes.
        contract: The bundle that a run ships; see `from_run`.
        similarity_top_k: Number of nodes returned; None: as many as the run's prompts hold.
        filters: Conditions on the metadata of the nodes that may be returned.
        models: Loads the models; pass one object to several components to share weights.
        fields: Arguments of every LlamaIndex retriever, such as `callback_manager`.

    Raises:
        ConfigError: `similarity_top_k` is less than 1.
        DataError: anything other than nodes is given.
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
        self.nodes = read_nodes(nodes)
        self.contract = contract
        self.similarity_top_k = similarity_top_k
        self.filters = filters
        self.models = models or SharedModels()
        self._check_top_k()
        self._opened = self._open()

    @classmethod
    def from_run(
        cls, run_folder: str | Path, nodes: Sequence[BaseNode] | None = None, **fields: Any
    ) -> Self:
        """Retrieve with what a run ships.

        Args:
            run_folder: A finished run.
            nodes: The corpus; None: the run's own passages, whose vectors the run has kept.
            **fields: `similarity_top_k`, `filters`, `models` and the arguments of every LlamaIndex
                retriever.

        Raises:
            DataError: the folder holds no finished run.
        """
        bundle = read_bundle(Path(run_folder))
        if nodes is not None:
            return cls(nodes, bundle, **fields)
        models = fields.setdefault("models", SharedModels())
        own = open_run_retriever(Path(run_folder), models)
        made = cls(to_nodes(own.passages), bundle, **fields)
        by_passage = {p.id: node for p, node in zip(own.passages, made.nodes, strict=True)}
        made._opened = replace(made._opened, retriever=own, by_passage=by_passage)
        return made

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        self._check_top_k()
        opened = self._current()
        question = read_question(query_bundle.query_str)
        among = None if self.filters is None else _positions(opened, self.filters)
        (found,) = opened.retriever.retrieve([question], self.similarity_top_k, among)
        return [
            NodeWithScore(node=opened.by_passage[scored.passage.id], score=scored.score)
            for scored in found
        ]

    def _current(self) -> _Opened:
        """The opened retriever; opened anew if nodes, contract or models were replaced."""
        opened = self._opened
        is_same = (
            (opened.contract, opened.models) == (self.contract, self.models)
            and len(opened.nodes) == len(self.nodes)
            and all(old is new for old, new in zip(opened.nodes, self.nodes, strict=True))
        )
        if not is_same:
            self._opened = opened = self._open()
        return opened

    def _open(self) -> _Opened:
        given = read_nodes(self.nodes)
        nodes = [node for node in given if has_text(node)]
        # named by position: two equal nodes are still two
        passages = [replace(to_passage(node), document_id=str(i)) for i, node in enumerate(nodes)]
        return _Opened(
            tuple(given),
            self.contract,
            self.models,
            open_retriever(self.contract, passages, self.models),
            {passage.id: node for passage, node in zip(passages, nodes, strict=True)},
        )

    def _check_top_k(self) -> None:
        if self.similarity_top_k is not None and self.similarity_top_k < 1:
            raise ConfigError(
                f"similarity_top_k is {self.similarity_top_k}, but must be at least 1. Leave it "
                "out for as many nodes as the run's prompts hold."
            )


def _positions(opened: _Opened, filters: MetadataFilters) -> set[int]:
    """Positions, in the retriever's corpus, of the nodes that filters admit."""
    is_admitted = build_metadata_filter_fn(lambda i: opened.by_passage[i].metadata, filters)
    passages = opened.retriever.passages
    return {i for i, passage in enumerate(passages) if is_admitted(passage.id)}
