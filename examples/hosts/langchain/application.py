"""The application before the programs here change it: its documents, and its vector store."""

from collections.abc import Sequence
from pathlib import Path

from hosts.corpus import Found, Question
from langchain_classic.embeddings import CacheBackedEmbeddings
from langchain_classic.storage import LocalFileStore
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_text_splitters import RecursiveCharacterTextSplitter

from aloft.records import Document as Page
from langchain_aloft import AloftEmbeddings

UNTUNED = AloftEmbeddings("embedded:all-minilm-l6-v2")  # the guides' HuggingFaceEmbeddings of it
VECTORS = Path("runs") / "hosts" / "vectors"


def to_documents(pages: Sequence[Page]) -> list[Document]:
    return [Document(one.text, metadata={"source": one.id, "title": one.title}) for one in pages]


def split(pages: Sequence[Page]) -> list[Document]:
    """The usual chunks."""
    splitter = RecursiveCharacterTextSplitter(chunk_size=1000, chunk_overlap=0)
    return splitter.split_documents(to_documents(pages))


def kept(embeddings: AloftEmbeddings) -> Embeddings:
    """Embeddings with a cache beside the shared run: programs embed what others did not."""
    return CacheBackedEmbeddings.from_bytes_store(
        embeddings,
        LocalFileStore(VECTORS),
        namespace=embeddings.fingerprint,
        key_encoder="sha256",
    )


def build_store(
    chunks: Sequence[Document], embeddings: AloftEmbeddings = UNTUNED
) -> InMemoryVectorStore:
    return InMemoryVectorStore.from_documents(list(chunks), kept(embeddings))


def found_in(documents: Sequence[Document]) -> Found:
    return [(one.metadata["source"], one.page_content) for one in documents]


def find(retriever: BaseRetriever, questions: Sequence[Question]) -> list[Found]:
    return [found_in(retriever.invoke(question.text)) for question in questions]
