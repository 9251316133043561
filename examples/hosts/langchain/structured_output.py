"""LangChain's structured output: facts of a document as an object of a class."""

import sys

from hosts.corpus import print_gain, read_corpus, shared_run
from hosts.langchain.application import build_store, find, split
from langchain_core.output_parsers import PydanticOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from pydantic import BaseModel, Field

from langchain_aloft import AloftRetriever, ChatAloft  # ours


class Answer(BaseModel):
    """An answer from a document."""

    topic: str
    answer: str
    is_found: bool = Field(description="whether the document answers the question")


PROMPT = ChatPromptTemplate.from_template("{document}\n\nAnswer as JSON: {question} {form}")


def main() -> None:
    corpus = read_corpus(*sys.argv[1:])
    run = shared_run(corpus)
    store = build_store(split(corpus.documents))
    retriever: BaseRetriever = store.as_retriever(search_kwargs={"k": 10})
    questions = corpus.sample(40)
    host = find(retriever, questions)
    retriever = AloftRetriever.from_run(run, k=10)  # ours
    ours = find(retriever, questions)

    model = ChatAloft.from_run(run, max_tokens=64)  # ours
    parser = PydanticOutputParser(pydantic_object=Answer)
    asked = [
        {"document": found[0][1][:800], "question": question.text, "form": form}
        for question, found in list(zip(questions, ours, strict=True))[:5]
        for form in (parser.get_format_instructions(), "")
    ]
    parsed = (PROMPT | model | parser).batch(asked[::2], return_exceptions=True)
    held = (PROMPT | model.with_structured_output(Answer)).batch(asked[1::2])  # ours
    valid = [sum(isinstance(one, Answer) for one in replies) for replies in (parsed, held)]
    print(f"valid replies: {valid[0]} of 5 parsed, {valid[1]} of 5 held to the schema")
    print_gain("structured_output", questions, host, ours)


if __name__ == "__main__":
    main()
