"""A query engine that answers with citations, under the prompt that a run trained for."""

from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from llama_index.core import Settings
from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
)
from llama_index.core.base.response.schema import (
    RESPONSE_TYPE,
    AsyncStreamingResponse,
    Response,
    StreamingResponse,
)
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.callbacks import CallbackManager, CBEventType, EventPayload
from llama_index.core.instrumentation.events.synthesis import (
    SynthesizeEndEvent,
    SynthesizeStartEvent,
)
from llama_index.core.llms.callbacks import llm_chat_callback
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import BaseNode, NodeWithScore, QueryBundle, QueryType
from llama_index_instrumentation import get_dispatcher

from aloft.api import (
    Answer,
    Bundle,
    ConfigError,
    DataError,
    Reply,
    ScoredPassage,
    SharedModels,
    answer_prompt,
    answer_streaming,
    check_kind,
    in_threads,
    place_of,
    read_bundle,
    read_list,
    read_question,
)
from aloft.config import read_path
from llama_index_aloft.convert import cut_before, has_text, read_found, to_passage
from llama_index_aloft.llm import AloftLLM
from llama_index_aloft.messages import as_chat
from llama_index_aloft.queries import check_query, to_query
from llama_index_aloft.retriever import AloftRetriever, check_parts

_dispatcher = get_dispatcher(__name__)


class AloftCitationQueryEngine(BaseQueryEngine):
    """Answers questions; a response's source nodes are those that the answer cites.

    A response's metadata has "shown", the ids of all nodes in the prompt; "quotes", each with
    "node_id", "text", and "start" and "end", its characters in the node's text;
    "unverified_quotes", the number of quotes found in no node; and "is_abstaining", whether the
    answer is that no node holds one.

    Args:
        retriever: Any LlamaIndex retriever. Its nodes are shown in their order, at most as many as
            the contract says; nodes without text are left out.
        contract: The bundle that a run ships; see `from_run`.
        node_postprocessors: Applied to the retrieved nodes, one after the other.
        streaming: Whether a response is generated in pieces.
        models: Loads the models; pass one object to several components to share weights.
        callback_manager: As of every LlamaIndex query engine; its postprocessors get it too. None:
            that of `Settings`.
    """

    def __init__(
        self,
        retriever: BaseRetriever,
        contract: Bundle,
        *,
        node_postprocessors: Sequence[BaseNodePostprocessor] | None = None,
        streaming: bool = False,
        models: SharedModels | None = None,
        callback_manager: CallbackManager | None = None,
    ) -> None:
        check_kind("retriever", retriever, BaseRetriever, "Of an index: index.as_retriever().")
        check_parts(contract, models, callback_manager)
        super().__init__(callback_manager or Settings.callback_manager)
        self.retriever = retriever
        self.contract = contract
        self.node_postprocessors: list[BaseNodePostprocessor] = read_list(
            node_postprocessors or (), BaseNodePostprocessor, "Put it into a list."
        )
        for postprocessor in self.node_postprocessors:
            postprocessor.callback_manager = self.callback_manager
        self.streaming = streaming
        self.models = models or SharedModels()

    @classmethod
    def from_run(
        cls,
        run_folder: str | Path,
        nodes: Sequence[BaseNode] | None = None,
        *,
        retriever: BaseRetriever | None = None,
        generator: str | None = None,
        **fields: Any,
    ) -> Self:
        """Answer with what a run ships.

        Args:
            run_folder: A finished run.
            nodes: The corpus; None: the run's own passages, whose vectors the run has kept.
            retriever: Retrieves in place of the run's own retriever.
            generator: Another server of the generator that ships, such as `openai:URL#NAME`.
            **fields: The other arguments of the class.

        Raises:
            ConfigError: both nodes and a retriever are given.
            DataError: the folder holds no finished run.
        """
        if nodes is not None and retriever is not None:
            raise ConfigError("Nodes and a retriever are given. Pass one: a retriever has its own.")
        shared = {
            "models": fields.setdefault("models", SharedModels()),
            "callback_manager": fields.get("callback_manager"),
        }
        if retriever is None:
            retriever = AloftRetriever.from_run(run_folder, nodes, **shared)
        return cls(retriever, read_bundle(read_path("run_folder", run_folder), generator), **fields)

    def _for_prompt(self, nodes: Iterable[NodeWithScore]) -> list[NodeWithScore]:
        return [one for one in read_found(nodes) if has_text(one.node)][: self.contract.contexts]

    def _get_prompt_modules(self) -> dict[str, Any]:
        return {}

    def query(self, str_or_query_bundle: QueryType) -> RESPONSE_TYPE:
        """Answer a question.

        Raises:
            DataError: the query is neither a text nor a QueryBundle.
        """
        check_query(str_or_query_bundle)
        return super().query(str_or_query_bundle)

    async def aquery(self, str_or_query_bundle: QueryType) -> RESPONSE_TYPE:
        """Answer a question; see `query`."""
        check_query(str_or_query_bundle)
        return await super().aquery(str_or_query_bundle)

    def retrieve(self, query_bundle: QueryType) -> list[NodeWithScore]:
        """Retrieve and postprocess the nodes for the prompt."""
        query_bundle = to_query(query_bundle)
        nodes = self.retriever.retrieve(query_bundle)
        for postprocessor in self.node_postprocessors:
            nodes = postprocessor.postprocess_nodes(nodes, query_bundle)
        return self._for_prompt(nodes)

    async def aretrieve(self, query_bundle: QueryType) -> list[NodeWithScore]:
        """Retrieve and postprocess the nodes for the prompt."""
        query_bundle = to_query(query_bundle)
        nodes = await self.retriever.aretrieve(query_bundle)
        for postprocessor in self.node_postprocessors:
            nodes = await postprocessor.apostprocess_nodes(nodes, query_bundle)
        return self._for_prompt(nodes)

    @_dispatcher.span
    def synthesize(
        self,
        query_bundle: QueryType,
        nodes: list[NodeWithScore],
        additional_source_nodes: Sequence[NodeWithScore] | None = None,
    ) -> RESPONSE_TYPE:
        """Generate an answer from nodes, of which those for the prompt are shown."""
        query_bundle = to_query(query_bundle)
        with self._synthesizing(query_bundle) as synthesized:
            answering = _Answering(self, query_bundle, nodes, additional_source_nodes)
            if self.streaming:
                return synthesized(answering.stream())
            for _ in answering.steps():
                pass
            return synthesized(answering.response())

    @_dispatcher.span
    async def asynthesize(
        self,
        query_bundle: QueryType,
        nodes: list[NodeWithScore],
        additional_source_nodes: Sequence[NodeWithScore] | None = None,
    ) -> RESPONSE_TYPE:
        """Generate an answer from nodes; the model works in a thread."""
        query_bundle = to_query(query_bundle)
        with self._synthesizing(query_bundle) as synthesized:
            answering = _Answering(self, query_bundle, nodes, additional_source_nodes)
            if self.streaming:
                return synthesized(await answering.astream())
            async for _ in answering.asteps():
                pass
            return synthesized(answering.response())

    @_dispatcher.span
    def _query(self, query_bundle: QueryBundle) -> RESPONSE_TYPE:
        payload: dict[str, Any] = {EventPayload.QUERY_STR: query_bundle.query_str}
        with self.callback_manager.event(CBEventType.QUERY, payload=payload) as event:
            response = self.synthesize(query_bundle, self.retrieve(query_bundle))
            event.on_end(payload={EventPayload.RESPONSE: response})
        return response

    @_dispatcher.span
    async def _aquery(self, query_bundle: QueryBundle) -> RESPONSE_TYPE:
        payload: dict[str, Any] = {EventPayload.QUERY_STR: query_bundle.query_str}
        with self.callback_manager.event(CBEventType.QUERY, payload=payload) as event:
            response = await self.asynthesize(query_bundle, await self.aretrieve(query_bundle))
            event.on_end(payload={EventPayload.RESPONSE: response})
        return response

    @contextmanager
    def _synthesizing(
        self, query_bundle: QueryBundle
    ) -> Iterator[Callable[[RESPONSE_TYPE], RESPONSE_TYPE]]:
        """Tell LlamaIndex of a synthesis, and of its response."""
        _dispatcher.event(SynthesizeStartEvent(query=query_bundle))
        payload: dict[str, Any] = {EventPayload.QUERY_STR: query_bundle.query_str}
        with self.callback_manager.event(CBEventType.SYNTHESIZE, payload=payload) as event:

            def synthesized(response: RESPONSE_TYPE) -> RESPONSE_TYPE:
                event.on_end(payload={EventPayload.RESPONSE: response})
                _dispatcher.event(SynthesizeEndEvent(query=query_bundle, response=response))
                return response

            yield synthesized


class _Answering:
    """One question while it is answered, and the response that comes of it."""

    def __init__(
        self,
        engine: AloftCitationQueryEngine,
        query_bundle: QueryBundle,
        nodes: Sequence[NodeWithScore],
        further: Sequence[NodeWithScore] | None,
    ) -> None:
        contract, models = engine.contract, engine.models
        nodes = engine._for_prompt(nodes)
        question = read_question(query_bundle.query_str)
        contexts = [
            ScoredPassage(passage=to_passage(one.node), score=one.score or 0.0) for one in nodes
        ]
        self._nodes = nodes
        self._further = further or ()
        self._answers: Any = answer_streaming(contract, question, contexts, models)
        self._last: Answer | None = None
        turns = answer_prompt(contract, question, contexts).messages if contexts else ()
        self._messages = [ChatMessage(role=turn.role, content=turn.content) for turn in turns]
        self._llm = _Generator(
            model=contract.generator,
            adapter=contract.adapter,
            max_tokens=contract.max_new_tokens,
            models=models,
            callback_manager=engine.callback_manager,
        )
        self._llm._answering = self

    def grow(self) -> Iterator[ChatResponse]:
        """The answer so far, as the reply of a model."""
        # closed at once where nobody reads on: a server writes as long as it is connected
        with closing(self._answers):
            for answer in self._answers:
                before = self._last.text if self._last else ""
                self._last = answer
                reply = answer.reply or Reply(text="", is_finished=True)
                yield as_chat(replace(reply, text=answer.text), answer.text[len(before) :])

    def steps(self) -> Iterator[str]:
        """The text that is new in each answer; without nodes no model is asked."""
        responses = self._llm.stream_chat(self._messages) if self._messages else self.grow()
        for response in responses:
            yield response.delta or ""

    async def asteps(self) -> AsyncGenerator[str, None]:
        """The text that is new in each answer; without nodes no model is asked."""
        if not self._messages:
            for response in self.grow():
                yield response.delta or ""
            return
        async for response in await self._llm.astream_chat(self._messages):
            yield response.delta or ""

    def response(self) -> Response:
        """The answer as a whole."""
        return Response(self._answer.text, self._sources(), self._facts())

    def stream(self) -> StreamingResponse:
        """The answer as it grows; the sources are known before its text."""
        steps = self.steps()
        first, facts = next(steps), self._facts()

        def continue_text() -> Generator[str, None, None]:
            yield first
            for delta in steps:
                facts.update(self._facts())
                yield delta

        return StreamingResponse(continue_text(), self._sources(), facts)

    async def astream(self) -> AsyncStreamingResponse:
        """The answer as it grows; the sources are known before its text."""
        steps = self.asteps()
        first, facts = await anext(steps), self._facts()

        async def continue_text() -> AsyncGenerator[str, None]:
            yield first
            async for delta in steps:
                facts.update(self._facts())
                yield delta

        return AsyncStreamingResponse(continue_text(), self._sources(), facts)

    @property
    def _answer(self) -> Answer:
        if self._last is None:
            raise DataError("The generator gave no reply. Ask again.")
        return self._last

    def _sources(self) -> list[NodeWithScore]:
        return [*_cited(self._answer, self._nodes), *self._further]

    def _facts(self) -> dict[str, Any]:
        return _facts(self._answer, self._nodes)


class _Generator(AloftLLM):
    """The generator while it answers one question, as LlamaIndex's instrumentation sees it.

    Its input is the prompt that it was trained for. Its replies are the answer alone: the headings
    and numbers in them become citations.
    """

    _answering: _Answering = PrivateAttr()

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **options: Any) -> ChatResponseGen:
        """The answer as it grows."""
        return (response for response in self._answering.grow())

    @llm_chat_callback()
    async def astream_chat(
        self, messages: Sequence[ChatMessage], **options: Any
    ) -> ChatResponseAsyncGen:
        """The answer as it grows."""
        responses = in_threads(self._answering.grow())
        return (response async for response in responses)


def _cited(answer: Answer, nodes: Sequence[NodeWithScore]) -> list[NodeWithScore]:
    """The cited nodes, in the order of the citations."""
    places = {id(found): place for place, found in enumerate(answer.contexts)}
    return [nodes[places[id(found)]] for found in answer.cited]


def _facts(answer: Answer, nodes: Sequence[NodeWithScore]) -> dict[str, Any]:
    quotes = []
    for quote in answer.quotes:
        node = nodes[quote.ordinal - 1].node
        start, end = (cut_before(node) + place for place in place_of(quote, answer.contexts))
        quotes.append({"node_id": node.node_id, "text": quote.text, "start": start, "end": end})
    return {
        "shown": [one.node.node_id for one in nodes],
        "quotes": quotes,
        "unverified_quotes": answer.unverified_quotes,
        "is_abstaining": answer.is_abstaining,
    }
