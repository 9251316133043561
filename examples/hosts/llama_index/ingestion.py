"""LlamaIndex's ingestion pipeline: with docstore and cache, only what is new is embedded."""

import sys

from hosts.corpus import print_gain, read_corpus, shared_run
from hosts.llama_index.application import UNTUNED, find, to_documents
from llama_index.core import VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.ingestion import DocstoreStrategy, IngestionCache, IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.storage.docstore import SimpleDocumentStore

from llama_index_aloft import AloftEmbedding  # ours


def make_pipeline(embed_model: BaseEmbedding, cache: IngestionCache) -> IngestionPipeline:
    return IngestionPipeline(
        transformations=[SentenceSplitter(chunk_size=256, chunk_overlap=0), embed_model],
        docstore=SimpleDocumentStore(),
        docstore_strategy=DocstoreStrategy.DUPLICATES_ONLY,
        cache=cache,
    )


def main() -> None:
    whole = read_corpus(*sys.argv[1:])
    run = shared_run(whole)
    corpus = whole.part()
    documents = to_documents(corpus.documents)
    cache = IngestionCache()  # one for both models: it knows which of them it answers for

    embed_model: BaseEmbedding = UNTUNED
    nodes = make_pipeline(embed_model, cache).run(documents=documents)
    index = VectorStoreIndex(nodes, embed_model=embed_model)
    host = find(index.as_retriever(similarity_top_k=10), corpus.questions)

    embed_model = AloftEmbedding.from_run(run)  # ours
    pipeline = make_pipeline(embed_model, cache)
    nodes = pipeline.run(documents=documents)
    assert not pipeline.run(documents=documents), "nothing is new"
    changed = documents[0].model_copy(update={"text_resource": documents[1].text_resource})
    print(f"{len(nodes)} nodes; again: 0; of one changed document:", end=" ")
    print(len(pipeline.run(documents=[changed, *documents[1:]])))
    index = VectorStoreIndex(nodes, embed_model=embed_model)
    ours = find(index.as_retriever(similarity_top_k=10), corpus.questions)
    print_gain("ingestion", corpus.questions, host, ours)


if __name__ == "__main__":
    main()
