"""Marks of nodes by an LLM, as a step of a LlamaIndex ingestion."""

from collections.abc import Sequence
from typing import Any, Literal

from llama_index.core.bridge.pydantic import Field
from llama_index.core.llms import LLM
from llama_index.core.schema import BaseNode, TransformComponent

from aloft.api import ConfigError, LanguageModel, Rating, SharedModels, rate_passages
from aloft.config import RatingsConfig
from llama_index_aloft.convert import to_passage
from llama_index_aloft.teacher import LlamaIndexTeacher


class AloftRater(TransformComponent):
    """Writes an LLM's mark of each node, 0 to 10, into copies of the nodes.

    The mark says whether the text by itself would teach a reader something; neither embedders nor
    LLMs are shown it.

    Args:
        model: A local model, whose mark is read off its probabilities.
        llm: Any LlamaIndex LLM in its place, which writes its mark.
        keep_at_least: Nodes with a lower mark are left out; None: none are.
        key: Where the mark stands in a node's metadata; None stands there where it can not be read.
        models: Where a local model is loaded from.
    """

    model: str | None = None
    llm: LLM | None = Field(default=None, exclude=True)
    keep_at_least: float | None = Field(default=None, ge=0, le=10)
    key: str = "aloft_rating"
    models: SharedModels = Field(default_factory=SharedModels, exclude=True, repr=False)

    @classmethod
    def class_name(cls) -> str:
        """The name in LlamaIndex's serialised form."""
        return "AloftRater"

    def __call__(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[BaseNode]:
        """Mark nodes.

        Raises:
            ConfigError: neither a model nor an LLM is named, or both are.
        """
        teacher, method = self._teacher()
        asked = [to_passage(node) for node in nodes]
        config = RatingsConfig(method=method)
        outcomes = list(rate_passages(asked, teacher, config))
        marks = [outcome.value if isinstance(outcome, Rating) else None for outcome in outcomes]
        return [
            _marked(node, self.key, mark)
            for node, mark in zip(nodes, marks, strict=True)
            if mark is None or mark >= (self.keep_at_least or 0)
        ]

    def _teacher(self) -> tuple[LanguageModel, Literal["expect", "generate"]]:
        if (self.model is None) == (self.llm is None):
            raise ConfigError("Name what marks nodes: model or llm, one of the two.")
        if self.llm is not None:
            return LlamaIndexTeacher(self.llm), "generate"
        return self.models.language_model(str(self.model)), "expect"


def _marked(node: BaseNode, key: str, mark: float | None) -> BaseNode:
    return node.model_copy(
        update={
            "metadata": {**node.metadata, key: mark},
            "excluded_embed_metadata_keys": [*node.excluded_embed_metadata_keys, key],
            "excluded_llm_metadata_keys": [*node.excluded_llm_metadata_keys, key],
        }
    )
