"""LangChain's parent document retriever: small chunks are found, those around them returned."""

import sys
from collections.abc import Sequence

from hosts.corpus import Corpus, Found, print_gain, read_corpus, shared_run
from hosts.langchain.application import UNTUNED, find, kept, to_documents
from langchain_classic.retrievers import ParentDocumentRetriever
from langchain_classic.storage import InMemoryStore
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_text_splitters import RecursiveCharacterTextSplitter

from langchain_aloft import AloftEmbeddings  # ours


def search(corpus: Corpus, embeddings: Embeddings) -> Sequence[Found]:
    retriever = ParentDocumentRetriever(
        vectorstore=InMemoryVectorStore(embeddings),
        docstore=InMemoryStore(),
        child_splitter=RecursiveCharacterTextSplitter(chunk_size=400, chunk_overlap=0),
        parent_splitter=RecursiveCharacterTextSplitter(chunk_size=2000, chunk_overlap=0),
        search_kwargs={"k": 20},
    )
    retriever.add_documents(to_documents(corpus.documents))
    return find(retriever, corpus.questions)


def main() -> None:
    whole = read_corpus(*sys.argv[1:])
    run = shared_run(whole)
    corpus = whole.part()
    host = search(corpus, kept(UNTUNED))
    ours = search(corpus, kept(AloftEmbeddings.from_run(run)))  # ours
    print_gain("parent_document", corpus.questions, host, ours)


if __name__ == "__main__":
    main()
