"""Real vector stores inside LangChain: their index stays, and tuned questions find more in it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from scripted import tuned_questions

from langchain_aloft import AloftEmbeddings, AloftFinetuner

pytestmark = pytest.mark.model


def qdrant(_folder: Path, documents: list[Document], embedding: AloftEmbeddings) -> Any:
    stores = pytest.importorskip("langchain_qdrant")
    return stores.QdrantVectorStore.from_documents(
        documents, embedding, location=":memory:", collection_name="animals"
    )


def chroma(folder: Path, documents: list[Document], embedding: AloftEmbeddings) -> Any:
    client = pytest.importorskip("chromadb")
    stores = pytest.importorskip("langchain_chroma")
    settings = client.Settings(anonymized_telemetry=False, is_persistent=True)
    return stores.Chroma.from_documents(
        documents,
        embedding,
        persist_directory=str(folder / "chroma"),
        client_settings=settings,
        collection_metadata={"hnsw:space": "cosine"},
    )


def faiss(_folder: Path, documents: list[Document], embedding: AloftEmbeddings) -> Any:
    pytest.importorskip("faiss")
    stores = pytest.importorskip("langchain_community.vectorstores")
    return stores.FAISS.from_documents(documents, embedding)


def lancedb(folder: Path, documents: list[Document], embedding: AloftEmbeddings) -> Any:
    pytest.importorskip("lancedb")
    stores = pytest.importorskip("langchain_community.vectorstores")
    return stores.LanceDB.from_documents(documents, embedding, uri=str(folder / "lance"))


STORES: dict[str, Callable[..., Any]] = {
    one.__name__: one for one in (qdrant, chroma, faiss, lancedb)
}


def filter_of(name: str) -> Any:
    """Shelf 1, as each store says it."""
    if name == "qdrant":
        models = pytest.importorskip("qdrant_client.models")
        match = models.FieldCondition(key="metadata.shelf", match=models.MatchValue(value=1))
        return models.Filter(must=[match])
    return {"shelf": 1} if name != "lancedb" else "metadata.shelf = 1"


@pytest.mark.parametrize("name", STORES)
def test_an_index_that_is_there_is_searched_with_tuned_questions(
    name: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    base, tuned, asked, texts = tuned_questions(tmp_path_factory)
    embedding, questions = AloftEmbeddings(str(base)), AloftEmbeddings(str(tuned))
    documents = [
        Document(text, metadata={"shelf": i % 2, "place": i}) for i, text in enumerate(texts)
    ]
    store = STORES[name](tmp_path, documents, embedding)
    passages = np.array(embedding.embed_documents(texts))
    assert (np.array(questions.embed_documents(texts)) == passages).all()
    vectors = [questions.embed_query(one) for one in asked]
    before = [store.similarity_search(one, k=1)[0].metadata["place"] for one in asked]
    after = [store.similarity_search_by_vector(v, k=1)[0].metadata["place"] for v in vectors]
    assert after == (np.array(vectors) @ passages.T).argmax(1).tolist()
    assert after != before
    odd = store.similarity_search(asked[0], k=len(texts), filter=filter_of(name))
    assert sorted(one.metadata["place"] for one in odd) == list(range(1, len(texts), 2))
    whole = AloftFinetuner.from_vectorstore(store, tmp_path / "run").documents
    assert sorted(one.text for one in whole) == sorted(texts)
