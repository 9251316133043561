"""LangChain's cached embeddings: a text is embedded once, by each model that embeds it."""

import sys
import tempfile

from hosts.corpus import print_gain, read_corpus, shared_run
from hosts.langchain.application import UNTUNED, find, split
from langchain_classic.embeddings import CacheBackedEmbeddings
from langchain_classic.storage import LocalFileStore
from langchain_core.vectorstores import InMemoryVectorStore

from langchain_aloft import AloftEmbeddings  # ours


def main() -> None:
    whole = read_corpus(*sys.argv[1:])
    run = shared_run(whole)
    corpus = whole.part(30_000)
    chunks = split(corpus.documents)
    files = LocalFileStore(tempfile.mkdtemp())
    found = []
    for embeddings in (
        UNTUNED,
        AloftEmbeddings.from_run(run),  # ours
    ):
        cached = CacheBackedEmbeddings.from_bytes_store(
            embeddings,
            files,
            namespace=embeddings.fingerprint,  # ours
            key_encoder="sha256",
        )
        for _ in range(2):  # the second time from the cache
            before = len(list(files.yield_keys()))
            store = InMemoryVectorStore.from_documents(chunks, cached)
            new = len(list(files.yield_keys())) - before
            print(f"{len(chunks)} chunks, {new} of them embedded")
        found.append(find(store.as_retriever(search_kwargs={"k": 10}), corpus.questions))
    print_gain("cached_embeddings", corpus.questions, *found)


if __name__ == "__main__":
    main()
