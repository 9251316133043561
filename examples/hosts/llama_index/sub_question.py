"""LlamaIndex's sub-question engine: a question of two parts is answered part by part."""

import sys
from typing import Annotated, Literal

from hosts.corpus import Found, print_gain, read_corpus, shared_run
from hosts.llama_index.application import build_index, found_in
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.llms import LLM, MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine, SubQuestionQueryEngine
from llama_index.core.question_gen import LLMQuestionGenerator
from llama_index.core.tools import QueryEngineTool
from pydantic import BaseModel, Field

from llama_index_aloft import AloftLLM, AloftRetriever  # ours

PROMPT = "Write the two questions that are asked here, one after the other.\n\n{query_str}"


class Part(BaseModel):
    sub_question: Annotated[str, Field(max_length=160)]
    tool_name: Literal["documents"]


class Parts(BaseModel):
    items: Annotated[list[Part], Field(min_length=2, max_length=2)]


def ask(retriever: BaseRetriever, llm: LLM, questions: list[str]) -> list[Found]:
    answers = RetrieverQueryEngine.from_args(retriever, llm=MockLLM(), response_mode="no_text")
    tool = QueryEngineTool.from_defaults(answers, name="documents", description="Knows facts.")
    engine = SubQuestionQueryEngine.from_defaults(
        [tool],
        llm=MockLLM(),
        question_gen=LLMQuestionGenerator.from_defaults(llm, prompt_template_str=PROMPT),
        use_async=False,
        verbose=False,
    )
    found = (engine.query(question).source_nodes for question in questions)
    return [found_in([one for one in nodes if one.node.ref_doc_id]) for nodes in found]


def main() -> None:
    corpus = read_corpus(*sys.argv[1:])
    run = shared_run(corpus)
    parts = corpus.sample(8)
    whole = [f"{a.text} And {b.text}" for a, b in zip(parts[::2], parts[1::2], strict=True)]
    llm = AloftLLM.from_run(run, max_tokens=200).as_structured_llm(Parts)  # ours

    retriever: BaseRetriever = build_index(corpus.documents).as_retriever(similarity_top_k=2)
    host = ask(retriever, llm, whole)
    retriever = AloftRetriever.from_run(run, similarity_top_k=2)  # ours
    ours = ask(retriever, llm, whole)
    host, ours = ([one for one in found for _ in range(2)] for found in (host, ours))
    print_gain("sub_question", parts, host, ours)  # either part of a question asks for its nodes


if __name__ == "__main__":
    main()
