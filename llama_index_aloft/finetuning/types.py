"""The base classes of fine-tune engines; where LlamaIndex's retired package is there, its own."""

from abc import ABC, abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.llms import LLM
from llama_index.core.postprocessor.types import BaseNodePostprocessor


class _Engine(ABC):
    @abstractmethod
    def finetune(self) -> None:
        """Train; when it returns, `get_finetuned_model` has what was trained."""


class BaseLLMFinetuneEngine(_Engine):
    """Trains a language model."""

    @abstractmethod
    def get_finetuned_model(self, **model_kwargs: Any) -> LLM:
        """What was trained."""


class BaseEmbeddingFinetuneEngine(_Engine):
    """Trains an embedding model."""

    @abstractmethod
    def get_finetuned_model(self, **model_kwargs: Any) -> BaseEmbedding:
        """What was trained."""


class BaseCrossEncoderFinetuningEngine(_Engine):
    """Trains a cross-encoder."""

    @abstractmethod
    def get_finetuned_model(
        self, model_name: str | None = None, top_n: int = 3
    ) -> BaseNodePostprocessor:
        """What was trained, as a reranker that keeps `top_n` nodes."""


if not TYPE_CHECKING:
    with suppress(ImportError):
        from llama_index.finetuning.types import (
            BaseCrossEncoderFinetuningEngine,
            BaseEmbeddingFinetuneEngine,
            BaseLLMFinetuneEngine,
        )

__all__ = [
    "BaseCrossEncoderFinetuningEngine",
    "BaseEmbeddingFinetuneEngine",
    "BaseLLMFinetuneEngine",
]
