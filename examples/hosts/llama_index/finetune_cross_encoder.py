"""LlamaIndex's guide to fine-tuning a cross-encoder that reranks what an index finds."""

import sys

from hosts.corpus import Found, print_gain, read_corpus, shared_run
from hosts.llama_index.application import KEPT, UNTUNED, embed, found_in, to_documents
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.postprocessor.types import BaseNodePostprocessor

from llama_index_aloft import AloftLLM, AloftRerank  # ours
from llama_index_aloft.finetuning import (  # ours
    CrossEncoderFinetuneEngine,
    generate_ce_fine_tuning_dataset,
    generate_synthetic_queries_over_documents,
)


def main() -> None:
    whole = read_corpus(*sys.argv[1:])
    run = shared_run(whole)
    corpus = whole.part()
    documents = to_documents(corpus.documents)
    llm = AloftLLM.from_run(run, max_tokens=48)  # ours

    nodes = SentenceSplitter(chunk_size=128, chunk_overlap=0).get_nodes_from_documents(documents)
    questions = generate_synthetic_queries_over_documents(
        nodes[:8], num_questions_per_chunk=1, llm=llm
    )
    dataset = generate_ce_fine_tuning_dataset(
        nodes[:8], questions, llm=llm, top_k=3, embed_model=UNTUNED
    )
    finetuning_engine = CrossEncoderFinetuneEngine(
        dataset,
        model_id=UNTUNED.model_name,  # ours
        model_output_path=str(KEPT / f"cross-encoder-{run.name}"),
        epochs=1,
    )
    finetuning_engine.finetune()
    trained = finetuning_engine.get_finetuned_model(top_n=10)

    retriever = embed(nodes, UNTUNED).as_retriever(similarity_top_k=10)

    def rank(reranker: BaseNodePostprocessor | None) -> list[Found]:
        found = []
        for question in corpus.questions[:20]:
            retrieved = retriever.retrieve(question.text)
            if reranker:
                retrieved = reranker.postprocess_nodes(retrieved, query_str=question.text)
            found.append(found_in(retrieved))
        return found

    host = rank(None)
    print_gain("as in the guide, a new cross-encoder", corpus.questions[:20], host, rank(trained))
    reranker = AloftRerank.from_run(run, top_n=10)  # ours
    print_gain("finetune_cross_encoder", corpus.questions[:20], host, rank(reranker))


if __name__ == "__main__":
    main()
