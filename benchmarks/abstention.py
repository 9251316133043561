"""What it costs a generator to say what its documents do not hold, and how often it does.

    python benchmarks/abstention.py --data FOLDER --set clapnq_en --generator QWEN --teacher QWEN \\
        --config benchmarks/abstention.toml --seed 1

The same generator is trained twice on the same rows with the right passage: on them alone, and with
some of their questions asked once more without (`training_sets.abstaining_share`). Both answer the
set's human questions with the right passage among the others: what the second loses there is the
cost. It is then asked the same without the right passages, and the set's unanswerable questions
with what is found for them. FOLDER is as in uplift.py. The last line on standard output is one JSON
object.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from downstream import shown
from uplift import cut_set, tell

from aloft.config import RunConfig, load_config
from aloft.errors import AloftError
from aloft.evaluation.answer_metrics import ABSTENTION, ANSWERED, UNANSWERABLE
from aloft.evaluation.bootstrap import compare
from aloft.evaluation.evaluator import Measured
from aloft.evaluation.pages.figures import interval, percent
from aloft.run.job import open_run
from aloft.terminal.progress import shown_progress

COSTS = ("answer f1", "answer contained", "citation accuracy")


def measure(folder: Path, source: Path, config: RunConfig) -> tuple[list[Measured], float]:
    """The tuned generator on human questions, answerable or not, and minutes of training."""
    with shown_progress() as progress, open_run(folder, config, progress=progress) as run:
        run.give(source / "corpus", source / "questions.jsonl")
        run.check()
        run.train()
        seconds = run.train()["generator"].seconds
        answered = run.evaluator.measure_answers("human", "tuned")["all"]
        unanswerable = run.evaluator.measure_unanswerable("tuned")
    return [answered, *([unanswerable] if unanswerable else [])], round(seconds / 60, 1)


def compare_shares(out: Path, source: Path, config: RunConfig) -> dict[str, Any]:
    """The generator trained without and with rows that lack their passage."""
    sets = config.training_sets
    most = sets.max_generator_rows and round(sets.max_generator_rows * (1 - sets.abstaining_share))
    sets = sets.model_copy(update={"abstaining_share": 0.0, "max_generator_rows": most})
    always = config.model_copy(update={"training_sets": sets})
    with shown_progress() as progress, open_run(out / "pairs", always, progress=progress) as run:
        run.give(source / "corpus", source / "questions.jsonl")
        run.do("negatives")
    for name in ("always", "abstaining"):
        if not (out / name).exists():
            shutil.copytree(out / "pairs", out / name, ignore=shutil.ignore_patterns(".lock"))
    before, minutes = measure(out / "always", source, always)
    after, more = measure(out / "abstaining", source, config)
    how = {"resamples": config.evaluation.resamples, "seed": config.seed}
    documents = after[0].documents
    pairs = {name: (before[0].values[name], after[0].values[name]) for name in COSTS}
    costs = [asdict(compare(name, *pair, documents, **how)) for name, pair in pairs.items()]
    for row in costs:
        print(f"  {shown(row)}, n = {row['n']}", file=sys.stderr)
    said = {}
    columns = {name: (some.values[name], some.documents) for some in after for name in some.values}
    for name in (n for n in (ABSTENTION, UNANSWERABLE, ANSWERED) if n in columns):
        values, documents = columns[name]
        # an interval of the share itself: of its gain over never
        one = compare(name, np.zeros_like(values), values, documents, **how)
        said[name] = {"share": one.after, "low": one.low, "high": one.high, "n": one.n}
        print(f"  {name} {percent(one.after)} {interval(one.low, one.high)}", file=sys.stderr)
    return {"costs": costs, "said": said, "training_minutes": [minutes, more]}


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
