"""Turns training rows into trained parts on the field's own trainers (extra: train)."""

from aloft._extras import require

require("torch", extra="train")
require("sentence_transformers", extra="train")
require("trl", extra="train")

from aloft.training.embedder import train_embedder  # noqa: E402 - the guard comes first
from aloft.training.generator import plan_generator, train_generator  # noqa: E402
from aloft.training.rag import train_rag  # noqa: E402
from aloft.training.reranker import train_reranker  # noqa: E402

__all__ = ["plan_generator", "train_embedder", "train_generator", "train_rag", "train_reranker"]
