"""An app measured before and after, question by question: the same nodes, a few lines changed.

    python examples/09_app_before_and_after.py [FOLDER]

FOLDER holds corpus.jsonl.gz (id, title, text) and qa.jsonl.gz (question, doc_id). Without one the
app searches Python's own reference, and is asked what was written for it by hand.
"""

import sys
from pathlib import Path

from hosts.corpus import Found, print_gain, read_corpus
from llama_index.core import VectorStoreIndex
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import Document

from aloft import load_config
from aloft.backends.packaged import fetch_model
from llama_index_aloft import AloftEmbedding, AloftFinetuneEngine, AloftRetriever

SETTINGS = {
    "parts": ("embedder",),
    "passages": {"max_tokens": 512, "window_tokens": 128},
    "pairs": {"per_passage": 1, "max_passages": 100_000},
}


def main() -> None:
    corpus = read_corpus(*sys.argv[1:], max_questions=None)
    out = Path("runs") / "app" / corpus.name
    config = load_config("cpu", overrides=SETTINGS)
    for name in (config.embedder, config.teacher):
        fetch_model(name)
    pages = [Document(id_=d.id, text=d.text, metadata={"title": d.title}) for d in corpus.documents]
    nodes = SentenceSplitter(chunk_size=256, chunk_overlap=0).get_nodes_from_documents(pages)

    def find(retriever: BaseRetriever) -> list[Found]:
        asked = (retriever.retrieve(question.text) for question in corpus.questions)
        return [[(one.node.ref_doc_id or "", one.text) for one in found] for found in asked]

    # The app as it was
    embed_model = AloftEmbedding(config.embedder)
    index = VectorStoreIndex(nodes, embed_model=embed_model)
    before = find(index.as_retriever(similarity_top_k=20))
    # with a tuned embedder in the same index, and with all that the run ships
    engine = AloftFinetuneEngine(pages, out, config=config, embed_model=embed_model)
    engine.finetune()
    tuned = VectorStoreIndex(nodes, embed_model=engine.get_finetuned_model())
    print_gain("embedder", corpus.questions, before, find(tuned.as_retriever(similarity_top_k=20)))
    all_parts = AloftRetriever.from_run(out, nodes, similarity_top_k=20)
    print_gain("all", corpus.questions, before, find(all_parts))


if __name__ == "__main__":
    main()
