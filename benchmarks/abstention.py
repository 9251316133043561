"""How often a generator declines what its documents do not hold, and what that costs.

    python benchmarks/abstention.py --data FOLDER --set clapnq_en --replies benchmarks/replies \\
        --config benchmarks/abstention.toml --limit-questions 150 --seed 1 --out RUN

A generator is trained with questions that lack their passage (`training_sets.abstaining_share`). It
reads the set's human questions with what the untuned hybrid retrieves, in its order, with the next
passages in place of the right ones, and the set's unanswerable questions. The threshold of
abstention is fitted *blind*, on synthetic held-out questions, and *with labels*, on the human
questions about other documents; for several shares of answers that are promised. What
`evaluation.answered_share` costs is held against answering always, by the same generator. With
--also-without another is trained on the same rows with the right passage alone, and answers always,
too. FOLDER and --replies are as in uplift.py. The last line on standard output is one JSON object.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from downstream import shown
from uplift import NEVER_DECIDES, cut_set, open_set, tell

from aloft.config import RunConfig, load_config
from aloft.errors import AloftError
from aloft.evaluation.answer_metrics import ABSTENTION, ANSWERED, UNANSWERABLE
from aloft.evaluation.bootstrap import Comparison, compare
from aloft.evaluation.citations import CitationRule, CitedReadings
from aloft.evaluation.evaluator import Evaluator
from aloft.evaluation.pages.figures import interval, percent
from aloft.evaluation.systems import Measured, System

COSTS = ("answer f1", "answer contained", "citation accuracy")
PROMISED = (0.8, 0.9, 0.95, 0.98, 1.0)
WAYS = {"blind": NEVER_DECIDES, "with labels": 1}  # human questions that it takes to decide
SYSTEM = System("hybrid", "base", "base")  # late interaction by the untuned embedder's body
_TUNED = "tuned"


def promising(evaluator: Evaluator, share: float, way: str) -> Evaluator:
    """The same with another share of answers promised."""
    changes = {"answered_share": share, "min_human_questions": WAYS[way]}
    return replace(evaluator, config=evaluator.config.model_copy(update=changes))


def cite(evaluator: Evaluator, blind: Evaluator) -> tuple[CitedReadings, Mapping[str, Any]]:
    """What the human questions cite, and the curves of the sets, over what is retrieved blindly."""
    most, curves = evaluator.config.max_stack_questions, {}
    for name in dict.fromkeys((evaluator.deciding, "human")):
        ranking = blind.rank(name, SYSTEM)
        cited = evaluator.cite(name, SYSTEM, ranking, _TUNED, most)
        if cited is None:
            raise AloftError("The generator returns no probabilities.")
        curves[name] = asdict(evaluator.curve(name, _TUNED, cited))
    return cited, curves


def shares(blind: Evaluator) -> Iterator[dict[str, Any]]:
    """What each promise comes to, and what the likeliest beginning of a reply would decide."""
    for way in WAYS:
        for share in PROMISED:
            evaluator = promising(blind, share, way)
            cited, curves = cite(evaluator, blind)
            rule = evaluator.citation_rule(_TUNED) or CitationRule()
            declined = blind.measure_declined(SYSTEM, _TUNED, rule)
            yield _shown_row({"way": way, "promised": share, **_row(cited, declined)}) | {
                "threshold": rule.threshold,
                "curves": curves,
            }
    every = np.ones(len(cited.numbers), bool)
    likeliest = replace(cited, rules=[(every, CitationRule())])
    declined = blind.measure_declined(SYSTEM, _TUNED, CitationRule())
    yield _shown_row({"way": "likeliest", **_row(likeliest, declined)})


def _shown_row(row: dict[str, Any]) -> dict[str, Any]:
    """A row, shown as soon as it is known."""
    cells = (
        f"{k} {v if isinstance(v, str) else percent(v)}" for k, v in row.items() if v is not None
    )
    print("  " + ", ".join(cells), file=sys.stderr)
    return row


def _row(cited: CitedReadings, declined: Measured | None) -> dict[str, Any]:
    return {
        ANSWERED: float(np.nanmean(cited.answered)),
        ABSTENTION: float(np.nanmean(cited.declined)),
        UNANSWERABLE: float(declined.values[UNANSWERABLE].mean()) if declined else None,
        "citation accuracy": float(cited.readings.are_right(cited.numbers).mean()),
    }


def answer(blind: Evaluator, share: float, way: str) -> Measured:
    """The human questions' answers where so many of them must be given."""
    evaluator = promising(blind, share, way)
    cite(evaluator, blind)
    ranking = blind.rank("human", SYSTEM)
    most = evaluator.config.max_stack_questions
    return evaluator.measure_end_to_end("human", SYSTEM, ranking, _TUNED, most)


def costs(before: Measured, after: Measured, how: Mapping[str, int]) -> list[dict[str, Any]]:
    """What declining costs, question by question."""
    pairs = {name: (before.values[name], after.values[name]) for name in COSTS}
    found = [compare(name, *pair, after.documents, **how) for name, pair in pairs.items()]
    for row in map(asdict, found):
        print(f"  {shown(row)}, n = {row['n']}", file=sys.stderr)
    return [asdict(row) for row in found]


def said(measured: Measured, how: Mapping[str, int]) -> dict[str, Any]:
    """The shares declined and answered, with their intervals."""
    rows = {}
    for name in (n for n in (ABSTENTION, UNANSWERABLE, ANSWERED) if n in measured.values):
        some = measured.among(~np.isnan(measured.values[name]))
        values = some.values[name]
        # an interval of the share itself: of its gain over never
        one: Comparison = compare(name, np.zeros_like(values), values, some.documents, **how)
        rows[name] = {"share": one.after, "low": one.low, "high": one.high, "n": one.n}
        print(f"  {name} {percent(one.after)} {interval(one.low, one.high)}", file=sys.stderr)
    return rows


def measure(folder: Path, config: RunConfig, replies: Path | None) -> dict[str, Any]:
    """Train the generator, and measure what its threshold comes to."""
    how = {"resamples": config.evaluation.resamples, "seed": config.seed}
    with open_set(folder, config, replies, blind=True) as run:
        run.check()
        run.train()
        evaluator = run.evaluator
        figures: dict[str, Any] = {
            "training_seconds": run.train()["generator"].seconds,
            "shares": list(shares(evaluator)),
        }
        for way in WAYS:
            print(way, file=sys.stderr)
            always, after = (
                answer(evaluator, share, way) for share in (1.0, config.evaluation.answered_share)
            )
            rule = evaluator.citation_rule(_TUNED) or CitationRule()
            declined = evaluator.measure_declined(SYSTEM, _TUNED, rule)
            figures[way] = {
                "threshold": rule.threshold,
                "costs": costs(always, after, how),
                "said": said(after, how) | (said(declined, how) if declined else {}),
            }
    return figures


def measure_without(folder: Path, config: RunConfig, replies: Path | None) -> dict[str, float]:
    """The mean metrics of a generator that was trained with the right passages alone."""
    sets = config.training_sets
    most = sets.max_generator_rows and round(sets.max_generator_rows * (1 - sets.abstaining_share))
    sets = sets.model_copy(update={"abstaining_share": 0.0, "max_generator_rows": most})
    always = config.model_copy(update={"training_sets": sets})
    with open_set(folder, always, replies, blind=True) as run:
        run.train()
        evaluator = run.evaluator
        ranking = evaluator.rank("human", SYSTEM)
        most = always.evaluation.max_stack_questions
        found = evaluator.measure_end_to_end("human", SYSTEM, ranking, _TUNED, most)
    return {name: float(np.nanmean(found.values[name])) for name in COSTS}


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
    parser.add_argument("--replies", type=Path, help="where the teacher's replies are kept")
    parser.add_argument("--passages", type=int, help="the first so many documents of the set")
    parser.add_argument("--limit-questions", type=int, help="of each kind")
    parser.add_argument("--also-without", action="store_true", help="train another generator")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="keep the run folder here; run again to go on")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(argv)
    named = {name: getattr(options, name) for name in ("teacher", "generator")}
    chosen = {name: value for name, value in named.items() if value}
    replies = options.replies / f"{options.set}.jsonl.gz" if options.replies else None
    started = time.monotonic()
    try:
        config = load_config(
            "cpu", options.config, {**chosen, "parts": ("generator",), "seed": options.seed}
        )
        with tempfile.TemporaryDirectory() as temporary:
            out = options.out or Path(temporary)
            limits = (options.passages, options.limit_questions)
            sizes = cut_set(options.data / options.set, out, *limits)
            figures = measure(out, config, replies)
            if options.also_without:
                cut_set(options.data / options.set, out / "without", *limits)
                figures["without"] = measure_without(out / "without", config, replies)
    except AloftError as error:
        print(f"abstention: {error}", file=sys.stderr)
        return 2
    minutes = round((time.monotonic() - started) / 60, 1)
    tell("abstention.py", argv, options.json, **sizes, **figures, minutes=minutes)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
