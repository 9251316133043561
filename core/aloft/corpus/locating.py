"""Turns a quote of a document into its places there and the passages that stand in them."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from aloft.records import Document, Passage, Rejection

_COPY = re.compile(
    r"of passage (?P<kept>\w+), at characters (?P<start>\d+) to (?P<end>\d+) of (?P<document>.+)",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Where a passage, or a copy of it that was dropped, stands in one document."""

    start: int
    end: int
    passage_id: str

    def overlap(self, start: int, end: int) -> int:
        """Characters shared with another span."""
        return min(self.end, end) - max(self.start, start)


class PassageLocator:
    """Documents with the places of their passages, copies that were dropped among them.

    Attributes:
        texts: The documents' texts by id.
    """

    def __init__(
        self,
        documents: Sequence[Document],
        passages: Sequence[Passage],
        rejections: Sequence[Rejection],
    ) -> None:
        self.texts = {document.id: document.text for document in documents}
        self._normal: dict[str, str] = {}
        self._spans: defaultdict[str, list[Span]] = defaultdict(list)
        for passage in passages:
            self._spans[passage.document_id].append(
                Span(start=passage.start, end=passage.end, passage_id=passage.id)
            )
        self._add_copies(rejections, {passage.id for passage in passages})

    def _add_copies(self, rejections: Sequence[Rejection], kept: set[str]) -> None:
        """Let a copy's place lead to the passage that was kept in its stead."""
        for rejection in rejections:
            copy = _COPY.fullmatch(rejection.detail) if rejection.stage == "passages" else None
            if copy and copy["kept"] in kept:
                span = Span(start=int(copy["start"]), end=int(copy["end"]), passage_id=copy["kept"])
                self._spans[copy["document"]].append(span)
        for spans in self._spans.values():
            spans.sort(key=lambda span: span.start)

    def spans(self, document_id: str) -> Sequence[Span]:
        """A document's passages in the order of its text."""
        return self._spans.get(document_id, ())

    def overlapping(self, document_id: str, start: int, end: int) -> list[Span]:
        """Those of a document's passages that share characters with a span."""
        return [span for span in self.spans(document_id) if span.overlap(start, end) > 0]

    def find(
        self, quote: str, document_ids: Sequence[str] = ()
    ) -> dict[str, list[tuple[int, int]]]:
        """Where a quote stands, white space aside, in each document that holds it.

        Args:
            quote: Some words of the text.
            document_ids: Documents to look in; none: all.
        """
        normal = " ".join(quote.split())
        return {
            document_id: list(find_text(quote, self.texts[document_id]))
            for document_id in document_ids or self.texts
            if normal in self._normalised(document_id)
        }

    def _normalised(self, document_id: str) -> str:
        if document_id not in self._normal:
            self._normal[document_id] = " ".join(self.texts[document_id].split())
        return self._normal[document_id]


def find_text(quote: str, text: str) -> Iterator[tuple[int, int]]:
    """Spans of text that equal the quote, white space aside; whole words where there are any."""
    pattern = r"\s+".join(re.escape(word) for word in quote.split())
    bounded = [match.span() for match in re.finditer(rf"(?<!\w){pattern}(?!\w)", text)]
    yield from bounded or (match.span() for match in re.finditer(pattern, text))
