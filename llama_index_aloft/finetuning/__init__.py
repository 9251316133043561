"""The names of LlamaIndex's retired finetuning package, implemented on Aloft.

A program moves here by changing its import to `from llama_index_aloft.finetuning import ...`.
Datasets are the same JSON. Arguments that have no use here (evaluation and checkpoint steps, the
device) are accepted and ignored; an interrupted training always resumes.
"""

from llama_index_aloft.finetuning.adapter import AdapterEmbedding
from llama_index_aloft.finetuning.dataset import (
    EmbeddingQAFinetuneDataset,
    generate_qa_embedding_pairs,
)
from llama_index_aloft.finetuning.engines import (
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
