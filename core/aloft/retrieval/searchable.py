"""A corpus with the indexes that searches of it share."""

from collections.abc import Sequence
from functools import cached_property

from aloft.errors import DataError
from aloft.jsonl import RecordLookup
from aloft.records import Passage
from aloft.retrieval.bm25 import BM25Index, open_bm25
from aloft.retrieval.dense import DenseIndex
from aloft.retrieval.index_store import IndexStore


class SearchableCorpus:
    """Passages with their vectors, and with a BM25 index that is built when it is first used.

    Make it once and hand it to every call that searches the same corpus: partitions of the work
    then share its indexes.

    Args:
        passages: The whole corpus; records that are parsed on access stay on disk.
        dense: Vectors of these passages.
        store: Where the BM25 index is kept; None: in temporary files.

    Raises:
        DataError: the number of vectors is not that of the passages.
    """

    def __init__(
        self, passages: Sequence[Passage], dense: DenseIndex, store: IndexStore | None = None
    ) -> None:
        if len(passages) != len(dense):
            raise DataError(
                f"{len(passages)} passages, but vectors of {len(dense)}. Embed the passages again."
            )
        self.passages = passages
        self.dense = dense
        self._store = store or IndexStore()

    @cached_property
    def by_id(self) -> RecordLookup[Passage]:
        """The passages by id."""
        return RecordLookup(self.passages)

    @cached_property
    def lexical(self) -> BM25Index:
        """The BM25 index of what is embedded."""
        return open_bm25(self.passages, self._store)
