"""Splits normalised text into words for comparison, and into index terms for BM25."""

import re
import sys
from functools import lru_cache

from aloft.text.normalising import MARKS, normalize

_WORD = re.compile(rf"[\w{MARKS}]+")
# scripts without spaces between words; a character of Han or kana says as much as a few letters
_UNSPACED = re.compile("([぀-ヿ㐀-鿿豈-﫿฀-๿຀-໿ក-៿က-႟]+)")
_SIGNS = re.compile("([぀-ヿ㐀-鿿豈-﫿]+)")
_GRAM = 4  # characters
KNOWN_WORDS = 1 << 17
"""How many words the terms of which are kept."""


def split_words(text: str) -> list[str]:
    """Return normalised words, and character pairs where words are not separated."""
    return [
        piece
        for word in _WORD.findall(normalize(text))
        for run, is_unspaced in _runs(word, _UNSPACED)
        for piece in (_grams(run, 2) if is_unspaced else [run])
    ]


def split_terms(text: str) -> list[str]:
    """Return index terms: each word, and its 4-grams, which words of the same stem share.

    In scripts where a character is nearly a word, these are all characters and pairs of them. In 18
    languages and on specialised subjects this finds more than words or stems do
    (docs/results/bm25.md).

    Source: McNamee and Mayfield, Character N-Gram Tokenization for European Language Text
    Retrieval, Information Retrieval 7 (2004).
    """
    return [term for word in find_words(text) for term in terms_of(word)]


def find_words(text: str) -> list[str]:
    """Return normalised words as they stand in the text."""
    return _WORD.findall(normalize(text))


@lru_cache(KNOWN_WORDS)
def terms_of(word: str) -> tuple[str, ...]:
    """Return the index terms of a normalised word, interned because most occur in many texts."""
    terms: list[str] = []
    for run, is_signs in _runs(word, _SIGNS):
        if is_signs:
            terms += [*run, *(_grams(run, 2) if len(run) > 1 else [])]
        else:
            terms += [run, *(f"~{gram}" for gram in _grams(f"<{run}>", _GRAM))]
    return tuple(map(sys.intern, terms))


def _runs(word: str, script: re.Pattern[str]) -> list[tuple[str, bool]]:
    """Split a word into runs, each with whether its characters are of the script."""
    runs = script.split(word)  # alternately outside and inside of it
    return [(run, bool(i % 2)) for i, run in enumerate(runs) if run]


def _grams(text: str, size: int) -> list[str]:
    return [text[i : i + size] for i in range(max(1, len(text) - size + 1))]
