"""Turns a text into words as they are compared, and into the terms that BM25 looks for."""

import re
import sys
import unicodedata
from functools import lru_cache

# `\w` leaves out the vowel signs of Indic and Thai script, which stand inside of words
_MARKS = "".join(c for c in map(chr, range(0x300, 0x10000)) if unicodedata.category(c)[0] == "M")
_WORD = re.compile(rf"[\w{_MARKS}]+")
# scripts without spaces between words; a sign of Han or kana says as much as a few letters
_UNSPACED = re.compile("([぀-ヿ㐀-鿿豈-﫿฀-๿຀-໿ក-៿က-႟]+)")
_SIGNS = re.compile("([぀-ヿ㐀-鿿豈-﫿]+)")
_GRAM = 4  # characters
_KNOWN_WORDS = 1 << 17


def split_words(text: str) -> list[str]:
    """Lower-case words, and character pairs where words are not separated."""
    return [
        piece
        for word in _WORD.findall(text.lower())
        for run, is_unspaced in _runs(word, _UNSPACED)
        for piece in (_grams(run, 2) if is_unspaced else [run])
    ]


def split_terms(text: str) -> list[str]:
    """Index terms: each word, and its runs of four characters for what shares a stem with it.

    Where a character is nearly a word, each one and each pair. In 18 languages and on special
    subjects this finds more than words or stems do (docs/results/bm25.md).

    Source: McNamee and Mayfield, Character N-Gram Tokenization for European Language Text
    Retrieval, Information Retrieval 7 (2004).
    """
    return [term for word in _WORD.findall(text.lower()) for term in _terms(word)]


@lru_cache(_KNOWN_WORDS)
def _terms(word: str) -> tuple[str, ...]:
    """A word's terms; interned, because most stand in many texts."""
    terms: list[str] = []
    for run, is_signs in _runs(word, _SIGNS):
        if is_signs:
            terms += [*run, *(_grams(run, 2) if len(run) > 1 else [])]
        else:
            terms += [run, *(f"~{gram}" for gram in _grams(f"<{run}>", _GRAM))]
    return tuple(map(sys.intern, terms))


def _runs(word: str, script: re.Pattern[str]) -> list[tuple[str, bool]]:
    """A word's runs of characters, and whether they are of the script."""
    runs = script.split(word)  # every other one is
    return [(run, bool(i % 2)) for i, run in enumerate(runs) if run]


def _grams(text: str, size: int) -> list[str]:
    return [text[i : i + size] for i in range(max(1, len(text) - size + 1))]
