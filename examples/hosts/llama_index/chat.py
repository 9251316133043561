"""LlamaIndex's chat engine "condense plus context": a follow-up finds its nodes by itself."""

import sys

from hosts.corpus import Question, print_gain, read_corpus, shared_run
from hosts.llama_index.application import build_index, found_in
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.chat_engine import CondensePlusContextChatEngine
from llama_index.core.llms import LLM, MockLLM
from llama_index.core.memory import ChatMemoryBuffer

from llama_index_aloft import AloftLLM, AloftRetriever  # ours


def make_engine(retriever: BaseRetriever, llm: LLM) -> CondensePlusContextChatEngine:
    memory = ChatMemoryBuffer.from_defaults(token_limit=1500)
    return CondensePlusContextChatEngine.from_defaults(retriever, llm=llm, memory=memory)


def ask_first(retriever: BaseRetriever, questions: list[Question]) -> list:
    """The nodes behind first messages, which no model condenses, so that any may answer."""
    engine, found = make_engine(retriever, MockLLM(max_tokens=1)), []
    for question in questions:
        found.append(found_in(engine.chat(question.text).source_nodes))
        engine.reset()
    return found


def main() -> None:
    corpus = read_corpus(*sys.argv[1:])
    run = shared_run(corpus)
    retriever: BaseRetriever = build_index(corpus.documents).as_retriever(similarity_top_k=10)
    host = ask_first(retriever, corpus.questions)

    retriever = AloftRetriever.from_run(run, similarity_top_k=10)  # ours
    ours = ask_first(retriever, corpus.questions)

    retriever.similarity_top_k = 2  # what a small model reads well
    engine = make_engine(retriever, AloftLLM.from_run(run, max_tokens=40))  # ours
    for message in (corpus.questions[0].text, "Can you say that in other words?"):
        response = engine.stream_chat(message)
        print(f"{message}\n  {''.join(response.response_gen)}")
        print(f"  from {[one.metadata for one in response.source_nodes]}")
    print_gain("chat", corpus.questions, host, ours)


if __name__ == "__main__":
    main()
