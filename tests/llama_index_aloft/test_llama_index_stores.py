"""Real vector stores inside LlamaIndex: their index stays, and tuned questions find more in it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores import MetadataFilter, MetadataFilters
from scripted import tuned_questions

from llama_index_aloft import AloftEmbedding

pytestmark = pytest.mark.model


def qdrant(_folder: Path) -> Any:
    client = pytest.importorskip("qdrant_client")
    stores = pytest.importorskip("llama_index.vector_stores.qdrant")
    return stores.QdrantVectorStore("animals", client=client.QdrantClient(":memory:"))


def chroma(folder: Path) -> Any:
    client = pytest.importorskip("chromadb")
    stores = pytest.importorskip("llama_index.vector_stores.chroma")
    settings = client.Settings(anonymized_telemetry=False)
    made = client.PersistentClient(str(folder / "chroma"), settings=settings)
    collection = made.create_collection("animals", metadata={"hnsw:space": "cosine"})
    return stores.ChromaVectorStore(chroma_collection=collection)


def lancedb(folder: Path) -> Any:
    stores = pytest.importorskip("llama_index.vector_stores.lancedb")
    return stores.LanceDBVectorStore(uri=str(folder / "lance"), mode="overwrite")


def faiss(_folder: Path) -> Any:
    library = pytest.importorskip("faiss")
    stores = pytest.importorskip("llama_index.vector_stores.faiss")
    return stores.FaissVectorStore(faiss_index=library.IndexFlatIP(32))


STORES: dict[str, Callable[[Path], Any]] = {
    one.__name__: one for one in (qdrant, chroma, lancedb, faiss)
}


@pytest.mark.parametrize("name", STORES)
def test_an_index_that_is_there_is_searched_with_tuned_questions(
    name: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    base, tuned, asked, texts = tuned_questions(tmp_path_factory)
    embedding = AloftEmbedding(str(base))
    ids = [f"00000000-0000-0000-0000-{i:012d}" for i in range(len(texts))]
    nodes = [
        TextNode(id_=ids[i], text=text, metadata={"shelf": i % 2}) for i, text in enumerate(texts)
    ]
    for node in nodes:  # so that what is embedded is the text alone
        node.excluded_embed_metadata_keys = ["shelf"]
    store = STORES[name](tmp_path)
    context = StorageContext.from_defaults(vector_store=store)
    index = VectorStoreIndex(nodes, storage_context=context, embed_model=embedding)
    before = found(index, asked, len(texts))

    questions = AloftEmbedding(str(tuned))
    passages = np.array(embedding.get_text_embedding_batch(texts))
    assert (np.array(questions.get_text_embedding_batch(texts)) == passages).all()
    after = found(index, asked, len(texts), embed_model=questions)
    wanted = np.array([questions.get_query_embedding(one) for one in asked]) @ passages.T
    assert [one[0] for one in after] == [ids[best] for best in wanted.argmax(1)]
    assert after != before
    if name == "faiss":
        return  # LlamaIndex's has no filters
    filters = MetadataFilters(filters=[MetadataFilter(key="shelf", value=1)])
    odd = found(index, asked, len(texts), embed_model=questions, filters=filters)
    assert all(set(one) == set(ids[1::2]) for one in odd)


def found(index: VectorStoreIndex, asked: list[str], count: int, **more: Any) -> list[list[str]]:
    retriever = index.as_retriever(similarity_top_k=count, **more)
    return [[one.node_id for one in retriever.retrieve(question)] for question in asked]
