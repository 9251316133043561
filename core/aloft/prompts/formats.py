"""The reply formats of generators, by name."""

from collections.abc import Callable

from aloft.config import FormatName
from aloft.prompts.aloftrag import AloftragFormat
from aloft.prompts.citation import Format
from aloft.prompts.raft import RaftFormat
from aloft.prompts.ralt import RaltFormat

PROMPTS_VERSION = 1
"""Incremented when the wording of a format changes: a generator works best with the prompt that it
was trained on."""
_FORMATS: dict[FormatName, Callable[[bool], Format]] = {
    "aloftrag": AloftragFormat,
    "raft": RaftFormat,
    "ralt": RaltFormat,
}


def format_of(name: FormatName, *, abstains: bool) -> Format:
    """Return a format by name; `abstains` lets replies say that no passage contains the answer."""
    return _FORMATS[name](abstains)
