"""LangChain's history-aware retriever: a model makes a follow-up a question by itself."""

import sys

from hosts.corpus import print_gain, read_corpus, shared_run
from hosts.langchain.application import build_store, found_in, split
from langchain_classic.chains import create_history_aware_retriever, create_retrieval_chain
from langchain_classic.chains.combine_documents import create_stuff_documents_chain
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.retrievers import BaseRetriever

from langchain_aloft import AloftRetriever, ChatAloft  # ours

HISTORY = MessagesPlaceholder("chat_history")
ALONE = "Say my last question again so that it can be understood alone. Do not answer it."
REPHRASE = ChatPromptTemplate.from_messages([HISTORY, ("human", "{input}"), ("human", ALONE)])
ANSWER = ChatPromptTemplate.from_messages([("system", "Context: {context}"), ("human", "{input}")])


def main() -> None:
    corpus = read_corpus(*sys.argv[1:])
    run = shared_run(corpus)
    questions = corpus.sample(6)
    store = build_store(split(corpus.documents))
    llm = ChatAloft.from_run(run, max_tokens=24)  # ours
    titles = {document.id: document.title for document in corpus.documents}

    def ask(retriever: BaseRetriever) -> list:
        found = []
        aware = create_history_aware_retriever(llm, retriever, REPHRASE)
        chain = create_retrieval_chain(aware, create_stuff_documents_chain(llm, ANSWER))
        for question in questions:
            said = [
                HumanMessage(f"I read about {titles[question.document_id]}."),
                AIMessage("What do you want to know?"),
            ]
            answered = chain.invoke({"input": question.text, "chat_history": said})
            found.append(found_in(answered["context"]))
        print(questions[-1].text, "->", answered["answer"])
        return found

    host = ask(store.as_retriever(search_kwargs={"k": 5}))
    ours = ask(AloftRetriever.from_run(run, k=5))  # ours
    print_gain("history_aware", questions, host, ours)


if __name__ == "__main__":
    main()
