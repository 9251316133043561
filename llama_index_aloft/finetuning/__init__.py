"""The names of LlamaIndex's retired finetuning package, implemented on Aloft.

A program moves here by writing `llama_index_aloft.finetuning` for `llama_index.finetuning` in its
imports; modules have the same names too. Datasets are the same JSON. What differs and what stays
away is listed in `docs/how-to/migrate-llama-index-finetuning.md`.
"""

from typing import NoReturn

from llama_index_aloft.finetuning.adapter import AdapterEmbedding
from llama_index_aloft.finetuning.cross_encoders import (
    CrossEncoderFinetuneEngine,
    CrossEncoderFinetuningDatasetSample,
    generate_ce_fine_tuning_dataset,
    generate_synthetic_queries_over_documents,
)
from llama_index_aloft.finetuning.embeddings import (
    EmbeddingAdapterFinetuneEngine,
    SentenceTransformersFinetuneEngine,
)
from llama_index_aloft.finetuning.embeddings.common import (
    EmbeddingQAFinetuneDataset,
    generate_qa_embedding_pairs,
)
from llama_index_aloft.finetuning.types import (
    BaseCrossEncoderFinetuningEngine,
    BaseEmbeddingFinetuneEngine,
    BaseLLMFinetuneEngine,
)

__all__ = [
    "AdapterEmbedding",
    "BaseCrossEncoderFinetuningEngine",
    "BaseEmbeddingFinetuneEngine",
    "BaseLLMFinetuneEngine",
    "CrossEncoderFinetuneEngine",
    "CrossEncoderFinetuningDatasetSample",
    "EmbeddingAdapterFinetuneEngine",
    "EmbeddingQAFinetuneDataset",
    "SentenceTransformersFinetuneEngine",
    "generate_ce_fine_tuning_dataset",
    "generate_qa_embedding_pairs",
    "generate_synthetic_queries_over_documents",
]

_HOSTED = (
    "AzureOpenAIFinetuneEngine",
    "CohereRerankerFinetuneEngine",
    "MistralAIFinetuneEngine",
    "OpenAIFinetuneEngine",
    "generate_cohere_reranker_finetuning_dataset",
)


def __getattr__(name: str) -> NoReturn:
    if name in _HOSTED:
        raise ImportError(
            f"{name} is not here: documents would leave this machine. Use AloftFinetuneEngine or "
            "CrossEncoderFinetuneEngine, which train on it."
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
