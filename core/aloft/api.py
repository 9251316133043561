"""The names that applications and host packages build on; the modules behind them may move.

A name is loaded when it is first used, so importing this module stays fast and brings no model
library. Configuration has a public module of its own, `aloft.config`, and so do models for tests,
`aloft.testing`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aloft._extras import require as require
    from aloft.backends.device import best_device as best_device
    from aloft.backends.call_options import (
        CallOptions as CallOptions,
        check_read as check_read,
        is_number as is_number,
        is_whole as is_whole,
        read_call_options as read_call_options,
        schema_of as schema_of,
    )
    from aloft.backends.host_models import (
        after_thoughts as after_thoughts,
        fingerprint_of_host as fingerprint_of_host,
        in_threads as in_threads,
        plain_text as plain_text,
        read_reply as read_reply,
        stops_to_send as stops_to_send,
        turns as turns,
        warn_of_unused as warn_of_unused,
    )
    from aloft.backends.loading import Models as Models
    from aloft.backends.packaged import resolve_model as resolve_model
    from aloft.backends.server_settings import (
        ServerSettings as ServerSettings,
        check_server_settings as check_server_settings,
    )
    from aloft.backends.shared import (
        SharedLanguageModel as SharedLanguageModel,
        SharedModels as SharedModels,
    )
    from aloft.corpus.host_chunks import (
        HostChunk as HostChunk,
        MergedDocument as MergedDocument,
        check_kind as check_kind,
        copy_containers as copy_containers,
        host_offset as host_offset,
        merge_chunks as merge_chunks,
        metadata_to_json as metadata_to_json,
        read_list as read_list,
        read_question as read_question,
        read_text as read_text,
        read_texts as read_texts,
        share_one_text as share_one_text,
        title_of as title_of,
    )
    from aloft.errors import (
        AloftError as AloftError,
        ConfigError as ConfigError,
        DataError as DataError,
        MissingExtraError as MissingExtraError,
        ModelError as ModelError,
        PromptTooLongError as PromptTooLongError,
        RunFolderError as RunFolderError,
    )
    from aloft.evaluation.bootstrap import Comparison as Comparison, compare as compare
    from aloft.evaluation.shared_shares import (
        find_gains_fault as find_gains_fault,
        gains_key as gains_key,
        no_gains as no_gains,
    )
    from aloft.evaluation.systems import Values as Values
    from aloft.evaluation.retrieval_metrics import (
        DEPTH as DEPTH,
        measure_ranking as measure_ranking,
    )
    from aloft.files import (
        read_json_object as read_json_object,
        write_folder as write_folder,
        write_text as write_text,
    )
    from aloft.network_guard import local_only as local_only
    from aloft.protocols import (
        Embedder as Embedder,
        Floats as Floats,
        LanguageModel as LanguageModel,
        Progress as Progress,
        Prompt as Prompt,
        Reply as Reply,
        Reranker as Reranker,
        ScoringModel as ScoringModel,
        StreamingModel as StreamingModel,
        Tokenizer as Tokenizer,
        ToolCall as ToolCall,
        ToolTurn as ToolTurn,
        no_progress as no_progress,
        stream_reply as stream_reply,
    )
    from aloft.records import (
        Document as Document,
        EmbedderRow as EmbedderRow,
        Frame as Frame,
        Message as Message,
        Passage as Passage,
        QAPair as QAPair,
        Rating as Rating,
        RerankerRow as RerankerRow,
        Role as Role,
        content_id as content_id,
    )
    from aloft.retrieval.dense import DenseIndex as DenseIndex
    from aloft.retrieval.ranking import best_first as best_first
    from aloft.retrieval.relevance import DEFAULT_CUTOFF as DEFAULT_CUTOFF, Relevance as Relevance
    from aloft.retrieval.retriever import Retriever as Retriever, ScoredPassage as ScoredPassage
    from aloft.run.comparison import compare_strategies as compare_strategies
    from aloft.run.estimate import estimate_run as estimate_run
    from aloft.run.executors.opening import open_executor as open_executor
    from aloft.run.federation import (
        FederatedSite as FederatedSite,
        federated_parts as federated_parts,
    )
    from aloft.run.job import (
        open_run as open_run,
        read_changes as read_changes,
        read_funnel as read_funnel,
        read_skipped as read_skipped,
    )
    from aloft.run.whole import (
        Aloft as Aloft,
        HostedRun as HostedRun,
        Result as Result,
    )
    from aloft.serving.answering import (
        Answer as Answer,
        answer_prompt as answer_prompt,
        answer_streaming as answer_streaming,
        ask as ask,
        ask_run as ask_run,
        ask_streaming as ask_streaming,
        place_of as place_of,
    )
    from aloft.serving.bundle import (
        Bundle as Bundle,
        generator_fields as generator_fields,
        open_retriever as open_retriever,
        open_run_retriever as open_run_retriever,
        read_bundle as read_bundle,
        reranker_of as reranker_of,
    )
    from aloft.serving.host_corpus import (
        HostedPassage as HostedPassage,
        open_hosted_retriever as open_hosted_retriever,
        read_passages as read_passages,
    )
    from aloft.synthesis.pairs import generate_pairs as generate_pairs
    from aloft.synthesis.rating import rate_passages as rate_passages
    from aloft.terminal.progress import shown_progress as shown_progress
    from aloft.text.surrogates import replace_surrogates as replace_surrogates
    from aloft.training import (
        start_cross_encoder as start_cross_encoder,
        train_embedder as train_embedder,
        train_query_map as train_query_map,
        train_reranker as train_reranker,
    )
    from aloft.training.federated import (
        initial_weights as initial_weights,
        local_update as local_update,
    )
    from aloft.training.privacy_budget import (
        PrivacyBudget as PrivacyBudget,
        noise_multiplier as noise_multiplier,
        spent_epsilon as spent_epsilon,
    )
    from aloft.training.shared_weights import (
        SharedWeights as SharedWeights,
        State as State,
        read_weights as read_weights,
        write_weights as write_weights,
    )

_NAMES = {
    "aloft._extras": ["require"],
    "aloft.backends.device": ["best_device"],
    "aloft.backends.call_options": [
        "CallOptions",
        "check_read",
        "is_number",
        "is_whole",
        "read_call_options",
        "schema_of",
    ],
    "aloft.backends.host_models": [
        "after_thoughts",
        "fingerprint_of_host",
        "in_threads",
        "plain_text",
        "read_reply",
        "stops_to_send",
        "turns",
        "warn_of_unused",
    ],
    "aloft.backends.loading": ["Models"],
    "aloft.backends.packaged": ["resolve_model"],
    "aloft.backends.server_settings": ["ServerSettings", "check_server_settings"],
    "aloft.backends.shared": ["SharedLanguageModel", "SharedModels"],
    "aloft.corpus.host_chunks": [
        "HostChunk",
        "MergedDocument",
        "check_kind",
        "copy_containers",
        "host_offset",
        "merge_chunks",
        "metadata_to_json",
        "read_list",
        "read_question",
        "read_text",
        "read_texts",
        "share_one_text",
        "title_of",
    ],
    "aloft.errors": [
        "AloftError",
        "ConfigError",
        "DataError",
        "MissingExtraError",
        "ModelError",
        "PromptTooLongError",
        "RunFolderError",
    ],
    "aloft.evaluation.bootstrap": ["Comparison", "compare"],
    "aloft.evaluation.shared_shares": [
        "find_gains_fault",
        "gains_key",
        "no_gains",
    ],
    "aloft.evaluation.systems": ["Values"],
    "aloft.evaluation.retrieval_metrics": ["DEPTH", "measure_ranking"],
    "aloft.files": ["read_json_object", "write_folder", "write_text"],
    "aloft.network_guard": ["local_only"],
    "aloft.protocols": [
        "Embedder",
        "Floats",
        "LanguageModel",
        "Progress",
        "Prompt",
        "Reply",
        "Reranker",
        "ScoringModel",
        "StreamingModel",
        "Tokenizer",
        "ToolCall",
        "ToolTurn",
        "no_progress",
        "stream_reply",
    ],
    "aloft.records": [
        "Document",
        "EmbedderRow",
        "Frame",
        "Message",
        "Passage",
        "QAPair",
        "Rating",
        "RerankerRow",
        "Role",
        "content_id",
    ],
    "aloft.retrieval.dense": ["DenseIndex"],
    "aloft.retrieval.ranking": ["best_first"],
    "aloft.retrieval.relevance": ["DEFAULT_CUTOFF", "Relevance"],
    "aloft.retrieval.retriever": ["Retriever", "ScoredPassage"],
    "aloft.run.comparison": ["compare_strategies"],
    "aloft.run.estimate": ["estimate_run"],
    "aloft.run.executors.opening": ["open_executor"],
    "aloft.run.federation": ["FederatedSite", "federated_parts"],
    "aloft.run.job": ["open_run", "read_changes", "read_funnel", "read_skipped"],
    "aloft.run.whole": ["Aloft", "HostedRun", "Result"],
    "aloft.serving.answering": [
        "Answer",
        "answer_prompt",
        "answer_streaming",
        "ask",
        "ask_run",
        "ask_streaming",
        "place_of",
    ],
    "aloft.serving.bundle": [
        "Bundle",
        "generator_fields",
        "open_retriever",
        "open_run_retriever",
        "read_bundle",
        "reranker_of",
    ],
    "aloft.serving.host_corpus": ["HostedPassage", "open_hosted_retriever", "read_passages"],
    "aloft.synthesis.pairs": ["generate_pairs"],
    "aloft.synthesis.rating": ["rate_passages"],
    "aloft.terminal.progress": ["shown_progress"],
    "aloft.text.surrogates": ["replace_surrogates"],
    "aloft.training": [
        "start_cross_encoder",
        "train_embedder",
        "train_query_map",
        "train_reranker",
    ],
    "aloft.training.federated": ["initial_weights", "local_update"],
    "aloft.training.privacy_budget": ["PrivacyBudget", "noise_multiplier", "spent_epsilon"],
    "aloft.training.shared_weights": [
        "SharedWeights",
        "State",
        "read_weights",
        "write_weights",
    ],
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'aloft.api' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted(_MODULES)
