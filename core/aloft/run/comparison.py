"""Turns one corpus into a table of the strategies: trained on the same pairs, measured alike.

What comes before training is done once, in the folder `base`; each strategy then has a run folder
of its own, which is an ordinary one: `aloft evaluate` goes on with it, and ships what helps.
"""

import json
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from aloft.config import Part, RunConfig, check_config
from aloft.config.strategies import Strategy, needed_by
from aloft.errors import RunFolderError
from aloft.evaluation.pages.figures import interval, points
from aloft.evaluation.systems import Measured, System, means_of
from aloft.files import link, write_atomically, write_folder, write_text
from aloft.machine import describe_machine
from aloft.protocols import Progress, no_progress
from aloft.run.job import OpenRun, open_run, read_funnel
from aloft.run.stages.questions import FILE as QUESTIONS

METRICS = {
    "EM": "answer exact match",
    "F1": "answer f1",
    "recall@5": "recall@5",
    "nDCG@10": "ndcg@10",
}
_BASE = "base"
_TRAINING = ("embedder", "remined", "generator")
_NONE = "–"
HEADER = ("strategy", *METRICS, "minutes")


def compare_strategies(  # noqa: PLR0913 - those of the command
    documents: Path,
    out: Path,
    config: RunConfig,
    strategies: Sequence[Strategy],
    questions: Path | None = None,
    progress: Progress = no_progress,
    *,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Train by each strategy, measure, and write compare.json and compare.md.

    All train questions alone of the embedder, and the generator to answer without citations. The
    answers are those to what the embedder alone retrieves, the first `training_sets.contexts`
    passages in one prompt.

    Args:
        documents: A folder or file.
        out: Folder of run folders; run again to go on.
        config: Of all runs; each strategy has its parts and what it needs set for it.
        strategies: Their names, in the order of the table.
        questions: The user's own labelled questions.
        progress: Told what is done.
        overwrite: Whether a comparison on other documents may be replaced.

    Returns:
        The content of compare.json: per row "strategy", "minutes" of training, "metrics" and
        "gains" over what is untrained, with 95 % intervals.

    Raises:
        RunFolderError: `out` is the folder of a run.
        AloftError: something else that the user can put right.
    """
    if (out / "manifests").exists():
        raise RunFolderError(f"{out} is the folder of a run. Choose another --out.")
    configs = {name: config_for(config, name) for name in strategies}
    with open_run(out / _BASE, config_for(config, "independent"), progress=progress) as run:
        run.give(documents, questions, overwrite=overwrite)
        run.check()
        run.do("sets")
        before = _measure(run, trained=())
        facts = {"questions": run.evaluator.deciding, "pairs": len(run.records("train_pairs"))}
    rows: list[dict[str, Any]] = [{"strategy": _BASE, "metrics": _means(before)}]
    settings = {"config": config.model_dump(mode="json"), "machine": describe_machine()}
    compared = {**facts, "rows": rows, **settings}
    for name, own in configs.items():
        _share(out / _BASE, out / name, own)
        with open_run(out / name, progress=progress) as run:
            after = _measure(run, trained=tuple(run.train()))
            pairs = zip(before, after, strict=True)
            gains = [gain for pair in pairs for gain in run.evaluator.compare(*pair)]
        rows.append(
            {
                "strategy": name,
                "metrics": _means(after),
                "gains": [asdict(gain) for gain in gains if gain.metric in METRICS.values()],
                "minutes": round(_seconds(out / name) / 60, 2),
            }
        )
        _write(out, compared)
    return compared


def _write(out: Path, compared: Mapping[str, Any]) -> None:
    """The table as far as it goes: what is stopped half-way leaves one."""
    text = json.dumps(compared, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(out / "compare.json", text + "\n")
    write_text(out / "compare.md", render_comparison(compared))


def config_for(config: RunConfig, strategy: Strategy) -> RunConfig:
    """The configuration with all that a strategy needs, and what all are to have in common."""
    embedder = config.embedder_training
    common = {"loss": "contrastive", "matryoshka": ()}
    trains = embedder.method if embedder.keeps_index else "query_lora"
    parts = needed_by(strategy) or ("embedder", "generator")
    return check_config(
        config.model_dump()
        | {
            "strategy": strategy,
            "parts": parts,
            "embedder_training": embedder.model_dump() | common | {"method": trains},
            "training_sets": config.training_sets.model_dump() | {"format": "ralt"},
        }
    )


def _share(base: Path, folder: Path, config: RunConfig) -> None:
    """Give a strategy's folder what came before training, anew where that has changed."""
    known = [path / "manifests" / "sets.json" for path in (base, folder)]
    if not known[1].exists() or known[0].read_bytes() != known[1].read_bytes():
        write_folder(folder, partial(_copy_run, base))
    write_text(folder / "config.json", config.model_dump_json(indent=2) + "\n")
    asked = base / QUESTIONS
    if asked.exists():
        write_atomically(folder / QUESTIONS, lambda temporary: _copy_file(asked, temporary))
    else:
        (folder / QUESTIONS).unlink(missing_ok=True)


def _copy_file(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)


def _copy_run(source: Path, target: Path) -> None:
    def copy(one: str, other: str) -> None:
        # the cache grows in place; everything else is replaced whole, and may be shared
        (shutil.copy2 if ".sqlite" in Path(one).name else link)(one, other)

    ignored = shutil.ignore_patterns(".lock")
    shutil.copytree(source, target, ignore=ignored, copy_function=copy, dirs_exist_ok=True)


def _measure(run: OpenRun, trained: Collection[Part]) -> tuple[Measured, Measured]:
    """Retrieval and answers, on the questions of the set that decides."""
    name = run.evaluator.deciding
    embedder, generator = (
        "tuned" if part in trained else "base" for part in ("embedder", "generator")
    )
    system = System("dense", embedder, "none")
    most = run.config.evaluation.max_answer_questions
    ranking = run.evaluator.rank(name, system)
    found = run.evaluator.measure_ranking(name, ranking)
    return found, run.evaluator.measure_end_to_end(name, system, ranking, generator, most)


def _means(measured: tuple[Measured, Measured]) -> dict[str, float]:
    found = means_of(measured[0].values) | means_of(measured[1].values)
    return {metric: found[metric] for metric in METRICS.values() if metric in found}


def _seconds(folder: Path) -> float:
    """What training took, with the negatives that were mined for it on the way."""
    return sum(row.seconds for row in read_funnel(folder) if row.stage in _TRAINING)


def rows_of(compared: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The table's rows, for a person: strategy, a cell for each of `METRICS`, minutes."""
    rows = []
    for row in compared["rows"]:
        gains = {gain["metric"]: gain for gain in row.get("gains", ())}
        cells = [_cell(row["metrics"].get(m), gains.get(m)) for m in METRICS.values()]
        rows.append((row["strategy"], *cells, f"{row['minutes']:.1f}" if gains else _NONE))
    return rows


def _cell(value: float | None, gain: Mapping[str, Any] | None) -> str:
    if value is None:
        return _NONE
    if gain is None:
        return f"{100 * value:.1f}"
    change = f"{points(gain['gain'])} {interval(gain['low'], gain['high'])}"
    return f"{100 * value:.1f} ({change})"


def describe_comparison(compared: Mapping[str, Any]) -> str:
    """What was measured, in a sentence or two."""
    gains = [gain for row in compared["rows"] for gain in row.get("gains", ())]
    counts = {gain["metric"]: gain["n"] for gain in gains}
    asked, answered = (counts.get(METRICS[name], 0) for name in ("recall@5", "F1"))
    return (
        f"{asked} {compared['questions']} questions, {answered} of them answered; percent, and in "
        "brackets the gain over base with its 95 % interval (paired bootstrap). recall@5: the "
        "share of the right passages that is among the first five. nDCG@10: how high they stand, "
        "by which an embedder is judged before it ships. EM, F1: answers to what was "
        f"retrieved. Minutes are those of training, on {compared['pairs']} pairs."
    )


def render_comparison(compared: Mapping[str, Any]) -> str:
    """The table as Markdown."""
    lines = [HEADER, ("---",) * len(HEADER), *rows_of(compared)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"# Strategies compared\n\n{describe_comparison(compared)}\n\n{table}\n"
