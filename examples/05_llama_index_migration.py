"""A program of LlamaIndex's retired finetuning package, moved here by its import alone.

python examples/05_llama_index_migration.py
"""

from pathlib import Path
from pydoc_data.topics import topics

from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import Document

from aloft.backends.packaged import fetch_model
from aloft.config import PairsConfig
from llama_index_aloft import AloftLLM
from llama_index_aloft.finetuning import (  # before: from llama_index.finetuning import
    EmbeddingAdapterFinetuneEngine,
    EmbeddingQAFinetuneDataset,
    SentenceTransformersFinetuneEngine,
    generate_qa_embedding_pairs,
)

TRAIN = ("assert", "break", "del", "global", "lambda", "pass", "raise", "return")
VAL = ("yield", "with", "try", "while")
OUT = Path("runs") / "llama-index-migration"
ENCODER, TEACHER = "embedded:all-minilm-l6-v2", "embedded:smollm2-135m-instruct"


def nodes_of(names: tuple[str, ...]) -> list:
    documents = [Document(id_=name, text=topics[name][:2000]) for name in names]
    splitter = SentenceSplitter(chunk_size=200, chunk_overlap=0)
    return splitter.get_nodes_from_documents(documents)


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    for name in (ENCODER, TEACHER):
        fetch_model(name)
    llm = AloftLLM(TEACHER)

    # 1. Questions about nodes; stopped half-way, the next run goes on: it knows them by their text.
    files = {name: str(OUT / f"{name}.json") for name in ("train", "val")}
    small = PairsConfig(form="examples", max_new_tokens=64)  # a small model goes on from examples
    train = generate_qa_embedding_pairs(
        nodes_of(TRAIN), llm, None, 1, output_path=files["train"], pairs=small
    )
    generate_qa_embedding_pairs(nodes_of(VAL), llm, None, 1, output_path=files["val"], pairs=small)
    val = EmbeddingQAFinetuneDataset.from_json(files["val"])

    # 2. Train the embedder, and see what it gained on nodes that it was not trained on.
    engine = SentenceTransformersFinetuneEngine(
        train, ENCODER, str(OUT / "embedder"), val_dataset=val, epochs=2
    )
    engine.finetune()
    for gain in engine.gains:
        print(
            f"{gain.metric}: {gain.before:.2f} -> {gain.after:.2f}, "
            f"{gain.gain:+.2f} [{gain.low:+.2f}, {gain.high:+.2f}], n = {gain.n}"
        )

    # 3. Or leave the model and its index as they are, and train a map of questions.
    adapter = EmbeddingAdapterFinetuneEngine(
        train, engine.get_finetuned_model(), epochs=4, model_output_path=str(OUT / "adapter")
    )
    adapter.finetune()
    vector = adapter.get_finetuned_model().get_query_embedding("What does assert do?")
    print(f"{len(vector)} dimensions")


if __name__ == "__main__":
    main()
