"""The retrieval that a run ships, with fusion and reranker, as a LlamaIndex retriever."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from llama_index.core import Settings
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.callbacks import CallbackManager
from llama_index.core.schema import BaseNode, NodeWithScore, QueryBundle, QueryType
from llama_index.core.vector_stores.types import MetadataFilters

from aloft.api import (
    Bundle,
    ConfigError,
    Retriever,
    SharedModels,
    check_kind,
    is_whole,
    open_hosted_retriever,
    open_retriever,
    read_bundle,
)
from aloft.config import read_path
from llama_index_aloft.convert import copy_of, has_text, hosted_nodes, read_nodes, to_passage
from llama_index_aloft.embedding import AloftEmbedding
from llama_index_aloft.filters import filterable, read_filters
from llama_index_aloft.queries import check_query, read_query


@dataclass(frozen=True, slots=True)
class _Opened:
    """A retriever, and the attributes that it was opened for."""

    nodes: tuple[BaseNode, ...]
    contract: Bundle
    models: SharedModels
    retriever: Retriever
    searched: tuple[BaseNode, ...]  # those with text, one for each passage


class AloftRetriever(BaseRetriever):
    """Retrieves nodes with what a run ships.

    Results are copies of the nodes given, so that postprocessors which change them leave the corpus
    as it is.

    Of a query, `custom_embedding_strs` are embedded in place of the text, and an `embedding` is
    used as it is; BM25 and the reranker read the text.

    A copy shares the models and the vectors, and so do retrievers of the same nodes; what another
    process unpickles has loaded nothing. Attributes may be replaced: the next query retrieves with
    the new ones.

    Args:
        nodes: The corpus; each node is one passage, of which `MetadataMode.EMBED` is embedded and
            ranked. Nodes without text are left out. They are embedded when the first query comes.
        contract: The bundle that a run ships; see `from_run`.
        similarity_top_k: Number of nodes returned; None: as many as the run's prompts hold.
        filters: Conditions on the metadata of the nodes that may be returned, or on the id of their
            document: `doc_id`, `document_id` and `ref_doc_id` name it, as in LlamaIndex' stores.
        models: Loads the models; pass one object to several components to share weights.
        fields: Arguments of every LlamaIndex retriever, such as `callback_manager`; without it,
            that of `Settings` is used.

    Raises:
        ConfigError: `similarity_top_k` is less than 1, a filter cannot be applied, or an argument
            has the wrong class.
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
        manager = fields.pop("callback_manager", None)
        check_parts(contract, models, manager)
        super().__init__(callback_manager=manager or Settings.callback_manager, **fields)
        self.nodes = read_nodes(nodes)
        self.contract = contract
        self.similarity_top_k = similarity_top_k
        self.filters = filters
        self.models = models or SharedModels()
        self._check()
        self._opened = self._open()

    @classmethod
    def from_run(
        cls, run_folder: str | Path, nodes: Sequence[BaseNode] | None = None, **fields: Any
    ) -> Self:
        """Retrieve with what a run ships.

        Args:
            run_folder: A finished run.
            nodes: The corpus; None: the run's own passages, whose vectors the run has kept, with
                the metadata of the nodes that they were cut from.
            **fields: `similarity_top_k`, `filters`, `models` and the arguments of every LlamaIndex
                retriever.

        Raises:
            DataError: the folder holds no finished run.
        """
        folder = read_path("run_folder", run_folder)
        bundle = read_bundle(folder)
        if nodes is not None:
            return cls(nodes, bundle, **fields)
        models = fields.setdefault("models", SharedModels())
        own, passages = open_hosted_retriever(folder, models)
        made = cls(hosted_nodes(passages), bundle, **fields)
        made._opened = replace(made._opened, retriever=own, searched=tuple(made.nodes))
        return made

    def retrieve(self, str_or_query_bundle: QueryType) -> list[NodeWithScore]:
        """Retrieve nodes for a query.

        Raises:
            DataError: the query is neither a text nor a QueryBundle, or holds what cannot be
                searched for, such as an image.
        """
        check_query(str_or_query_bundle)
        return super().retrieve(str_or_query_bundle)

    async def aretrieve(self, str_or_query_bundle: QueryType) -> list[NodeWithScore]:
        """Retrieve nodes for a query, in a thread; see `retrieve`."""
        check_query(str_or_query_bundle)
        return await super().aretrieve(str_or_query_bundle)

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        self._check()
        opened = self._current()
        question, vectors = read_query(query_bundle, self._embedding())
        among = None
        if self.filters is not None:
            is_admitted = read_filters(self.filters)
            among = {i for i, node in enumerate(opened.searched) if is_admitted(filterable(node))}
        (found,) = opened.retriever.retrieve([question], self.similarity_top_k, among, vectors)
        return [
            NodeWithScore(node=copy_of(opened.searched[scored.column]), score=scored.score)
            for scored in found
        ]

    def _embedding(self) -> AloftEmbedding | None:
        """What embeds queries, seen by LlamaIndex; None where BM25 alone searches."""
        if self.contract.retrieval.retriever == "bm25":
            return None
        name, manager = self.contract.embedder, self.callback_manager
        return AloftEmbedding(name, models=self.models, callback_manager=manager)

    def _current(self) -> _Opened:
        """The opened retriever; opened anew if nodes, contract or models were replaced."""
        opened = self._opened
        is_same = (
            (opened.contract, opened.models) == (self.contract, self.models)
            and len(opened.nodes) == len(self.nodes)
            and all(old is new for old, new in zip(opened.nodes, self.nodes, strict=True))
        )
        if not is_same:
            self._opened = opened = self._open(opened.retriever)
        return opened

    def _open(self, earlier: Retriever | None = None) -> _Opened:
        given = read_nodes(self.nodes)
        nodes = [node for node in given if has_text(node)]
        passages = [to_passage(node) for node in nodes]
        retriever = open_retriever(self.contract, passages, self.models, earlier=earlier)
        return _Opened(tuple(given), self.contract, self.models, retriever, tuple(nodes))

    def _check(self) -> None:
        count = self.similarity_top_k
        if count is not None and (not is_whole(count) or count < 1):
            raise ConfigError(
                f"similarity_top_k is {count!r}, but must be at least 1. Leave it out for as many "
                "nodes as the run's prompts hold."
            )
        if self.filters is not None:
            read_filters(self.filters)


def check_parts(contract: Any, models: Any, callback_manager: Any) -> None:
    """Check what retriever and query engine are made of; models and callbacks may be None.

    Raises:
        ConfigError: one of them has the wrong class.
    """
    check_kind("contract", contract, Bundle, "Open a run's folder by from_run(folder).")
    if models is not None:
        check_kind("models", models, SharedModels, "It loads models, whose names the run knows.")
    if callback_manager is not None:
        advice = "Put handlers into one: CallbackManager([handler])."
        check_kind("callback_manager", callback_manager, CallbackManager, advice)
