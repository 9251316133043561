"""LangChain's event stream: what a chain retrieves, and its answer token by token."""

import asyncio
import sys

from hosts.corpus import print_gain, read_corpus, shared_run
from hosts.langchain.application import build_store, find, split
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable

from langchain_aloft import AloftRetriever, create_citation_chain  # ours


async def show(chain: Runnable, question: str) -> tuple[int, int]:
    """Prints the answer as it comes; how many documents and pieces of text were seen."""
    documents = pieces = 0
    async for event in chain.astream_events(question, version="v2"):
        if event["event"] == "on_retriever_end":
            documents += len(event["data"]["output"])
        if event["event"] == "on_chat_model_stream":
            pieces += 1
            print(event["data"]["chunk"].text, end="", flush=True)
    print()
    return documents, pieces


def main() -> None:
    corpus = read_corpus(*sys.argv[1:])
    run = shared_run(corpus)
    store = build_store(split(corpus.documents))
    retriever: BaseRetriever = store.as_retriever(search_kwargs={"k": 10})
    questions = corpus.sample(40)
    host = find(retriever, questions)
    retriever = AloftRetriever.from_run(run, k=10)  # ours
    ours = find(retriever, questions)

    chain = create_citation_chain(run, retriever)  # ours
    for question in questions[:2]:
        print(question.text)
        documents, pieces = asyncio.run(show(chain, question.text))
        print(f"  {documents} documents, then the answer in {pieces} pieces")
    print_gain("streaming", questions, host, ours)


if __name__ == "__main__":
    main()
