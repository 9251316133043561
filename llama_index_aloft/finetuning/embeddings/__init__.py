"""Engines that train embedding models, and the datasets that they train on."""

from llama_index_aloft.finetuning.adapter import AdapterEmbedding
from llama_index_aloft.finetuning.embeddings.adapter import EmbeddingAdapterFinetuneEngine
from llama_index_aloft.finetuning.embeddings.sentence_transformer import (
    SentenceTransformersFinetuneEngine,
)

__all__ = [
    "AdapterEmbedding",
    "EmbeddingAdapterFinetuneEngine",
    "SentenceTransformersFinetuneEngine",
]
