"""The retrieval that a run ships, with fusion and reranker, as a LangChain retriever."""

import asyncio
import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Self

from langchain_core.callbacks import (
    AsyncCallbackManagerForRetrieverRun,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, Field, PrivateAttr

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
from langchain_aloft.convert import from_passages, to_passages, with_score


@dataclass(frozen=True, slots=True)
class _Opened:
    """A retriever, and the fields that it was opened for."""

    documents: tuple[Document, ...]
    contract: Bundle
    models: SharedModels
    retriever: Retriever
    by_passage: dict[str, int]  # positions of documents with text, by the id of their passage


class AloftRetriever(BaseRetriever):
    """Retrieves documents with what a run ships; results are copies, with metadata and score.

    A copy shares the models and the vectors; what another process unpickles has loaded nothing.
    Fields may be replaced, also by `model_copy(update=...)`: the next query follows them.

    Attributes:
        documents: The corpus; each document is one passage, and those without text are left out.
            They are embedded when the first query comes.
        contract: The bundle that a run ships; see `from_run`.
        k: Number of documents returned; None: as many as the run's prompts hold.
        search_kwargs: Defaults of a call's arguments: `k`, and `filter`, which is metadata that a
            document must have, or a function from a document to whether it may be returned.
        models: Loads the models; pass one object to several components to share weights.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    documents: list[Document] = Field(repr=False)
    contract: Bundle
    k: int | None = Field(default=None, ge=1)
    search_kwargs: dict[str, Any] = Field(default_factory=dict)
    models: SharedModels = Field(default_factory=SharedModels, exclude=True, repr=False)
    _opened: _Opened = PrivateAttr()

    def model_post_init(self, context: Any) -> None:
        """Open the retriever, without loading a model."""
        super().model_post_init(context)
        self._opened = self._open()

    @classmethod
    def from_run(
        cls, run_folder: str | Path, documents: list[Document] | None = None, **fields: Any
    ) -> Self:
        """Retrieve with what a run ships.

        Args:
            run_folder: A finished run.
            documents: The corpus; None: the run's own passages, whose vectors the run has kept.
            **fields: `k`, `models` and the fields of every LangChain retriever.

        Raises:
            DataError: the folder holds no finished run.
        """
        bundle = read_bundle(Path(run_folder))
        if documents is not None:
            return cls(documents=documents, contract=bundle, **fields)
        models = fields.setdefault("models", SharedModels())
        own = open_run_retriever(Path(run_folder), models)
        made = cls(documents=from_passages(own.passages), contract=bundle, **fields)
        by_passage = {passage.id: place for place, passage in enumerate(own.passages)}
        made._opened = replace(made._opened, retriever=own, by_passage=by_passage)
        return made

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **search_kwargs: Any
    ) -> list[Document]:
        asked = {"k": self.k, "filter": None, **self.search_kwargs, **search_kwargs}
        if asked.keys() != {"k", "filter"}:
            unknown = ", ".join(sorted(asked.keys() - {"k", "filter"}))
            raise ConfigError(f"A search has no {unknown}. It may be given k and filter.")
        _check_k(asked["k"])
        opened = self._current()
        among = None if asked["filter"] is None else _positions(opened, asked["filter"])
        (found,) = opened.retriever.retrieve([read_question(query)], asked["k"], among)
        return [
            with_score(opened.documents[opened.by_passage[scored.passage.id]], scored.score)
            for scored in found
        ]

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **search_kwargs: Any
    ) -> list[Document]:
        # LangChain's own implementation drops the arguments of the call
        find = partial(self._get_relevant_documents, run_manager=run_manager.get_sync())
        return await asyncio.to_thread(find, query, **search_kwargs)

    def _current(self) -> _Opened:
        """The opened retriever; opened anew if documents, contract or models were replaced."""
        opened, given = self._opened, tuple(self.documents)
        is_same = (opened.contract, opened.models) == (self.contract, self.models)
        if not is_same or opened.documents != given:
            opened = self._open()
        elif not all(map(operator.is_, opened.documents, given)):  # equal: of a deep copy
            opened = replace(opened, documents=given)
        self._opened = opened
        return opened

    def _open(self) -> _Opened:
        passages = [passage for passage in to_passages(self.documents) if passage.text.strip()]
        return _Opened(
            tuple(self.documents),
            self.contract,
            self.models,
            open_retriever(self.contract, passages, self.models),
            {passage.id: int(passage.document_id) for passage in passages},
        )


def _check_k(k: Any) -> None:
    if k is not None and (not isinstance(k, int) or k < 1):
        raise ConfigError(f"k is {k!r}, but must be a whole number of at least 1.")


def _positions(opened: _Opened, wanted: dict[str, Any] | Callable[[Document], bool]) -> set[int]:
    """Positions, in the retriever's corpus, of the documents that a filter admits."""
    is_admitted = wanted if callable(wanted) else _has_all(wanted)
    return {
        position
        for position, passage in enumerate(opened.retriever.passages)
        if is_admitted(opened.documents[opened.by_passage[passage.id]])
    }


def _has_all(wanted: Any) -> Callable[[Document], bool]:
    """A filter by metadata that is equal.

    Raises:
        ConfigError: the filter has another form, such as another store's operators.
    """
    is_plain = isinstance(wanted, dict) and not any(
        str(key).startswith("$") or isinstance(value, dict | list | set | tuple)
        for key, value in wanted.items()
    )
    if not is_plain:
        raise ConfigError(
            f"The filter {wanted!r} is not supported. Pass metadata that a document must have, such"
            ' as {"source": "a.md"}, or a function: lambda document: ...'
        )
    return lambda document: wanted.items() <= document.metadata.items()
