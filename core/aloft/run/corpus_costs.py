"""Times what a run does with its whole corpus, to see what that will take of a large one."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Self

import numpy as np

from aloft.backends.loading import tokenizer_of
from aloft.corpus.duplicates import drop_copies
from aloft.corpus.passages import DocumentSplitter
from aloft.corpus.windows import cut_windows
from aloft.jsonl import encode_record
from aloft.protocols import ItemT, ResultT
from aloft.retrieval.bm25 import BM25Index
from aloft.retrieval.dense import DenseIndex
from aloft.run.pilot import Pace, Pilot

_CUT = 1000  # passages that documents are cut into, at least, where there are so many
_WRITTEN = 1000  # documents that are written once more, where there are so many
_VECTORS = (1 << 16) + 1024  # so many that they are searched in tiles, as a large corpus is
_QUESTIONS = 1024
_RANKS = 100


def time_reading(pilot: Pilot) -> Iterator[tuple[str, Pace, float]]:
    """What reading documents took; some are cut, and copies looked for, once more.

    The stages' own times would not do: of few documents, loading and importing take most.

    Yields:
        A stage, its pace, and the share of it that is not divided among nodes, in [0, 1].
    """
    read, config = len(pilot.run.records("passages")), pilot.config.passages
    seconds = float(pilot.run.runner.store.facts("documents")["seconds"])
    some = list(islice(pilot.some_documents(), _WRITTEN))
    started = time.monotonic()
    for document in some:
        encode_record(document)
    took = (time.monotonic() - started) * len(pilot.run.records("documents")) / len(some)
    pace = Pace(amount=read, unit="passages", seconds=seconds)
    yield "documents", pace, took / max(seconds, took)
    splitter = DocumentSplitter(tokenizer_of(pilot.config.embedder), config)
    splitter.split(next(pilot.some_documents()))
    cut, documents = 0, pilot.some_documents()
    started = time.monotonic()
    for document in documents:
        cut += len(splitter.split(document))
        if cut >= _CUT:
            break
    took = time.monotonic() - started
    yield "split", Pace(amount=max(1, cut), unit="passages", seconds=took), 0.0
    passages, similarity = pilot.some_passages(), config.near_duplicate_similarity
    list(drop_copies(passages[:1], similarity))
    drawing = _Timed()
    started = time.monotonic()
    list(drop_copies(passages, similarity, spread=drawing))
    took = time.monotonic() - started
    pace = Pace(amount=len(passages), unit="passages", seconds=took)
    yield "passages", pace, 1 - drawing.seconds / took


class _Timed:
    """Does here what is spread among nodes, and counts the seconds."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(
        self, work: Callable[[ItemT], Iterable[ResultT]], items: Iterable[ItemT], /
    ) -> Iterator[list[ResultT]]:
        for item in items:
            started = time.monotonic()
            result = list(work(item))
            self.seconds += time.monotonic() - started
            yield result


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusCosts:
    """What searching a large corpus takes, beside what its models take.

    Attributes:
        cutting: Cutting passages into windows, which counts the tokens of each.
        indexing: Building the BM25 index.
        comparing: Comparing vectors of questions with those of passages.
        disk: Bytes of the BM25 index while it is built.
    """

    cutting: Pace
    indexing: Pace
    comparing: Pace
    disk: float

    @classmethod
    def measure(cls, pilot: Pilot) -> Self:
        """Cut and index a few passages, and search drawn vectors."""
        passages, embedder = pilot.some_passages(), pilot.embedder
        dimensions = int(embedder.encode_passages(["a"]).shape[1])  # it is loaded from now on
        started = time.monotonic()
        cut_windows(passages, embedder, pilot.config.passages.window_tokens)
        begun = time.monotonic()
        index = BM25Index(passage.embedded for passage in passages)
        ended = time.monotonic()
        return cls(
            cutting=Pace(amount=len(passages), unit="passages cut", seconds=begun - started),
            indexing=Pace(amount=len(passages), unit="passages indexed", seconds=ended - begun),
            comparing=_time_comparing(dimensions),
            disk=2.0 * index.size * pilot.passages_in_all / len(passages),
        )


def _time_comparing(dimensions: int) -> Pace:
    vectors = np.random.default_rng(0).standard_normal((_VECTORS, dimensions), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    index, queries = DenseIndex(vectors), vectors[:_QUESTIONS]
    started = time.monotonic()
    index.rank(queries, _RANKS)
    took = time.monotonic() - started
    return Pace(amount=len(queries) * len(vectors), unit="comparisons", seconds=took)
