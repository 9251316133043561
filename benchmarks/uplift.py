"""The whole job on corpora with human questions: base, tuned and shipped figures, with intervals.

    python benchmarks/uplift.py --data FOLDER --sets covidqa_en,pira_en --parts embedder \\
        --teacher ID --limit-documents 800 --seed 1 --json uplift.json

FOLDER holds a folder per set with corpus.jsonl.gz ({"id", "title", "text"}) and qa.jsonl.gz
({"id", "question", "answers", "doc_id"}). Nothing else is read. Each set runs in a process of its
own, so that its peak memory is its own. The last line on standard output is one JSON object.
"""

import argparse
import gzip
import json
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from aloft.cli.progress import shown_progress
from aloft.config import PARTS, RunConfig, load_config
from aloft.errors import AloftError
from aloft.evaluation.pages.figures import interval, points
from aloft.evaluation.report import to_json
from aloft.machine import describe_machine


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
    kept = asked[:questions]
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


def run_set(
    name: str, source: Path, folder: Path, config: RunConfig, limits: Sequence[Any]
) -> dict[str, Any]:
    """The whole job on one set; returns its figures."""
    from aloft.run.whole import Aloft

    started = time.monotonic()
    sizes = cut_set(source, folder, *limits)
    with shown_progress() as progress:
        result = Aloft(config).run(
            folder / "corpus",
            folder / "run",
            questions=folder / "questions.jsonl",
            progress=progress,
        )
    report = to_json(result.report)
    keys = ("questions", "deciding", "retrieval", "answers", "comparisons", "verdicts", "variants")
    return {
        "set": name,
        **sizes,
        "seconds": round(time.monotonic() - started, 1),
        "stage_seconds": {row["stage"]: row["seconds"] for row in report["funnel"]},
        "peak_memory_megabytes": report["peak_memory_megabytes"],
        "machine": report["machine"],
        "funnel": report["funnel"],
        **{key: report[key] for key in keys},
        "shipped": report["shipped"],
    }


def print_table(figures: dict[str, Any]) -> None:
    """Gains of each part, for a person."""
    print(
        f"\n{figures['set']}: {figures['documents']} documents, "
        f"{figures['seconds'] / 60:.1f} minutes"
    )
    for row in figures["comparisons"]:
        print(
            f"  {row['question_set']:<9} {row['part']:<24} {row['metric']:<18} "
            f"{100 * row['before']:6.1f} -> {100 * row['after']:6.1f}  "
            f"{points(row['gain']):>6} {interval(row['low'], row['high'])}  "
            f"n = {row['n']} in {row['clusters']} documents"
        )
    for verdict in figures["verdicts"]:
        word = "kept" if verdict["is_kept"] else "refused"
        print(f"  {verdict['part']}: {word}: {verdict['reason']}")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", required=True, help="names below --data, with commas")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--preset", default="cpu")
    parser.add_argument("--config", type=Path, help="TOML file laid over the preset")
    parser.add_argument("--teacher")
    parser.add_argument("--generator")
    parser.add_argument("--embedder")
    parser.add_argument("--limit-documents", type=int)
    parser.add_argument("--limit-questions", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="keep the run folders here; run again to go on")
    parser.add_argument("--json", type=Path)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run all sets; returns the exit status."""
    options = parse(argv)
    named = {k: getattr(options, k) for k in ("teacher", "generator", "embedder")}
    overrides = {k: v for k, v in named.items() if v} | {
        "parts": tuple(options.parts.split(",")),
        "seed": options.seed,
    }
    try:
        config = load_config(options.preset, options.config, overrides)
        results = []
        with tempfile.TemporaryDirectory() as temporary:
            out = options.out or Path(temporary)
            for name in options.sets.split(","):
                source = options.data / name
                if not (source / "corpus.jsonl.gz").exists():
                    raise AloftError(f"{source} holds no corpus.jsonl.gz. Check --data and --sets.")
                limits = (options.limit_documents, options.limit_questions)
                with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                    arguments = (name, source, out / name, config, limits)
                    results.append(pool.submit(run_set, *arguments).result())
                print_table(results[-1])
    except AloftError as error:
        print(f"uplift: {error}", file=sys.stderr)
        return 2
    tell("uplift.py", argv, options.json, config=config.model_dump(mode="json"), sets=results)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
