"""LangChain's indexing API: a record manager knows what a store holds, and by which model."""

import sys

from hosts.corpus import print_gain, read_corpus, shared_run
from hosts.langchain.application import UNTUNED, find, kept, split
from langchain_classic.indexes import SQLRecordManager, index
from langchain_core.vectorstores import InMemoryVectorStore

from langchain_aloft import AloftEmbeddings  # ours


def main() -> None:
    whole = read_corpus(*sys.argv[1:])
    run = shared_run(whole)
    corpus = whole.part()
    chunks = split(corpus.documents)
    found = []
    for embeddings in (
        UNTUNED,
        AloftEmbeddings.from_run(run),  # ours
    ):
        store = InMemoryVectorStore(kept(embeddings))
        namespace = f"docs/{embeddings.fingerprint}"  # ours
        records = SQLRecordManager(namespace, db_url="sqlite:///runs/hosts/records.sql")
        records.create_schema()
        records.delete_keys(records.list_keys())  # the store is in memory, and empty
        for documents in (chunks, chunks, chunks[:-5]):
            done = index(
                *(documents, records, store),
                cleanup="full",
                source_id_key="source",
                key_encoder="sha256",
            )
            print({what: count for what, count in done.items() if count})
        index(chunks, records, store, cleanup="full", source_id_key="source", key_encoder="sha256")
        found.append(find(store.as_retriever(search_kwargs={"k": 10}), corpus.questions))
    print_gain("indexing", corpus.questions, *found)


if __name__ == "__main__":
    main()
