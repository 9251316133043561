"""A complete Aloft run, from LangChain documents to the models that ship."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import Runnable
from langchain_core.vectorstores import VectorStore

from aloft.api import DataError, HostedRun, check_kind
from aloft.config import RunConfig, load_config
from langchain_aloft.chains import create_citation_chain
from langchain_aloft.chat_models import ChatAloft
from langchain_aloft.convert import TextOf, in_source_order, to_documents
from langchain_aloft.document_compressors import AloftReranker
from langchain_aloft.embeddings import AloftEmbeddings
from langchain_aloft.retrievers import AloftRetriever
from langchain_aloft.teacher import teacher_of

_LIMIT = 100_000  # documents taken from a store


class AloftFinetuner(HostedRun):
    """Tunes embedder, reranker and generator on documents, and ships what measurably gains.

    Args:
        documents: The corpus; chunks of one source are merged into a document again.
        out: The run folder; a finetuner on the same folder resumes the run.
        config: The settings; None: those of the preset.
        preset: One of `aloft.config.PRESETS`; ignored if there is a `config`.
        llm: The chat model that writes questions and answers; None: the configuration's teacher.
        questions: File of your own labelled questions; if given, they decide what ships.
        group_by: The metadata key that names a document's source; None: each document stands for
            itself.
        show_progress: Whether `finetune` shows its progress: bars in a terminal, lines elsewhere.
        overwrite: Whether a run on another corpus in `out` may be replaced. Otherwise `finetune`
            refuses documents among which are fewer than half of that run's.
        text_of: What models read of a document, in training and where the finetuner's parts serve;
            None: its page content.

    Raises:
        ConfigError: an argument has the wrong class, or no document has the key `group_by`.
        DataError: anything other than documents is given.
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
        show_progress: bool = True,
        overwrite: bool = False,
        text_of: TextOf | None = None,
    ) -> None:
        if config is not None:
            check_kind("config", config, RunConfig, "Make it by aloft.load_config(overrides=...).")
        if llm is not None:
            advice = "Pass the model itself, such as ChatAloft(model=name), and no chain of it."
            check_kind("llm", llm, BaseChatModel, advice)
        if group_by is not None:
            check_kind("group_by", group_by, str, "It names a key of the documents' metadata.")
        teacher = teacher_of(llm) if llm else None
        super().__init__(
            to_documents(documents, group_by=group_by, text_of=text_of),
            out,
            config or load_config(preset),
            teacher,
            questions,
            show_progress=show_progress,
            overwrite=overwrite,
        )
        self._text_of = text_of

    @classmethod
    def from_documents(cls, documents: Sequence[Document], out: str | Path, **fields: Any) -> Self:
        """Create a finetuner; the name is that of LangChain's own constructors."""
        return cls(documents, out, **fields)

    @classmethod
    def from_vectorstore(cls, store: VectorStore, out: str | Path, **fields: Any) -> Self:
        """Tune on the documents that a vector store holds.

        LangChain cannot list a store, so a search takes the nearest 100,000 documents; of a larger
        store, pass the documents themselves to `from_documents`. Chunks are merged into their
        documents again if `start_index` in their metadata tells where they stood; otherwise each
        stands for itself.

        Raises:
            ConfigError: it is no vector store.
            DataError: the store holds no documents.
        """
        check_kind("store", store, VectorStore, "Pass documents to from_documents.")
        documents = store.similarity_search("text", k=_LIMIT)
        if not documents:
            raise DataError("The vector store holds no documents. Add some first.")
        ordered = in_source_order(documents, fields.get("group_by", "source"))
        if ordered is None:
            ordered = sorted(documents, key=lambda document: document.page_content)
            fields.setdefault("group_by", None)
        return cls(ordered, out, **fields)

    def get_embeddings(self, **fields: Any) -> AloftEmbeddings:
        """The embedder that ships."""
        return AloftEmbeddings.from_run(self.shipped, **fields)

    def get_reranker(self, **fields: Any) -> AloftReranker:
        """The reranker that ships.

        Raises:
            DataError: the run is not finished, or ships none.
        """
        return AloftReranker.from_run(self.shipped, **{"text_of": self._text_of, **fields})

    def get_chat_model(self, **fields: Any) -> ChatAloft:
        """The generator that ships."""
        return ChatAloft.from_run(self.shipped, **fields)

    def get_retriever(
        self, documents: list[Document] | None = None, **fields: Any
    ) -> AloftRetriever:
        """The retriever that ships, over these documents or the run's own passages."""
        if documents is not None:
            fields = {"text_of": self._text_of, **fields}
        return AloftRetriever.from_run(self.shipped, documents, **fields)

    def get_chain(self, **fields: Any) -> Runnable[Any, dict[str, Any]]:
        """The chain from a question to a cited answer; see `create_citation_chain`."""
        return create_citation_chain(self.shipped, **{"text_of": self._text_of, **fields})
