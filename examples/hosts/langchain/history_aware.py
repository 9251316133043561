"""LangChain's history-aware retriever: a model makes a follow-up a question by itself.

Small models would rather answer, so that the reply is held to the form of a question.
"""

import sys

from hosts.corpus import Found, print_gain, read_corpus, shared_run
from hosts.langchain.application import build_store, found_in, split
from langchain_classic.chains import create_history_aware_retriever, create_retrieval_chain
from langchain_classic.chains.combine_documents import create_stuff_documents_chain
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.retrievers import BaseRetriever

from langchain_aloft import AloftRetriever, ChatAloft  # ours

HISTORY = MessagesPlaceholder("chat_history")
ALONE = "Say my question again, so that it can be understood alone."
REPHRASE = ChatPromptTemplate.from_messages([HISTORY, ("human", "{input}"), ("human", ALONE)])
ANSWER = ChatPromptTemplate.from_messages([("system", "Context: {context}"), ("human", "{input}")])
FORM = r"(What|Which|How|Why|When|Where|Who|Do|Does|Is|Are|Can)[^?\n]{1,120}\?"


def main() -> None:
    corpus = read_corpus(*sys.argv[1:])
    run = shared_run(corpus)
    questions = corpus.sample(6)
    titles = {document.id: document.title for document in corpus.documents}
    store = build_store(split(corpus.documents))
    model = ChatAloft.from_run(run, max_tokens=32)  # ours
    asking = model.bind(regex=FORM)  # ours

    def ask(retriever: BaseRetriever) -> list[Found]:
        found = []
        aware = create_history_aware_retriever(asking, retriever, REPHRASE)
        chain = create_retrieval_chain(aware, create_stuff_documents_chain(model, ANSWER))
        for question in questions:
            topic = f"I read about {titles[question.document_id]}."
            said = [HumanMessage(topic), AIMessage("All right.")]
            given = {"input": question.text, "chat_history": said}
            found.append(found_in(aware.invoke(given)))
        print(question.text, "->", chain.invoke(given)["answer"])
        return found

    host = ask(store.as_retriever(search_kwargs={"k": 5}))
    ours = ask(AloftRetriever.from_run(run, k=5))  # ours
    print_gain("history_aware", questions, host, ours)


if __name__ == "__main__":
    main()
