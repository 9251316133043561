"""BM25 over whole passages and over windows of them."""

import math
import shutil
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryFile
from threading import Lock
from typing import IO, Any, Self
from weakref import finalize

import numpy as np
from numpy.typing import NDArray

from aloft.protocols import Floats
from aloft.records import Passage, content_id_of
from aloft.retrieval.index_store import IndexStore
from aloft.retrieval.ranking import Ranking, best_columns
from aloft.text.tokens import KNOWN_WORDS, find_words, split_terms, terms_of

# lengths from 96 to 384 terms and shares from 0.3 to 1 were tried on five sets (docs/results)
_WINDOW = 192  # terms: about 35 English words, or 100 characters of Han or kana
_SHARE = 0.3  # of the best window in a passage's score
COVERING = 3  # first passages of which one may hold most of a question's terms
_K1, _B = 1.2, 0.75  # Lucene's constants
_NO_TERM = "\x00"  # stands for the terms of a text without any
_RUN = 1 << 20  # terms of rows that are sorted at once, into a run
_MERGED = 1 << 23  # postings that are merged at once: 100 MB
_MARK = 1024  # postings of a run between those whose terms are known in memory
_NUMBER = 4  # bytes of a row and of a score
_COPIED = 1 << 20  # bytes at once
_VERSION = 1  # of a saved index: another one where terms, windows, scores or files are others
_TERMS, _STARTS, _ENDS, _POSTINGS = "terms.txt", "starts.npy", "ends.npy", "postings.bin"
_PASSAGES, _WINDOWS = "passages", "windows"
_POSTING = np.dtype([("term", np.int32), ("row", np.int32), ("count", np.int32)])


class BM25Index:
    """BM25 over passages and over windows of them, with the constants of Lucene (k1 1.2, b 0.75).

    A passage's score is a weighted sum of its own and of its best window's: terms that stand
    together say more than the same terms apart, the more so the longer the passage is.

    The index has 8 bytes per passage and distinct term of it, and the same for windows, in files,
    temporary ones until it is saved; the vocabulary alone is held in memory. It is built from a
    stream: some texts after others become sorted runs, which are merged by the statistics of all
    texts.

    Source: eager scoring as in BM25S (arXiv:2407.03618), by the formula of Lucene (Kamphuis et al.,
    ECIR 2020); windows, Callan, Passage-Level Evidence in Document Retrieval (SIGIR 1994).

    Args:
        texts: Passages in corpus order; they are read once.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._terms: dict[str, int] = {}
        starts = array("q")
        numbers = lru_cache(KNOWN_WORDS)(self._number)
        with TemporaryFile() as passages_file, TemporaryFile() as windows_file:
            passages, windows = _Collector(passages_file), _Collector(windows_file)
            for text in texts:
                terms = array("i")
                for word in find_words(text):
                    terms += numbers(word)
                if not terms:
                    terms.append(self._terms.setdefault(_NO_TERM, len(self._terms)))
                starts.append(windows.rows)
                passages.add(terms)
                for window in _windows(terms):
                    windows.add(window)
            self._passages = passages.score(len(self._terms))
            passages_file.truncate(0)  # half of the disk space is free before the larger half
            has_windows = windows.rows > passages.rows
            self._windows = windows.score(len(self._terms)) if has_windows else self._passages
        self._starts = np.frombuffer(starts, np.int64)

    def _number(self, word: str) -> "array[int]":
        """The numbers of a word's terms; new terms get the next ones."""
        return array("i", [self._terms.setdefault(t, len(self._terms)) for t in terms_of(word)])

    def save(self, folder: Path) -> None:
        """Write the index to an empty folder, for `read`."""
        terms = "\n".join(self._terms).encode("utf-8", "surrogatepass")
        (folder / _TERMS).write_bytes(terms)
        np.save(folder / _STARTS, self._starts, allow_pickle=False)
        self._passages.save(folder / _PASSAGES)
        if self._windows is not self._passages:
            self._windows.save(folder / _WINDOWS)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The index that was saved to a folder, which must stay in place as long as it is used.

        Raises:
            OSError, ValueError, EOFError: it holds none, or not a whole one.
        """
        index = cls.__new__(cls)
        terms = (folder / _TERMS).read_bytes().decode("utf-8", "surrogatepass").split("\n")
        index._terms = {term: number for number, term in enumerate(terms)}
        index._starts = np.load(folder / _STARTS, allow_pickle=False)
        index._passages = index._windows = _Postings.read(folder / _PASSAGES, len(terms))
        if (folder / _WINDOWS).exists():
            index._windows = _Postings.read(folder / _WINDOWS, len(terms))
        return index

    @property
    def size(self) -> int:
        """Bytes of the index in files; while it is built it takes twice as many."""
        return sum(one.size for one in {self._passages, self._windows})

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
    """What each term contributes to the score of each row that contains it, in a file.

    Args:
        ends: Where each term's postings begin, and the last one's end; (terms + 1,).
        rows: Rows altogether.
        file: What holds them; None: a temporary file, to be written to.
    """

    def __init__(self, ends: NDArray[np.int64], rows: int, file: IO[bytes] | None = None) -> None:
        self._ends = ends
        self._rows = rows
        self._file = file or TemporaryFile()  # noqa: SIM115 - lives as long as the index
        finalize(self, self._file.close)
        self._lock = Lock()

    def save(self, folder: Path) -> None:
        """Write them to a new folder, for `read`."""
        folder.mkdir()
        np.save(folder / _ENDS, np.append(self._ends, self._rows), allow_pickle=False)
        with self._lock, (folder / _POSTINGS).open("xb") as file:
            self._file.seek(0)
            shutil.copyfileobj(self._file, file, _COPIED)

    @classmethod
    def read(cls, folder: Path, vocabulary: int) -> Self:
        """What was saved to a folder, of so many terms.

        Raises:
            OSError, ValueError, EOFError: it holds none, or not all.
        """
        ends = np.load(folder / _ENDS, allow_pickle=False)
        found = cls(ends[:-1], int(ends[-1]), (folder / _POSTINGS).open("rb"))
        whole = vocabulary + 2, found.size  # an end more than terms, and the number of rows
        if (len(ends), (folder / _POSTINGS).stat().st_size) != whole:
            raise ValueError(f"{folder} does not hold all postings.")
        return found

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return 2 * _NUMBER * int(self._ends[-1])

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
        total = np.zeros(self._rows, np.float32)
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


@dataclass(frozen=True, slots=True)
class _Run:
    """Postings of some rows in a file, in the order of terms and then of rows.

    Attributes:
        start: The first one's place in the file.
        size: How many they are.
        marks: The term of the first posting of each `_MARK`.
    """

    start: int
    size: int
    marks: NDArray[np.int32]

    def holding(self, first: int, last: int) -> tuple[int, int]:
        """Places in the file between which all postings of the terms [first, last) stand."""
        before, behind = np.searchsorted(self.marks, [first, last]).tolist()
        stop = min(self.size, behind * _MARK)
        return self.start + min(stop, max(0, before - 1) * _MARK), self.start + stop


class _Collector:
    """Collects the terms of rows in a file of sorted runs, and merges these into postings."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._lengths = array("i")
        self._terms = array("i")  # of the rows that are not in the file yet
        self._written = 0  # rows in the file
        self._runs: list[_Run] = []
        self._frequencies = np.zeros(0, np.int64)  # postings in the file of each term

    @property
    def rows(self) -> int:
        """Rows collected so far."""
        return len(self._lengths)

    def add(self, terms: "array[int]") -> None:
        """Add a row, which has these terms."""
        self._terms += terms
        self._lengths.append(len(terms))
        if len(self._terms) >= _RUN:
            self._flush()

    def _flush(self) -> None:
        """Write the terms of the latest rows as a run."""
        rows = np.repeat(np.arange(self._written, self.rows), self._lengths[self._written :])
        keys = (np.frombuffer(self._terms, np.int32).astype(np.int64) << 32) | rows
        keys, counts = np.unique(keys, return_counts=True)
        postings = np.empty(len(keys), _POSTING)
        postings["term"], postings["row"], postings["count"] = keys >> 32, keys, counts
        self._file.write(postings.tobytes())
        start = sum(run.size for run in self._runs)
        self._runs.append(_Run(start, len(postings), postings["term"][::_MARK].copy()))
        frequencies = np.bincount(postings["term"], minlength=len(self._frequencies))
        frequencies[: len(self._frequencies)] += self._frequencies
        self._frequencies = frequencies
        self._terms = array("i")
        self._written = self.rows

    def score(self, vocabulary: int) -> _Postings:
        """Return the postings of all terms with their scores."""
        self._flush()
        frequencies = np.zeros(vocabulary, np.int64)
        frequencies[: len(self._frequencies)] = self._frequencies
        idf = _inverse_frequencies(frequencies, self.rows)
        lengths = np.frombuffer(self._lengths, np.int32)
        norms = _K1 * ((1 - _B) + _B * lengths / lengths.mean())
        ends = np.concatenate([[0], np.cumsum(frequencies)])
        postings, first = _Postings(ends, self.rows), 0
        while first < vocabulary:
            most = int(np.searchsorted(ends, ends[first] + _MERGED, side="right")) - 1
            last = max(first + 1, most)
            postings.write(first, *self._merged(ends[first : last + 1], first, idf, norms))
            first = last
        return postings

    def _merged(
        self, ends: NDArray[np.int64], first: int, idf: Floats, norms: NDArray[np.float64]
    ) -> tuple[NDArray[np.int32], Floats]:
        """Rows and scores of some consecutive terms, term by term."""
        filled, count = ends[:-1] - ends[0], int(ends[-1] - ends[0])
        rows, scores = np.empty(count, np.int32), np.empty(count, np.float32)
        for run in self._runs:
            some = self._read(run, first, first + len(filled))
            starts = np.flatnonzero(np.diff(some["term"], prepend=-1))
            counts = np.diff(starts, append=len(some))
            terms = some["term"][starts]
            places = np.arange(len(some)) + np.repeat(filled[terms - first] - starts, counts)
            filled[terms - first] += counts
            rows[places] = some["row"]
            frequency = some["count"] / (norms[some["row"]] + some["count"])
            scores[places] = idf[some["term"]] * frequency
        return rows, scores

    def _read(self, run: _Run, first: int, last: int) -> NDArray[np.void]:
        """The postings of the terms [first, last) in a run."""
        start, stop = run.holding(first, last)
        self._file.seek(start * _POSTING.itemsize)
        read = np.frombuffer(self._file.read((stop - start) * _POSTING.itemsize), _POSTING)
        return read[slice(*np.searchsorted(read["term"], [first, last]))]


def open_bm25(
    passages: Sequence[Passage], store: IndexStore, content_id: str | None = None
) -> BM25Index:
    """The index of what is embedded of passages, built unless the store has it.

    Args:
        passages: The corpus.
        store: Where the index is kept.
        content_id: `content_id_of` what is embedded, where it is known already.
    """

    def build() -> BM25Index:
        return BM25Index(passage.embedded for passage in passages)

    if store.folder is None:
        return build()
    known = content_id or content_id_of(passage.embedded for passage in passages)
    return store.get_index(f"bm25-{_VERSION}-{known}", build, BM25Index.read)


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


def _windows(terms: "array[int]") -> list["array[int]"]:
    """Return stretches of equal length, up to rounding, none longer than a window."""
    size = math.ceil(len(terms) / math.ceil(len(terms) / _WINDOW))
    return [terms[start : start + size] for start in range(0, len(terms), size)]
