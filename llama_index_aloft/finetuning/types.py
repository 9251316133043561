"""Base classes of fine-tune engines: those of LlamaIndex's retired package if it is installed."""

from abc import ABC, abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.llms import LLM
from llama_index.core.postprocessor.types import BaseNodePostprocessor


class _Engine(ABC):
    @abstractmethod
    def finetune(self) -> None:
        """Train; afterwards, `get_finetuned_model` returns the trained model."""


class BaseLLMFinetuneEngine(_Engine):
    """Trains a language model."""

    @abstractmethod
    def get_finetuned_model(self, **model_kwargs: Any) -> LLM:
        """The trained model."""


class BaseEmbeddingFinetuneEngine(_Engine):
    """Trains an embedding model."""

    @abstractmethod
    def get_finetuned_model(self, **model_kwargs: Any) -> BaseEmbedding:
        """The trained model."""


class BaseCrossEncoderFinetuningEngine(_Engine):
    """Trains a cross-encoder."""

    @abstractmethod
    def get_finetuned_model(
        self, model_name: str | None = None, top_n: int = 3
    ) -> BaseNodePostprocessor:
        """The trained model, as a reranker that keeps `top_n` nodes."""


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
