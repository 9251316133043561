"""What it costs a generator to say what its documents do not hold, and how often it does.

    python benchmarks/abstention.py --data FOLDER --set clapnq_en --generator QWEN --teacher QWEN \\
        --config benchmarks/abstention.toml --seed 1

The same generator is trained twice on the same pairs: always with the right passage, and with a
share of its rows without (`training_sets.abstaining_share`). Both answer the set's human questions
with the right passage among the others: what the second loses there is the cost. It is then asked
the same without the right passages, and the set's unanswerable questions with what is found for
them. FOLDER is as in uplift.py. The last line on standard output is one JSON object.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from downstream import shown
from uplift import cut_set, tell

from aloft.cli import shown_progress
from aloft.config import RunConfig, load_config
from aloft.errors import AloftError
from aloft.evaluation.answers import ABSTENTION, ANSWERED, UNANSWERABLE
from aloft.evaluation.evaluate import Values
from aloft.evaluation.intervals import compare
from aloft.evaluation.measure import as_json
from aloft.pipeline import open_run

COSTS = ("answer f1", "answer contained", "citation accuracy")


def measure(
    folder: Path, source: Path, config: RunConfig, names: Sequence[str]
) -> tuple[dict[str, Values], float]:
    """Values of generators on human questions, and the minutes that training took."""
    with shown_progress() as progress, open_run(folder, config, progress=progress) as run:
        run.give(source / "corpus", source / "questions.jsonl")
        run.check()
        run.do("train")
        seconds = run.artifacts["generator"].seconds
        answers = {n: run.evaluator.measure_answers("human", n)["all"].values for n in names}
    return answers, round(seconds / 60, 1)


def compare_all(before: Values, after: Values, config: RunConfig, names: Sequence[str]) -> Any:
    """Metrics with their intervals, question by question."""
    how = {"resamples": config.evaluation.resamples, "seed": config.seed}
    kept = {n: ~np.isnan(before[n]) & ~np.isnan(after[n]) for n in names}
    rows = [as_json(compare(n, before[n][kept[n]], after[n][kept[n]], **how)) for n in names]
    for row in rows:
        print(f"  {shown(row)}, n = {row['n']}", file=sys.stderr)
    return rows


def compare_shares(out: Path, source: Path, config: RunConfig) -> dict[str, Any]:
    """The generator trained without and with rows that lack their passage."""
    sets = config.training_sets.model_copy(update={"abstaining_share": 0.0})
    always = config.model_copy(update={"training_sets": sets})
    with shown_progress() as progress, open_run(out / "pairs", always, progress=progress) as run:
        run.give(source / "corpus", source / "questions.jsonl")
        run.do("negatives")
    for name in ("always", "abstaining"):
        if not (out / name).exists():
            shutil.copytree(out / "pairs", out / name, ignore=shutil.ignore_patterns(".lock"))
    never, minutes = measure(out / "always", source, always, ("tuned",))
    asked, more = measure(out / "abstaining", source, config, ("base", "tuned"))
    print("trained to abstain, against always answering:", file=sys.stderr)
    costs = compare_all(never["tuned"], asked["tuned"], config, COSTS)
    print("trained to abstain, against untrained:", file=sys.stderr)
    told = [name for name in (ABSTENTION, UNANSWERABLE, ANSWERED) if name in asked["tuned"]]
    gains = compare_all(asked["base"], asked["tuned"], config, (*told, *COSTS))
    return {"costs": costs, "gains": gains, "training_minutes": [minutes, more]}


def main(argv: Sequence[str] | None = None) -> int:
    """Train and measure; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--set", default="clapnq_en")
    parser.add_argument("--teacher")
    parser.add_argument("--generator")
    parser.add_argument("--config", type=Path, help="TOML file laid over the preset")
    parser.add_argument("--passages", type=int, help="the first so many documents of the set")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="keep the run folders here; run again to go on")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(argv)
    named = {name: getattr(options, name) for name in ("teacher", "generator")}
    chosen = {name: value for name, value in named.items() if value}
    started = time.monotonic()
    try:
        config = load_config(
            "cpu", options.config, {**chosen, "parts": ("generator",), "seed": options.seed}
        )
        with tempfile.TemporaryDirectory() as temporary:
            out = options.out or Path(temporary)
            sizes = cut_set(options.data / options.set, out, options.passages, None)
            figures = compare_shares(out, out, config)
    except AloftError as error:
        print(f"abstention: {error}", file=sys.stderr)
        return 2
    minutes = round((time.monotonic() - started) / 60, 1)
    tell("abstention.py", argv, options.json, **sizes, **figures, minutes=minutes)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
