"""Groups documents that share text, so that a split by group leaks nothing."""

import re
from collections import defaultdict
from collections.abc import Iterable
from hashlib import sha256

from aloft.records import Document

_SHARED_CHARACTERS = 80  # a shorter paragraph (a heading, a greeting) is no evidence of kinship
_BOILERPLATE_DOCUMENTS = 5  # a paragraph in more documents is a licence or a footer
_BLANK_LINES = re.compile(r"\n(?:[^\S\n]*\n)+")


def group_documents(
    documents: Iterable[Document], alike: Iterable[tuple[str, str]] = ()
) -> list[tuple[str, ...]]:
    """Put documents that share a paragraph into one group, so that a split by group leaks no text.

    A shared paragraph has at least 80 characters. A paragraph that occurs in more than 5 documents
    is boilerplate and links nothing: it would tie the whole corpus together.

    Args:
        documents: All documents, read once in order; only their ids and digests of their
            paragraphs are held in memory, so an iterator will do.
        alike: Pairs of ids of documents that are known to share text otherwise.

    Returns:
        Ids of the documents of each group, every document in exactly one group; groups and their
        documents in order of first appearance.
    """
    holders: defaultdict[bytes, list[int]] = defaultdict(list)
    places: dict[str, int] = {}
    for index, document in enumerate(documents):
        places[document.id] = index
        for key in _paragraph_keys(document.text):
            if len(holders[key]) <= _BOILERPLATE_DOCUMENTS:
                holders[key].append(index)
    parents = list(range(len(places)))
    links = [(places[first], places[second]) for first, second in alike]
    for first, *others in holders.values():
        if len(others) < _BOILERPLATE_DOCUMENTS:
            links += [(first, other) for other in others]
    for first, second in links:
        low, high = sorted((_root(parents, first), _root(parents, second)))
        parents[high] = low
    groups: defaultdict[int, list[str]] = defaultdict(list)
    for identifier, index in places.items():
        groups[_root(parents, index)].append(identifier)
    return [tuple(ids) for ids in groups.values()]


def _paragraph_keys(text: str) -> set[bytes]:
    paragraphs = (" ".join(part.split()) for part in _BLANK_LINES.split(text))
    return {
        sha256(paragraph.encode("utf-8", "surrogatepass")).digest()[:16]
        for paragraph in paragraphs
        if len(paragraph) >= _SHARED_CHARACTERS
    }


def _root(parents: list[int], index: int) -> int:
    while parents[index] != index:
        parents[index] = parents[parents[index]]
        index = parents[index]
    return index
