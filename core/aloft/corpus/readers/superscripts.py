"""Superscripts that need signs in text: powers (10^6, m^2) and marks of notes (1852[3])."""

import re
from collections.abc import Iterable
from itertools import groupby, pairwise

_NUMBER = re.compile("[-+\N{MINUS SIGN}\N{EN DASH}]?[0-9]+(?:[./][0-9]+)?")
_SLASHES = ("/", "\N{FRACTION SLASH}")


class Raised(str):
    """A stretch of text that is set as a superscript and is no mark of a note."""

    __slots__ = ()


class Lowered(str):
    """A stretch of text that is set as a subscript."""

    __slots__ = ()


def is_number(text: str) -> bool:
    """Whether a superscript is an exponent, as far as it goes by itself."""
    return _NUMBER.fullmatch(text) is not None


def note_mark(text: str) -> str:
    """A raised link as text shows it: a number would else be one of the word or number before."""
    return f"[{text}]" if text.isdecimal() else text


def join_scripts(pieces: Iterable[str]) -> str:
    """The text, with a sign before a number that is raised behind a letter or digit.

    Of a fraction behind a number, whose slash is neither raised nor lowered, it is a space.
    """
    groups = [(kind, "".join(some)) for kind, some in groupby(pieces, type)]
    written: list[str] = []
    last = ""
    for (kind, text), after in pairwise([*groups, (str, "")]):
        if kind is Raised and last.isalnum() and is_number(text):
            written.append(" " if after[1] in _SLASHES else "^")
        written.append(text)
        last = text[-1:] or last
    return "".join(written)
