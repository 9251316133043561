"""Markdown: the text as it is; its title is the first heading of level one outside code."""

import re
from collections.abc import Iterator

from aloft.corpus.readers.decoding import decode
from aloft.corpus.readers.source import Found, Source, clean

_FENCE = re.compile(r" {0,3}(```|~~~)")


def read(source: Source) -> Iterator[Found]:
    """One document."""
    text, notes = decode(source)
    yield source.document(text, _title(clean(text)))
    yield from notes


def _title(text: str) -> str:
    fence = ""
    for line in text.split("\n"):
        mark = _FENCE.match(line)
        if mark and fence in ("", mark[1]):
            fence = "" if fence else mark[1]
        elif line.startswith("# ") and not fence:  # inside a fence it is a comment of some code
            return line[2:].strip().rstrip("#")
    return ""
