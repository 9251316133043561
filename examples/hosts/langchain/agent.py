"""LangGraph's agent with the retriever as a tool: a model asks, the tool finds, the model answers.

The question to the tool is held to the tool's schema, so that a model whose template takes no tools
can ask it too. CHAT_MODEL names another model than the run's, such as a folder.
"""

import os
import sys

from hosts.corpus import print_gain, read_corpus, shared_run
from hosts.langchain.application import build_store, find, found_in, split
from langchain_core.messages import AIMessage
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import create_retriever_tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode

from langchain_aloft import AloftRetriever, ChatAloft  # ours


def main() -> None:
    corpus = read_corpus(*sys.argv[1:])
    run = shared_run(corpus)
    store = build_store(split(corpus.documents))
    retriever: BaseRetriever = store.as_retriever(search_kwargs={"k": 10})
    questions = corpus.sample(40)
    host = find(retriever, questions)

    retriever = AloftRetriever.from_run(run, k=10)  # ours
    ours = find(retriever, questions)

    few = retriever.model_copy(update={"k": 2})
    how = {"response_format": "content_and_artifact"}
    search = create_retriever_tool(few, "search", "Searches the documents.", **how)
    named = os.environ.get("CHAT_MODEL")
    model = ChatAloft(model=named) if named else ChatAloft.from_run(run, max_tokens=40)  # ours
    asking = model.with_structured_output(search.get_input_jsonschema())  # ours

    def plan(state: MessagesState) -> dict:
        call = {"name": search.name, "args": asking.invoke(state["messages"]), "id": "call"}
        return {"messages": [AIMessage("", tool_calls=[call])]}

    graph = StateGraph(MessagesState)
    graph.add_node("plan", plan)
    graph.add_node("tools", ToolNode([search]))
    graph.add_node("answer", lambda state: {"messages": [model.invoke(state["messages"])]})
    for edge in ((START, "plan"), ("plan", "tools"), ("tools", "answer"), ("answer", END)):
        graph.add_edge(*edge)
    for question in questions[:3]:
        *_, call, result, answer = graph.compile().invoke({"messages": question.text})["messages"]
        right = any(question.is_answered_by(*one) for one in found_in(result.artifact))
        print(f"{question.text}\n  {call.tool_calls[0]['args']}, found: {right}\n  {answer.text}")
    print_gain("agent", questions, host, ours)


if __name__ == "__main__":
    main()
