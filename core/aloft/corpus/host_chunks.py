"""Turns the pieces that a host cut its texts into back into documents, each text once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from aloft.records import Document, content_id

_SHORTEST_OVERLAP = 20  # characters; fewer are alike by chance


@dataclass(frozen=True, slots=True, kw_only=True)
class HostChunk:
    """A text as a host holds it.

    Attributes:
        source: Names the text it was cut from; "" where it stands for itself.
        text: Its characters.
        title: Of the text it was cut from.
        start: Character offset in that text, where the host knows it.
    """

    source: str
    text: str
    title: str = ""
    start: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MergedDocument:
    """A document, with the places of the pieces that it was joined from."""

    document: Document
    places: tuple[int, ...]


def join_pieces(pieces: Sequence[HostChunk]) -> list[MergedDocument]:
    """Join the pieces of each source, so that a split by document leaks no text.

    Pieces follow one another by offset where all of a source's are known, else as given; what
    two neighbours share is kept once. A source without a name, or with a random one (UUID 4), is
    named after its content, so that a second run on the same texts finds the first one's work.

    Returns:
        In order of first appearance; documents of the same name and content are one.
    """
    members: dict[str, list[int]] = {}
    for place, piece in enumerate(pieces):
        members.setdefault(piece.source or f"\x1f{place}", []).append(place)
    joined: dict[str, MergedDocument] = {}
    for source, places in members.items():
        if all(pieces[place].start is not None for place in places):
            places = sorted(places, key=lambda place: pieces[place].start or 0)
        text = ""
        for place in places:
            text = _append(text, pieces[place].text)
        title = next((pieces[place].title for place in places if pieces[place].title), "")
        name = source if _is_lasting(source) else content_id(title, text)
        earlier = joined[name].places if name in joined else ()
        document = Document(id=name, text=text, title=title)
        joined[name] = MergedDocument(document=document, places=(*earlier, *places))
    return list(joined.values())


def title_of(metadata: Mapping[str, Any]) -> str:
    """The title that a host's metadata state, or ""."""
    title = metadata.get("title")
    return " ".join(title.split()) if isinstance(title, str) else ""


def _append(text: str, further: str) -> str:
    if not text:
        return further
    shared = _overlap(text, further)
    return text + further[shared:] if shared else f"{text}\n\n{further}"


def _overlap(text: str, further: str) -> int:
    """Characters at the end of `text` with which `further` begins."""
    opening = further[:_SHORTEST_OVERLAP]
    if len(opening) < _SHORTEST_OVERLAP:
        return 0
    start = text.find(opening, max(0, len(text) - len(further)))
    while start >= 0:
        if further.startswith(text[start:]):
            return len(text) - start
        start = text.find(opening, start + 1)
    return 0


def _is_lasting(source: str) -> bool:
    if source.startswith("\x1f"):
        return False
    try:
        return UUID(source).version != 4
    except ValueError:
        return True
