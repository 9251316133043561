"""Question to answer with citations, under the prompt that a run's generator knows."""

from collections.abc import AsyncIterator, Iterator, Sequence
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import (
    AddableDict,
    Runnable,
    RunnableGenerator,
    RunnableLambda,
    RunnableParallel,
    RunnablePassthrough,
)

from aloft.api import (
    Answer,
    Bundle,
    DataError,
    ScoredPassage,
    SharedModels,
    answer_streaming,
    in_threads,
    place_of,
    read_bundle,
)
from langchain_aloft.convert import to_passages
from langchain_aloft.retrievers import AloftRetriever


def create_citation_chain(
    run_folder: str | Path,
    retriever: BaseRetriever | None = None,
    *,
    generator: str | None = None,
    models: SharedModels | None = None,
) -> Runnable[Any, dict[str, Any]]:
    """A chain from a question to an answer and the documents that it cites.

    It takes a question, or a dictionary with "question", and gives "question"; "context", the
    documents that the generator was shown; "citations", those of them that it cites; "answer",
    which comes piece by piece in a stream; "quotes", each with "context" (its document's place
    there), "text", and "start" and "end", its characters in that document; "unverified_quotes", how
    many stand in none; and "is_abstaining", whether it says that none holds the answer.

    Args:
        run_folder: A finished run.
        retriever: Any; None: the run's own, over its own passages.
        generator: What else serves the generator that ships, such as `openai:URL#NAME`.
        models: Where models are loaded from; pass one to several components to share weights.

    Raises:
        DataError: the folder holds no finished run.
    """
    shared = models or SharedModels()
    found = retriever or AloftRetriever.from_run(run_folder, models=shared)
    contract = read_bundle(Path(run_folder) / "models", generator)

    def tell(given: dict[str, Any]) -> Iterator[AddableDict]:
        return _tell(contract, shared, given["question"], given["context"][: contract.contexts])

    def answer(pieces: Iterator[AddableDict]) -> Iterator[AddableDict]:
        yield from tell(reduce(add, pieces))

    async def answer_in_threads(pieces: AsyncIterator[AddableDict]) -> AsyncIterator[AddableDict]:
        given = reduce(add, [piece async for piece in pieces])
        async for told in in_threads(tell(given)):
            yield told

    retrieved: Runnable[Any, Any] = RunnableParallel(question=RunnablePassthrough(), context=found)
    answers: Runnable[Any, Any] = RunnableGenerator(answer, answer_in_threads)
    return RunnableLambda(_question_of) | retrieved | answers


def _question_of(given: Any) -> str:
    question = given.get("question") if isinstance(given, dict) else given
    if not isinstance(question, str) or not question.strip():
        raise DataError('There is no question. Give a text, or {"question": a text}.')
    return question


def _tell(
    contract: Bundle, models: SharedModels, question: str, context: Sequence[Document]
) -> Iterator[AddableDict]:
    """The answer as it grows: the first piece has what it cites, the last what it quotes."""
    shown = [ScoredPassage(passage=passage, score=0.0) for passage in to_passages(context)]
    told: Answer | None = None
    for answer in answer_streaming(contract, question, shown, models):
        if told is None:
            cited = [context[int(one.passage.document_id)] for one in answer.cited]
            yield AddableDict(question=question, context=list(context), citations=cited)
        yield AddableDict(answer=answer.text[len(told.text) if told else 0 :])
        told = answer
    if told is not None:
        yield AddableDict(
            quotes=[_placed(quote, told) for quote in told.quotes],
            unverified_quotes=told.unverified_quotes,
            is_abstaining=told.is_abstaining,
        )


def _placed(quote: Any, answer: Answer) -> dict[str, Any]:
    start, end = place_of(quote, answer.contexts)
    return {"context": quote.ordinal - 1, "text": quote.text, "start": start, "end": end}
