"""The names of LlamaIndex's retired finetuning package, with what is behind them made anew.

A program moves here by another import: `from llama_index_aloft.finetuning import ...`. Datasets are
the same JSON. Arguments that have nothing to do here any more (evaluation and checkpoint steps, the
device) are taken and not looked at: a training that was stopped always goes on where it was.
"""

from llama_index_aloft.finetuning.dataset import (
    EmbeddingQAFinetuneDataset,
    generate_qa_embedding_pairs,
)
from llama_index_aloft.finetuning.engines import (
    AdapterEmbedding,
    CrossEncoderFinetuneEngine,
    CrossEncoderFinetuningDatasetSample,
    EmbeddingAdapterFinetuneEngine,
    SentenceTransformersFinetuneEngine,
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
    "generate_qa_embedding_pairs",
]
