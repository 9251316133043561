"""LangChain's vector store as a retriever: maximal marginal relevance, and a filter."""

import sys

from hosts.corpus import print_gain, read_corpus, shared_run
from hosts.langchain.application import UNTUNED, build_store, find, found_in, split

from langchain_aloft import AloftEmbeddings, AloftRetriever  # ours


def main() -> None:
    whole = read_corpus(*sys.argv[1:])
    run = shared_run(whole)
    corpus = whole.part()
    chunks = split(corpus.documents)
    found = []
    for embeddings in (
        UNTUNED,
        AloftEmbeddings.from_run(run),  # ours
    ):
        store = build_store(chunks, embeddings)
        how = {"k": 10, "fetch_k": 20, "lambda_mult": 0.8}
        diverse = store.as_retriever(search_type="mmr", search_kwargs=how)
        found.append(find(diverse, corpus.questions))

    sources = [document.id for document in corpus.documents[:3]]
    of_three = AloftRetriever.from_run(run, k=3)  # ours
    question = corpus.questions[0].text
    kept = of_three.invoke(question, filter={"source": {"$in": sources}})  # ours
    print(f"{question} {[source for source, _ in found_in(kept)]}, of {sources}")
    print_gain("vector_store", corpus.questions, *found)


if __name__ == "__main__":
    main()
