"""LlamaIndex's guide to fine-tuning an embedding model on generated questions."""

import sys

from hosts.corpus import print_gain, read_corpus, shared_run
from hosts.llama_index.application import KEPT, UNTUNED, embed, find, to_documents
from llama_index.core.node_parser import SentenceSplitter

from llama_index_aloft import AloftLLM  # ours
from llama_index_aloft.finetuning import (  # ours
    SentenceTransformersFinetuneEngine,
    generate_qa_embedding_pairs,
)


def main() -> None:
    whole = read_corpus(*sys.argv[1:])
    run = shared_run(whole)
    corpus = whole.part()
    documents = to_documents(corpus.documents)
    nodes = SentenceSplitter(chunk_size=256, chunk_overlap=0).get_nodes_from_documents(documents)

    dataset = generate_qa_embedding_pairs(
        nodes[:10],
        llm=AloftLLM.from_run(run),  # ours
        num_questions_per_chunk=1,
        output_path=str(KEPT / f"qa-{run.name}.json"),
    )
    finetune_engine = SentenceTransformersFinetuneEngine(
        dataset,
        model_id=UNTUNED.model_name,  # ours
        model_output_path=str(KEPT / f"finetuned-{run.name}"),
        epochs=2,
    )
    finetune_engine.finetune()
    embed_model = finetune_engine.get_finetuned_model()

    index = embed(nodes, UNTUNED)
    host = find(index.as_retriever(similarity_top_k=10), corpus.questions)
    index = embed(nodes, embed_model)
    ours = find(index.as_retriever(similarity_top_k=10), corpus.questions)
    print_gain("finetune_embedding", corpus.questions, host, ours)


if __name__ == "__main__":
    main()
