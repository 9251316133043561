"""LlamaIndex's sentence window: sentences are found, and read with those around them."""

import sys

from hosts.corpus import Found, print_gain, read_corpus, shared_run
from hosts.llama_index.application import UNTUNED, embed, found_in, to_documents
from llama_index.core.node_parser import SentenceWindowNodeParser
from llama_index.core.postprocessor import MetadataReplacementPostProcessor

from llama_index_aloft import AloftRetriever  # ours


def main() -> None:
    whole = read_corpus(*sys.argv[1:])
    run = shared_run(whole)
    corpus = whole.part()
    parser = SentenceWindowNodeParser.from_defaults(
        window_size=3,
        window_metadata_key="window",
        original_text_metadata_key="original_text",
    )
    nodes = parser.get_nodes_from_documents(to_documents(corpus.documents))
    replace = MetadataReplacementPostProcessor(target_metadata_key="window")

    def find(retriever) -> list[Found]:
        asked = (retriever.retrieve(question.text) for question in corpus.questions)
        return [found_in(replace.postprocess_nodes(found)) for found in asked]

    index = embed(nodes, UNTUNED)
    host = find(index.as_retriever(similarity_top_k=10))
    retriever = AloftRetriever.from_run(run, nodes, similarity_top_k=10)  # ours
    ours = find(retriever)
    print_gain("sentence_window", corpus.questions, host, ours)


if __name__ == "__main__":
    main()
