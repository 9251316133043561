"""Trains the parts of a RAG system with the field's own trainers (extra: train)."""

from typing import TYPE_CHECKING, Any

from aloft._extras import require

if TYPE_CHECKING:
    from aloft.training.embedder import train_embedder
    from aloft.training.generator import plan_generator, train_generator
    from aloft.training.query_map import train_query_map
    from aloft.training.rag import train_rag
    from aloft.training.reranker import start_cross_encoder, take_body, train_reranker

__all__ = [
    "plan_generator",
    "start_cross_encoder",
    "take_body",
    "train_embedder",
    "train_generator",
    "train_query_map",
    "train_rag",
    "train_reranker",
]

_HOMES = {
    "plan_generator": "generator",
    "start_cross_encoder": "reranker",
    "take_body": "reranker",
    "train_embedder": "embedder",
    "train_generator": "generator",
    "train_query_map": "query_map",
    "train_rag": "rag",
    "train_reranker": "reranker",
}


def __getattr__(name: str) -> Any:
    """Import a trainer on first use, as planning memory needs no model library.

    Raises:
        MissingExtraError: the extra `train` is not installed.
    """
    if name not in _HOMES:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    from importlib import import_module

    for library in ("torch", "sentence_transformers", "trl"):
        require(library, extra="train")
    return getattr(import_module(f"aloft.training.{_HOMES[name]}"), name)
