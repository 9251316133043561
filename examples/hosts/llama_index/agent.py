"""LlamaIndex's agents: the retriever is a tool, and a model decides what to ask it.

FunctionAgent takes a model whose chat template takes tools; the embedded one of 135M parameters
has none, so ReActAgent takes its place. CHAT_MODEL names another one, such as a folder.
"""

import asyncio
import os
import sys

from hosts.corpus import print_gain, read_corpus, shared_run
from hosts.llama_index.application import build_index, find
from llama_index.core.agent.workflow import FunctionAgent, ReActAgent, ToolCallResult
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.tools import RetrieverTool

from llama_index_aloft import AloftLLM, AloftRetriever  # ours

TASK = "Search the documents for the answer, and answer in one sentence."


async def ask(agent: FunctionAgent | ReActAgent, question: str) -> tuple[list, str]:
    handler = agent.run(question, max_iterations=3)
    calls = [event async for event in handler.stream_events() if isinstance(event, ToolCallResult)]
    try:
        return calls, str(await handler)
    except Exception as error:
        return calls, f"{type(error).__name__}: {error}"


def main() -> None:
    corpus = read_corpus(*sys.argv[1:])
    run = shared_run(corpus)
    index = build_index(corpus.documents)
    questions = corpus.sample(3)
    retriever: BaseRetriever = index.as_retriever(similarity_top_k=10)
    host = find(retriever, corpus.questions)

    retriever = AloftRetriever.from_run(run, similarity_top_k=10)  # ours
    ours = find(retriever, corpus.questions)

    retriever.similarity_top_k = 2
    search = RetrieverTool.from_defaults(retriever, name="search", description="Finds documents.")
    model = os.environ.get("CHAT_MODEL")
    llm = AloftLLM(model, max_tokens=64) if model else AloftLLM.from_run(run, max_tokens=64)  # ours
    kind = FunctionAgent if llm.metadata.is_function_calling_model else ReActAgent
    agent = kind(tools=[search], llm=llm, system_prompt=TASK)
    called = 0
    for question in questions:
        calls, answer = asyncio.run(ask(agent, question.text))
        called += bool(calls)
        print(f"{question.text}\n  calls {[one.tool_kwargs for one in calls]}\n  {answer}")
    print(f"{kind.__name__}: the model called its tool for {called} of {len(questions)} questions")
    print_gain("agent", corpus.questions, host, ours)


if __name__ == "__main__":
    main()
