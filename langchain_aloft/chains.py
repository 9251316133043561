"""A chain that answers with citations, under the prompt that a run trained for."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
from typing_extensions import TypedDict  # as pydantic needs it before Python 3.12

from aloft.api import (
    Answer,
    Bundle,
    DataError,
    Passage,
    ScoredPassage,
    SharedModels,
    answer_streaming,
    in_threads,
    place_of,
    read_bundle,
    read_passages,
    replace_surrogates,
)
from langchain_aloft.convert import TextOf, to_passages
from langchain_aloft.retrievers import AloftRetriever


def create_citation_chain(
    run_folder: str | Path,
    retriever: BaseRetriever | None = None,
    *,
    text_of: TextOf | None = None,
    generator: str | None = None,
    models: SharedModels | None = None,
) -> Runnable[Any, dict[str, Any]]:
    """Create a chain from a question to an answer and the documents that it cites.

    The chain takes a question, or a dictionary with "question". It returns "question"; "context",
    the documents in the prompt; "citations", those that the answer cites; "answer", which comes in
    pieces in a stream; "quotes", each with "context" (the position of its document there), "text",
    and "start" and "end", its characters in that document; "unverified_quotes", the number of
    quotes found in no document; and "is_abstaining", whether the answer is that no document holds
    one.

    Args:
        run_folder: A finished run.
        retriever: Any LangChain retriever; None: the run's own, over the run's passages. Documents
            without text are left out.
        text_of: What the generator reads of a document; None: its page content. The run's own
            passages are read as in training.
        generator: Another server of the generator that ships, such as `openai:URL#NAME`.
        models: Loads the models; pass one object to several components to share weights.

    Raises:
        DataError: the folder holds no finished run.
    """
    shared = models or SharedModels()
    found = retriever or AloftRetriever.from_run(run_folder, models=shared)
    contract = read_bundle(Path(run_folder), generator)
    answering = _Answering(contract, shared, text_of, _RunPassages(Path(run_folder).absolute()))
    retrieved: Runnable[Any, Any] = RunnableParallel(question=RunnablePassthrough(), context=found)
    answers: Runnable[Any, Any] = RunnableGenerator(answering.answer, answering.answer_in_threads)
    chain: Runnable[Any, Any] = RunnableLambda(_question_of) | retrieved | answers
    return chain.with_types(input_type=str | Question, output_type=CitedAnswer)  # type: ignore[arg-type]


class Question(TypedDict):
    """A question, where it is not given as a text alone."""

    question: str


class QuoteInContext(TypedDict):
    """A verbatim quote: its document's position in the context, and its characters there."""

    context: int
    text: str
    start: int
    end: int


class CitedAnswer(TypedDict):
    """What `create_citation_chain` returns."""

    question: str
    context: list[Document]
    citations: list[Document]
    answer: str
    quotes: list[QuoteInContext]
    unverified_quotes: int
    is_abstaining: bool


@dataclass(frozen=True, slots=True)
class _Answering:
    """Answers from what was retrieved; an object, and no closure, so that the chain can travel."""

    contract: Bundle
    models: SharedModels
    text_of: TextOf | None
    own: "_RunPassages"

    def answer(self, pieces: Iterator[AddableDict]) -> Iterator[AddableDict]:
        yield from self._generate(reduce(add, pieces))

    async def answer_in_threads(
        self, pieces: AsyncIterator[AddableDict]
    ) -> AsyncIterator[AddableDict]:
        given = reduce(add, [piece async for piece in pieces])
        async for piece in in_threads(self._generate(given)):
            yield piece

    def _generate(self, given: dict[str, Any]) -> Iterator[AddableDict]:
        context = [one for one in given["context"] if one.page_content.strip()]
        context = context[: self.contract.contexts]
        passages = [
            replace(self.own.get(document) or passage, document_id=passage.document_id)
            for document, passage in zip(context, to_passages(context, self.text_of), strict=True)
        ]
        return _generate(self.contract, self.models, given["question"], context, passages)


@dataclass(slots=True)
class _RunPassages:
    """The run's own passages of a host's documents, read with what stood around them there."""

    run: Path
    _known: Mapping[str, Passage] | None = field(default=None, repr=False, compare=False)

    def get(self, document: Document) -> Passage | None:
        if self._known is None:
            self._known = read_passages(self.run)
        passage = self._known.get(document.id or "")
        return passage if passage is not None and passage.reading_frame else None

    def __reduce__(self) -> tuple[Any, ...]:
        return _RunPassages, (self.run,)


def _question_of(given: Any) -> str:
    question = given.get("question") if isinstance(given, dict) else given
    if not isinstance(question, str) or not question.strip():
        raise DataError('There is no question. Pass a text, or {"question": a text}.')
    return replace_surrogates(question)


def _generate(
    contract: Bundle,
    models: SharedModels,
    question: str,
    context: Sequence[Document],
    passages: Sequence[Passage],
) -> Iterator[AddableDict]:
    """The answer as it is generated: citations come with the first piece, quotes with the last."""
    contexts = [ScoredPassage(passage=passage, score=0.0) for passage in passages]
    last: Answer | None = None
    for answer in answer_streaming(contract, question, contexts, models):
        if last is None:
            cited = [context[int(one.passage.document_id)] for one in answer.cited]
            yield AddableDict(question=question, context=list(context), citations=cited)
        yield AddableDict(answer=answer.text[len(last.text) if last else 0 :])
        last = answer
    if last is not None:
        yield AddableDict(
            quotes=[_located(quote, last) for quote in last.quotes],
            unverified_quotes=last.unverified_quotes,
            is_abstaining=last.is_abstaining,
        )


def _located(quote: Any, answer: Answer) -> dict[str, Any]:
    start, end = place_of(quote, answer.contexts)
    return {"context": quote.ordinal - 1, "text": quote.text, "start": start, "end": end}
