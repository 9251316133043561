"""LlamaIndex's router: a question goes to the index of facts or to that of summaries."""

import sys

from hosts.corpus import print_gain, read_corpus, shared_run
from hosts.llama_index.application import UNTUNED, build_index, find
from llama_index.core import SummaryIndex
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.retrievers import RouterRetriever
from llama_index.core.selectors import EmbeddingSingleSelector
from llama_index.core.tools import RetrieverTool

from llama_index_aloft import AloftEmbedding, AloftRetriever  # ours


def route(
    facts: BaseRetriever, summary: BaseRetriever, embed_model: BaseEmbedding
) -> RouterRetriever:
    tools = [
        RetrieverTool.from_defaults(
            facts,
            description="Finds facts: what something is, does or means, who, when, how many, why.",
        ),
        RetrieverTool.from_defaults(summary, description="Summarizes all of the documents."),
    ]
    selector = EmbeddingSingleSelector.from_defaults(embed_model=embed_model)
    return RouterRetriever(selector=selector, retriever_tools=tools)


def main() -> None:
    corpus = read_corpus(*sys.argv[1:])
    run = shared_run(corpus)
    index = build_index(corpus.documents)
    nodes = list(index.docstore.docs.values())
    summary = SummaryIndex(nodes).as_retriever()

    facts: BaseRetriever = index.as_retriever(similarity_top_k=10)
    host = find(route(facts, summary, UNTUNED), corpus.questions)

    facts = AloftRetriever.from_run(run, similarity_top_k=10)  # ours
    embed_model = AloftEmbedding.from_run(run)  # ours
    router = route(facts, summary, embed_model)
    print(f"Summarize everything: {len(router.retrieve('Summarize all documents.'))} nodes")
    print_gain("router", corpus.questions, host, find(router, corpus.questions))


if __name__ == "__main__":
    main()
