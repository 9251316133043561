"""The settings of a run: one class per stage, presets, and how they are loaded."""

from aloft.config.corpus import DocumentsConfig, PassagesConfig
from aloft.config.datasets import FormatName, TrainingSetsConfig
from aloft.config.evaluation import EvaluationConfig
from aloft.config.federation import SHARES_PART, FederationConfig
from aloft.config.loading import DEFAULT, PRESETS, check_config, load_config, read_run_config
from aloft.config.model_names import (
    SERVER,
    VLLM,
    FolderName,
    ModelName,
    absolute_folder,
    absolute_name,
    check_addresses,
    in_place,
    plain_name,
    read_path,
    server_names,
)
from aloft.config.retrieval import Guard, LinksConfig, NegativesConfig, Retriever
from aloft.config.run import PARTS, Part, RunConfig
from aloft.config.synthesis import (
    FILTERS,
    MAX_STYLE_QUESTIONS,
    Filter,
    FiltersConfig,
    Kind,
    PairsConfig,
    RatingsConfig,
)
from aloft.config.training import (
    GRADED,
    EmbedderLoss,
    EmbedderTrainingConfig,
    GeneratorTrainingConfig,
    RagTrainingConfig,
    RerankerTrainingConfig,
)

__all__ = [
    "DEFAULT",
    "FILTERS",
    "GRADED",
    "MAX_STYLE_QUESTIONS",
    "PARTS",
    "PRESETS",
    "SERVER",
    "SHARES_PART",
    "VLLM",
    "DocumentsConfig",
    "EmbedderLoss",
    "EmbedderTrainingConfig",
    "EvaluationConfig",
    "FederationConfig",
    "Filter",
    "FiltersConfig",
    "FolderName",
    "FormatName",
    "GeneratorTrainingConfig",
    "Guard",
    "Kind",
    "LinksConfig",
    "ModelName",
    "NegativesConfig",
    "PairsConfig",
    "Part",
    "PassagesConfig",
    "RagTrainingConfig",
    "RatingsConfig",
    "RerankerTrainingConfig",
    "Retriever",
    "RunConfig",
    "TrainingSetsConfig",
    "absolute_folder",
    "absolute_name",
    "check_addresses",
    "check_config",
    "in_place",
    "load_config",
    "plain_name",
    "read_path",
    "read_run_config",
    "server_names",
]
