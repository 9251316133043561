"""Aloft's parts inside the retrievers of langchain-classic."""

import asyncio

import pytest
from langchain_core.documents import Document
from langchain_core.language_models import FakeListLLM
from langchain_core.load import dumps
from scripted import CONTRACT, shared

from langchain_aloft import AloftReranker, AloftRetriever

TEXTS = ["The blue whale sings.", "A red fox runs.", "The red fox sleeps all day."]
DOCUMENTS = [Document(text, metadata={"page": i}) for i, text in enumerate(TEXTS)]


def test_the_reranker_compresses_what_the_retriever_finds() -> None:
    retrievers = pytest.importorskip("langchain_classic.retrievers")
    models = shared()
    made = retrievers.ContextualCompressionRetriever(
        base_compressor=AloftReranker(model="any", top_n=2, models=models),
        base_retriever=AloftRetriever(documents=DOCUMENTS, contract=CONTRACT, models=models),
    )
    found = made.invoke("red fox day")
    assert [one.metadata["page"] for one in found] == [2, 1]
    assert asyncio.run(made.ainvoke("red fox day")) == found


def test_a_document_that_several_queries_find_is_one() -> None:
    retrievers = pytest.importorskip("langchain_classic.retrievers")
    ours = AloftRetriever(documents=DOCUMENTS, contract=CONTRACT, models=shared())
    llm = FakeListLLM(responses=["red fox day\nblue whale\nfox sleeps"])
    found = retrievers.MultiQueryRetriever.from_llm(retriever=ours, llm=llm).invoke("animals")
    assert sorted(one.metadata["page"] for one in found) == [0, 1, 2]
    keys = {dumps(one) for query in ("red fox", "whale") for one in ours.invoke(query)}
    assert keys == {dumps(one) for one in DOCUMENTS}


def test_the_reranker_is_a_cross_encoder_of_theirs() -> None:
    compressors = pytest.importorskip("langchain_classic.retrievers.document_compressors")
    scorer = AloftReranker(model="any", models=shared())
    theirs = compressors.CrossEncoderReranker(model=scorer, top_n=1)
    (best,) = theirs.compress_documents(DOCUMENTS, "red fox day")
    assert best.metadata["page"] == 2


@pytest.mark.parametrize("kind", ["similarity", "mmr"])
def test_other_retrievers_stand_beside_in_an_ensemble(kind: str) -> None:
    retrievers = pytest.importorskip("langchain_classic.retrievers")
    from langchain_core.vectorstores import InMemoryVectorStore

    from langchain_aloft import AloftEmbeddings

    embeddings = AloftEmbeddings("any", models=shared())
    store = InMemoryVectorStore.from_documents(DOCUMENTS, embeddings)
    ours = AloftRetriever(documents=DOCUMENTS, contract=CONTRACT, models=shared())
    both = retrievers.EnsembleRetriever(
        retrievers=[ours, store.as_retriever(search_type=kind)], weights=[0.5, 0.5], id_key="page"
    )
    assert {one.metadata["page"] for one in both.invoke("red fox day")} == {0, 1, 2}
