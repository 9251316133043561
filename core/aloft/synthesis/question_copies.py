"""Finds questions that are nearly the same as an earlier one, exactly and in near-linear time.

An exact set-similarity join with prefix, length and positional filters. Words are ordered from rare
to frequent. Two sets of high Jaccard similarity share a word near the start of both, so that kept
questions are indexed by their first words alone. The key of an entry also holds the place of the
word and the size of the set, which bound the overlap: entries that cannot reach the similarity are
never looked at. Long questions, whose first words are rare, are indexed by these alone.

Source: PPJoin, Efficient Similarity Joins for Near Duplicate Detection (Xiao et al., WWW 2008).
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import count, pairwise

import numpy as np
from numpy.typing import NDArray

from aloft.corpus.hashing import HashTable, hash64
from aloft.text.tokens import split_words

_CACHED_WORDS = 1 << 16
_NO_WORD = -1  # the key of a question without words
_ANY_PLACE = -1
_POSITIONAL = 24  # words up to which places count: there are few, and first words are often shared
_hash_word = lru_cache(_CACHED_WORDS)(lambda word: hash64(word.encode("utf-8", "surrogatepass")))


class KeptQuestions:
    """Questions in order, of which those that are kept can be searched for near duplicates.

    Memory is about 10 bytes per word and 20 bytes for each of a question's first words.

    Args:
        questions: They are read once; only ranks of their words are stored.
        similarity: Jaccard similarity of words, in (0, 1], from which a question is a copy.
    """

    def __init__(self, questions: Iterable[str], similarity: float) -> None:
        self._similarity = similarity
        self._words, self._ends, self._numbers = _rank_words(questions)
        self._sizes = np.unique(np.diff(self._ends)).tolist()
        self._kept = HashTable()
        self._places_by_size: dict[int, list[tuple[int, int, int]]] = {}

    def keep(self, row: int) -> bool:
        """Keep a question, and return True, unless an earlier kept one is nearly the same."""
        words, numbers = self._set(row), self._numbers[row]
        found = set(words)
        if any(self._is_copy(found, other) for other in self._candidates(words, numbers)):
            return False
        is_long = len(words) > _POSITIONAL
        for place, word in enumerate(self._prefix(words) or [_NO_WORD]):
            shape = (_ANY_PLACE, 0) if is_long else (place, len(words))
            self._kept.add(_key(word, *shape, numbers), row)
        return True

    def _set(self, row: int) -> list[int]:
        """Return the words of a question, from rare to frequent."""
        words: list[int] = self._words[self._ends[row] : self._ends[row + 1]].tolist()
        return words

    def _is_copy(self, words: set[int], row: int) -> bool:
        other = self._set(row)
        shared = len(words.intersection(other))
        return shared >= self._similarity * (len(words) + len(other) - shared)

    def _candidates(self, words: list[int], numbers: int) -> Iterator[int]:
        """Yield kept questions that have the same numbers and may share enough words."""
        if not words:
            yield from self._kept.rows(_key(_NO_WORD, 0, 0, numbers))
            return
        for place, other_place, other_size in self._places(len(words)):
            yield from self._kept.rows(_key(words[place], other_place, other_size, numbers))
        for word in self._prefix(words):
            yield from self._kept.rows(_key(word, _ANY_PLACE, 0, numbers))

    def _prefix(self, words: list[int]) -> list[int]:
        """Return the first words, of which a set that is similar enough shares at least one."""
        return words[: len(words) - self._least_overlap(len(words)) + 1]

    def _places(self, size: int) -> list[tuple[int, int, int]]:
        """Return where the first shared word can stand: place, place in the other set, its size."""
        if size not in self._places_by_size:
            self._places_by_size[size] = [
                (place, other_place, other)
                for other in self._sizes[: bisect_right(self._sizes, _POSITIONAL)]
                for needed in [self._least_overlap(size, other)]
                for place in range(size - needed + 1)
                for other_place in range(other - needed + 1)
            ]
        return self._places_by_size[size]

    def _least_overlap(self, size: int, other: int | None = None) -> int:
        """Return the least number of words shared by two similar sets of these sizes.

        Without the other size: with a similar set of any size.
        """
        return next(
            shared
            for shared in count()
            if shared >= self._similarity * (size if other is None else size + other - shared)
        )


def _rank_words(
    questions: Iterable[str],
) -> tuple[NDArray[np.uint32], NDArray[np.int64], "array[int]"]:
    """Return each question's words as ranks, rare ones first, with ends and a hash of its numbers.

    Returns:
        Ranks, question by question in ascending order; (words,). Where each question's ranks begin
        and the last one's end; (questions + 1,). Hashes of the sets of numbers; (questions,).
    """
    hashes, ends, numbers = array("Q"), array("q", [0]), array("Q")
    for question in questions:
        words = set(split_words(question))
        hashes.extend(map(_hash_word, words))
        ends.append(len(hashes))
        digits = sorted(filter(str.isdigit, words))
        numbers.append(hash64("\x1f".join(digits).encode("utf-8", "surrogatepass")))
    _, inverse, counts = np.unique(
        np.frombuffer(hashes, np.uint64), return_inverse=True, return_counts=True
    )
    ranks = np.empty(len(counts), np.uint32)
    ranks[np.argsort(counts, kind="stable")] = np.arange(len(counts))
    words_of_all = ranks[inverse]
    bounds = np.frombuffer(ends, np.int64)
    for start, end in pairwise(ends):
        words_of_all[start:end].sort()
    return words_of_all, bounds, numbers


def _key(word: int, place: int, size: int, numbers: int) -> int:
    return hash((word, place, size, numbers)) & 0xFFFF_FFFF_FFFF_FFFF
