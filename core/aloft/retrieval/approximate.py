"""Approximate dense search of a large corpus, whose candidates are scored exactly.

Each two dimensions of a vector are compressed to four bits, so that a question scans a 16th of what
exact search reads, and in registers. The best candidates are scored by their whole vectors. Ranks
and scores are those of exact search unless a passage is not among the candidates, which in
docs/results/search.md happens to fewer than one in a thousand of the first 50.
"""

import logging
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aloft.protocols import Floats
from aloft.retrieval.dense import DenseIndex, read_rows
from aloft.retrieval.index_store import IndexStore
from aloft.retrieval.ranking import Ranking

LARGE = 100_000  # vectors, from which exact search takes more than 15 ms a question
_CANDIDATES = 2048  # that are scored at least
_PER_RANK = 16  # that are scored for a rank of a deeper ranking
_TRAINED_ON = 1 << 16  # vectors
_BLOCK = 1 << 14  # vectors that are compressed at once
_BITS = 4  # of each two dimensions
logger = logging.getLogger(__name__)


def index_for_search(vectors: Floats, starts: NDArray[np.intp], store: IndexStore) -> DenseIndex:
    """The index that questions search: of a large corpus an approximate one, or else an exact one.

    Args:
        vectors: Unit vectors of windows; (windows, dimensions).
        starts: The row of each passage's first window; (passages,).
        store: What the vectors are from; it keeps the compressed ones beside them.
    """
    if len(vectors) < LARGE or vectors.shape[1] % 2 or not _has_library():
        return DenseIndex(vectors, starts)
    import faiss

    made_by = f"faiss-{faiss.__version__}"
    compressed = store.get_derived(vectors, made_by, lambda: _compress(vectors))
    return ApproximateIndex(vectors, starts, compressed)


@cache
def _has_library() -> bool:
    """Whether the search library is there; said once where it is not."""
    if find_spec("faiss") is not None:
        return True
    logger.warning(
        "%d vectors or more are searched one by one, because faiss is not installed. For a faster "
        'search, run: pip install "aloft-rag[faiss]"',
        LARGE,
    )
    return False


def _compress(vectors: Floats) -> NDArray[np.uint8]:
    """Compressed vectors in the library's format."""
    import faiss

    dimensions = vectors.shape[1]
    index: Any = faiss.IndexPQFastScan(
        dimensions, dimensions // 2, _BITS, faiss.METRIC_INNER_PRODUCT
    )
    step = max(1, len(vectors) // _TRAINED_ON)
    index.train(np.ascontiguousarray(vectors[::step], np.float32))
    for start in range(0, len(vectors), _BLOCK):
        index.add(np.ascontiguousarray(read_rows(vectors, start, start + _BLOCK)))
    found: NDArray[np.uint8] = faiss.serialize_index(index)
    return found


class ApproximateIndex(DenseIndex):
    """Vectors of passages, of which a question scores some whole.

    Args:
        vectors: Unit vectors; (windows, dimensions).
        starts: The row of each passage's first window; (passages,).
        compressed: The same vectors as `index_for_search` keeps them.

    Source: Product Quantization for Nearest Neighbor Search (TPAMI 2011), scanned in registers as
    in Quicker ADC (arXiv:1812.09162), by faiss.
    """

    def __init__(
        self, vectors: Floats, starts: NDArray[np.intp], compressed: NDArray[np.uint8]
    ) -> None:
        import faiss

        super().__init__(vectors, starts)
        self._compressed: Any = faiss.deserialize_index(np.asarray(compressed))

    def rank_blocks(self, queries: Floats, depth: int) -> Iterator[Ranking]:
        """Yield the ranking of each question, as `DenseIndex` does but for what is not found."""
        depth = min(depth, len(self))
        count = max(_CANDIDATES, _PER_RANK * depth)
        if 4 * count > len(self.vectors) or not len(queries):
            yield from super().rank_blocks(queries, depth)
            return
        for query in np.asarray(queries, np.float32):
            found = self._rank(query, depth, count)
            yield found or next(super().rank_blocks(query[None], depth))

    def _rank(self, query: Floats, depth: int, count: int) -> Ranking | None:
        """Rank the passages of the candidates; None where they have too few."""
        _, candidates = self._compressed.search(query[None], count)
        rows = np.sort(candidates[0])
        scores = self.vectors[rows] @ query
        owners = np.searchsorted(self._starts, rows, side="right") - 1
        firsts = np.flatnonzero(np.diff(owners, prepend=-1))
        if len(firsts) < depth:
            return None
        columns, best = owners[firsts], np.maximum.reduceat(scores, firsts)
        order = np.argsort(-best, kind="stable")[:depth]
        return Ranking(columns=columns[None, order], scores=best[None, order])
