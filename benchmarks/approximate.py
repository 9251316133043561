"""Approximate search beside exact search: recall, milliseconds a question, seconds to build.

    python benchmarks/approximate.py --data FOLDER --sizes 30000,100000,300000,1000000
    python benchmarks/approximate.py --data FOLDER --sizes 100000 --ways "exact;faiss HNSW;hnswlib"

Vectors are those of the passages of all sets below FOLDER, embedded once by all-MiniLM-L6-v2; the
others are drawn between three of them that lie close together, with noise. Questions are 500 that
people asked (embedded likewise). With --vectors FOLDER, passages.npy and questions.npy lie there,
or are written there. Every way runs in a process of its own, on one thread, and its candidates are
scored exactly by the whole vectors, as Aloft's are; a question is asked at a time. Recall is the
share of the exact first 10, 50 and 100 that are found. Ways other than Aloft's need their library:
`pip install faiss-cpu hnswlib usearch`. The last line on standard output is one JSON object.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from uplift import read_lines, tell

from aloft.machine import peak_memory_megabytes
from aloft.protocols import Floats

EMBEDDER = "embedded:all-minilm-l6-v2"
DEPTH, ASKED, NEIGHBOURS, NOISE = 100, 500, 24, 0.25
CUTS = (10, 50, 100)
_BLOCK = 50_000


def embed(data: Path, folder: Path, seed: int) -> None:
    """Write passages.npy and questions.npy, unless they are there."""
    if (folder / "questions.npy").exists():
        return
    from aloft.backends.sentence_transformers import SentenceTransformersEmbedder

    texts: list[str] = []
    asked: list[str] = []
    for path in sorted(data.glob("*/corpus.jsonl.gz")):
        texts += [f"{one['title']}\n{one['text']}" for one in read_lines(path)]
        asked += [one["question"] for one in read_lines(path.parent / "qa.jsonl.gz")]
    embedder = SentenceTransformersEmbedder(EMBEDDER)
    chosen = Random(seed).sample(asked, ASKED)
    np.save(folder / "passages.npy", embedder.encode_passages(texts))
    np.save(folder / "questions.npy", embedder.encode_queries(chosen))


def draw(folder: Path, size: int, seed: int) -> int:
    """Write corpus.npy, real vectors first; returns how many are real."""
    real: Floats = np.load(folder / "passages.npy")[:size]
    rng = np.random.default_rng(seed)
    near = np.empty((len(real), NEIGHBOURS), np.int32)
    for start in range(0, len(real), 512):
        scores = real[start : start + 512] @ real.T
        near[start : start + 512] = np.argpartition(-scores, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
    shape = (size, real.shape[1])
    corpus = np.lib.format.open_memmap(folder / "corpus.npy", "w+", np.float32, shape)
    corpus[: len(real)] = real
    for start in range(len(real), size, _BLOCK):
        count = min(_BLOCK, size - start)
        first = rng.integers(0, len(real), count)
        others = [near[first, rng.integers(0, NEIGHBOURS, count)] for _ in range(2)]
        weights = rng.dirichlet((1, 1, 1), count).astype(np.float32)
        rows = sum(
            weights[:, [i]] * real[chosen] for i, chosen in enumerate((first, *others))
        )  # fmt: skip
        noise = rng.standard_normal((count, real.shape[1]), np.float32)
        corpus[start : start + count] = unit(unit(rows) + NOISE * unit(noise))
    corpus.flush()
    return len(real)


def unit(rows: Any) -> Floats:
    """Rows of length one."""
    scaled: Floats = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return scaled


def find_exactly(folder: Path) -> None:
    """Write truth.npy: the exact first ranks of each question."""
    vectors: Floats = np.load(folder / "corpus.npy", mmap_mode="r")
    queries: Floats = np.load(folder / "questions.npy")
    found = []
    for start in range(0, len(queries), 8):
        scores = queries[start : start + 8] @ vectors.T
        some = np.argpartition(-scores, DEPTH, axis=1)[:, : 2 * DEPTH]
        order = np.argsort(-np.take_along_axis(scores, some, 1), axis=1, kind="stable")
        found.append(np.take_along_axis(some, order, axis=1)[:, :DEPTH])
    np.save(folder / "truth.npy", np.concatenate(found))


Search = Callable[[Floats], Any]


def by_exact(vectors: Floats) -> dict[str, Search]:
    from aloft.retrieval.dense import DenseIndex

    index = DenseIndex(vectors)
    return {"": lambda query: index.rank(query, DEPTH).columns[0]}


def by_aloft(vectors: Floats) -> dict[str, Search]:
    from aloft.retrieval import approximate
    from aloft.retrieval.index_store import IndexStore

    approximate.LARGE = 0
    index = approximate.index_for_search(vectors, np.arange(len(vectors)), IndexStore())
    return {"": lambda query: index.rank(query, DEPTH).columns[0]}


def by_faiss(vectors: Floats, recipe: str, **tried: Sequence[int]) -> dict[str, Search]:
    import faiss  # type: ignore[import-not-found, unused-ignore]

    faiss.omp_set_num_threads(1)
    lists = int(4 * len(vectors) ** 0.5)
    index: Any = faiss.index_factory(
        vectors.shape[1], recipe.format(lists=lists), faiss.METRIC_INNER_PRODUCT
    )
    if recipe.startswith("HNSW"):
        index.hnsw.efConstruction = 100  # as the other graphs
    index.train(np.ascontiguousarray(vectors[:: max(1, len(vectors) // (64 * lists))]))
    for start in range(0, len(vectors), _BLOCK):
        index.add(np.ascontiguousarray(vectors[start : start + _BLOCK]))
    space = faiss.ParameterSpace()

    def search(name: str, value: int) -> Search:
        def ask(query: Floats) -> Any:
            space.set_index_parameter(index, name, value)
            return rescored(vectors, query, index.search(query, DEPTH + 64)[1][0])

        return ask

    settings = [(name, value) for name, values in tried.items() for value in values]
    if not settings:
        return {"": lambda q: rescored(vectors, q, index.search(q, DEPTH + 64)[1][0])}
    return {f"{name} {value}": search(name, value) for name, value in settings}


def by_hnswlib(vectors: Floats) -> dict[str, Search]:
    import hnswlib  # type: ignore[import-not-found, unused-ignore]

    index = hnswlib.Index("ip", vectors.shape[1])
    index.init_index(len(vectors), ef_construction=100, M=16)
    index.set_num_threads(1)
    for start in range(0, len(vectors), _BLOCK):
        index.add_items(np.ascontiguousarray(vectors[start : start + _BLOCK]))

    def search(width: int) -> Search:
        def ask(query: Floats) -> Any:
            index.set_ef(width)
            return rescored(vectors, query, index.knn_query(query, DEPTH)[0][0])

        return ask

    return {f"ef {width}": search(width) for width in (128, 512)}


def by_usearch(vectors: Floats) -> dict[str, Search]:
    from usearch.index import Index  # type: ignore[import-not-found, unused-ignore]

    index = Index(ndim=vectors.shape[1], metric="ip", connectivity=16, expansion_add=100)
    for start in range(0, len(vectors), _BLOCK):
        block = np.ascontiguousarray(vectors[start : start + _BLOCK])
        index.add(np.arange(start, start + len(block)), block, threads=1)

    def search(width: int) -> Search:
        def ask(query: Floats) -> Any:
            index.expansion_search = width
            return rescored(vectors, query, index.search(query[0], DEPTH, threads=1).keys)

        return ask

    return {f"expansion {width}": search(width) for width in (128, 512)}


def rescored(vectors: Floats, query: Floats, candidates: Any) -> Any:
    """Candidates in the order of their exact scores."""
    rows = np.sort(np.asarray(candidates, np.int64))
    rows = rows[rows >= 0]
    return rows[np.argsort(-(vectors[rows] @ query[0]), kind="stable")][:DEPTH]


WAYS: dict[str, Callable[[Floats], dict[str, Search]]] = {
    "exact": by_exact,
    "Aloft": by_aloft,
    "faiss SQ8": lambda vectors: by_faiss(vectors, "SQ8"),
    "faiss IVF": lambda vectors: by_faiss(vectors, "IVF{lists},Flat", nprobe=(32, 128)),
    "faiss HNSW": lambda vectors: by_faiss(vectors, "HNSW16", efSearch=(128, 512)),
    "hnswlib": by_hnswlib,
    "usearch": by_usearch,
}
LIBRARIES = {"faiss": "faiss", "hnswlib": "hnswlib", "usearch": "usearch", "Aloft": "faiss"}


def measure(way: str, folder: Path) -> list[dict[str, Any]]:
    """One way, in this process: a row for each of its settings."""
    vectors: Floats = np.load(folder / "corpus.npy", mmap_mode="r")
    queries: Floats = np.load(folder / "questions.npy")
    truth = np.load(folder / "truth.npy").tolist()
    vectors.sum()  # so that no way reads the disk
    before, started = peak_memory_megabytes(), time.process_time()
    searches = WAYS[way](vectors)
    built, held = time.process_time() - started, peak_memory_megabytes() - before
    rows = []
    for setting, search in searches.items():
        search(queries[:1])
        started = time.process_time()
        found = [search(query[None]).tolist() for query in queries]
        each = (time.process_time() - started) / len(queries)
        recall = {
            f"recall@{cut}": round(
                float(
                    np.mean(
                        [
                            len(set(ours[:cut]) & set(right[:cut])) / cut
                            for ours, right in zip(found, truth, strict=True)
                        ]
                    )
                ),
                4,
            )
            for cut in CUTS
        }
        figures = {"milliseconds": round(1000 * each, 2), "build_seconds": round(built, 1)}
        rows.append({"way": way, "setting": setting, **figures, "megabytes": held, **recall})
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Measure all ways at all sizes; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--vectors", type=Path, help="where embedded texts are kept")
    parser.add_argument("--sizes", default="30000,100000,300000,1000000")
    parser.add_argument("--ways", default="exact;Aloft", help=f"of: {'; '.join(WAYS)}")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(argv)
    sizes = [int(size) for size in options.sizes.split(",")]
    rows: list[dict[str, Any]] = []
    real = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.vectors or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        run_apart(embed, options.data, folder, options.seed)
        for size in sizes:
            real[size] = run_apart(draw, folder, size, options.seed)
            run_apart(find_exactly, folder)
            for way in options.ways.split(";"):
                library = LIBRARIES.get(way.split()[0])
                if library and find_spec(library) is None:
                    print(f"{library} is not installed: {way} is left out", file=sys.stderr)
                    continue
                for row in run_apart(measure, way, folder):
                    rows.append({"vectors": size, **row})
                    print(f"  {rows[-1]}", file=sys.stderr, flush=True)
        (folder / "corpus.npy").unlink()
    tell("approximate.py", argv, options.json, real=real, rows=rows)
    return 0


def run_apart(work: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns in a process of its own."""
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(work, *arguments).result()


if __name__ == "__main__":
    raise SystemExit(main())
