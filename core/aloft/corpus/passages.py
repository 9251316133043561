"""Splits a document into passages that fit the embedder."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from aloft.config import PassagesConfig
from aloft.records import Chunk, Document, Passage, Rejection

if TYPE_CHECKING:
    from semantic_text_splitter import MarkdownSplitter, TextSplitter
    from tokenizers import Tokenizer

STAGE = "passages"
_MARKDOWN = (".md", ".markdown")
_BLOCK_CHARACTERS = 20_000  # the splitter is superlinear: 1.7 times the time at 500,000 characters
_CHARACTERS_PER_TOKEN = 20  # a tokenizer that lacks a script makes a single token of a whole page
_BREAKS = tuple(re.compile(pattern) for pattern in (r"\n(?=#)", r"\n[ \t]*\n", r"\n", r"\s"))


class DocumentSplitter:
    """Splits documents at the largest joints that fit, each independently of all others.

    Args:
        tokenizer: The embedder's tokenizer. It is copied, so its truncation and padding settings
            are not changed.
        config: The passage length, in tokens without special tokens, counts title and text.
    """

    def __init__(self, tokenizer: "Tokenizer", config: PassagesConfig) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_str(tokenizer.to_str())
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._config = config

    def split(self, document: Document) -> list[Passage | Rejection]:
        """Return the document's passages in the order of its text.

        A passage satisfies `document.text[start:end] == text`. One that is shorter than
        `min_characters` is returned as a rejection, whose detail gives its place. None holds text
        of two chunks of a host that differ in more than their text.
        """
        title = self._fitting_title(document.title)
        return [
            self._too_short(passage) or passage
            for start, end, framed in _stretches(document, title)
            for first, last in _blocks(document.text[start:end])
            for passage in self._passages(document, framed, start + first, start + last)
        ]

    def _too_short(self, passage: Passage) -> Rejection | None:
        from aloft.text.spans import letters_a_character

        length = len(passage.text) * letters_a_character(passage.text)
        if round(length) >= self._config.min_characters:
            return None
        return Rejection(
            subject_id=passage.id,
            stage=STAGE,
            reason=f"shorter than {self._config.min_characters} characters",
            detail=describe_place(passage),
        )

    def _fitting_title(self, title: str) -> str:
        """Return the title, truncated to half of a passage's tokens."""
        offsets = self._offsets(title)
        limit = self._config.max_tokens // 2
        return title[: offsets[limit - 1][1]].rstrip() if len(offsets) > limit else title

    def _passages(
        self, document: Document, framed: Passage, start: int, end: int
    ) -> Iterator[Passage]:
        """Yield the passages of one block of a document, without surrounding white space.

        Args:
            document: The document.
            framed: A passage without text that has what stands around those of this block.
            start: Where the block begins.
            end: Where it ends.
        """
        most = self._config.max_tokens
        room = max(most - most // 2, most - len(self._offsets("".join(framed.embedded_in))))
        splitter = self._splitter(room, is_markdown=document.id.lower().endswith(_MARKDOWN))
        for offset, chunk in splitter.chunk_indices(document.text[start:end]):
            for inner, text in _bounded(chunk, room * _CHARACTERS_PER_TOKEN):
                stripped = text.strip()
                if stripped:
                    place = start + offset + inner + len(text) - len(text.lstrip())
                    yield replace(framed, text=stripped, start=place)

    def _offsets(self, text: str) -> list[tuple[int, int]]:
        return self._tokenizer.encode(text, add_special_tokens=False).offsets if text else []

    def _count(self, text: str) -> int:
        """Return the number of tokens; offsets, which take as long again, are left out."""
        (encoded,) = self._tokenizer.encode_batch_fast([text], add_special_tokens=False)
        return len(encoded)

    def _splitter(self, room: int, *, is_markdown: bool) -> "TextSplitter | MarkdownSplitter":
        """Return a splitter that shares the tokenizer: the library's own copies it each time."""
        from semantic_text_splitter import MarkdownSplitter, TextSplitter

        kind = MarkdownSplitter if is_markdown else TextSplitter
        return kind.from_callback(self._count, room)


def _stretches(document: Document, title: str) -> Iterator[tuple[int, int, Passage]]:
    """Yield spans of a document that passages stay within, each with a passage without text."""
    plain = Passage(document_id=document.id, text="", start=0, title=title)
    firsts = [chunk for i, chunk in enumerate(document.chunks) if chunk.is_apart or i == 0]
    starts = [0, *(chunk.start for chunk in firsts[1:])]
    framed = [_framed(plain, chunk) for chunk in firsts] or [plain]
    yield from zip(starts, [*starts[1:], len(document.text)], framed, strict=True)


def _framed(plain: Passage, chunk: Chunk) -> Passage:
    """A passage with a chunk's frames, unless they are what it has without."""
    framed = replace(
        plain, embedding_frame=chunk.embedding_frame, reading_frame=chunk.reading_frame
    )
    is_same = (framed.embedded, framed.content) == (plain.embedded, plain.content)
    return (
        plain if is_same and len(chunk.embedding_frame) == len(chunk.reading_frame) == 2 else framed
    )


def describe_place(passage: Passage) -> str:
    """Return where a passage stands, as the details of rejections give it."""
    return f"at characters {passage.start} to {passage.end} of {passage.document_id}"


def _blocks(text: str) -> list[tuple[int, int]]:
    """Return spans of about 20,000 characters that end before a heading or at a blank line."""
    spans: list[tuple[int, int]] = []
    start = 0
    while len(text) - start > 2 * _BLOCK_CHARACTERS:
        low, high = start + _BLOCK_CHARACTERS, start + 2 * _BLOCK_CHARACTERS
        found = (pattern.search(text, low, high) for pattern in _BREAKS)
        end = next((match.end() for match in found if match), high)
        spans.append((start, end))
        start = end
    return [*spans, (start, len(text))]


def _bounded(chunk: str, limit: int) -> list[tuple[int, str]]:
    """Return the chunk, or pieces of at most `limit` characters, with their offsets in it."""
    from semantic_text_splitter import TextSplitter

    return [(0, chunk)] if len(chunk) <= limit else TextSplitter(limit).chunk_indices(chunk)
