"""BM25 over whole passages and over windows of them."""

import logging
import math
from collections.abc import Iterable, Sequence

import bm25s
import numpy as np

from aloft.protocols import Floats
from aloft.retrieval.ranking import Ranking, best_columns
from aloft.text.tokens import split_terms

logging.getLogger("bm25s").setLevel(logging.WARNING)
# lengths from 96 to 384 terms and shares from 0.3 to 1 were tried on five sets (results/bm25.md)
_WINDOW = 192  # terms: about 35 English words, or 100 signs
_SHARE = 0.3  # of the best window in a passage's score


class BM25Index:
    """BM25 over passages and over windows of them, with the constants of Lucene (k1 1.2, b 0.75).

    A passage's score is its own and, for a share, that of its best window: words that stand
    together say more than the same words apart, the more so the longer a passage is.

    Source: bm25s (arXiv:2407.03618); windows, Callan, Passage-Level Evidence in Document Retrieval
    (SIGIR 1994).
    """

    def __init__(self, texts: Iterable[str]) -> None:
        # a term that no text holds keeps the index from being empty
        terms = [split_terms(text) or ["\x00"] for text in texts]
        self._size = len(terms)
        windows = [_windows(some) for some in terms]
        self._starts = np.cumsum([0, *map(len, windows)])[:-1]
        self._whole = _index(terms)
        parts = [window for some in windows for window in some]
        self._parts = self._whole if len(parts) == len(terms) else _index(parts)

    def rank(self, questions: Sequence[str], depth: int) -> Ranking:
        """Rank passages for each question; terms that no passage holds count for nothing."""
        depth = min(depth, self._size)
        columns = np.empty((len(questions), depth), np.intp)
        scores = np.zeros((len(questions), depth), np.float32)
        for i, question in enumerate(questions):
            all_scores = self._score(question)
            columns[i] = best_columns(all_scores[None, :], depth)[0]
            scores[i] = all_scores[columns[i]]
        return Ranking(columns=columns, scores=scores)

    def _score(self, question: str) -> Floats:
        """Of each passage; (passages,)."""
        known = [term for term in split_terms(question) if term in self._whole.vocab_dict]
        if not known:
            return np.zeros(self._size, np.float32)
        best: Floats = np.maximum.reduceat(self._parts.get_scores(known), self._starts)
        best *= _SHARE
        best += (1 - _SHARE) * self._whole.get_scores(known)
        return best


def _index(terms: Sequence[Sequence[str]]) -> bm25s.BM25:
    index = bm25s.BM25(k1=1.2, b=0.75)
    index.index(terms, show_progress=False)
    return index


def _windows(terms: list[str]) -> list[list[str]]:
    """Stretches of like length, none longer than a window."""
    size = math.ceil(len(terms) / math.ceil(len(terms) / _WINDOW))
    return [terms[start : start + size] for start in range(0, len(terms), size)]
