"""Makes a RAG system good at your own documents: tuned here, proved on held-out questions.

The names below are the public surface; the stage functions live in the modules named after what
they make (`aloft.corpus.passages`, `aloft.synthesis.pairs`, `aloft.retrieval.negatives`, ...).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from aloft._version import __version__ as __version__
from aloft.config import PRESETS, RunConfig, load_config
from aloft.errors import AloftError
from aloft.records import Document, Passage, QAPair

if TYPE_CHECKING:
    from aloft.retrieval.retriever import Retriever, ScoredPassage
    from aloft.run.whole import Aloft, Result
    from aloft.serving.answering import Answer, ask, ask_streaming
    from aloft.serving.bundle import Bundle, open_retriever, read_bundle

__all__ = [
    "PRESETS",
    "Aloft",
    "AloftError",
    "Answer",
    "Bundle",
    "Document",
    "Passage",
    "QAPair",
    "Result",
    "Retriever",
    "RunConfig",
    "ScoredPassage",
    "ask",
    "ask_streaming",
    "load_config",
    "open_retriever",
    "read_bundle",
]

_LATER = {
    "Aloft": "aloft.run.whole",
    "Answer": "aloft.serving.answering",
    "Bundle": "aloft.serving.bundle",
    "Result": "aloft.run.whole",
    "Retriever": "aloft.retrieval.retriever",
    "ScoredPassage": "aloft.retrieval.retriever",
    "ask": "aloft.serving.answering",
    "ask_streaming": "aloft.serving.answering",
    "open_retriever": "aloft.serving.bundle",
    "read_bundle": "aloft.serving.bundle",
}


def __getattr__(name: str) -> Any:
    """Load what reads documents and ranks only when it is asked for: the import stays quick."""
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module 'aloft' has no attribute {name!r}")
