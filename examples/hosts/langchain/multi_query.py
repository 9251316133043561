"""LangChain's multi-query retriever: a model writes a question anew, and all are searched for."""

import sys

from hosts.corpus import print_gain, read_corpus, shared_run
from hosts.langchain.application import build_store, find, split
from langchain_classic.retrievers.multi_query import MultiQueryRetriever
from langchain_core.prompts import PromptTemplate
from langchain_core.retrievers import BaseRetriever

from langchain_aloft import AloftRetriever, ChatAloft  # ours

PROMPT = PromptTemplate.from_template("Write this question in two other ways: {question}")


def main() -> None:
    corpus = read_corpus(*sys.argv[1:])
    run = shared_run(corpus)
    questions = corpus.sample(6)
    store = build_store(split(corpus.documents))
    llm = ChatAloft.from_run(run, max_tokens=40)  # ours
    base: BaseRetriever = store.as_retriever(search_kwargs={"k": 10})
    retriever = MultiQueryRetriever.from_llm(base, llm, PROMPT, include_original=True)
    host = find(retriever, questions)

    base = AloftRetriever.from_run(run, k=10)  # ours
    retriever = MultiQueryRetriever.from_llm(base, llm, PROMPT, include_original=True)
    ours = find(retriever, questions)
    print_gain("multi_query", questions, host, ours)


if __name__ == "__main__":
    main()
