"""Sections of long documents, which stand for documents where a corpus has few of these.

Questions are held out by document, and drawn by document for intervals. Of one handbook nothing
could be held out, and of five no interval could be given: neither would ever gain beyond doubt.
Neighbouring passages are alike, so that sections are as long as their number allows.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from aloft.records import Passage

FEW = 20  # documents; of as many, a fifth can be held out, and intervals be given
_MOST = 50  # sections of all documents together
_LEAST = 5  # passages of a section, on average


@dataclass(frozen=True, slots=True)
class Sections:
    """Where the sections of long documents begin; documents that are not named are whole.

    Attributes:
        starts: Characters that the sections of a document begin at, in order, from 0.
    """

    starts: Mapping[str, Sequence[int]] = field(default_factory=dict)

    def of(self, passage: Passage) -> tuple[str, ...]:
        """The sections that a passage has text of, or its document, where that is whole."""
        starts = self.starts.get(passage.document_id)
        if starts is None:
            return (passage.document_id,)
        first = bisect_right(starts, passage.start)
        last = max(first, bisect_left(starts, passage.end))
        return tuple(_name(passage.document_id, number) for number in range(first, last + 1))

    def divide(self, groups: Iterable[tuple[str, ...]]) -> Iterator[tuple[str, ...]]:
        """Groups of documents that share text, and one for each section of those documents."""
        for group in groups:
            if group[0] not in self.starts:
                yield group
                continue
            for number in range(1, len(self.starts[group[0]]) + 1):
                yield (_name(group[0], number),)

    def among(self, documents: Collection[str]) -> "Sections":
        """Those of some documents; the others are whole."""
        return replace(self, starts={i: self.starts[i] for i in self.starts if i in documents})


WHOLE = Sections()
"""Of a corpus none of whose documents is divided."""


def cut_sections(
    passages: Iterable[Passage],
    known: Mapping[str, Sequence[int]] | None = None,
    whole: Collection[str] = (),
) -> Sections:
    """Divide the documents of a small corpus into sections of about as many passages each.

    Args:
        passages: Of the corpus. As soon as they are of 20 documents, no further one is read.
        known: Where the sections begin of documents that were divided before.
        whole: Documents that are not to be divided.
    """
    known = known or {}
    places: dict[str, list[int]] = {}
    for passage in passages:
        places.setdefault(passage.document_id, []).append(passage.start)
        if len(places) == FEW:
            return Sections(known)
    total = sum(map(len, places.values()))
    count = min(_MOST, total // _LEAST)
    starts = dict(known)
    for document, offsets in places.items():
        parts = count * len(offsets) // total
        if document in known or document in whole:
            continue
        offsets.sort()
        later = {offsets[number * len(offsets) // parts] for number in range(1, parts)}
        if later := later - {offsets[0]}:
            starts[document] = [0, *sorted(later)]
    return Sections(starts)


def _name(document: str, number: int) -> str:
    return f"{document} § {number}"
