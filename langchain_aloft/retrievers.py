"""The retrieval that a run ships, with fusion and reranker, as a LangChain retriever."""

import asyncio
import operator
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
from pydantic import ConfigDict, Field, InstanceOf
from pydantic.json_schema import SkipJsonSchema

from aloft.api import (
    Bundle,
    ConfigError,
    DataError,
    Retriever,
    SharedModels,
    is_number,
    is_whole,
    open_hosted_retriever,
    open_retriever,
    read_bundle,
    read_question,
)
from aloft.config import read_path
from langchain_aloft.convert import TextOf, copy_of, from_hosted, to_passages
from langchain_aloft.filters import read_filter


@dataclass(frozen=True, slots=True)
class _Opened:
    """A retriever, and the fields that it was opened for."""

    documents: tuple[Document, ...]
    contract: Bundle
    models: SharedModels
    text_of: TextOf | None
    retriever: Retriever
    searched: tuple[int, ...]  # positions of the documents with text, one for each passage


class AloftRetriever(BaseRetriever):
    """Retrieves documents with what a run ships; results are copies, with all metadata.

    A copy shares the models and the vectors, and so do retrievers of the same documents; what
    another process unpickles has loaded nothing. Fields may be replaced, also by
    `model_copy(update=...)`: the next query follows them.

    Attributes:
        documents: The corpus; each document is one passage, and those without text are left out.
            They are embedded when the first query comes.
        contract: The bundle that a run ships; see `from_run`.
        k: Number of documents returned; None: as many as the run's prompts hold.
        search_kwargs: Defaults of a call's arguments: `k`; `filter`, which is metadata that a
            document must have (`{"source": "a.md"}`), conditions on it (`{"page": {"$gte": 3}}`;
            see `langchain_aloft.filters`), or a function from a document to whether it may be
            returned; and `score_threshold`, the lowest score of a result.
        text_of: What models read of a document; None: its page content.
        score_key: Metadata key that the score is written to, the probability that the document
            answers the question; None: results have their own metadata alone, so that a document
            found by two queries is the same document.
        models: Loads the models; pass one object to several components to share weights.
        opened: What the documents are searched by. It is a field so that what LangChain makes of
            the fields of a retriever, as `configurable_fields` does for each call, shares it.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    documents: list[Document] = Field(repr=False)
    contract: Bundle
    k: int | None = Field(default=None, ge=1)
    search_kwargs: dict[str, Any] = Field(default_factory=dict)
    text_of: SkipJsonSchema[TextOf | None] = Field(default=None, exclude=True, repr=False)
    score_key: str | None = None
    models: SkipJsonSchema[SharedModels] = Field(
        default_factory=SharedModels, exclude=True, repr=False
    )
    opened: SkipJsonSchema[InstanceOf[_Opened] | None] = Field(
        default=None, exclude=True, repr=False
    )

    def __init__(self, **fields: Any) -> None:
        super().__init__(**fields)
        self._asked({})  # here, where pydantic does not wrap what it raises

    def model_post_init(self, context: Any) -> None:
        """Open the retriever, without loading a model."""
        super().model_post_init(context)
        self._current()

    @classmethod
    def from_run(
        cls, run_folder: str | Path, documents: list[Document] | None = None, **fields: Any
    ) -> Self:
        """Retrieve with what a run ships.

        Args:
            run_folder: A finished run.
            documents: The corpus; None: the run's own passages, whose vectors the run has kept,
                with the metadata of the documents that they were cut from.
            **fields: The other attributes, and the fields of every LangChain retriever.

        Raises:
            DataError: the folder holds no finished run.
        """
        folder = read_path("run_folder", run_folder)
        bundle = read_bundle(folder)
        if documents is not None:
            return cls(documents=documents, contract=bundle, **fields)
        models = fields.setdefault("models", SharedModels())
        own, passages = open_hosted_retriever(folder, models)
        made = cls(documents=from_hosted(passages), contract=bundle, **fields)
        searched = tuple(range(len(own.passages)))
        made.opened = replace(made._current(), retriever=own, searched=searched)
        return made

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **search_kwargs: Any
    ) -> list[Document]:
        asked = self._asked(search_kwargs)
        question = read_question(query)
        if not question.strip():
            raise DataError("There is no question: the text is empty.")
        opened = self._current()
        among = None
        if asked["filter"] is not None:
            is_admitted = read_filter(asked["filter"])
            places = enumerate(opened.searched)
            among = {i for i, place in places if is_admitted(opened.documents[place])}
        (found,) = opened.retriever.retrieve([question], asked["k"], among)
        return [
            copy_of(opened.documents[opened.searched[one.column]], one.score, self.score_key)
            for one in found
            if one.score >= (asked["score_threshold"] or 0.0)
        ]

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **search_kwargs: Any
    ) -> list[Document]:
        # LangChain's own implementation drops the arguments of the call
        find = partial(self._get_relevant_documents, run_manager=run_manager.get_sync())
        return await asyncio.to_thread(find, query, **search_kwargs)

    def _asked(self, search_kwargs: dict[str, Any]) -> dict[str, Any]:
        """The arguments of a call, with the defaults for those that it leaves out.

        Raises:
            ConfigError: one of them is unknown or cannot be used.
        """
        known: dict[str, Any] = {"k": self.k, "filter": None, "score_threshold": None}
        asked = {**known, **self.search_kwargs, **search_kwargs}
        unknown = ", ".join(sorted(asked.keys() - known.keys()))
        if unknown:
            raise ConfigError(f"A search has no {unknown}. It may be given {', '.join(known)}.")
        k, least = asked["k"], asked["score_threshold"]
        if k is not None and (not is_whole(k) or k < 1):
            raise ConfigError(f"k is {k!r}, but must be a whole number of at least 1.")
        if least is not None and (not is_number(least) or not 0 <= least <= 1):
            raise ConfigError(f"score_threshold is {least!r}, but must be a number from 0 to 1.")
        if asked["filter"] is not None:
            read_filter(asked["filter"])
        return asked

    def _current(self) -> _Opened:
        """The opened retriever; opened anew if documents, contract or models were replaced."""
        opened, given = self.opened, tuple(self.documents)
        asked = (self.contract, self.models, self.text_of, given)
        known = opened and (opened.contract, opened.models, opened.text_of, opened.documents)
        if opened is None or known != asked:
            opened = self._open(opened.retriever if opened else None)
        elif not all(map(operator.is_, opened.documents, given)):  # equal: of a deep copy
            opened = replace(opened, documents=given)
        self.opened = opened
        return opened

    def _open(self, earlier: Retriever | None) -> _Opened:
        passages = [
            passage
            for passage, document in zip(
                to_passages(self.documents, self.text_of), self.documents, strict=True
            )
            if passage.embedded.strip() and document.page_content.strip()
        ]
        return _Opened(
            tuple(self.documents),
            self.contract,
            self.models,
            self.text_of,
            open_retriever(self.contract, passages, self.models, earlier=earlier),
            tuple(int(passage.document_id) for passage in passages),
        )
