"""Plain text and reStructuredText: the text as it is, without a title."""

from collections.abc import Iterator

from aloft.corpus.readers.decoding import decode
from aloft.corpus.readers.source import Found, Source


def read(source: Source) -> Iterator[Found]:
    """One document."""
    text, notes = decode(source)
    yield source.document(text)
    yield from notes
