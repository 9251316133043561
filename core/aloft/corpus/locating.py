"""Locates quotes in documents, and the passages that stand there."""

import posixpath
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from aloft.records import Document, Passage, Rejection
from aloft.text.normalising import find_normalized, fold, unify_forms

_COPY = re.compile(
    r"of passage (?P<kept>\w+), at characters (?P<start>\d+) to (?P<end>\d+) of (?P<document>.+)",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Where a passage, or a copy of it that was dropped, stands in a document, in characters."""

    start: int
    end: int
    passage_id: str

    def overlap(self, start: int, end: int) -> int:
        """Return how many characters it shares with another span; negative where they are apart."""
        return min(self.end, end) - max(self.start, start)


class PassageLocator:
    """Documents with the places of their passages; a dropped copy leads to the passage kept.

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
        self._folded: dict[str, str] = {}
        self._by_name: defaultdict[str, list[str]] = defaultdict(list)
        for document_id in self.texts:
            self._by_name[unify_forms(document_id)].append(document_id)
        self._spans: defaultdict[str, list[Span]] = defaultdict(list)
        kept = set()
        for passage in passages:
            span = Span(start=passage.start, end=passage.end, passage_id=passage.id)
            self._spans[passage.document_id].append(span)
            kept.add(span.passage_id)
        self._add_copies(rejections, kept)

    def _add_copies(self, rejections: Sequence[Rejection], kept: set[str]) -> None:
        for rejection in rejections:
            copy = _COPY.fullmatch(rejection.detail) if rejection.stage == "passages" else None
            if copy and copy["kept"] in kept:
                span = Span(start=int(copy["start"]), end=int(copy["end"]), passage_id=copy["kept"])
                self._spans[copy["document"]].append(span)
        for spans in self._spans.values():
            spans.sort(key=lambda span: span.start)

    def resolve(self, name: str) -> str | None:
        """Return the id of the document of that name, however its letters are composed.

        A path may be written as on Windows, or begin in the folder itself: `./`. None where no
        document has the name, or several have it and none of them exactly.
        """
        if name in self.texts:
            return name
        path = posixpath.normpath(name.replace("\\", "/"))
        spellings = (unify_forms(name), unify_forms(path))
        found = next((self._by_name[one] for one in spellings if one in self._by_name), [])
        return found[0] if len(found) == 1 else None

    def spans(self, document_id: str) -> Sequence[Span]:
        """Return a document's passages in the order of its text."""
        return self._spans.get(document_id, ())

    def overlapping(self, document_id: str, start: int, end: int) -> list[Span]:
        """Return those of a document's passages that share characters with a span."""
        return [span for span in self.spans(document_id) if span.overlap(start, end) > 0]

    def find(
        self, quote: str, document_ids: Sequence[str] = ()
    ) -> dict[str, list[tuple[int, int]]]:
        """Return the spans of a quote in each document that contains it, as `find_normalized` does.

        Args:
            quote: Some words of the text.
            document_ids: Documents to search; none: all of them.
        """
        folded = fold(quote)
        holders = (i for i in document_ids or self.texts if folded in self._folded_text(i))
        found = {i: find_normalized(quote, self.texts[i]) for i in holders}
        return {document_id: spans for document_id, spans in found.items() if spans}

    def _folded_text(self, document_id: str) -> str:
        if document_id not in self._folded:
            self._folded[document_id] = fold(self.texts[document_id])
        return self._folded[document_id]
