"""Makes a RAG system good at your own documents: tuned here, proved on held-out questions.

The names below are the public surface; the stage functions live in the modules named after what
they make (`aloft.passages`, `aloft.pairs`, `aloft.negatives`, ...).
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from aloft.config import PRESETS, RunConfig, load_config
from aloft.errors import AloftError
from aloft.records import Document, Passage, QAPair

if TYPE_CHECKING:
    from aloft.pipeline import Aloft, Result
    from aloft.stack import Answer, Contract, Found, Retriever, ask, ask_streaming, read_contract

try:
    __version__ = version("aloft-rag")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0"

__all__ = [
    "PRESETS",
    "Aloft",
    "AloftError",
    "Answer",
    "Contract",
    "Document",
    "Found",
    "Passage",
    "QAPair",
    "Result",
    "Retriever",
    "RunConfig",
    "ask",
    "ask_streaming",
    "load_config",
    "read_contract",
]

_LATER = {
    "Aloft": "aloft.pipeline",
    "Answer": "aloft.stack",
    "Contract": "aloft.stack",
    "Found": "aloft.stack",
    "Result": "aloft.pipeline",
    "Retriever": "aloft.stack",
    "ask": "aloft.stack",
    "ask_streaming": "aloft.stack",
    "read_contract": "aloft.stack",
}


def __getattr__(name: str) -> Any:
    """Load what reads documents and ranks only when it is asked for: the import stays quick."""
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module 'aloft' has no attribute {name!r}")
