"""An app measured before and after, question by question: the same nodes, a few lines changed.

    python examples/09_app_before_and_after.py [FOLDER]

FOLDER holds corpus.jsonl.gz (id, title, text) and qa.jsonl.gz (question, doc_id). Without one the
app searches Python's own reference, and is asked what was written for it by hand.
"""

import gzip
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from llama_index.core import VectorStoreIndex
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import Document
from python_reference.demo import choose_topics

from aloft import load_config
from aloft.backends.packaged import fetch_model
from aloft.evaluation.bootstrap import compare
from llama_index_aloft import AloftEmbedding, AloftFinetuneEngine, AloftRetriever

PYTHON = Path(__file__).parent / "python_reference" / "questions.jsonl"
SETTINGS = {
    "parts": ("embedder",),
    "passages": {"max_tokens": 512, "window_tokens": 128},
    "pairs": {"per_passage": 1, "max_passages": 100_000},
}


def read(file: Path) -> list[dict[str, Any]]:
    whole = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    return [json.loads(line) for line in whole.splitlines()]


def hits(retriever: BaseRetriever, questions: list[dict[str, Any]]) -> np.ndarray:
    """Whether one of the five best nodes, of twenty that are found, answers; (questions,)."""
    values = np.zeros(len(questions))
    for i, asked in enumerate(questions):
        for one in retriever.retrieve(asked["question"])[:5]:
            is_right = one.node.ref_doc_id == asked.get("doc_id", asked.get("document_id"))
            values[i] += is_right and asked.get("passage", "") in " ".join(one.text.split())
    return values.clip(max=1)


def main(folder: Path | None) -> None:
    out = Path("runs") / (folder.name if folder else "app")
    config = load_config("cpu", overrides=SETTINGS)
    for name in (config.embedder, config.teacher):
        fetch_model(name)
    if folder:
        corpus, questions = (read(folder / f"{name}.jsonl.gz") for name in ("corpus", "qa"))
    else:
        corpus = [{"id": f"{n}.txt", "title": n, "text": t} for n, t in choose_topics().items()]
        questions = read(PYTHON)
    pages = [Document(id_=d["id"], text=d["text"], metadata={"title": d["title"]}) for d in corpus]
    nodes = SentenceSplitter(chunk_size=256, chunk_overlap=0).get_nodes_from_documents(pages)
    # The app as it was
    embed_model = AloftEmbedding(config.embedder)
    before = VectorStoreIndex(nodes, embed_model=embed_model).as_retriever(similarity_top_k=20)
    # with a tuned embedder in the same index, and with all that the run ships
    engine = AloftFinetuneEngine(pages, out, config=config, embed_model=embed_model)
    engine.finetune()
    tuned = VectorStoreIndex(nodes, embed_model=engine.get_finetuned_model())
    after = AloftRetriever.from_run(out, nodes, similarity_top_k=20)
    known = hits(before, questions)
    documents = [asked.get("doc_id", asked.get("document_id")) for asked in questions]
    for what, retriever in (("embedder", tuned.as_retriever(similarity_top_k=20)), ("all", after)):
        one = compare("hit@5", known, hits(retriever, questions), documents, seed=0)
        gain = f"{one.gain:+.3f} [{one.low:+.3f}, {one.high:+.3f}]"
        print(f"{what}: hit@5 {one.before:.3f} -> {one.after:.3f}, {gain}, n = {one.n}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
