"""LangChain's ensemble retriever: keywords and vectors, fused by their ranks."""

import sys

from hosts.corpus import print_gain, read_corpus, shared_run
from hosts.langchain.application import build_store, find, split
from langchain_classic.retrievers import EnsembleRetriever
from langchain_community.retrievers import TFIDFRetriever
from langchain_core.retrievers import BaseRetriever

from langchain_aloft import AloftRetriever  # ours


def main() -> None:
    whole = read_corpus(*sys.argv[1:])
    run = shared_run(whole)
    corpus = whole.part()
    chunks = split(corpus.documents)
    keywords = TFIDFRetriever.from_documents(chunks, k=10)
    vectors: BaseRetriever = build_store(chunks).as_retriever(search_kwargs={"k": 10})
    ensemble = EnsembleRetriever(retrievers=[keywords, vectors], weights=[0.5, 0.5])
    host = find(ensemble, corpus.questions)

    vectors = AloftRetriever.from_run(run, chunks, k=10)  # ours
    ensemble = EnsembleRetriever(retrievers=[keywords, vectors], weights=[0.5, 0.5])
    ours = find(ensemble, corpus.questions)
    print_gain("ensemble", corpus.questions, host, ours)


if __name__ == "__main__":
    main()
