"""Hard negatives of many questions: seconds and memory, beside what people take otherwise.

    python benchmarks/mining.py --data FOLDER --passages 100000 --questions 100000 --seed 1

The vectors are the real ones of a set's passages and human questions (FOLDER/covidqa_en, embedded
once with all-MiniLM-L6-v2) and, for the rest, drawn around them; without --data all are drawn. Each
way runs in a process of its own on the same files: Aloft's mining; `mine_hard_negatives` of
sentence-transformers, with and without faiss, which is given the vectors by a model that only
looks them up; and a search of faiss' flat index, which picks no negatives (`pip install faiss-cpu`
for its rows). Memory is the peak beyond what imports, texts and records take. The last line on
standard output is one JSON object.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from uplift import read_lines, tell

from aloft.protocols import Floats

COUNT, DEPTH, MARGIN = 9, 100, 0.05
EMBEDDER = "embedded:all-minilm-l6-v2"


def make_vectors(folder: Path, options: argparse.Namespace) -> dict[str, int]:
    """Write passages.npy and questions.npy; returns how many rows of each are real."""
    rng = np.random.default_rng(options.seed)
    passages = np.empty((0, options.dimensions), np.float32)
    questions, right = passages, np.empty(0, np.intp)
    if options.data:
        passages, questions, right = embed(options.data / "covidqa_en")
    real = {"passages": len(passages), "questions": len(questions)}
    drawn = options.passages - len(passages)
    centres = passages if len(passages) else unit(rng.standard_normal((200, options.dimensions)))
    some = centres[rng.integers(0, len(centres), drawn)]
    noise = rng.standard_normal((drawn, centres.shape[1])) / centres.shape[1] ** 0.5
    passages = np.concatenate([passages, unit(some + noise)])
    drawn = options.questions - len(questions)
    asked = rng.integers(0, len(passages), drawn)
    noise = rng.standard_normal((drawn, passages.shape[1])) / passages.shape[1] ** 0.5
    questions = np.concatenate([questions, unit(passages[asked] + 0.7 * noise)])
    np.save(folder / "passages.npy", passages)
    np.save(folder / "questions.npy", questions)
    np.save(folder / "right.npy", np.concatenate([right, asked]))
    return real


def unit(rows: Any) -> Floats:
    """Rows of length one."""
    scaled: Floats = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return scaled


def embed(source: Path) -> tuple[Floats, Floats, Any]:
    """A set's passages and questions, and the row of each question's passage."""
    from aloft.backends.sentence_transformers import SentenceTransformersEmbedder

    corpus, asked = read_lines(source / "corpus.jsonl.gz"), read_lines(source / "qa.jsonl.gz")
    rows = {document["id"]: row for row, document in enumerate(corpus)}
    embedder = SentenceTransformersEmbedder(EMBEDDER)
    passages = embedder.encode_passages([f"{one['title']}\n{one['text']}" for one in corpus])
    questions = embedder.encode_queries([one["question"] for one in asked])
    return passages, questions, np.array([rows[one["doc_id"]] for one in asked])


class Looked:
    """Stands for a model of sentence-transformers: its vectors are read, not worked out."""

    device = "cpu"

    def __init__(self, folder: Path) -> None:
        import torch

        self._torch: Any = torch
        self._folder = folder
        self.model_card_data = argparse.Namespace(base_model="")

    def encode_query(self, texts: Sequence[str], **_how: Any) -> Floats:
        return self._rows("questions", texts)

    def encode_document(self, texts: Sequence[str], **_how: Any) -> Floats:
        return self._rows("passages", texts)

    def _rows(self, name: str, texts: Sequence[str]) -> Floats:
        vectors: Floats = np.load(self._folder / f"{name}.npy")
        rows = [int(text.rsplit(" ", 1)[1]) for text in texts]
        return vectors if rows == list(range(len(vectors))) else vectors[rows]

    def get_embedding_dimension(self) -> int:
        return int(np.load(self._folder / "passages.npy", mmap_mode="r").shape[1])

    def similarity(self, first: Any, second: Any) -> Any:
        return self._torch.as_tensor(first) @ self._torch.as_tensor(second).T

    def similarity_pairwise(self, first: Any, second: Any) -> Any:
        return (self._torch.as_tensor(first) * self._torch.as_tensor(second)).sum(dim=1)


Found = NDArray[np.int32]


def packed(rows: Iterable[list[int]], count: int) -> Found:
    """Per question the places of its negatives; -1 where there are fewer."""
    table = np.full((count, COUNT), -1, np.int32)
    for place, row in enumerate(rows):
        table[place, : len(row)] = row
    return table


def by_aloft(folder: Path, right: Sequence[int]) -> Callable[[], Found]:
    import aloft.backends.device  # noqa: F401 - torch, which the others import before they start
    from aloft.config import NegativesConfig
    from aloft.records import Passage, QAPair
    from aloft.retrieval.dense import DenseIndex
    from aloft.retrieval.negatives import mine_negatives
    from aloft.retrieval.searchable import SearchableCorpus

    count = len(np.load(folder / "passages.npy", mmap_mode="r"))
    passages = [Passage(document_id=str(i), text=f"passage {i}", start=0) for i in range(count)]
    pairs = [
        QAPair(passage_id=passages[row].id, question=f"question {i}", answer="")
        for i, row in enumerate(right)
    ]
    rows = {passage.id: row for row, passage in enumerate(passages)}
    config = NegativesConfig(count=COUNT, depth=DEPTH, margin=MARGIN)

    def mine() -> Found:
        vectors = [np.load(folder / f"{name}.npy", mmap_mode="r") for name in NAMES]
        corpus = SearchableCorpus(passages, DenseIndex(vectors[0]))
        mined = mine_negatives(pairs, vectors[1], corpus, config)
        return packed(([rows[i] for i in one.passage_ids] for one in mined), len(pairs))

    return mine


def by_library(folder: Path, right: Sequence[int], **how: Any) -> Callable[[], Found]:
    from datasets import Dataset, disable_progress_bars
    from sentence_transformers.util import mine_hard_negatives

    disable_progress_bars()
    count = len(np.load(folder / "passages.npy", mmap_mode="r"))
    corpus = [f"passage {i}" for i in range(count)]
    columns = {
        "query": [f"question {i}" for i in range(len(right))],
        "positive": [corpus[row] for row in right],
    }
    dataset = Dataset.from_dict(columns)

    def mine() -> Found:
        model: Any = Looked(folder)
        mined: Any = mine_hard_negatives(
            dataset,
            model,
            corpus=corpus,
            range_max=DEPTH,
            relative_margin=MARGIN,
            num_negatives=COUNT,
            verbose=False,
            **how,
        )
        found: dict[int, list[int]] = {}
        for row in mined:
            question = int(row["query"].rsplit(" ", 1)[1])
            found.setdefault(question, []).append(int(row["negative"].rsplit(" ", 1)[1]))
        return packed((found.get(i, []) for i in range(len(right))), len(right))

    return mine


def by_faiss(folder: Path, _right: Sequence[int]) -> Callable[[], Found]:
    import faiss  # type: ignore[import-not-found, unused-ignore]

    def search() -> Found:
        passages, questions = (np.load(folder / f"{name}.npy") for name in NAMES)
        index = faiss.IndexFlatIP(passages.shape[1])
        index.add(passages)
        _scores, columns = index.search(questions, DEPTH + 1)
        assert columns.shape == (len(questions), DEPTH + 1)
        return packed([], 0)

    return search


NAMES = ("passages", "questions")
WAYS: dict[str, Callable[..., Callable[[], Found]]] = {
    "Aloft": by_aloft,
    "mine_hard_negatives": by_library,
    "mine_hard_negatives, faiss": lambda *where: by_library(*where, use_faiss=True),
    "faiss flat, search alone": by_faiss,
}


def measure(way: str, folder: Path) -> dict[str, Any]:
    """One way, in this process: seconds, peak megabytes, and what it found."""
    work = WAYS[way](folder, np.load(folder / "right.npy").tolist())
    before = reset_peak()
    started = time.monotonic()
    found = work()
    seconds = time.monotonic() - started
    peak = read_status("VmHWM") - before
    return {"seconds": round(seconds, 1), "megabytes": round(peak / 1024), "found": found}


def reset_peak() -> int:
    """Forget the peak so far; returns what is held now, in kilobytes."""
    Path("/proc/self/clear_refs").write_text("5")
    return read_status("VmRSS")


def read_status(name: str) -> int:
    """A figure of this process as Linux tells it, in kilobytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1])


def same_share(first: Found, second: Found) -> float:
    """Share of the negatives of the first that the second has for the same question."""
    there = [set(row) - {-1} for row in second.tolist()]
    pairs = [(set(row) - {-1}, other) for row, other in zip(first.tolist(), there, strict=True)]
    return sum(len(a & b) for a, b in pairs) / max(1, sum(len(a) for a, _ in pairs))


def main(argv: Sequence[str] | None = None) -> int:
    """Measure all ways; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path)
    parser.add_argument("--passages", type=int, default=100_000)
    parser.add_argument("--questions", type=int, default=100_000)
    parser.add_argument("--dimensions", type=int, default=384, help="of vectors that are drawn")
    parser.add_argument("--ways", help=f"with semicolons, of: {'; '.join(WAYS)}")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(argv)
    ways = options.ways.split(";") if options.ways else list(WAYS)
    if find_spec("faiss") is None:
        print("faiss is not installed: its rows are left out", file=sys.stderr)
        ways = [way for way in ways if "faiss" not in way]
    rows: dict[str, Any] = {}
    ours = packed([], 0)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with ProcessPoolExecutor(1, get_context("spawn")) as process:
            real = process.submit(make_vectors, folder, options).result()
        for way in ways:
            with ProcessPoolExecutor(1, get_context("spawn")) as process:
                rows[way] = process.submit(measure, way, folder).result()
            found = rows[way].pop("found")
            ours = found if way == "Aloft" else ours
            if len(found) and way != "Aloft" and "Aloft" in rows:
                rows[way]["same_negatives"] = round(same_share(ours, found), 5)
            print(f"  {way:<28} {rows[way]}", file=sys.stderr)
    tell("mining.py", argv, options.json, real=real, ways=rows)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
