"""The engine that trains cross-encoders, and what makes its dataset."""

from llama_index_aloft.finetuning.cross_encoders.cross_encoder import CrossEncoderFinetuneEngine
from llama_index_aloft.finetuning.cross_encoders.dataset_gen import (
    CrossEncoderFinetuningDatasetSample,
    generate_ce_fine_tuning_dataset,
    generate_synthetic_queries_over_documents,
)

__all__ = [
    "CrossEncoderFinetuneEngine",
    "CrossEncoderFinetuningDatasetSample",
    "generate_ce_fine_tuning_dataset",
    "generate_synthetic_queries_over_documents",
]
