"""Answers with the nodes that they cite, under the prompt that a run's generator knows."""

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
)
from llama_index_aloft.convert import to_passage
from llama_index_aloft.retriever import AloftRetriever


class AloftCitationQueryEngine(BaseQueryEngine):
    """Answers questions; a response's source nodes are those that the answer cites.

    Its metadata has "shown", the ids of all nodes that the generator was shown; "quotes", each with
    "node_id", "text", and "start" and "end", its characters in the node's text;
    "unverified_quotes", how many stand in no node; and "is_abstaining", whether it says that none
    holds the answer.

    Args:
        retriever: Any; what it finds is shown in its order, at most as much as the contract says.
        contract: What is asked how: see `from_run`.
        node_postprocessors: Applied to what is found, one after the other.
        streaming: Whether a response is told piece by piece.
        models: Where models are loaded from; pass one to several components to share weights.
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
            nodes: What to retrieve; None: the run's own passages, whose vectors are known.
            retriever: What retrieves in place of the run's own.
            generator: What else serves the generator that ships, such as `openai:URL#NAME`.
            **fields: The other arguments of the class.

        Raises:
            DataError: the folder holds no finished run.
        """
        models = fields.setdefault("models", SharedModels())
        found = retriever or AloftRetriever.from_run(run_folder, nodes, models=models)
        return cls(found, read_bundle(Path(run_folder) / "models", generator), **fields)

    def _get_prompt_modules(self) -> dict[str, Any]:
        return {}

    def retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        """The nodes that the generator will be shown."""
        nodes = self.retriever.retrieve(query_bundle)
        for postprocessor in self.node_postprocessors:
            nodes = postprocessor.postprocess_nodes(nodes, query_bundle)
        return nodes[: self.contract.contexts]

    async def aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        """The nodes that the generator will be shown."""
        nodes = await self.retriever.aretrieve(query_bundle)
        for postprocessor in self.node_postprocessors:
            nodes = await postprocessor.apostprocess_nodes(nodes, query_bundle)
        return nodes[: self.contract.contexts]

    def synthesize(
        self,
        query_bundle: QueryBundle,
        nodes: list[NodeWithScore],
        additional_source_nodes: Sequence[NodeWithScore] | None = None,
    ) -> RESPONSE_TYPE:
        """Answer from nodes."""
        told = self._tell(query_bundle, nodes)
        if not self.streaming:
            *_, (answer, _) = told
            sources = [*_cited(answer, nodes), *(additional_source_nodes or ())]
            return Response(answer.text, sources, _facts(answer, nodes))
        first, text = next(told)
        facts = _facts(first, nodes)
        sources = [*_cited(first, nodes), *(additional_source_nodes or ())]

        def go_on() -> Generator[str, None, None]:
            yield text
            for answer, delta in told:
                facts.update(_facts(answer, nodes))
                yield delta

        return StreamingResponse(go_on(), sources, facts)

    async def asynthesize(
        self,
        query_bundle: QueryBundle,
        nodes: list[NodeWithScore],
        additional_source_nodes: Sequence[NodeWithScore] | None = None,
    ) -> RESPONSE_TYPE:
        """Answer from nodes, in a thread."""
        if not self.streaming:
            given = (query_bundle, nodes, additional_source_nodes)
            return await asyncio.to_thread(self.synthesize, *given)
        told = in_threads(self._tell(query_bundle, nodes))
        first, text = await anext(told)
        facts = _facts(first, nodes)
        sources = [*_cited(first, nodes), *(additional_source_nodes or ())]

        async def go_on() -> AsyncIterator[str]:
            yield text
            async for answer, delta in told:
                facts.update(_facts(answer, nodes))
                yield delta

        return AsyncStreamingResponse(go_on(), sources, facts)  # type: ignore[arg-type]

    def _query(self, query_bundle: QueryBundle) -> RESPONSE_TYPE:
        return self.synthesize(query_bundle, self.retrieve(query_bundle))

    async def _aquery(self, query_bundle: QueryBundle) -> RESPONSE_TYPE:
        return await self.asynthesize(query_bundle, await self.aretrieve(query_bundle))

    def _tell(
        self, query_bundle: QueryBundle, nodes: Sequence[NodeWithScore]
    ) -> Iterator[tuple[Answer, str]]:
        """The answer as it grows, and what of it is new."""
        shown = [
            ScoredPassage(passage=to_passage(one.node), score=one.score or 0.0) for one in nodes
        ]
        told = ""
        for answer in answer_streaming(self.contract, query_bundle.query_str, shown, self.models):
            yield answer, answer.text[len(told) :]
            told = answer.text


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
