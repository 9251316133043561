"""Rates nodes by a language model, as a step of a LlamaIndex ingestion pipeline."""

import asyncio
from collections.abc import Sequence
from typing import Any, Literal, Self

from llama_index.core.bridge.pydantic import ConfigDict, Field, SerializeAsAny
from llama_index.core.llms import LLM
from llama_index.core.llms.loading import load_llm
from llama_index.core.schema import BaseNode, TransformComponent
from pydantic.json_schema import SkipJsonSchema

from aloft.api import ConfigError, LanguageModel, Rating, SharedModels, rate_passages
from aloft.config import ModelName, RatingsConfig
from llama_index_aloft.convert import has_text, read_nodes, to_passage
from llama_index_aloft.identity import Identified
from llama_index_aloft.llm import AloftLLM
from llama_index_aloft.teacher import LlamaIndexTeacher


class AloftRater(Identified, TransformComponent):
    """Adds a rating of each node, from 0 to 10, to the metadata of copies of the nodes.

    The rating says whether the text, by itself, would teach a reader something. It is shown neither
    to embedding models nor to LLMs.

    Args:
        model: A local model, whose token probabilities give the rating.
        llm: Any LlamaIndex LLM instead, which writes the rating.
        keep_at_least: Nodes with a lower rating are dropped; None: all are kept.
        key: Metadata key of the rating; the value is None if the reply could not be read.
        models: Loads the local model.

    Raises:
        ConfigError: neither a model nor an LLM is set, or both are.
    """

    model_config = ConfigDict(extra="forbid")

    model: ModelName | None = None
    llm: SerializeAsAny[LLM] | None = None
    keep_at_least: float | None = Field(default=None, ge=0, le=10)
    key: str = "aloft_rating"
    models: SkipJsonSchema[SharedModels] = Field(
        default_factory=SharedModels, exclude=True, repr=False
    )

    def __init__(self, **fields: Any) -> None:
        super().__init__(**fields)
        self._teacher()  # here, where pydantic does not wrap what it raises

    @classmethod
    def class_name(cls) -> str:
        """The class name in LlamaIndex's serialized form."""
        return "AloftRater"

    @classmethod
    def from_dict(cls, data: dict[str, Any], **kwargs: Any) -> Self:
        """Make a rater of the serialized form of another one.

        Raises:
            ValueError: LlamaIndex cannot make the `llm` of its serialized form; pass it as `llm`.
        """
        fields = {**data, **kwargs}
        if isinstance(llm := fields.get("llm"), dict):
            is_ours = llm.get("class_name") == AloftLLM.class_name()
            fields["llm"] = AloftLLM.from_dict(llm) if is_ours else load_llm(llm)
        return super().from_dict(fields)

    def _fingerprint(self) -> str:
        if self.llm is not None:
            return LlamaIndexTeacher(self.llm).fingerprint
        return self.models.fingerprint(self.model or "")

    def __call__(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[BaseNode]:
        """Rate nodes; those without text are kept, without a rating."""
        teacher, method = self._teacher()
        nodes = read_nodes(nodes)
        asked = [to_passage(node) for node in nodes if has_text(node)]
        outcomes = rate_passages(asked, teacher, RatingsConfig(method=method))
        rated = []
        for node in nodes:
            outcome = next(outcomes) if has_text(node) else None
            value = outcome.value if isinstance(outcome, Rating) else None
            if value is None or value >= (self.keep_at_least or 0):
                rated.append(_with_rating(node, self.key, value))
        return rated

    async def acall(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[BaseNode]:
        """Rate nodes in a thread; see `__call__`."""
        return await asyncio.to_thread(self, nodes, **kwargs)

    def _teacher(self) -> tuple[LanguageModel, Literal["expect", "generate"]]:
        if (self.model is None) == (self.llm is None):
            raise ConfigError("Set the model that rates nodes: either model or llm.")
        if self.llm is not None:
            return LlamaIndexTeacher(self.llm), "generate"
        return self.models.language_model(str(self.model)), "expect"


def _with_rating(node: BaseNode, key: str, rating: float | None) -> BaseNode:
    return node.model_copy(
        update={
            "metadata": {**node.metadata, key: rating},
            "excluded_embed_metadata_keys": [*node.excluded_embed_metadata_keys, key],
            "excluded_llm_metadata_keys": [*node.excluded_llm_metadata_keys, key],
        }
    )
