"""How much dense search and late interaction should weigh beside BM25, over many sets.

    python benchmarks/fusion.py --data FOLDER --sets pira_en,xquad_de:embedded:multilingual-e5-small

Untuned models and human questions. For each set: nDCG@10 at its best dense share, at the share that
is best on the sets of other names, and at the line over coverage (`aloft.retrieval.fusion`) that is
best there; then the same for the share of late interaction on top. A set's own name, such as xquad,
is left out with all of its languages. Set `NAME:EMBEDDER` chooses another embedder than --embedder.
"""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from uplift import read_lines, tell

from aloft.backends.loading import Models
from aloft.evaluation.blending import SHARES, at_share, lines, rerank_table, share_table
from aloft.protocols import Progress
from aloft.randomness import rng_for
from aloft.records import Passage, content_id
from aloft.retrieval.fusion import CoverageShare, fuse
from aloft.retrieval.ranking import Ranking
from aloft.retrieval.retriever import FIRST_STAGE_DEPTH, Bm25Ranker, DenseRanker
from aloft.terminal.progress import shown_progress

Table = NDArray[np.float64]
MeasuredT = TypeVar("MeasuredT")
RERANKED = 30  # first ranks that late interaction reorders
LINES = lines(np.arange(0.2, 0.81, 0.05), np.arange(-1.6, 0.01, 0.1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One set.

    Attributes:
        coverage: (questions,).
        hybrid: nDCG@10 at each dense share; (questions, shares).
        reranked: The same with late interaction at each of its shares; (questions, shares, shares).
    """

    name: str
    passages: int
    coverage: Table
    hybrid: Table
    reranked: Table

    @property
    def family(self) -> str:
        """What its languages have in common."""
        return self.name.split("_")[0]


def load_set(
    folder: Path, documents: int, questions: int
) -> tuple[list[Passage], list[str], list[frozenset[int]]]:
    """The first passages, and some of the questions whose right passages all lie in them."""
    rows = read_lines(folder / "corpus.jsonl.gz")[:documents]
    column = {str(row["id"]): i for i, row in enumerate(rows)}
    passages = [
        Passage(document_id=str(row["id"]), title=row.get("title") or "", text=row["text"], start=0)
        for row in rows
    ]
    asked = [
        row
        for row in read_lines(folder / "qa.jsonl.gz")
        if all(str(i) in column for i in row.get("doc_ids", [row["doc_id"]]))
    ]
    drawn = rng_for(0, folder.name).sample(asked, min(questions, len(asked)))
    gold = [
        frozenset(
            column[str(i)]
            for i in (*row.get("doc_ids", [row["doc_id"]]), *row.get("also_ok", ()))
            if str(i) in column
        )
        for row in drawn
    ]
    return passages, [row["question"] for row in drawn], gold


def measure(folder: Path, embedder: str, limits: tuple[int, int], progress: Progress) -> Measured:
    """Rankings and scores of one set, each worked out once, at every pair of shares."""
    passages, questions, gold = load_set(folder, *limits)
    models = Models(progress=progress)
    dense = DenseRanker(passages, models.embedder(embedder)).rank(questions, FIRST_STAGE_DEPTH)
    words = Bm25Ranker(passages)
    lexical = words.rank(questions, FIRST_STAGE_DEPTH)
    fused = [fuse(dense, lexical, RERANKED, float(share)) for share in SHARES]
    scores = _score_all(models.reranker(embedder), questions, passages, fused)
    reranked = np.stack([rerank_table(one, _of(scores, one), gold) for one in fused], axis=1)
    return Measured(
        name=folder.name,
        passages=len(passages),
        coverage=words.coverage(questions, lexical),
        hybrid=share_table(dense, lexical, gold),
        reranked=reranked,
    )


def _score_all(
    reranker: Any, questions: Sequence[str], passages: Sequence[Passage], fused: Sequence[Ranking]
) -> list[dict[int, float]]:
    """The score of every passage that stands among the first ranks at any share, by question."""
    columns = [
        list(dict.fromkeys(c for one in fused for c in one.columns[row].tolist()))
        for row in range(len(questions))
    ]
    pairs = [
        (question, passages[column].content)
        for question, some in zip(questions, columns, strict=True)
        for column in some
    ]
    found = iter(reranker.score(pairs).tolist())
    return [{column: next(found) for column in some} for some in columns]


def _of(scores: Sequence[Mapping[int, float]], ranking: Ranking) -> NDArray[np.float32]:
    rows = zip(scores, ranking.columns.tolist(), strict=True)
    return np.array([known[column] for known, columns in rows for column in columns], np.float32)


def best_line(tables: Sequence[tuple[Table, Table]]) -> CoverageShare:
    """The line that is best on average over sets, given their tables and coverages."""
    means = [np.mean([at_share(t, line, c).mean() for t, c in tables]) for line in LINES]
    return LINES[int(np.argmax(means))]


def leave_one_out(sets: Sequence[Measured], dense: CoverageShare) -> list[dict[str, Any]]:
    """Each set with what is chosen on the sets of other families.

    Args:
        sets: What was measured.
        dense: The dense share under late interaction.
    """
    rows = []
    for one in sets:
        others = [other for other in sets if other.family != one.family]
        constant = int(np.mean([other.hybrid.mean(0) for other in others], axis=0).argmax())
        line = best_line([(other.hybrid, other.coverage) for other in others])
        under = [(at_share(o.reranked, dense, o.coverage), o.coverage) for o in others]
        late = best_line(under)
        same = int(np.mean([table.mean(0) for table, _ in under], axis=0).argmax())
        own = at_share(one.reranked, dense, one.coverage)
        mean = one.hybrid.mean(axis=0)
        rows.append(
            {
                "set": one.name,
                "passages": one.passages,
                "n": len(one.hybrid),
                "coverage": float(one.coverage.mean()),
                "bm25": float(mean[0]),
                "dense": float(mean[-1]),
                "best": float(mean.max()),
                "best_share": float(SHARES[mean.argmax()]),
                "constant": float(mean[constant]),
                "line": float(at_share(one.hybrid, line, one.coverage).mean()),
                "line_ends": [line.uncovered, line.covered],
                "without_late": float(own[:, 0].mean()),
                "late_constant": float(own[:, same].mean()),
                "late_line": float(at_share(own, late, one.coverage).mean()),
                "late_ends": [late.uncovered, late.covered],
            }
        )
    return rows


def print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    """For a person; in percent."""
    names = ("bm25", "dense", "best", "constant", "line", "without_late", "late_constant")
    shown = (*names, "late_line")
    print(f"{'set':<14}{'n':>5}{'coverage':>10}" + "".join(f"{name:>15}" for name in shown))
    for row in rows:
        cells = "".join(f"{100 * row[name]:>15.1f}" for name in shown)
        print(f"{row['set']:<14}{row['n']:>5}{row['coverage']:>10.2f}{cells}")
    means = "".join(f"{100 * np.mean([row[name] for row in rows]):>15.2f}" for name in shown)
    print(f"{'mean':<29}{means}")


def parse(
    argv: Sequence[str] | None, description: str | None, *, documents: int, questions: int
) -> argparse.Namespace:
    """The command line, with the default limits of a set."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", required=True, help="NAME or NAME:EMBEDDER, with commas")
    parser.add_argument("--embedder", default="embedded:all-minilm-l6-v2")
    parser.add_argument("--limit-documents", type=int, default=documents)
    parser.add_argument("--limit-questions", type=int, default=questions)
    parser.add_argument("--out", type=Path, help="keep what was measured here; run again to go on")
    parser.add_argument("--json", type=Path)
    return parser.parse_args(argv)


def measured_sets(
    options: argparse.Namespace,
    kind: type[MeasuredT],
    measure: Callable[[Path, str, tuple[int, int], Progress], MeasuredT],
) -> list[MeasuredT]:
    """Measure the named sets, or read what was measured of them before.

    Args:
        options: Of the command line.
        kind: A dataclass of arrays, numbers and texts.
        measure: Measures a set, given its folder, the embedder and the limits.
    """
    limits = (options.limit_documents, options.limit_questions)
    sets = []
    for wanted in options.sets.split(","):
        name, _, embedder = wanted.partition(":")
        key = content_id(name, embedder or options.embedder, *map(str, limits))
        kept = options.out / f"{name}-{key}.npz" if options.out else None
        if kept and kept.exists():
            values = np.load(kept, allow_pickle=False)
            known = {field: values[field] for field in values.files}
            plain = {k: v if v.ndim else v.item() for k, v in known.items()}
            sets.append(kind(**{"name": name, **plain}))
            continue
        with shown_progress() as progress:
            found = measure(options.data / name, embedder or options.embedder, limits, progress)
        sets.append(found)
        if kept:
            kept.parent.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(kept, **asdict(found))
    return sets


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the sets, or read what was measured before, and choose; returns the exit status."""
    options = parse(argv, __doc__, documents=700, questions=300)
    sets = measured_sets(options, Measured, measure)
    dense = best_line([(one.hybrid, one.coverage) for one in sets])
    under = [(at_share(one.reranked, dense, one.coverage), one.coverage) for one in sets]
    late = best_line(under)
    rows = leave_one_out(sets, dense)
    print_table(rows)
    chosen = {"dense": [dense.uncovered, dense.covered], "late": [late.uncovered, late.covered]}
    print(json.dumps(chosen))
    tell("fusion.py", argv, options.json, **chosen, sets=rows)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
