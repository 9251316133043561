"""Drops passages that repeat an earlier one.

MinHash finds and ranks candidates; the true Jaccard similarity of their shingles decides, so that
an estimate never drops a passage. Memory per kept passage is its sketch of 512 bytes and some 300
bytes of hash tables. The texts of kept passages are written to a temporary file, where those of
the few candidates are read again.
"""

import re
from array import array
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from tempfile import TemporaryFile
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from aloft.corpus.hashing import HashTable, hash64
from aloft.corpus.passages import STAGE, describe_place
from aloft.protocols import Spread, in_this_process
from aloft.randomness import global_random_kept
from aloft.records import Passage, Rejection
from aloft.text.normalising import fold

EXACT, NEAR = COPY_REASONS = ("exact duplicate", "near duplicate")
_SHINGLE = 5
_PERMUTATIONS = 128
_COMPARED = (
    8  # candidates whose true similarity is computed: forms are all candidates of each other
)
_RECALL_WEIGHTS = (0.02, 0.98)  # finds 96 % of the pairs that are exactly at the threshold of 0.9
_HIGHEST_INDEXED_SIMILARITY = 0.95  # above it, datasketch finds no bands for 128 permutations
_BLOCK = 1024  # sketches per array
_SKETCHED = 1 << 17  # characters whose sketches are drawn at a time
_ID_BYTES = 16
Sketch = NDArray[np.uint32]
"""Least hashes of a text's shingles; (128,)."""
_UNSPACED = re.compile(  # Thai, Lao, Burmese, Khmer, Japanese, Chinese
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\U00020000-\U0003ffff]"
)


def drop_copies(
    passages: Iterable[Passage], similarity: float, *, spread: Spread = in_this_process
) -> Iterator[Passage | Rejection]:
    """Keep the first of passages that are alike, in the order in which they arrive.

    Args:
        passages: They are consumed 130,000 characters at a time.
        similarity: Jaccard similarity of shingles, in (0, 1], from which a passage is a copy.
        spread: Has sketches drawn; that is most of the work.

    Yields:
        Every passage, or its rejection. The detail of a rejection begins with `of passage <id>`,
        the passage that was kept instead, and gives the place of the copy.
    """
    with TemporaryFile() as file:
        kept = _KeptPassages(similarity, file)
        waiting = deque[list[tuple[Passage, str, str | None]]]()

        def sketched() -> Iterator[list[str]]:
            for block in _blocks(passages):
                folded = [(one, fold(one.text)) for one in block]
                some = [(one, normal, kept.copied(normal)) for one, normal in folded]
                waiting.append(some)
                yield [normal for _, normal, copied in some if copied is None]

        for sketches in spread(_sketch_all, sketched()):
            drawn = iter(sketches)
            for passage, normal, copied in waiting.popleft():
                if copied is None:
                    yield kept.add(passage, normal, next(drawn))
                else:
                    yield _reject_copy(passage, EXACT, copied)


def _blocks(passages: Iterable[Passage]) -> Iterator[list[Passage]]:
    block, size = list[Passage](), 0
    for passage in passages:
        block.append(passage)
        size += len(passage.text)
        if size >= _SKETCHED:
            yield block
            block, size = [], 0
    yield block


def _sketch_all(normals: Sequence[str]) -> Iterator[Sketch]:
    """The MinHash sketch of each text."""
    empty = _empty_sketch()
    for normal in normals:
        sketch = empty.copy()
        sketch.update_batch(_shingles(normal))
        yield sketch.hashvalues.astype(np.uint32)


@lru_cache
def _empty_sketch() -> Any:
    from datasketch import MinHash  # type: ignore[import-untyped]

    return MinHash(num_perm=_PERMUTATIONS)


@lru_cache
def _find_bands(similarity: float) -> list[tuple[int, int]]:
    """Return the stretches of a sketch of which copies share at least one."""
    from datasketch import MinHashLSH

    with global_random_kept():  # the index draws a name for itself
        index: Any = MinHashLSH(
            threshold=min(similarity, _HIGHEST_INDEXED_SIMILARITY),
            num_perm=_PERMUTATIONS,
            weights=_RECALL_WEIGHTS,
        )
    return list(index.hashranges)


class _KeptPassages:
    """The passages kept so far, searchable for copies."""

    def __init__(self, similarity: float, file: IO[bytes]) -> None:
        self._similarity = similarity
        self._bands = _find_bands(similarity)
        self._by_band = HashTable()
        self._by_text = HashTable()
        self._sketches: list[Sketch] = []
        self._offsets = array("Q", [0])  # in the file; the last one is its end
        self._file = file

    def copied(self, normal: str) -> str | None:
        """The id of the passage that has just this text; None: there is none yet."""
        found = map(self._read, self._by_text.rows(hash64(_encode(normal))))
        return next((kept_id for kept_id, text in found if text == normal), None)

    def add(self, passage: Passage, normal: str, values: Sketch) -> Passage | Rejection:
        """Return why the passage is a copy of an earlier one, or keep and return it.

        Args:
            passage: The passage.
            normal: Its folded text.
            values: Its sketch.
        """
        copied = self.copied(normal)
        if copied is not None:
            return _reject_copy(passage, EXACT, copied)
        keys = [hash64(bytes([i]) + values[a:b].tobytes()) for i, (a, b) in enumerate(self._bands)]
        alike = self._best({row for key in keys for row in self._by_band.rows(key)}, values)
        shingles = _shingles(normal) if alike else frozenset()
        for row in alike:
            kept_id, text = self._read(row)
            if _jaccard(shingles, _shingles(text)) >= self._similarity:
                return _reject_copy(passage, NEAR, kept_id)
        encoded = _encode(normal)
        row = len(self._offsets) - 1
        self._by_text.add(hash64(encoded), row)
        for key in keys:
            self._by_band.add(key, row)
        self._write(row, passage.id.encode() + encoded, values)
        return passage

    def _best(self, candidates: set[int], values: Sketch) -> list[int]:
        """Return those of highest estimated similarity, in the order in which they were kept."""
        rows = sorted(candidates)
        if len(rows) <= _COMPARED:
            return rows
        agreement = np.array([np.count_nonzero(self._sketch(row) == values) for row in rows])
        best = np.argsort(-agreement, kind="stable")[:_COMPARED]
        return sorted(rows[i] for i in best.tolist())

    def _sketch(self, row: int) -> Sketch:
        values: Sketch = self._sketches[row // _BLOCK][row % _BLOCK]
        return values

    def _write(self, row: int, record: bytes, values: Sketch) -> None:
        if row % _BLOCK == 0:
            self._sketches.append(np.empty((_BLOCK, _PERMUTATIONS), np.uint32))
        self._sketch(row)[:] = values
        self._file.seek(self._offsets[row])
        self._file.write(record)
        self._offsets.append(self._offsets[row] + len(record))

    def _read(self, row: int) -> tuple[str, str]:
        """Return a kept passage's id and normalised text."""
        self._file.seek(self._offsets[row])
        record = self._file.read(self._offsets[row + 1] - self._offsets[row])
        text = record[_ID_BYTES:].decode("utf-8", "surrogatepass")
        return record[:_ID_BYTES].decode(), text


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _reject_copy(passage: Passage, reason: str, kept_id: str) -> Rejection:
    return Rejection(
        subject_id=passage.id,
        stage=STAGE,
        reason=reason,
        detail=f"of passage {kept_id}, {describe_place(passage)}",
    )


def _shingles(normal: str) -> frozenset[bytes]:
    """Runs of five words, or of five characters where the script puts no space between words."""
    is_unspaced = 3 * len(_UNSPACED.findall(normal)) > len(normal)
    units: Sequence[str] = normal.replace(" ", "") if is_unspaced else normal.split()
    joint = "" if is_unspaced else " "
    count = max(1, len(units) - _SHINGLE + 1)
    return frozenset(
        joint.join(units[start : start + _SHINGLE]).encode("utf-8", "surrogatepass")
        for start in range(count)
    )


def _jaccard(first: frozenset[bytes], second: frozenset[bytes]) -> float:
    return len(first & second) / len(first | second)
