"""A reranker, tuned or not, as a LlamaIndex node postprocessor."""

from pathlib import Path
from typing import Any, Self

from llama_index.core.bridge.pydantic import ConfigDict, Field
from llama_index.core.callbacks import CBEventType, EventPayload
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index_instrumentation import get_dispatcher
from pydantic.json_schema import SkipJsonSchema

from aloft.api import DataError, Relevance, SharedModels, best_first, read_bundle, reranker_of
from aloft.config import ModelName, read_path
from llama_index_aloft.convert import read_found, to_passage
from llama_index_aloft.identity import Identified
from llama_index_aloft.queries import query_text, to_query

_dispatcher = get_dispatcher(__name__)


class AloftRerank(Identified, BaseNodePostprocessor):
    """Reorders nodes by how well they answer the query; the nodes given are not changed.

    The model reads the query's text and what of a node is embedded (`MetadataMode.EMBED`).

    Args:
        model: An `embedded:` name, a folder, or a Hugging Face id that is on this machine.
        top_n: Number of nodes kept.
        relevance: What the scores of nodes are computed by, as a run has fitted it: they are then
            the probabilities that the nodes answer. None: they are the model's own.
        models: Loads the model; pass one object to several components to share weights.
    """

    model_config = ConfigDict(extra="forbid")

    model: ModelName
    top_n: int = Field(default=5, ge=1)
    relevance: Relevance | None = None
    models: SkipJsonSchema[SharedModels] = Field(
        default_factory=SharedModels, exclude=True, repr=False
    )

    def __init__(self, model: str, **fields: Any) -> None:
        super().__init__(**{"model": model, **fields})

    @classmethod
    def from_run(cls, run_folder: str | Path, **fields: Any) -> Self:
        """The reranker that a run ships; by default it keeps as many nodes as the run's prompts.

        Raises:
            DataError: the folder holds no finished run, or the run ships no reranker.
        """
        folder = read_path("run_folder", run_folder)
        model = reranker_of(folder)
        bundle = read_bundle(folder)
        known = {"top_n": bundle.contexts, "relevance": bundle.reranker_relevance}
        return cls(model, **{**known, **fields})

    @classmethod
    def class_name(cls) -> str:
        """The class name in LlamaIndex's serialized form."""
        return "AloftRerank"

    def _fingerprint(self) -> str:
        return self.models.fingerprint(self.model)

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if query_bundle is None:
            raise DataError("There is no query to rerank for. Pass query_str or query_bundle.")
        nodes = read_found(nodes)
        if not nodes:
            return []
        query_bundle = to_query(query_bundle)
        question = query_text(query_bundle)
        _dispatcher.event(
            ReRankStartEvent(
                query=query_bundle, nodes=nodes, top_n=self.top_n, model_name=self.model
            )
        )
        payload: dict[str, Any] = {
            EventPayload.NODES: nodes,
            EventPayload.MODEL_NAME: self.model,
            EventPayload.QUERY_STR: question,
            EventPayload.TOP_K: self.top_n,
        }
        with self.callback_manager.event(CBEventType.RERANKING, payload=payload) as event:
            ranked = self._rank(nodes, question)
            event.on_end(payload={EventPayload.NODES: ranked})
        _dispatcher.event(ReRankEndEvent(nodes=ranked))
        return ranked

    def _rank(self, nodes: list[NodeWithScore], question: str) -> list[NodeWithScore]:
        pairs = [(question, to_passage(found.node).embedded) for found in nodes]
        found = self.models.reranker(self.model).score(pairs)
        scores = self.relevance.of_reranker(found) if self.relevance else found.tolist()
        return [
            NodeWithScore(node=nodes[place].node, score=scores[place])
            for place in best_first(found, self.top_n)
        ]
