"""The formats that generators can be trained on, by name."""

from collections.abc import Callable

from aloft.config import FormatName
from aloft.prompts.aloftrag import AloftragFormat
from aloft.prompts.citation import Format
from aloft.prompts.raft import RaftFormat
from aloft.prompts.ralt import RaltFormat

PROMPTS_VERSION = 1
"""Raised when a format's wording changes: a generator is best asked as it was trained."""
_FORMATS: dict[FormatName, Callable[[bool], Format]] = {
    "aloftrag": AloftragFormat,
    "raft": RaftFormat,
    "ralt": RaltFormat,
}


def format_of(name: FormatName, *, abstains: bool) -> Format:
    """A format, in which it may be said that no passage holds the answer or not."""
    return _FORMATS[name](abstains)
