"""LlamaIndex's fusion: several queries to several sources, merged by their scores."""

import sys

from hosts.corpus import print_gain, read_corpus, shared_run
from hosts.llama_index.application import build_index, find
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.llms import LLM, MockLLM
from llama_index.core.retrievers import QueryFusionRetriever
from llama_index.core.vector_stores import FilterOperator, MetadataFilter, MetadataFilters

from llama_index_aloft import AloftLLM, AloftRetriever  # ours


def fuse(retrievers: list[BaseRetriever], llm: LLM, num_queries: int) -> QueryFusionRetriever:
    return QueryFusionRetriever(
        retrievers,
        llm=llm,
        mode="simple",
        similarity_top_k=10,
        num_queries=num_queries,  # 1: the question alone
        use_async=False,
    )


def main() -> None:
    corpus = read_corpus(*sys.argv[1:])
    run = shared_run(corpus)
    titles = sorted(one.title for one in corpus.documents)
    sources = []  # two, such as a handbook and a wiki: here one half of the titles each
    for half in (titles[::2], titles[1::2]):
        among = MetadataFilter(key="title", value=half, operator=FilterOperator.IN)
        sources.append(MetadataFilters(filters=[among]))

    index = build_index(corpus.documents)
    retrievers: list[BaseRetriever] = [
        index.as_retriever(similarity_top_k=10, filters=source) for source in sources
    ]
    host = find(fuse(retrievers, MockLLM(), num_queries=1), corpus.questions)

    retrievers = [
        AloftRetriever.from_run(run, similarity_top_k=10, filters=source)  # ours
        for source in sources
    ]
    llm = AloftLLM.from_run(run, max_tokens=48)  # ours
    question = corpus.questions[0].text
    fused = fuse(retrievers, llm, num_queries=3).retrieve(question)
    print(f"{question}\n  {len(fused)} nodes for three queries, the first from {fused[0].metadata}")
    ours = find(fuse(retrievers, llm, num_queries=1), corpus.questions)
    print_gain("fusion", corpus.questions, host, ours)


if __name__ == "__main__":
    main()
