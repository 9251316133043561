"""A query engine that answers with citations, under the prompt that a run trained for."""

import asyncio
from collections.abc import AsyncIterator, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.response.schema import (
    RESPONSE_TYPE,
    AsyncStreamingResponse,
    Response,
    StreamingResponse,
)
from llama_index.core.callbacks import CallbackManager
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import BaseNode, NodeWithScore, QueryBundle

from aloft.api import (
    Answer,
    Bundle,
    ScoredPassage,
    SharedModels,
    answer_streaming,
    in_threads,
    place_of,
    read_bundle,
    read_question,
)
from llama_index_aloft.convert import has_text, to_passage
from llama_index_aloft.retriever import AloftRetriever


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
        callback_manager: As of every LlamaIndex query engine.
    """

    def __init__(
        self,
        retriever: BaseRetriever,
        contract: Bundle,
        *,
        node_postprocessors: Sequence[BaseNodePostprocessor] = (),
        streaming: bool = False,
        models: SharedModels | None = None,
        callback_manager: CallbackManager | None = None,
    ) -> None:
        super().__init__(callback_manager)
        self.retriever = retriever
        self.contract = contract
        self.node_postprocessors = list(node_postprocessors)
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
            DataError: the folder holds no finished run.
        """
        models = fields.setdefault("models", SharedModels())
        found = retriever or AloftRetriever.from_run(run_folder, nodes, models=models)
        return cls(found, read_bundle(Path(run_folder), generator), **fields)

    def _for_prompt(self, nodes: Sequence[NodeWithScore]) -> list[NodeWithScore]:
        return [one for one in nodes if has_text(one.node)][: self.contract.contexts]

    def _get_prompt_modules(self) -> dict[str, Any]:
        return {}

    def retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        """Retrieve and postprocess the nodes for the prompt."""
        nodes = self.retriever.retrieve(query_bundle)
        for postprocessor in self.node_postprocessors:
            nodes = postprocessor.postprocess_nodes(nodes, query_bundle)
        return self._for_prompt(nodes)

    async def aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        """Retrieve and postprocess the nodes for the prompt."""
        nodes = await self.retriever.aretrieve(query_bundle)
        for postprocessor in self.node_postprocessors:
            nodes = await postprocessor.apostprocess_nodes(nodes, query_bundle)
        return self._for_prompt(nodes)

    def synthesize(
        self,
        query_bundle: QueryBundle,
        nodes: list[NodeWithScore],
        additional_source_nodes: Sequence[NodeWithScore] | None = None,
    ) -> RESPONSE_TYPE:
        """Generate an answer from nodes."""
        answers = self._generate(query_bundle, nodes)
        if not self.streaming:
            *_, (answer, _) = answers
            sources = [*_cited(answer, nodes), *(additional_source_nodes or ())]
            return Response(answer.text, sources, _facts(answer, nodes))
        first, text = next(answers)
        facts = _facts(first, nodes)
        sources = [*_cited(first, nodes), *(additional_source_nodes or ())]

        def continue_text() -> Generator[str, None, None]:
            yield text
            for answer, delta in answers:
                facts.update(_facts(answer, nodes))
                yield delta

        return StreamingResponse(continue_text(), sources, facts)

    async def asynthesize(
        self,
        query_bundle: QueryBundle,
        nodes: list[NodeWithScore],
        additional_source_nodes: Sequence[NodeWithScore] | None = None,
    ) -> RESPONSE_TYPE:
        """Generate an answer from nodes, in a thread."""
        if not self.streaming:
            given = (query_bundle, nodes, additional_source_nodes)
            return await asyncio.to_thread(self.synthesize, *given)
        answers = in_threads(self._generate(query_bundle, nodes))
        first, text = await anext(answers)
        facts = _facts(first, nodes)
        sources = [*_cited(first, nodes), *(additional_source_nodes or ())]

        async def continue_text() -> AsyncIterator[str]:
            yield text
            async for answer, delta in answers:
                facts.update(_facts(answer, nodes))
                yield delta

        return AsyncStreamingResponse(continue_text(), sources, facts)  # type: ignore[arg-type]

    def _query(self, query_bundle: QueryBundle) -> RESPONSE_TYPE:
        return self.synthesize(query_bundle, self.retrieve(query_bundle))

    async def _aquery(self, query_bundle: QueryBundle) -> RESPONSE_TYPE:
        return await self.asynthesize(query_bundle, await self.aretrieve(query_bundle))

    def _generate(
        self, query_bundle: QueryBundle, nodes: Sequence[NodeWithScore]
    ) -> Iterator[tuple[Answer, str]]:
        """Yield the answer so far, and the text that is new in it."""
        question = read_question(query_bundle.query_str)
        contexts = [
            ScoredPassage(passage=to_passage(one.node), score=one.score or 0.0) for one in nodes
        ]
        text = ""
        for answer in answer_streaming(self.contract, question, contexts, self.models):
            yield answer, answer.text[len(text) :]
            text = answer.text


def _cited(answer: Answer, nodes: Sequence[NodeWithScore]) -> list[NodeWithScore]:
    """The cited nodes, in the order of the citations."""
    places = {id(found): place for place, found in enumerate(answer.contexts)}
    return [nodes[places[id(found)]] for found in answer.cited]


def _facts(answer: Answer, nodes: Sequence[NodeWithScore]) -> dict[str, Any]:
    quotes = []
    for quote in answer.quotes:
        start, end = place_of(quote, answer.contexts)
        node_id = nodes[quote.ordinal - 1].node.node_id
        quotes.append({"node_id": node_id, "text": quote.text, "start": start, "end": end})
    return {
        "shown": [one.node.node_id for one in nodes],
        "quotes": quotes,
        "unverified_quotes": answer.unverified_quotes,
        "is_abstaining": answer.is_abstaining,
    }
