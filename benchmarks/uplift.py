"""What ships against the best untuned stack, on many corpora with human questions.

    python benchmarks/uplift.py --data FOLDER --sets pira_en,xquad_de --parts embedder,reranker \\
        --config benchmarks/uplift.toml --other benchmarks/uplift_other.toml \\
        --replies benchmarks/replies --limit-questions 300 --seed 1 --out RUNS --json uplift.json

FOLDER holds a folder per set with corpus.jsonl.gz ({"id", "title", "text"}) and qa.jsonl.gz
({"id", "question", "answers", "doc_id"}). Each set is measured twice: *blind*, where no human
question takes part in any choice, and *with labels*, where choices for a question are made on those
about other documents. Untuned is BM25, the untuned embedder and its late interaction, blended by
the same rules. --replies keeps what the teacher wrote: a set whose file lies there needs none. Each
set runs in a process of its own, so that its peak memory is its own; one that cannot be used is
listed. The last line on standard output is one JSON object.
"""

import argparse
import gzip
import json
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aloft.config import PARTS, RunConfig, load_config
from aloft.errors import AloftError, ModelError
from aloft.evaluation.calibration import features_of_set, fit_relevance
from aloft.evaluation.evaluator import Evaluator
from aloft.evaluation.measure import SHIPPED
from aloft.evaluation.pages.figures import interval, points
from aloft.evaluation.report import Report, to_json
from aloft.evaluation.retrieval_metrics import DEPTH
from aloft.evaluation.systems import System
from aloft.machine import describe_machine
from aloft.protocols import Prompt, Reply
from aloft.randomness import rng_for
from aloft.retrieval.relevance import EMBEDDED
from aloft.run.job import OpenRun, open_run
from aloft.terminal.progress import shown_progress

NEVER_DECIDES = 10**9  # as evaluation.min_human_questions: human questions judge afterwards
METRIC = "ndcg@10"
MOST_UNKNOWN = 0.05  # of the kept replies


class KeptReplies:
    """The teacher that wrote a set's replies, which are in the run's cache already.

    What is asked again follows from how replies are read, so that another version may ask a few
    other prompts: they get an empty reply, of which no pair comes.

    Args:
        fingerprint: The teacher's.
        count: Replies that are kept.
    """

    def __init__(self, fingerprint: str, count: int) -> None:
        self.fingerprint = fingerprint
        self.unknown = 0
        self._most = MOST_UNKNOWN * count

    def complete(
        self, prompts: Sequence[Prompt], *, max_new_tokens: int, stop: Sequence[str] = ()
    ) -> list[Reply]:
        """Reply to prompts that are not among the kept ones.

        Raises:
            ModelError: they are too many.
        """
        self.unknown += len(prompts)
        if self.unknown > self._most:
            raise ModelError(
                f"{self.unknown} prompts are not among the kept replies. Delete the set's file in "
                "--replies, and name the --teacher that is to write it anew."
            )
        return [Reply(text="", is_finished=True) for _ in prompts]


def read_lines(path: Path) -> list[dict[str, Any]]:
    """JSON objects of a packed file."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def tell(script: str, argv: Sequence[str] | None, file: Path | None, **figures: Any) -> None:
    """Print a benchmark's one JSON object, with its command and machine; to a file too."""
    command = " ".join([f"benchmarks/{script}", *(argv or sys.argv[1:])])
    told = {"command": command, "machine": describe_machine(), **figures}
    line = json.dumps(told, ensure_ascii=False)
    if file:
        file.write_text(line + "\n", encoding="utf-8")
    print(line)


def write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """JSON Lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8")


def cut_set(
    source: Path, folder: Path, documents: int | None, questions: int | None
) -> dict[str, int]:
    """Keep the first documents and the questions whose gold passages all lie in them."""
    corpus = read_lines(source / "corpus.jsonl.gz")[:documents]
    known = {str(document["id"]) for document in corpus}
    asked = [
        row
        for row in read_lines(source / "qa.jsonl.gz")
        if {str(i) for i in row.get("doc_ids", [row["doc_id"]])} <= known
    ]
    for row in asked:
        row["also_ok"] = [i for i in row.get("also_ok", []) if str(i) in known]
        if row.get("answer_start", 0) < 0:  # offsets of jsquad_ja are off by as much
            del row["answer_start"]
    kept = rng_for(0, source.name).sample(asked, min(questions or len(asked), len(asked)))
    unknown = source / "unanswerable.jsonl.gz"
    rows = read_lines(unknown)[:questions] if unknown.exists() else []
    nothing = [{**row, "unanswerable": True} for row in rows if row["doc_id"] in known]
    write_lines(folder / "corpus" / "corpus.jsonl", corpus)
    write_lines(folder / "questions.jsonl", [*kept, *nothing])
    return {
        "documents": len(corpus),
        "questions": len(kept),
        "unanswerable": len(nothing),
        "questions_left_out": len(asked) - len(kept),
    }


def keep_replies(run: OpenRun, file: Path) -> None:
    """Write all that the teacher was asked for a set's pairs."""
    run.do("filters")
    rows = [{"fingerprint": run.shared.models.teacher_fingerprint(run.config.teacher)}]
    rows += [{"key": key, "value": value} for key, value in run.shared.cache.values()]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(gzip.compress(text.encode(), mtime=0))


@contextmanager
def open_set(
    folder: Path, config: RunConfig, replies: Path | None, *, blind: bool
) -> Iterator[OpenRun]:
    """A set's run, with the teacher's replies where they are kept; otherwise they are, now."""
    least = NEVER_DECIDES if blind else 1
    evaluation = config.evaluation.model_copy(update={"min_human_questions": least})
    config = config.model_copy(update={"evaluation": evaluation})
    kept = read_lines(replies) if replies and replies.exists() else []
    teacher = KeptReplies(kept[0]["fingerprint"], len(kept)) if kept else None
    with shown_progress() as progress, open_run(folder / "run", config, teacher, progress) as run:
        run.give(folder / "corpus", folder / "questions.jsonl")
        run.shared.cache.add({row["key"]: (row["value"], None) for row in kept[1:]})
        if replies and not kept:
            keep_replies(run, replies)
        yield run
        if teacher and teacher.unknown:
            print(f"{teacher.unknown} prompts are not among the kept replies.", file=sys.stderr)


def measure(
    folder: Path, config: RunConfig, replies: Path | None, *, blind: bool
) -> tuple[Report, dict[str, Any]]:
    """Do what is missing of a run, and compare what ships with nothing tuned on human questions."""
    with open_set(folder, config, replies, blind=blind) as run:
        report = run.report()
        return report, _figures(run, report)


def _figures(run: OpenRun, report: Report) -> dict[str, Any]:
    """What one way of choosing comes to, by human questions."""
    assert report.shipped is not None  # nothing tuned is always a variant
    system, evaluator = report.shipped.system, run.evaluator
    human = [c for c in report.measured.comparisons if c.question_set == "human"]
    bare = evaluator.measure_system("human", System(system.retriever, system.embedder, "none"))
    whole = evaluator.measure_system("human", system)
    added = next(c for c in evaluator.compare(bare, whole) if c.metric == METRIC)
    values = to_json(report)
    return {
        "parts": report.shipped.parts,
        "stack": [_row(c) for c in human if c.part == SHIPPED],
        "reranking": {
            **_row(added),
            "share": evaluator.mean_share(
                "human", lambda fold: evaluator.rerank_share(system, fold)
            ),
        },
        "calibration_error": _calibration(evaluator),
        "verdicts": values["verdicts"],
        "vetoed": [v.part for v in report.verdicts if "worse on the human" in v.reason],
        "comparisons": values["comparisons"],
        "shipped": values["shipped"],
    }


def _calibration(evaluator: Evaluator) -> dict[str, float]:
    """How far the untuned hybrid's scores are from probabilities, for people's questions."""
    system, name = System("hybrid", "base", "none"), "human"
    rows = range(len(evaluator.questions[name]))
    columns = evaluator.rank(name, system).top(DEPTH).columns
    features = features_of_set(evaluator, system, name, rows, columns.tolist()).reshape(-1, 3)
    gold = evaluator.gold(name)
    is_right = np.array([c in gold[row] for row, some in enumerate(columns) for c in some])
    fitted = fit_relevance(evaluator, system) or EMBEDDED
    weights = {"default": EMBEDDED, "fitted": fitted}
    return {
        k: calibration_error(one.probabilities(features), is_right) for k, one in weights.items()
    }


def calibration_error(scores: NDArray[np.float64], is_right: NDArray[np.bool_]) -> float:
    """ECE over ten bins of equal width."""
    bins = np.minimum((scores * 10).astype(int), 9)
    inside = [bins == i for i in range(10) if (bins == i).any()]
    gaps = [some.mean() * abs(scores[some].mean() - is_right[some].mean()) for some in inside]
    return float(sum(gaps))


def _row(comparison: Any) -> dict[str, Any]:
    names = ("metric", "before", "after", "gain", "low", "high", "n", "clusters")
    return {name: getattr(comparison, name) for name in names}


def run_set(
    name: str,
    source: Path,
    folder: Path,
    config: RunConfig,
    replies: Path | None,
    most: Sequence[Any],
) -> dict[str, Any]:
    """The whole job on one set, blind and with labels."""
    started = time.monotonic()
    sizes = cut_set(source, folder, *most)
    report, blind = measure(folder, config, replies, blind=True)
    _, labelled = measure(folder, config, replies, blind=False)
    facts = to_json(report)
    return {
        "set": name,
        **sizes,
        "seconds": round(time.monotonic() - started, 1),
        "stage_seconds": {row["stage"]: row["seconds"] for row in facts["funnel"]},
        "peak_memory_megabytes": facts["peak_memory_megabytes"],
        "pairs": next(row["kept"] for row in facts["funnel"] if row["stage"] == "filters"),
        "unusable": _unusable(folder / "run"),
        "retrieval": facts["retrieval"],
        "answers": facts["answers"],
        "blind": blind,
        "labelled": labelled,
    }


def _unusable(run: Path) -> list[str]:
    """Questions that were left out, with the reasons."""
    file = run / "rejections" / "questions.jsonl"
    if not file.exists():
        return []
    rows = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    return [f"{row['subject_id']}: {row['reason']}" for row in rows]


def print_set(figures: Mapping[str, Any]) -> None:
    """What ships over nothing tuned, then each part; for a person."""
    minutes = f"{figures['seconds'] / 60:.1f} minutes"
    print(
        f"\n{figures['set']}: {figures['documents']} documents, {figures['pairs']} pairs, {minutes}"
    )
    for way in ("blind", "labelled"):
        for row in figures[way]["stack"]:
            if row["metric"] in (METRIC, "hit@10", "mrr@10", "citation accuracy", "answer f1"):
                parts = " + ".join(figures[way]["parts"]) or "nothing tuned"
                print(f"  {way:<9} {parts:<24} {_gain(row)}")
        print(f"  {way:<9} {'reranking':<24} {_gain(figures[way]['reranking'])}")
    for row in figures["blind"]["comparisons"]:
        if row["part"] != SHIPPED and row["metric"] == METRIC:
            print(f"  {row['question_set']:<9} {row['part']:<24} {_gain(row)}")
    if figures["unusable"]:
        print(f"  {len(figures['unusable'])} questions could not be used")


def _gain(row: Mapping[str, Any]) -> str:
    before_after = f"{100 * row['before']:5.1f} -> {100 * row['after']:5.1f}"
    gain = f"{points(row['gain']):>6} {interval(row['low'], row['high'])}"
    return (
        f"{row['metric']:<18} {before_after}  {gain}  n = {row['n']}, {row['clusters']} documents"
    )


def over_sets(results: Sequence[Mapping[str, Any]], seed: int) -> dict[str, Any]:
    """The mean gain of what ships over all sets, its interval with sets as units, and signs."""
    means = {}
    for way in ("blind", "labelled"):
        rows = [next(r for r in one[way]["stack"] if r["metric"] == METRIC) for one in results]
        gains = np.array([row["gain"] for row in rows])
        drawn = np.random.default_rng(seed).integers(0, len(gains), (10_000, len(gains)))
        low, high = np.percentile(gains[drawn].mean(axis=1), [2.5, 97.5])
        means[way] = {
            "sets": len(gains),
            "mean": float(gains.mean()),
            "low": float(low),
            "high": float(high),
            "above_zero": int((gains > 0).sum()),
            "wholly_below_zero": sum(row["high"] is not None and row["high"] < 0 for row in rows),
            "reranking": float(np.mean([one[way]["reranking"]["gain"] for one in results])),
        }
    return means


def parse(argv: Sequence[str] | None, description: str | None = __doc__) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", required=True, help="names below --data, with commas")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--preset", default="cpu")
    parser.add_argument("--config", type=Path, help="TOML file laid over the preset")
    parser.add_argument("--other", type=Path, help="in its place for sets that are not in English")
    parser.add_argument("--replies", type=Path, help="where the teacher's replies are kept")
    parser.add_argument("--teacher")
    parser.add_argument("--generator")
    parser.add_argument("--embedder")
    parser.add_argument("--limit-documents", type=int)
    parser.add_argument("--limit-questions", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="keep the run folders here; run again to go on")
    parser.add_argument("--json", type=Path)
    return parser.parse_args(argv)


@dataclass(frozen=True)
class OneSet:
    """A set, where it comes from and goes to, and how it is run."""

    name: str
    source: Path
    folder: Path
    config: RunConfig
    replies: Path | None


def sets_of(options: argparse.Namespace, out: Path, unusable: dict[str, str]) -> Iterator[OneSet]:
    """The named sets; what keeps one of them away while it is in use is noted."""
    named = {k: getattr(options, k) for k in ("teacher", "generator", "embedder")}
    overrides = {k: v for k, v in named.items() if v} | {
        "parts": tuple(options.parts.split(",")),
        "seed": options.seed,
    }
    for name in options.sets.split(","):
        file = options.other if options.other and not name.endswith("_en") else options.config
        replies = options.replies / f"{name}.jsonl.gz" if options.replies else None
        source = options.data / name
        if (source / "corpus.jsonl.gz").exists():
            config = load_config(options.preset, file, overrides)
            yield OneSet(name, source, out / name, config, replies)
        else:
            leave_out(name, f"{source} holds no corpus.jsonl.gz.", unusable)


def leave_out(name: str, reason: str, unusable: dict[str, str]) -> None:
    """List a set that cannot be used."""
    unusable[name] = reason
    print(f"\n{name}: cannot be used: {reason}", file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """Run all sets; returns the exit status."""
    options = parse(argv)
    limits = (options.limit_documents, options.limit_questions)
    results: list[dict[str, Any]] = []
    unusable: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for one in sets_of(options, options.out or Path(temporary), unusable):
            arguments = (one.name, one.source, one.folder, one.config, one.replies, limits)
            try:
                with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                    results.append(pool.submit(run_set, *arguments).result())
            except AloftError as error:
                leave_out(one.name, str(error), unusable)
                continue
            print_set(results[-1])
    if not results:
        return 2
    means = over_sets(results, options.seed)
    print(json.dumps(means))
    tell("uplift.py", argv, options.json, means=means, unusable=unusable, sets=results)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
