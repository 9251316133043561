"""BM25 over whole passages and over windows of them."""

import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from tempfile import TemporaryFile
from threading import Lock
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from aloft.protocols import Floats
from aloft.retrieval.ranking import Ranking, best_columns
from aloft.text.tokens import split_terms

# lengths from 96 to 384 terms and shares from 0.3 to 1 were tried on five sets (docs/results)
_WINDOW = 192  # terms: about 35 English words, or 100 characters of Han or kana
_SHARE = 0.3  # of the best window in a passage's score
COVERING = 3  # first passages of which one may hold most of a question's terms
_K1, _B = 1.2, 0.75  # Lucene's constants
_NO_TERM = "\x00"  # stands for the terms of a text without any
_CHUNK = 1 << 20  # postings that are collected or read at once
_SORTED = 1 << 23  # postings that are put in the order of terms at once: 100 MB
_NUMBER = 4  # bytes of a row and of a score
_POSTING = np.dtype([("term", np.int32), ("row", np.int32), ("count", np.int32)])


class BM25Index:
    """BM25 over passages and over windows of them, with the constants of Lucene (k1 1.2, b 0.75).

    A passage's score is a weighted sum of its own and of its best window's: terms that stand
    together say more than the same terms apart, the more so the longer the passage is.

    The index has 8 bytes per passage and distinct term of it, and the same for windows, in
    temporary files; the vocabulary alone is held in memory. It is built from a stream.

    Source: eager scoring as in BM25S (arXiv:2407.03618), by the formula of Lucene (Kamphuis et al.,
    ECIR 2020); windows, Callan, Passage-Level Evidence in Document Retrieval (SIGIR 1994).

    Args:
        texts: Passages in corpus order; they are read once.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._terms: dict[str, int] = {}
        starts = array("q")
        with TemporaryFile() as passages_file, TemporaryFile() as windows_file:
            passages, windows = _Collector(passages_file), _Collector(windows_file)
            for text in texts:
                terms = [
                    self._terms.setdefault(term, len(self._terms))
                    for term in split_terms(text) or [_NO_TERM]
                ]
                starts.append(windows.rows)
                passages.add(terms)
                for window in _windows(terms):
                    windows.add(window)
            self._passages = passages.score(len(self._terms))
            has_windows = windows.rows > passages.rows
            self._windows = windows.score(len(self._terms)) if has_windows else self._passages
        self._starts = np.frombuffer(starts, np.int64)

    def rank(self, questions: Sequence[str], depth: int) -> Ranking:
        """Rank passages for each question; terms that no passage contains do not count."""
        depth = min(depth, len(self._starts))
        columns = np.empty((len(questions), depth), np.intp)
        scores = np.zeros((len(questions), depth), np.float32)
        for i, question in enumerate(questions):
            all_scores = self._score(question)
            columns[i] = best_columns(all_scores[None, :], depth)[0]
            scores[i] = all_scores[columns[i]]
        return Ranking(columns=columns, scores=scores)

    def coverage(self, questions: Sequence[str], ranking: Ranking) -> NDArray[np.float64]:
        """How much of each question one of its first passages holds.

        Args:
            questions: One text each.
            ranking: These questions ranked by this index.

        Returns:
            (questions,), in [0, 1]: of the first `COVERING` passages the largest share of the
            inverse document frequency of the question's terms that stands in one of them. Terms
            that no passage contains count as missing; a question without terms has 0.
        """
        return np.array(
            [
                self._covered(question, columns[:COVERING])
                for question, columns in zip(questions, ranking.columns, strict=True)
            ]
        )

    def _covered(self, question: str, columns: NDArray[np.intp]) -> float:
        known = [self._terms.get(term) for term in dict.fromkeys(split_terms(question))]
        nowhere = np.empty(0, np.int32)
        rows = [nowhere if term is None else self._passages.rows_of(term) for term in known]
        weights = _inverse_frequencies(
            np.array([len(one) for one in rows], np.int64), len(self._starts)
        )
        holds = np.array([_are_among(one, columns) for one in rows]).reshape(-1, len(columns))
        total = float(weights.sum())
        return float((weights @ holds).max(initial=0.0)) / total if total else 0.0

    def _score(self, question: str) -> Floats:
        """Return the score of each passage; (passages,)."""
        terms = [self._terms[term] for term in split_terms(question) if term in self._terms]
        if not terms:
            return np.zeros(len(self._starts), np.float32)
        best: Floats = np.maximum.reduceat(self._windows.sum(terms), self._starts)
        best *= _SHARE
        best += (1 - _SHARE) * self._passages.sum(terms)
        return best


class _Postings:
    """What each term contributes to the score of each row that contains it, in a temporary file.

    Args:
        ends: Where each term's postings begin, and the last one's end; (terms + 1,).
        size: Rows altogether.
    """

    def __init__(self, ends: NDArray[np.int64], size: int) -> None:
        self._ends = ends
        self._size = size
        self._file = TemporaryFile()  # noqa: SIM115 - lives as long as the index
        self._lock = Lock()

    def write(self, first: int, rows: NDArray[np.int32], scores: Floats) -> None:
        """Keep the postings of consecutive terms.

        Args:
            first: The first of the terms.
            rows: Rows in ascending order, term by term; (postings,).
            scores: The term's BM25 scores in these rows; (postings,).
        """
        for column, values in enumerate((rows, scores)):
            self._file.seek(self._place(int(self._ends[first]), column))
            self._file.write(values.tobytes())

    def rows_of(self, term: int) -> NDArray[np.int32]:
        """The rows that contain a term, in ascending order."""
        return self._read(term, 0, np.int32)

    def sum(self, terms: Iterable[int]) -> Floats:
        """Return the score of each row for some terms, of which one may occur twice; (rows,)."""
        total = np.zeros(self._size, np.float32)
        for term in terms:
            total[self.rows_of(term)] += self._read(term, 1, np.float32)
        return total

    def _place(self, posting: int, column: int) -> int:
        """Where a posting's row or score stands; all rows come before the scores."""
        return (column * int(self._ends[-1]) + posting) * _NUMBER

    def _read(self, term: int, column: int, dtype: Any) -> NDArray[Any]:
        start, end = self._ends[term : term + 2].tolist()
        with self._lock:
            self._file.seek(self._place(start, column))
            return np.frombuffer(self._file.read((end - start) * _NUMBER), dtype)


class _Collector:
    """Collects the terms of rows in a file, and sorts them into postings."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._lengths = array("i")
        self._terms = array("i")  # of the rows that are not in the file yet
        self._written = 0  # rows in the file
        self._size = 0  # postings in the file

    @property
    def rows(self) -> int:
        """Rows collected so far."""
        return len(self._lengths)

    def add(self, terms: Sequence[int]) -> None:
        """Add a row, which has these terms."""
        self._terms.extend(terms)
        self._lengths.append(len(terms))
        if len(self._terms) >= _CHUNK:
            self._flush()

    def _flush(self) -> None:
        """Write the terms of the latest rows as postings."""
        rows = np.repeat(np.arange(self._written, self.rows), self._lengths[self._written :])
        keys = (rows << 32) | np.frombuffer(self._terms, np.int32)
        keys, counts = np.unique(keys, return_counts=True)
        postings = np.empty(len(keys), _POSTING)
        postings["term"], postings["row"], postings["count"] = keys, keys >> 32, counts
        self._file.write(postings.tobytes())
        self._terms = array("i")
        self._written, self._size = self.rows, self._size + len(postings)

    def score(self, vocabulary: int) -> _Postings:
        """Return the postings of all terms with their scores."""
        self._flush()
        frequencies = np.zeros(vocabulary, np.int64)
        for chunk in self._chunks():
            frequencies += np.bincount(chunk["term"], minlength=vocabulary)
        idf = _inverse_frequencies(frequencies, self.rows)
        lengths = np.frombuffer(self._lengths, np.int32)
        norms = _K1 * ((1 - _B) + _B * lengths / lengths.mean())
        ends = np.concatenate([[0], np.cumsum(frequencies)])
        postings, first = _Postings(ends, self.rows), 0
        while first < vocabulary:
            most = int(np.searchsorted(ends, ends[first] + _SORTED, side="right")) - 1
            last = max(first + 1, most)
            postings.write(first, *self._sorted(ends[first : last + 1], first, idf, norms))
            first = last
        return postings

    def _sorted(
        self, ends: NDArray[np.int64], first: int, idf: Floats, norms: NDArray[np.float64]
    ) -> tuple[NDArray[np.int32], Floats]:
        """Rows and scores of some consecutive terms, term by term."""
        filled, count = ends[:-1] - ends[0], int(ends[-1] - ends[0])
        rows, scores = np.empty(count, np.int32), np.empty(count, np.float32)
        for chunk in self._chunks():
            is_wanted = (chunk["term"] >= first) & (chunk["term"] < first + len(filled))
            chunk = chunk[is_wanted]
            chunk = chunk[np.argsort(chunk["term"], kind="stable")]
            terms, firsts, counts = np.unique(chunk["term"], return_index=True, return_counts=True)
            places = np.arange(len(chunk)) + np.repeat(filled[terms - first] - firsts, counts)
            filled[terms - first] += counts
            rows[places] = chunk["row"]
            frequency = chunk["count"] / (norms[chunk["row"]] + chunk["count"])
            scores[places] = idf[chunk["term"]] * frequency
        return rows, scores

    def _chunks(self) -> Iterator[NDArray[np.void]]:
        self._file.seek(0)
        while data := self._file.read(_CHUNK * _POSTING.itemsize):
            yield np.frombuffer(data, _POSTING)


def _inverse_frequencies(frequencies: NDArray[np.int64], rows: int) -> Floats:
    """Return the inverse document frequency of each term; (terms,)."""
    values, inverse = np.unique(frequencies, return_inverse=True)
    logs = [math.log(1 + (rows - value + 0.5) / (value + 0.5)) for value in values.tolist()]
    return np.array(logs, np.float32)[inverse]


def _are_among(rows: NDArray[np.int32], columns: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Whether each of a few columns is among rows in ascending order; (columns,)."""
    places = np.searchsorted(rows, columns)
    found = np.zeros(len(columns), bool)
    is_inside = places < len(rows)
    found[is_inside] = rows[places[is_inside]] == columns[is_inside]
    return found


def _windows(terms: list[int]) -> list[list[int]]:
    """Return stretches of equal length, up to rounding, none longer than a window."""
    size = math.ceil(len(terms) / math.ceil(len(terms) / _WINDOW))
    return [terms[start : start + size] for start in range(0, len(terms), size)]
