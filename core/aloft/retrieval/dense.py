"""Exact dense search, in memory that does not grow with the number of vectors.

Questions are processed in blocks and passages in tiles. The maxima of groups of columns show which
parts of a tile can still reach a question's best ranks, at almost no cost; the rest is skipped.
Where bfloat16 is native, and so at least twice as fast as float32, it only selects candidates: they
are rescored in float32, and a question for which rounding may have excluded a passage is ranked
again in float32. The ranking is therefore the same on every machine.
"""

import warnings
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from mmap import mmap
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aloft.protocols import Floats
from aloft.retrieval.ranking import Ranking, rank_block

if TYPE_CHECKING:
    from torch import Tensor

_SMALL = 1 << 26  # scores that NumPy computes faster than the tiled search starts
_SCORES = 1 << 23  # per block of questions and tile of passages: 16 MB in bfloat16
_TILE = 8192  # passages at once
_FIRST = 2048  # passages of the first tile, all of which is sorted
_GROUP = 16  # columns per maximum
_SPARE = 64  # candidates beyond the depth, so that rounding excludes no passage
_STEP = 2.0**-8  # largest relative rounding error of bfloat16
_RESCORED = 16  # questions whose candidates are gathered at once


class DenseIndex:
    """Vectors of passages, searched by cosine similarity; ties are broken by corpus order.

    A passage may have several windows, each with a vector; its score is that of the best one.

    Args:
        vectors: Unit vectors; (windows, dimensions).
        starts: The row of each passage's first window, which its others follow; (passages,). None:
            each passage is a single row.
    """

    def __init__(self, vectors: Floats, starts: NDArray[np.intp] | None = None) -> None:
        rows = np.arange(len(vectors)) if starts is None else starts
        self.vectors = vectors
        self._starts = rows
        self._counts = np.diff(rows, append=len(vectors))

    def __len__(self) -> int:
        """Return the number of passages."""
        return len(self._starts)

    def rank(self, queries: Floats, depth: int) -> Ranking:
        """Return the passages of the highest scores, exactly.

        Args:
            queries: Unit vectors; (questions, dimensions).
            depth: Ranks to keep, at most the number of passages.
        """
        blocks = list(self.rank_blocks(queries, depth))
        return Ranking(
            columns=np.concatenate([block.columns for block in blocks]),
            scores=np.concatenate([block.scores for block in blocks]),
        )

    def rank_blocks(self, queries: Floats, depth: int) -> Iterator[Ranking]:
        """Yield the same rankings for consecutive blocks of questions."""
        if len(self) == len(self.vectors):
            yield from _rank_blocks(queries, self.vectors, depth)
            return
        most = int(self._counts.max())
        owners = np.repeat(np.arange(len(self)), self._counts)
        depth = min(depth, len(self))
        for block in _rank_blocks(queries, self.vectors, depth * most):  # of `depth` at least
            yield _best_windows(block, owners, depth)

    def score(self, query: Floats, columns: Sequence[int]) -> Floats:
        """Return the cosine similarity of a question to some passages; (columns,)."""
        scores: Floats = self.vectors[self.best_windows(query, columns)] @ query
        return scores

    def best_windows(self, query: Floats, columns: Sequence[int]) -> list[int]:
        """Return, for each of some passages, the row of its window nearest to a question."""
        if len(self) == len(self.vectors):
            return list(columns)
        spans = ((self._starts[column], self._counts[column]) for column in columns)
        return [
            int(start + (self.vectors[start : start + count] @ query).argmax())
            for start, count in spans
        ]

    def first_windows(self, columns: Sequence[int]) -> Floats:
        """Return the vectors of some passages' first windows; (columns, dimensions)."""
        return self.vectors[self._starts[list(columns)]]


def _best_windows(ranking: Ranking, owners: NDArray[np.intp], depth: int) -> Ranking:
    """Return each passage once, at the rank of its best window; (questions, depth)."""
    columns = np.empty((len(ranking.columns), depth), np.intp)
    scores = np.empty((len(ranking.columns), depth), np.float32)
    for row, windows in enumerate(ranking.columns):
        _, places = np.unique(owners[windows], return_index=True)
        best = np.sort(places)[:depth]
        columns[row], scores[row] = owners[windows[best]], ranking.scores[row, best]
    return Ranking(columns=columns, scores=scores)


def _rank_blocks(queries: Floats, passages: Floats, depth: int) -> Iterator[Ranking]:
    depth = min(depth, len(passages))
    is_small = len(queries) * len(passages) <= _SMALL or 4 * depth > len(passages)
    if is_small or find_spec("torch") is None:
        size = max(1, _SCORES // max(1, len(passages)))
        for start in range(0, max(1, len(queries)), size):
            yield rank_block(queries[start : start + size], passages, depth)
        return
    search = _Search(passages, depth)
    size = _SCORES // _TILE
    for start in range(0, len(queries), size):
        yield search.rank(read_rows(queries, start, start + size))


def read_rows(vectors: Floats, start: int, end: int) -> Floats:
    """Return a copy of some rows; of a file that is mapped, nothing else stays in memory."""
    if isinstance(vectors, np.memmap) and isinstance(vectors.base, mmap):
        length = vectors.shape[1]
        offset = vectors.offset + start * length * vectors.itemsize
        count = (min(end, len(vectors)) - start) * length
        read = np.fromfile(str(vectors.filename), vectors.dtype, count, offset=offset)
        return read.reshape(-1, length)
    return np.array(vectors[start:end], np.float32)


class _Search:
    """The tiled search of the passages on this machine's device."""

    def __init__(self, passages: Floats, depth: int) -> None:
        import torch

        from aloft.backends.device import best_device, has_bf16

        self._torch: Any = torch
        self._passages = passages
        with warnings.catch_warnings():  # mapped vectors are read-only, and not written to here
            warnings.simplefilter("ignore", UserWarning)
            self._whole = torch.from_numpy(np.asarray(passages, np.float32))
        self._depth = depth
        self._kept = min(len(passages), depth + _SPARE)
        self._device = best_device()
        self._is_rounded = self._device == "cpu" and has_bf16("cpu")
        self._length, self._error = 0.0, 0.0
        if self._is_rounded:
            lengths, errors = zip(
                *(self._round_off(tile) for _, tile in self._tiles()), strict=True
            )
            self._length, self._error = max(lengths), max(errors)

    def rank(self, queries: Floats) -> Ranking:
        """Rank one block of questions."""
        asked = self._torch.from_numpy(queries)
        columns, scores = self._candidates(asked)
        reach = scores.min(axis=1)
        order = np.argsort(columns, axis=1)
        columns = np.take_along_axis(columns, order, axis=1)
        if self._is_rounded:
            length, error = self._round_off(asked)
            reach += error * self._length + (length + error) * self._error + _STEP * abs(reach)
            scores = self._rescore(asked, columns)
        else:
            scores = np.take_along_axis(scores, order, axis=1)
        order = np.argsort(-scores, axis=1, kind="stable")[:, : self._depth]
        columns = np.take_along_axis(columns, order, axis=1)
        scores = np.take_along_axis(scores, order, axis=1)
        for row in np.flatnonzero(scores[:, -1] <= reach):
            exact = rank_block(queries[row : row + 1], self._passages, self._depth)
            columns[row], scores[row] = exact.columns[0], exact.scores[0]
        return Ranking(columns=columns, scores=scores)

    def _round_off(self, vectors: "Tensor") -> tuple[float, float]:
        """Return the largest norm of a vector, and of the rounding error of one."""
        lost = vectors - self._ready(vectors).float()
        return float(vectors.norm(dim=1).max()), float(lost.norm(dim=1).max())

    def _candidates(self, queries: "Tensor") -> tuple[NDArray[np.intp], Floats]:
        """Return columns and scores of the best candidates, in no order; both (questions, kept)."""
        torch = self._torch
        asked = self._ready(queries)
        space = torch.empty(len(queries) * _TILE, dtype=asked.dtype, device=self._device)
        for start, tile in self._tiles():
            scores = space[: len(queries) * len(tile)].view(len(queries), len(tile))
            torch.mm(asked, self._ready(tile).T, out=scores)
            if start == 0:
                best, held = torch.topk(scores.float(), self._kept, dim=1)
                continue
            rows, columns, values = self._above(scores, best.amin(dim=1))
            if not len(rows):
                continue
            counts = torch.bincount(rows, minlength=len(queries))
            places = torch.arange(len(rows), device=self._device)
            places += self._kept - (counts.cumsum(0) - counts)[rows]
            shape = (len(queries), self._kept + int(counts.max()))
            table = torch.full(shape, -torch.inf, device=self._device)
            table[:, : self._kept] = best
            table[rows, places] = values.float()
            best, chosen = torch.topk(table, self._kept, dim=1)
            known = torch.zeros(shape, dtype=torch.int64, device=self._device)
            known[:, : self._kept] = held
            known[rows, places] = columns + start
            held = known.gather(1, chosen)
        return held.cpu().numpy(), best.cpu().numpy()

    def _above(self, scores: "Tensor", edge: "Tensor") -> tuple["Tensor", "Tensor", "Tensor"]:
        """Return rows, columns and values of the scores above each row's edge, row by row."""
        if scores.shape[1] % _GROUP:
            rows, columns = (scores > edge[:, None]).nonzero(as_tuple=True)
            return rows, columns, scores[rows, columns]
        # a group is a strided set of columns: maxima of neighbours take six times as long
        grouped = scores.view(len(scores), _GROUP, -1)
        rows, groups = (grouped.amax(dim=1) > edge[:, None]).nonzero(as_tuple=True)
        some = grouped[rows, :, groups]
        which, inside = (some > edge[rows, None]).nonzero(as_tuple=True)
        columns = inside * grouped.shape[2] + groups[which]
        return rows[which], columns, some[which, inside]

    def _rescore(self, queries: "Tensor", columns: NDArray[np.intp]) -> Floats:
        """Return scores in float32; (questions, candidates)."""
        torch = self._torch
        scores = np.empty(columns.shape, np.float32)
        for start in range(0, len(queries), _RESCORED):
            some = slice(start, start + _RESCORED)
            found = torch.from_numpy(columns[some])
            texts = torch.nn.functional.embedding(found, self._whole)
            scores[some] = torch.bmm(texts, queries[some, :, None])[:, :, 0].numpy()
        return scores

    def _tiles(self) -> Iterator[tuple[int, "Tensor"]]:
        start = 0
        while start < len(self._passages):
            end = start + min(_TILE, max(start, _FIRST, self._kept))
            yield start, self._whole[start:end]
            start = end

    def _ready(self, vectors: "Tensor") -> "Tensor":
        """Return vectors on the device and in the number format of the multiplication."""
        dtype = self._torch.bfloat16 if self._is_rounded else self._torch.float32
        ready: Tensor = vectors.to(self._device, dtype)
        return ready
