"""Aloft inside LlamaIndex: tune on your nodes, and serve what a run ships."""

from aloft.api import DEFAULT_CUTOFF, require

require("llama_index.core", extra="llama-index")

from llama_index_aloft.convert import to_documents, to_nodes  # noqa: E402
from llama_index_aloft.embedding import AloftEmbedding  # noqa: E402
from llama_index_aloft.engine import AloftFinetuneEngine, AloftProgressEvent  # noqa: E402
from llama_index_aloft.llm import AloftLLM  # noqa: E402
from llama_index_aloft.query_engine import AloftCitationQueryEngine  # noqa: E402
from llama_index_aloft.ratings import AloftRater  # noqa: E402
from llama_index_aloft.rerank import AloftRerank  # noqa: E402
from llama_index_aloft.retriever import AloftRetriever  # noqa: E402
from llama_index_aloft.teacher import LlamaIndexTeacher  # noqa: E402

__all__ = [
    "DEFAULT_CUTOFF",
    "AloftCitationQueryEngine",
    "AloftEmbedding",
    "AloftFinetuneEngine",
    "AloftLLM",
    "AloftProgressEvent",
    "AloftRater",
    "AloftRerank",
    "AloftRetriever",
    "LlamaIndexTeacher",
    "to_documents",
    "to_nodes",
]
