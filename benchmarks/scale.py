"""Seconds and memory of the corpus stages at growing sizes, without any model.

    python benchmarks/scale.py --data FOLDER
    python benchmarks/scale.py --data FOLDER --steps "filters,round trip" --sizes 10000,100000

FOLDER holds a folder per set with corpus.jsonl.gz. Passages are made by recombining sentences of
these sets, one in fifty nearly a copy of an earlier one; questions are made of words of their
passages, one in twenty asked twice; vectors are random, and lie on disk. All else follows from the
index and is made on access, as records that lie on disk are read. Every step runs in a process of
its own, and its growth is that of CPU time, so that other work on the machine does not count:

- split: documents of ten passages each;
- near copies: of the passages;
- filters: language, self_contained, leak, support and duplicate, on a question a passage;
- bm25: building the index, and asking it 500 questions;
- round trip: that filter, on 500 questions, by the index and exact search;
- mining: hard negatives of 2,000 questions from the whole corpus;
- opening: windows and the index of passages on disk, as what ships opens them: for the first time,
  where they are made and kept, and again.

The three before the last search the whole corpus for every question, exactly, so that their time
per question grows with the corpus; the number of questions is the same at every size. "forecast" is
the largest size's CPU time by the cost model of `aloft run --dry-run`, fitted to the smaller ones.
Memory is the process's peak, and that beyond what it held before the step. The last line on
standard output is one JSON object.
"""

import argparse
import atexit
import gzip
import json
import math
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any, overload

import numpy as np
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from aloft.config import FiltersConfig, NegativesConfig, PassagesConfig
from aloft.corpus.duplicates import drop_copies
from aloft.corpus.passages import DocumentSplitter
from aloft.corpus.windows import cut_windows
from aloft.jsonl import RecordFile, encode_record
from aloft.machine import describe_machine, peak_memory_megabytes
from aloft.protocols import Floats
from aloft.records import Document, Passage, QAPair, Rejection
from aloft.retrieval.bm25 import BM25Index, open_bm25
from aloft.retrieval.dense import DenseIndex
from aloft.retrieval.index_store import IndexStore
from aloft.retrieval.negatives import mine_negatives
from aloft.retrieval.searchable import SearchableCorpus
from aloft.synthesis.filters import drop_near_duplicates, screen_pairs
from aloft.testing import HashingEmbedder

SIZES = (30_000, 100_000, 300_000, 1_000_000)
LARGE = ("split", "near copies", "bm25", "mining")  # the others take an hour at the largest size
_ASKED, _MINED = 500, 2000
_DIMENSIONS = 384
_BLOCK = 1024
_SENTENCE = re.compile(r"(?<=[.!?。！？।])\s*")


class MadePassages(Sequence[Passage]):
    """Passages that are made on access."""

    def __init__(self, data: Path, count: int) -> None:
        self._count = count
        self._sets = [read_sentences(path) for path in sorted(data.glob("*/corpus.jsonl.gz"))]

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Passage: ...
    @overload
    def __getitem__(self, index: slice) -> list[Passage]: ...
    def __getitem__(self, index: int | slice) -> Passage | list[Passage]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._count))]
        if not 0 <= index < self._count:
            raise IndexError(index)
        text = self._text(index)
        if index % 50 == 49:
            text = f"{self._text(index - 7)} {index}"
        return Passage(document_id=f"{index // 10}.txt", text=text, start=1000 * (index % 10))

    def _text(self, index: int) -> str:
        random = Random(index)
        sentences = self._sets[random.randrange(len(self._sets))]
        return " ".join(random.choices(sentences, k=5))


class MadePairs(Sequence[QAPair]):
    """A question about each passage."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        self._passages = passages

    def __len__(self) -> int:
        return len(self._passages)

    @overload
    def __getitem__(self, index: int) -> QAPair: ...
    @overload
    def __getitem__(self, index: slice) -> list[QAPair]: ...
    def __getitem__(self, index: int | slice) -> QAPair | list[QAPair]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        passage = self._passages[index]
        words = passage.text.split()
        source = words if index % 20 or not index else self._passages[index - 1].text.split()
        question = " ".join(Random(index // 20).sample(source, min(9, len(source))))
        start = index % max(1, len(words) - 3)
        answer = " ".join(words[start : start + 3])
        return QAPair(passage_id=passage.id, question=f"{question}?", answer=answer)


def read_sentences(path: Path) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    found = (one.strip() for text in texts for one in _SENTENCE.split(text))
    return [one for one in found if 20 <= len(one) <= 400][:4000] or texts[:4000]


def unit_vectors(count: int, seed: int) -> Floats:
    """Vectors in a temporary file, which is mapped."""
    rng = np.random.default_rng(seed)
    with tempfile.NamedTemporaryFile(suffix=".npy") as file:
        path, shape = Path(file.name), (count, _DIMENSIONS)
        written = np.lib.format.open_memmap(path, "w+", np.float32, shape)
        for start in range(0, count, _BLOCK):
            block = rng.standard_normal((min(_BLOCK, count - start), _DIMENSIONS), np.float32)
            written[start : start + _BLOCK] = block / np.linalg.norm(block, axis=1, keepdims=True)
        written.flush()
        vectors: Floats = np.load(path, mmap_mode="r")
    return vectors


def asked_about(passages: Floats) -> Floats:
    """Return vectors of questions, near those of their passages."""
    queries = passages + 0.7 * unit_vectors(len(passages), 1)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    return queries


Step = Callable[[Sequence[Passage]], Callable[[], Any]]


def split(passages: Sequence[Passage]) -> Callable[[], Any]:
    tokenizer = Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    splitter = DocumentSplitter(tokenizer, PassagesConfig())

    def documents() -> Iterator[Document]:
        for start in range(0, len(passages), 10):
            texts = [passage.text for passage in passages[start : start + 10]]
            yield Document(id=f"{start // 10}.txt", text="\n\n".join(texts))

    return lambda: sum(len(splitter.split(document)) for document in documents())


def near_copies(passages: Sequence[Passage]) -> Callable[[], Any]:
    return lambda: sum(isinstance(one, Rejection) for one in drop_copies(iter(passages), 0.9))


def filters(passages: Sequence[Passage]) -> Callable[[], Any]:
    use = ("language", "self_contained", "leak", "support", "duplicate")
    config, pairs = FiltersConfig(use=use), MadePairs(passages)
    corpus = SearchableCorpus(passages, DenseIndex(np.empty((len(passages), 0), np.float32)))

    def run() -> int:
        queries = np.empty((_BLOCK, 0), np.float32)
        dropped = 0
        for start in range(0, len(pairs), _BLOCK):
            block = pairs[start : start + _BLOCK]
            screened = screen_pairs(block, queries[: len(block)], corpus, config)
            dropped += sum(isinstance(one, Rejection) for one in screened)
        copies = drop_near_duplicates(pairs, config)
        return dropped + sum(isinstance(one, Rejection) for one in copies)

    return run


def bm25(passages: Sequence[Passage]) -> Callable[[], Any]:
    asked = [pair.question for pair in MadePairs(passages)[:_ASKED]]

    def run() -> dict[str, Any]:
        started = time.process_time()
        index = BM25Index(passage.content for passage in passages)
        built = time.process_time()
        index.rank(asked, 100)
        per_question = (time.process_time() - built) / len(asked)
        return {
            "index_cpu_seconds": round(built - started, 1),
            "milliseconds_a_question": round(1000 * per_question, 1),
        }

    return run


def round_trip(passages: Sequence[Passage]) -> Callable[[], Any]:
    corpus = SearchableCorpus(passages, DenseIndex(unit_vectors(len(passages), 0)))
    corpus.lexical.rank(["index"], 1)
    pairs, queries = MadePairs(passages)[:_ASKED], unit_vectors(_ASKED, 1)  # BM25 is asked
    config = FiltersConfig(use=("round_trip",))
    return lambda: len(screen_pairs(pairs, queries, corpus, config))


def mining(passages: Sequence[Passage]) -> Callable[[], Any]:
    corpus = SearchableCorpus(passages, DenseIndex(unit_vectors(len(passages), 0)))
    pairs, queries = MadePairs(passages)[:_MINED], asked_about(corpus.dense.vectors[:_MINED])
    return lambda: sum(1 for _ in mine_negatives(pairs, queries, corpus, NegativesConfig()))


def opening(passages: Sequence[Passage]) -> Callable[[], Any]:
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    with (folder / "passages.jsonl").open("wb") as file:
        file.writelines(map(encode_record, passages))
    embedder = HashingEmbedder()
    embedder.reads = 256

    def open_once() -> float:
        started, store = time.process_time(), IndexStore(folder)
        records = RecordFile(folder / "passages.jsonl", Passage)
        cut_windows(records, embedder, keep=store.get_table)
        open_bm25(records, store)
        return round(time.process_time() - started, 1)

    def run() -> dict[str, Any]:
        first, again = open_once(), open_once()
        kept = sum(file.stat().st_size for file in folder.glob("bm25-*/**/*") if file.is_file())
        return {
            "first_cpu_seconds": first,
            "again_cpu_seconds": again,
            "kept_bytes_a_passage": round(kept / len(passages)),
        }

    return run


STEPS: dict[str, Step] = {
    "split": split,
    "near copies": near_copies,
    "filters": filters,
    "bm25": bm25,
    "round trip": round_trip,
    "mining": mining,
    "opening": opening,
}


def measure(step: str, data: Path, count: int) -> dict[str, Any]:
    """Run one step in this process."""
    run = STEPS[step](MadePassages(data, count))
    held, started, used = peak_memory_megabytes(), time.perf_counter(), time.process_time()
    found = run()
    seconds, used = time.perf_counter() - started, time.process_time() - used
    return {
        "step": step,
        "passages": count,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(used, 1),
        "megabytes": round(max(0.0, peak_memory_megabytes() - held)),
        "peak_megabytes": round(peak_memory_megabytes()),
        **(found if isinstance(found, dict) else {}),
    }


def exponent(rows: Sequence[dict[str, Any]]) -> float | None:
    """Return by which power of the size CPU time grew from the smallest to the largest."""
    first, last = rows[0], rows[-1]
    if first is last or not first["cpu_seconds"]:
        return None
    growth = math.log(last["cpu_seconds"] / first["cpu_seconds"])
    return round(growth / math.log(last["passages"] / first["passages"]), 2)


def forecast(rows: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the largest size's CPU time by the cost model of `--dry-run`: a startup and a pace.

    Both are fitted to the smaller sizes, whose relative errors count alike.
    """
    from aloft.run.pilot import Pace  # it imports much, which no step is to hold

    *known, last = rows
    if len(known) < 2 or not all(row["cpu_seconds"] for row in known):
        return None
    sizes = np.array([row["passages"] for row in known])
    seconds = np.array([row["cpu_seconds"] for row in known])
    each, startup = np.polyfit(sizes, seconds, 1, w=1 / seconds).tolist()
    pace = Pace(amount=1, unit="passages", seconds=each, startup=max(0.0, startup))
    expected = pace.seconds_for(last["passages"])
    error = expected / last["cpu_seconds"] - 1
    return {"cpu_seconds": round(expected, 1), "error": round(error, 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--steps", default=",".join(LARGE), help=f"of: {', '.join(STEPS)}")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    sizes = [int(size) for size in options.sizes.split(",")]
    if options.inside:
        print(json.dumps(measure(options.steps, options.data, sizes[0])))
        return
    rows: dict[str, list[dict[str, Any]]] = {}
    for step in options.steps.split(","):
        for size in sizes:
            command = [sys.executable, __file__, "--inside", "--data", str(options.data)]
            command += ["--steps", step, "--sizes", str(size)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            row = json.loads(done.stdout.splitlines()[-1])
            rows.setdefault(step, []).append(row)
            print(f"  {row}", file=sys.stderr, flush=True)
        print(f"{step}: CPU time grows as n^{exponent(rows[step])}", file=sys.stderr, flush=True)
    exponents = {step: exponent(some) for step, some in rows.items()}
    forecasts = {step: forecast(some) for step, some in rows.items()}
    found = {"rows": rows, "exponents": exponents, "forecasts": forecasts}
    print(json.dumps({"machine": describe_machine(), **found}))


if __name__ == "__main__":
    main()
