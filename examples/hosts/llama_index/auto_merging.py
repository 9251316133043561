"""LlamaIndex's auto-merging retriever: where most children of a node are found, it is read."""

import sys

from hosts.corpus import print_gain, read_corpus, shared_run
from hosts.llama_index.application import UNTUNED, embed, find, to_documents
from llama_index.core import StorageContext
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.node_parser import HierarchicalNodeParser, get_leaf_nodes
from llama_index.core.retrievers import AutoMergingRetriever
from llama_index.core.storage.docstore import SimpleDocumentStore

from llama_index_aloft import AloftRetriever  # ours


def main() -> None:
    whole = read_corpus(*sys.argv[1:])
    run = shared_run(whole)
    corpus = whole.part()
    parser = HierarchicalNodeParser.from_defaults(chunk_sizes=[1024, 512, 128], chunk_overlap=0)
    nodes = parser.get_nodes_from_documents(to_documents(corpus.documents))
    leaves = get_leaf_nodes(nodes)
    docstore = SimpleDocumentStore()
    docstore.add_documents(nodes)
    storage_context = StorageContext.from_defaults(docstore=docstore)

    index = embed(leaves, UNTUNED)
    base: BaseRetriever = index.as_retriever(similarity_top_k=10)
    host = find(AutoMergingRetriever(base, storage_context), corpus.questions)

    base = AloftRetriever.from_run(run, leaves, similarity_top_k=10)  # ours
    ours = find(AutoMergingRetriever(base, storage_context), corpus.questions)
    merged = sum(len(text) for found in ours for _, text in found[:1]) // len(ours)
    print(f"{len(leaves)} leaves; the best result has {merged} characters on average")
    print_gain("auto_merging", corpus.questions, host, ours)


if __name__ == "__main__":
    main()
