"""A whole Aloft run from LangChain's documents to the parts that ship."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import Runnable
from langchain_core.vectorstores import VectorStore

from aloft.api import DataError, HostedRun
from aloft.config import RunConfig, load_config
from langchain_aloft.chains import create_citation_chain
from langchain_aloft.chat_models import ChatAloft
from langchain_aloft.convert import in_source_order, to_documents
from langchain_aloft.document_compressors import AloftReranker
from langchain_aloft.embeddings import AloftEmbeddings
from langchain_aloft.retrievers import AloftRetriever
from langchain_aloft.teacher import LangChainTeacher

_MOST = 100_000  # documents taken from a store


class AloftFinetuner(HostedRun):
    """Tunes embedder, reranker and generator on documents, and keeps what measurably gains.

    Args:
        documents: What to tune on; those that were cut from one source become one again.
        out: The run folder; a finetuner on the same folder goes on where an earlier one stopped.
        config: What to do; None: the preset's.
        preset: One of `aloft.config.PRESETS`; not looked at where there is a `config`.
        llm: The teacher that writes questions and answers; None: the configuration's.
        questions: A file of the user's own labelled questions, which then decide what is kept.
        group_by: The metadata key that names a document's source; None: each stands for itself.
    """

    def __init__(  # noqa: PLR0913 - as LangChain's constructors from documents
        self,
        documents: Sequence[Document],
        out: str | Path,
        *,
        config: RunConfig | None = None,
        preset: str = "cpu",
        llm: BaseChatModel | None = None,
        questions: str | Path | None = None,
        group_by: str | None = "source",
    ) -> None:
        teacher = LangChainTeacher(llm) if llm else None
        given = to_documents(documents, group_by=group_by)
        super().__init__(given, out, config or load_config(preset), teacher, questions)

    @classmethod
    def from_documents(cls, documents: Sequence[Document], out: str | Path, **fields: Any) -> Self:
        """The same by the name that LangChain's own classes have for it."""
        return cls(documents, out, **fields)

    @classmethod
    def from_vectorstore(cls, store: VectorStore, out: str | Path, **fields: Any) -> Self:
        """Tune on the documents that a vector store holds.

        LangChain has no way to list a store, so it is asked for its nearest 100,000; give
        `from_documents` the documents themselves where it holds more. Those that say where they
        stood in their source (`start_index`) become one document again, others stand for
        themselves.

        Raises:
            DataError: the store holds nothing.
        """
        documents = store.similarity_search("text", k=_MOST)
        if not documents:
            raise DataError("The vector store holds no documents. Add some first.")
        ordered = in_source_order(documents, fields.get("group_by", "source"))
        if ordered is None:
            ordered = sorted(documents, key=lambda document: document.page_content)
            fields.setdefault("group_by", None)
        return cls(ordered, out, **fields)

    def get_embeddings(self, **fields: Any) -> AloftEmbeddings:
        """The embedder that ships."""
        return AloftEmbeddings.from_run(self.out, **fields)

    def get_reranker(self, **fields: Any) -> AloftReranker:
        """The reranker that ships; a run that ships none is told."""
        return AloftReranker.from_run(self.out, **fields)

    def get_chat_model(self, **fields: Any) -> ChatAloft:
        """The generator that ships."""
        return ChatAloft.from_run(self.out, **fields)

    def get_retriever(
        self, documents: list[Document] | None = None, **fields: Any
    ) -> AloftRetriever:
        """The whole retrieval that ships, over these documents or the run's own passages."""
        return AloftRetriever.from_run(self.out, documents, **fields)

    def get_chain(self, **fields: Any) -> Runnable[Any, dict[str, Any]]:
        """The chain from a question to a cited answer; see `create_citation_chain`."""
        return create_citation_chain(self.out, **fields)
