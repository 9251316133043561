"""Tells documents that were edited or moved from those of another corpus."""

import re
from collections.abc import Sequence

from aloft.corpus.hashing import hash64
from aloft.records import Document
from aloft.text.normalising import fold

_SENTENCE_END = re.compile(r"(?<=[.!?…؟।])\s+|(?<=[。！？])|\n\s*\n")


def kept_share(before: Sequence[Document], now: Sequence[Document]) -> float:
    """The share of some documents that are also among others, in [0, 1].

    A document is if another has its text, or has its id and most of its sentences. Letter case and
    white space do not matter.

    Args:
        before: Documents that are looked for; without any, the share is 0.
        now: Documents among which they are looked for.
    """
    texts, rows = set[int](), dict[str, int]()
    for row, document in enumerate(now):
        texts.add(_hash(document.text))
        rows[document.id] = row
    kept = 0
    for document in before:
        row = rows.get(document.id, -1)
        is_moved = _hash(document.text) in texts
        kept += is_moved or (row >= 0 and _is_edition(now[row].text, document.text))
    return kept / max(1, len(before))


def _is_edition(text: str, earlier: str) -> bool:
    """Whether a text holds more than half of the distinct sentences of an earlier one."""
    sentences = _sentences(earlier)
    return 2 * len(sentences & _sentences(text)) > len(sentences)


def _sentences(text: str) -> frozenset[str]:
    folded = (fold(sentence) for sentence in _SENTENCE_END.split(text))
    return frozenset(sentence for sentence in folded if sentence)


def _hash(text: str) -> int:
    return hash64(fold(text).encode("utf-8", "surrogatepass"))
