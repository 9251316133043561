"""LlamaIndex's citation query engine: an answer with the sources that it rests on."""

import sys

from hosts.corpus import print_gain, read_corpus, shared_run
from hosts.llama_index.application import build_index, found_in
from llama_index.core.query_engine import CitationQueryEngine
from llama_index.core.schema import QueryBundle

from llama_index_aloft import AloftCitationQueryEngine, AloftLLM, AloftRetriever  # ours


def main() -> None:
    corpus = read_corpus(*sys.argv[1:])
    run = shared_run(corpus)
    index = build_index(corpus.documents)
    asked = [QueryBundle(question.text) for question in corpus.questions]

    engine = CitationQueryEngine.from_args(
        index,
        llm=AloftLLM.from_run(run, max_tokens=32),  # ours
        similarity_top_k=10,
        citation_chunk_size=256,
    )
    host = [found_in(engine.retrieve(query)) for query in asked]

    retriever = AloftRetriever.from_run(run, similarity_top_k=10)  # ours
    cited = AloftCitationQueryEngine.from_run(run, retriever=retriever)  # ours
    ours = [found_in(retriever.retrieve(query)) for query in asked]

    for question in corpus.sample(2):
        response = cited.query(question.text)
        print(f"{question.text}\n  {response}")
        for source in response.source_nodes:
            right = question.is_answered_by(source.node.ref_doc_id or "", source.text)
            print(f"  cites {source.metadata} ({'right' if right else 'wrong'})")
    print_gain("citation", corpus.questions, host, ours)


if __name__ == "__main__":
    main()
