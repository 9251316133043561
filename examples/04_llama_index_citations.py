"""Answers with their sources inside LlamaIndex: retriever, postprocessor and query engine.

python examples/04_llama_index_citations.py
"""

from pathlib import Path
from pydoc_data.topics import topics

from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.postprocessor import SimilarityPostprocessor
from llama_index.core.schema import Document

from aloft import load_config
from aloft.backends.packaged import fetch_model
from aloft.backends.shared import SharedModels
from llama_index_aloft import AloftCitationQueryEngine, AloftFinetuneEngine, AloftRetriever

TOPICS = ("assert", "break", "del", "global", "lambda", "pass", "raise", "return", "yield", "with")
OUT = Path("runs") / "llama-index-citations"
SETTINGS = {
    "parts": ("embedder",),
    "pairs": {"max_passages": 20},
    "training_sets": {"abstaining_share": 0.2},
    "evaluation": {"max_answer_questions": 4, "max_stack_questions": 4},
}


def main() -> None:
    config = load_config("cpu", overrides=SETTINGS)
    for name in (config.embedder, config.teacher):
        fetch_model(name)

    # 1. Tune on the documents of the app.
    documents = [Document(id_=name, text=topics[name]) for name in TOPICS]
    AloftFinetuneEngine(documents, OUT, config=config).finetune()

    # 2. The app's own nodes, retrieved by what the run ships; any postprocessors may follow.
    models = SharedModels()  # one copy of the weights for all parts
    nodes = SentenceSplitter(chunk_size=200, chunk_overlap=20).get_nodes_from_documents(documents)
    retriever = AloftRetriever.from_run(OUT, nodes, models=models, similarity_top_k=20)
    engine = AloftCitationQueryEngine.from_run(
        OUT,
        retriever=retriever,
        node_postprocessors=[SimilarityPostprocessor(similarity_cutoff=0.05)],
        streaming=True,
        models=models,
    )

    # 3. The sources are known before the answer is written; it comes piece by piece.
    for question in ("What does the assert statement do?", "Who won the cup final?"):
        response = engine.query(question)
        print(f"\n{question}")
        for piece in response.response_gen:
            print(piece, end="", flush=True)
        for source in response.source_nodes:
            print(f"\n  [{source.score:.2f}] {source.node.ref_doc_id}: {source.text[:60]!r}")
        if response.metadata["is_abstaining"]:
            print("\n  none of the documents holds the answer")


if __name__ == "__main__":
    main()
