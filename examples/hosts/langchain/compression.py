"""LangChain's contextual compression: a reranker keeps the best of what a store returns."""

import sys

from hosts.corpus import print_gain, read_corpus, shared_run
from hosts.langchain.application import build_store, find, split
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_classic.retrievers.document_compressors import CrossEncoderReranker

from langchain_aloft import AloftReranker  # ours


def main() -> None:
    whole = read_corpus(*sys.argv[1:])
    run = shared_run(whole)
    corpus = whole.part()
    store = build_store(split(corpus.documents))
    retriever = store.as_retriever(search_kwargs={"k": 20})
    host = find(retriever, corpus.questions)

    model = AloftReranker.from_run(run)  # ours
    compressor = CrossEncoderReranker(model=model, top_n=10)
    compression = ContextualCompressionRetriever(
        base_compressor=compressor, base_retriever=retriever
    )
    ours = find(compression, corpus.questions)
    print_gain("compression", corpus.questions, host, ours)


if __name__ == "__main__":
    main()
