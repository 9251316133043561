"""What every reader is given and returns: the bytes of a file, and documents or rejections."""

import re
from dataclasses import dataclass, replace

from aloft.corpus.readers.naming import printable_name
from aloft.records import Document, Rejection

MEGABYTE = 1_000_000
_STAGE = "documents"
_SURROGATES = re.compile("[\ud800-\udfff]")
_INVISIBLE = ("\N{SOFT HYPHEN}", "\N{ZERO WIDTH NO-BREAK SPACE}")

Found = tuple[str, Document | Rejection]
"""Where it was found (a file, or `file#row`), and the document or why there is none."""


class UnreadableError(Exception):
    """Why a file or row is left out; it becomes a rejection and never leaves the readers."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)  # both, so that it can be pickled
        self.reason = reason
        self.detail = " ".join(clean(detail).split())

    def at(self, place: str) -> Rejection:
        """The record of what is left out at a place: a file, or `file#row`."""
        return Rejection(subject_id=place, stage=_STAGE, reason=self.reason, detail=self.detail)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One file to be read.

    Attributes:
        name: Its path below the folder of documents; what its document is called.
        raw: Its bytes; of a packed file, the unpacked ones.
        max_bytes: Most that any archive in it may unpack to.
        depth: Number of files that it is packed in, as the attachment of a message is.
    """

    name: str
    raw: bytes
    max_bytes: int
    depth: int = 0

    def document(self, text: str, title: str = "") -> Found:
        """The file's only document.

        Raises:
            UnreadableError: the text is empty.
        """
        return self.name, make_document(self.name, text, title)

    def reject(self, reason: str, detail: str, *, place: str = "") -> Found:
        """What is left out: the whole file, or the row or part of it at `place`."""
        place = place or self.name
        return place, UnreadableError(reason, detail).at(place)

    def inner(self, name: str, raw: bytes) -> "Source":
        """A file that is packed in this file."""
        return replace(
            self, name=f"{self.name}#{printable_name(name)}", raw=raw, depth=self.depth + 1
        )


def clean(text: str) -> str:
    """Keep only what every later stage can store and tokenize.

    Line ends become newlines, lone surrogates U+FFFD; soft hyphens and NUL are dropped.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    if text.isascii():
        return text
    for character in _INVISIBLE:
        text = text.replace(character, "")
    return _SURROGATES.sub("\ufffd", text)


def make_document(identifier: str, text: str, title: str = "") -> Document:
    """A document with a clean text and a title on one line.

    Raises:
        UnreadableError: the text is empty.
    """
    text = clean(text)
    if not text.strip():
        raise UnreadableError("empty", "it holds no text; fill it or remove it")
    return Document(id=identifier, text=text, title=" ".join(clean(title).split()))


def too_large(found: str, max_bytes: float) -> UnreadableError:
    """The error of a file that exceeds the limit."""
    limit = f"the limit is {max_bytes / MEGABYTE:g} MB"
    return UnreadableError(
        "too large", f"{found}; {limit}; split it or raise documents.max_megabytes"
    )


def parser_message(error: Exception) -> str:
    """What a parser says of a broken file, on one line."""
    return str(error).strip(" .") or type(error).__name__
