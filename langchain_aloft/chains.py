"""A chain that answers with citations, under the prompt that a run trained for."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from operator import add
from pathlib import Path
from typing import Any, cast

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import (
    AddableDict,
    Runnable,
    RunnableConfig,
    RunnableGenerator,
    RunnableLambda,
    RunnableParallel,
    RunnablePassthrough,
)
from pydantic import BaseModel, PrivateAttr
from typing_extensions import TypedDict  # as pydantic needs it before Python 3.12

from aloft.api import (
    Answer,
    Bundle,
    DataError,
    Passage,
    Reply,
    ScoredPassage,
    SharedModels,
    answer_prompt,
    answer_streaming,
    check_kind,
    place_of,
    read_bundle,
    read_list,
    read_passages,
    replace_surrogates,
)
from aloft.config import read_path
from langchain_aloft.chat_models import ChatAloft
from langchain_aloft.convert import TextOf, check_text_of, to_passages
from langchain_aloft.local import at_once, overflow_as_langchain_knows_it
from langchain_aloft.retrievers import AloftRetriever

_MESSAGES: dict[str, type[BaseMessage]] = {
    "system": SystemMessage,
    "user": HumanMessage,
    "assistant": AIMessage,
}


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

    The generator is a run of its own in callbacks, traces and event streams, as the retriever is.
    The answers of a `batch` are generated together.

    Args:
        run_folder: A finished run.
        retriever: Any LangChain retriever; None: the run's own, over the run's passages. Documents
            without text are left out.
        text_of: What the generator reads of a document; None: its page content. The run's own
            passages are read as in training.
        generator: Another server of the generator that ships, such as `openai:URL#NAME`.
        models: Loads the models; pass one object to several components to share weights.

    Raises:
        ConfigError: an argument has the wrong class.
        DataError: the folder holds no finished run.
    """
    check_text_of(text_of)
    if retriever is not None and not callable(retriever):
        check_kind("retriever", retriever, Runnable, "Of a vector store: store.as_retriever().")
    if models is not None:
        check_kind("models", models, SharedModels, "It loads models, whose names the run knows.")
    shared = models or SharedModels()
    found = AloftRetriever.from_run(run_folder, models=shared) if retriever is None else retriever
    folder = read_path("run_folder", run_folder)
    contract = read_bundle(folder, generator)
    answerer = _Answerer(contract, shared, text_of, _RunPassages(folder))
    retrieved: Runnable[Any, Any] = RunnableParallel(question=RunnablePassthrough(), context=found)
    asked: Runnable[Any, Any] = RunnableLambda(_question_of).with_types(input_type=Question)
    return (asked | retrieved | _Answers(answerer)).with_types(output_type=CitedAnswer)


class Question(BaseModel):  # a model, so that LangChain makes a tool of the chain for agents
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
class _Answerer:
    """Answers from what was retrieved; an object, and no closure, so that the chain can travel."""

    contract: Bundle
    models: SharedModels
    text_of: TextOf | None
    own: "_RunPassages"

    def answer(self, pieces: Iterator[AddableDict], config: RunnableConfig) -> Iterator[Any]:
        asked = self._answering(reduce(add, pieces))
        for _ in asked.chat.stream(asked.messages, config) if asked.messages else ():
            yield from asked.pieces()
        yield from asked.rest()

    async def answer_in_threads(
        self, pieces: AsyncIterator[AddableDict], config: RunnableConfig
    ) -> AsyncIterator[Any]:
        given = reduce(add, [piece async for piece in pieces])
        asked = await asyncio.to_thread(self._answering, given)
        if asked.messages:
            said: Any = asked.chat.astream(asked.messages, config)
            async with aclosing(said):
                async for _ in said:
                    for piece in asked.pieces():
                        yield piece
        for piece in asked.rest():
            yield piece

    def answer_whole(self, given: dict[str, Any], config: RunnableConfig) -> Any:
        asked = self._answering(given)
        if asked.messages:
            asked.chat.invoke(asked.messages, config)
        return reduce(add, asked.rest())

    async def answer_whole_in_threads(self, given: dict[str, Any], config: RunnableConfig) -> Any:
        asked = await asyncio.to_thread(self._answering, given)
        if asked.messages:
            await asked.chat.ainvoke(asked.messages, config)
        return reduce(add, asked.rest())

    def _answering(self, given: dict[str, Any]) -> "_Answering":
        advice = "A retriever returns the documents themselves, neither scored nor as one text."
        found = read_list(given["context"], Document, advice)
        context = [one for one in found if one.page_content.strip()]
        context = context[: self.contract.contexts]
        passages = [
            replace(own, document_id=passage.document_id, start=0)
            if (own := self.own.get(document))
            else passage
            for document, passage in zip(context, to_passages(context, self.text_of), strict=True)
        ]
        return _Answering(self.contract, self.models, given["question"], context, passages)


class _Answers(RunnableGenerator[Any, Any]):
    """Answers as they are generated; those of a batch, which nobody reads meanwhile, together."""

    def __init__(self, answerer: _Answerer) -> None:
        super().__init__(cast(Any, answerer.answer), cast(Any, answerer.answer_in_threads))
        self._whole: Runnable[Any, Any] = RunnableLambda(
            answerer.answer_whole, answerer.answer_whole_in_threads, name=self.get_name()
        )

    def batch(
        self,
        inputs: list[Any],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[Any]:
        configs = at_once(config, len(inputs))
        return self._whole.batch(inputs, configs, return_exceptions=return_exceptions, **kwargs)

    async def abatch(
        self,
        inputs: list[Any],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[Any]:
        configs = at_once(config, len(inputs))
        return await self._whole.abatch(
            inputs, configs, return_exceptions=return_exceptions, **kwargs
        )


@dataclass(slots=True)
class _RunPassages:
    """The run's own passages of a host's documents, read with what stood around them there."""

    run: Path
    _known: Mapping[str, Passage] | None = field(default=None, repr=False, compare=False)

    def get(self, document: Document) -> Passage | None:
        if self._known is None:
            self._known = read_passages(self.run)
        passage = self._known.get(document.id or "")
        if passage is None:
            return None
        # a retriever may have changed the text, and a vector store hold a later one
        is_own = passage.text == replace_surrogates(document.page_content)
        return passage if is_own else None

    def __reduce__(self) -> tuple[Any, ...]:
        return _RunPassages, (self.run,)


def _question_of(given: Any) -> str:
    given = given.question if isinstance(given, Question) else given
    question = given.get("question") if isinstance(given, dict) else given
    if not isinstance(question, str) or not question.strip():
        raise DataError('There is no question. Pass a text, or {"question": a text}.')
    return replace_surrogates(question)


class _Answering:
    """One question while it is answered, and the pieces that the chain returns meanwhile."""

    def __init__(
        self,
        contract: Bundle,
        models: SharedModels,
        question: str,
        context: Sequence[Document],
        passages: Sequence[Passage],
    ) -> None:
        self._context = list(context)
        self._question = question
        self._pieces: list[Any] = []
        self._last: Answer | None = None
        contexts = [ScoredPassage(passage=one, score=0.0) for one in passages]
        self._answers: Any = None
        self._open = partial(answer_streaming, contract, self._question, contexts, models)
        turns = answer_prompt(contract, self._question, contexts).messages if contexts else ()
        self.messages = [_MESSAGES[turn.role](turn.content) for turn in turns]
        self.chat = _Generator(
            name="AloftGenerator",
            model=contract.generator,
            adapter=contract.adapter,
            max_tokens=contract.max_new_tokens,
            models=models,
            cache=False,  # of replies, which are more than their text
        )
        self.chat._answering = self

    def steps(self, *, in_pieces: bool = True) -> Iterator[Reply]:
        """The reply's text that is new in each answer."""
        if self._answers is None:
            self._answers = self._open(in_pieces=in_pieces)
        # closed at once where nobody reads on: a server writes as long as it is connected
        with closing(self._answers), overflow_as_langchain_knows_it():
            for answer in self._answers:
                yield self._step(answer)

    def _step(self, answer: Answer) -> Reply:
        before = self._last.text if self._last else ""
        if self._last is None:
            cited = [self._context[int(one.passage.document_id)] for one in answer.cited]
            start = {"question": self._question, "context": self._context, "citations": cited}
            self._pieces.append(AddableDict(start))
        text = answer.text[len(before) :]
        self._pieces.append(AddableDict(answer=text))
        self._last = answer
        return replace(answer.reply or Reply(text="", is_finished=True), text=text)

    def pieces(self) -> list[Any]:
        """What is new since the last call: citations come first, then the answer's text."""
        new, self._pieces = self._pieces, []
        return new

    def rest(self) -> list[Any]:
        """The last pieces, quotes among them."""
        for _ in self.steps():
            pass
        if self._last is None:
            return self.pieces()
        end = AddableDict(
            quotes=[_located(quote, self._last) for quote in self._last.quotes],
            unverified_quotes=self._last.unverified_quotes,
            is_abstaining=self._last.is_abstaining,
        )
        return [*self.pieces(), end]


class _Generator(ChatAloft):
    """The generator while it answers one question, as LangChain's callbacks see it.

    Its input is the prompt that it was trained for. Its tokens are those of the answer alone: the
    headings and numbers in its replies become citations.
    """

    _answering: _Answering = PrivateAttr()

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        (reply,) = self._answering.steps(in_pieces=False)
        return self._result(reply)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return await asyncio.to_thread(self._generate, messages, stop)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        return self._chunks(self._answering.steps(), run_manager)


def _located(quote: Any, answer: Answer) -> QuoteInContext:
    before = answer.contexts[quote.ordinal - 1].passage.start
    start, end = (before + place for place in place_of(quote, answer.contexts))
    return QuoteInContext(context=quote.ordinal - 1, text=quote.text, start=start, end=end)
