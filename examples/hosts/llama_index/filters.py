"""LlamaIndex's metadata filters: several tenants in one index, each finds its own nodes alone."""

import sys

from hosts.corpus import print_gain, read_corpus, shared_run
from hosts.llama_index.application import build_index, found_in
from llama_index.core.vector_stores import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)

from llama_index_aloft import AloftRetriever  # ours

TENANTS = 4


def main() -> None:
    corpus = read_corpus(*sys.argv[1:])
    run = shared_run(corpus)
    titles = sorted({one.title for one in corpus.documents})
    filters = []
    for tenant in range(TENANTS):  # of which each has a quarter of the titles
        own = MetadataFilter(key="title", value=titles[tenant::TENANTS], operator=FilterOperator.IN)
        filters.append(MetadataFilters(filters=[own], condition=FilterCondition.AND))
    index = build_index(corpus.documents)
    before = [index.as_retriever(similarity_top_k=10, filters=one) for one in filters]
    after = [
        AloftRetriever.from_run(run, similarity_top_k=10, filters=one)  # ours
        for one in filters
    ]

    title_of = {one.id: one.title for one in corpus.documents}
    host, ours = [], []
    for question in corpus.questions:
        tenant = titles.index(title_of[question.document_id]) % TENANTS
        host.append(found_in(before[tenant].retrieve(question.text)))
        nodes = after[tenant].retrieve(question.text)
        assert all(one.metadata["title"] in titles[tenant::TENANTS] for one in nodes)
        ours.append(found_in(nodes))
    print(f"{TENANTS} tenants, none of which was shown a node of another one")
    print_gain("filters", corpus.questions, host, ours)


if __name__ == "__main__":
    main()
