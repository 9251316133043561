"""LangChain's retrieval chain in LCEL: a retriever, a prompt, a model and a parser."""

import sys
from collections.abc import Sequence

from hosts.corpus import print_gain, read_corpus, shared_run
from hosts.langchain.application import build_store, find, split
from langchain_core.documents import Document
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnablePassthrough

from langchain_aloft import AloftRetriever, ChatAloft  # ours

PROMPT = ChatPromptTemplate.from_template(
    "Answer the question from the context alone, in one sentence.\n\n{context}\n\n{question}"
)


def join(documents: Sequence[Document]) -> str:
    return "\n\n".join(one.page_content for one in documents[:2])


def main() -> None:
    corpus = read_corpus(*sys.argv[1:])
    run = shared_run(corpus)
    store = build_store(split(corpus.documents))
    retriever: BaseRetriever = store.as_retriever(search_kwargs={"k": 10})
    questions = corpus.sample(40)
    host = find(retriever, questions)

    retriever = AloftRetriever.from_run(run, k=10)  # ours
    ours = find(retriever, questions)

    model = ChatAloft.from_run(run, max_tokens=40)  # ours
    chain = (
        {"context": retriever | join, "question": RunnablePassthrough()}
        | PROMPT
        | model
        | StrOutputParser()
    )
    asked = [question.text for question in questions[:3]]
    for question, answer in zip(asked, chain.batch(asked), strict=True):
        print(f"{question}\n  {answer}")
    print_gain("rag_chain", questions, host, ours)


if __name__ == "__main__":
    main()
