"""Aloft inside LangChain: tune on your documents, and serve what a run ships."""

from aloft.api import DEFAULT_CUTOFF, require

require("langchain_core", extra="langchain")

from langchain_aloft.chains import create_citation_chain  # noqa: E402
from langchain_aloft.chat_models import ChatAloft  # noqa: E402
from langchain_aloft.convert import from_passages, to_documents  # noqa: E402
from langchain_aloft.document_compressors import AloftReranker  # noqa: E402
from langchain_aloft.embeddings import AloftEmbeddings  # noqa: E402
from langchain_aloft.finetuner import AloftFinetuner  # noqa: E402
from langchain_aloft.llms import AloftLLM  # noqa: E402
from langchain_aloft.retrievers import AloftRetriever  # noqa: E402
from langchain_aloft.teacher import LangChainTeacher  # noqa: E402

__all__ = [
    "DEFAULT_CUTOFF",
    "AloftEmbeddings",
    "AloftFinetuner",
    "AloftLLM",
    "AloftReranker",
    "AloftRetriever",
    "ChatAloft",
    "LangChainTeacher",
    "create_citation_chain",
    "from_passages",
    "to_documents",
]
