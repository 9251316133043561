"""What the synthetic pairs are worth: parts trained on them, measured on human questions.

`measure_downstream` trains the same parts, by the same settings, on the pairs of the paper's
preset and on ours, with no more teacher tokens for ours than the paper's took. `measure_ablation`
trains the embedder with the usual filters, with none, with each of them left out, and with those
that are usually off.
"""

import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aloft.config import (
    FILTERS,
    FiltersConfig,
    RunConfig,
    check_config,
    load_config,
    read_run_config,
)
from aloft.errors import DataError
from aloft.evaluation.bootstrap import compare
from aloft.evaluation.pages.figures import interval, points
from aloft.evaluation.report import FunnelRow
from aloft.evaluation.systems import System
from aloft.records import to_json
from aloft.run.job import open_run, read_funnel
from aloft.terminal.progress import shown_progress

_PILOT = 48  # passages that tell what a pair costs
_DENSE = System("dense", "tuned", "none")
_RETRIEVAL = ("hit@10", "ndcg@10", "mrr@10")
Values = dict[str, tuple[NDArray[np.float64], Sequence[str]]]  # with their documents


def measure_downstream(folder: Path, config: RunConfig, file: Path | None) -> dict[str, Any]:
    """The paper's preset against the configuration, on the corpus and questions of a folder.

    Args:
        folder: Holds corpus/ and questions.jsonl; the runs are kept beside them.
        config: Ours; its models, parts and seed are the paper's too.
        file: TOML file laid over both presets: cutting, training and evaluation.
    """
    chosen = {
        name: getattr(config, name)
        for name in ("teacher", "generator", "embedder", "parts", "seed")
    }
    before, paper = _measure(folder, "paper", load_config("paper", file, chosen))
    cost = _cost_of_pair(folder, config)
    within = _within(paper["tokens"], cost, paper["passages"], config)
    after, ours = _measure(folder, "ours", within)
    comparisons = _compare(before, after, config)
    for row in comparisons:
        print(f"  {shown(row)}", file=sys.stderr)
    return {"paper": paper, "ours": ours, "comparisons": comparisons}


def measure_ablation(folder: Path, config: RunConfig) -> dict[str, Any]:
    """The embedder trained with the usual filters, with none, with one less and with one more.

    Pairs that `measure_downstream` had written in the folder are used again; what leaves the same
    pairs is not trained twice.
    """
    with suppress(DataError):
        config = read_run_config(folder / "ours")
    usual = FiltersConfig().use
    variants: dict[str, tuple[str, ...]] = {"the usual": usual, "none": ()}
    variants |= {f"without {n}": tuple(f for f in usual if f != n) for n in usual}
    variants |= {f"with {n}": (*usual, n) for n in FILTERS if n not in usual}
    measured: dict[frozenset[str], Values] = {}
    rows = []
    for variant, use in variants.items():
        changed = config.model_dump() | {"filters": {"use": use}, "parts": ("embedder",)}
        filtered = check_config(changed)
        with open_run(folder / "ours", filtered) as run:
            run.give(folder / "corpus", folder / "questions.jsonl")
            left = frozenset(pair.id for pair in run.records("filtered"))
        if left not in measured:
            measured[left], _ = _measure(folder, "ours", filtered)
        compared = _compare(next(iter(measured.values())), measured[left], config)
        rows.append({"variant": variant, "pairs": len(left), "comparisons": compared})
        print(f"  {variant:<24} {len(left):5d} pairs  {shown(compared[0])}", file=sys.stderr)
    return {"ablation": rows}


def _compare(before: Values, after: Values, config: RunConfig) -> list[dict[str, Any]]:
    """Each metric with its interval, question by question."""
    how = {"resamples": config.evaluation.resamples, "seed": config.seed}
    return [
        asdict(compare(metric, before[metric][0], values, documents, **how))
        for metric, (values, documents) in after.items()
    ]


def shown(row: Mapping[str, Any]) -> str:
    """A comparison, for a person."""
    gain = f"{points(row['gain'])} {interval(row['low'], row['high'])}"
    return f"{row['metric']} {100 * row['before']:.1f} -> {100 * row['after']:.1f}, {gain}"


def _measure(folder: Path, name: str, config: RunConfig) -> tuple[Values, dict[str, Any]]:
    """Values per human question, and what they took."""
    started = time.monotonic()
    with shown_progress() as progress, open_run(folder / name, config, progress=progress) as run:
        run.give(folder / "corpus", folder / "questions.jsonl")
        rows = {part: len(run.training_sets[part]) for part in config.parts}
        run.train()
        found = run.evaluator.measure_system("human", _DENSE)
        values = {metric: (found.values[metric], found.documents) for metric in _RETRIEVAL}
        if "generator" in config.parts:
            answered = run.evaluator.measure_answers("human", "tuned")["all"]
            for metric in ("citation accuracy", "answer f1"):
                values[metric] = answered.values[metric], answered.documents
        passages = len(run.records("passages"))
    funnel = {row.stage: row for row in read_funnel(folder / name)}
    return values, {
        "passages": passages,
        "tokens": _tokens(funnel),
        "teacher": {s: to_json(funnel[s])["teacher"] for s in ("ratings", "pairs")},
        "pairs": funnel["filters"].kept,
        "dropped": {s: funnel[s].dropped for s in ("ratings", "pairs", "filters")},
        "rows": rows,
        "seconds": round(time.monotonic() - started, 1),
    }


def _tokens(funnel: Mapping[str, FunnelRow]) -> int:
    """Tokens that the teacher was sent and wrote; what a cache spares is counted all the same."""
    usages = [usage for stage in ("ratings", "pairs") for usage in funnel[stage].teacher.values()]
    return sum((usage.tokens_in or 0) + (usage.tokens_out or 0) for usage in usages)


def _cost_of_pair(folder: Path, config: RunConfig) -> float:
    """Teacher tokens that one pair asked for takes, by a small run of its own."""
    pairs = config.pairs.model_copy(update={"max_passages": _PILOT, "per_passage": 1})
    pilot = folder / "pilot"
    with open_run(pilot, config.model_copy(update={"pairs": pairs})) as run:
        run.give(folder / "corpus")
        run.do("pairs")
        asked = len(run.records("ratings"))
    return _tokens({row.stage: row for row in read_funnel(pilot)}) / asked


def _within(budget: int, cost: float, passages: int, config: RunConfig) -> RunConfig:
    """The configuration that asks as many passages as often as the teacher's tokens allow."""
    count = config.pairs.per_passage or 8
    each = max(1, min(count, int(budget / (cost * passages))))
    asked = min(passages, int(budget / (cost * each)))
    pairs = config.pairs.model_copy(update={"per_passage": each, "max_passages": asked})
    print(f"  {cost:.0f} tokens a pair: {each} of each of {asked} passages", file=sys.stderr)
    return config.model_copy(update={"pairs": pairs})
