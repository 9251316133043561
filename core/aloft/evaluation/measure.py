"""Turns an evaluator and the trained parts into every row of the report, judged and stacked."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from aloft.config import Part, RunConfig
from aloft.evaluation.answer_metrics import NO_GAINS
from aloft.evaluation.bootstrap import Comparison
from aloft.evaluation.evaluator import Evaluator, Measured, System, SystemVariant, Values, means_of
from aloft.evaluation.forgetting import FOLLOWED, TEXTS, measure_ability
from aloft.evaluation.gate import Verdict
from aloft.evaluation.probes import probe

_GENERATORS = ("base", "tuned")


def measure_parts(
    evaluator: Evaluator, config: RunConfig, trained: Sequence[Part]
) -> dict[str, Any]:
    """Measure every part before and after, judge it, and stack what was kept."""
    embedders = ["base", *(["tuned"] if "embedder" in trained else [])]
    own = ["base"] if config.reranker else []
    rerankers = [*own, *(["tuned"] if "reranker" in trained else [])]
    retrieval = evaluator.measure_retrieval(embedders, rerankers)
    found = {(m.question_set, m.system): m.values for m in retrieval}
    names = list(evaluator.questions)
    comparisons: list[dict[str, Any]] = []
    verdicts: list[Verdict] = []

    def judge(part: Part, before: dict[str, Any], after: dict[str, Any]) -> None:
        verdicts.append(evaluator.judge(part, before, after))
        for name in names:
            known = {metric: v for metric, v in before[name].items() if metric not in NO_GAINS}
            gains = evaluator.compare_values(known, after[name])
            comparisons.extend({"part": part, "question_set": name, **asdict(c)} for c in gains)

    if "embedder" in trained:
        dense = {w: {n: found[n, System("dense", w, "none")] for n in names} for w in embedders}
        judge("embedder", dense["base"], dense["tuned"])
        lexical = {n: found[n, System("bm25", "none", "none")] for n in names}
        hybrid = {n: found[n, System("hybrid", "tuned", "none")] for n in names}
        for name in names:
            gains = evaluator.compare_values(lexical[name], hybrid[name])
            comparisons.extend(
                {"part": "tuned hybrid over BM25", "question_set": name, **asdict(c)} for c in gains
            )
    kept: list[Part] = [verdict.part for verdict in verdicts if verdict.is_kept]
    if "reranker" in trained:
        first = evaluator.best_retriever("tuned" if "embedder" in kept else "base")
        without = replace(first, reranker="base" if own else "none")
        tuned = replace(first, reranker="tuned")
        judge(
            "reranker",
            {n: found[n, without] for n in names},
            {n: found[n, tuned] for n in names},
        )
    answers: list[Measured] = []
    beside: dict[str, Any] = {}
    if "generator" in trained:
        answers, both = _measure_answers(evaluator)
        judge("generator", both["base"], both["tuned"])
        beside = _measure_beside(evaluator)
    kept = [verdict.part for verdict in verdicts if verdict.is_kept]
    stacks = evaluator.measure_stacks(
        kept, "base" if own else "none", has_generator="generator" in trained
    )
    return {
        "retrieval": retrieval,
        "answers": answers,
        "comparisons": comparisons,
        "verdicts": verdicts,
        "stacks": stacks,
        **beside,
    }


def _measure_answers(evaluator: Evaluator) -> tuple[list[Measured], dict[str, dict[str, Values]]]:
    """Rows of the report, and by generator and question set the values of all questions."""
    found = {
        (generator, name): evaluator.measure_answers(name, generator)
        for generator in _GENERATORS
        for name in evaluator.questions
    }
    rows: list[Measured] = []
    both: dict[str, dict[str, Values]] = {generator: {} for generator in _GENERATORS}
    for (generator, name), parted in found.items():  # all are asked before the one is to read
        grounded = evaluator.measure_grounding(name, generator) if evaluator.form.cites else {}
        for label, measured in parted.items():
            values = {**measured.values, **grounded.get(label, {})}
            row = replace(measured, system=f"{generator}, {label}", values=values)
            rows += [row] if row.n else []
            if label == "all":
                both[generator][name] = values
    return rows, both


def _measure_beside(evaluator: Evaluator) -> dict[str, Any]:
    """What is measured of generators beside their answers, and decides nothing."""
    probes: list[dict[str, Any]] = []
    abilities = []
    for generator in _GENERATORS:
        if evaluator.config.probes:
            probes += probe(evaluator, generator)
        abilities.append(
            measure_ability(partial(evaluator.reply, generator), partial(evaluator.read, generator))
        )
    before, after = abilities
    values = {FOLLOWED: before.followed}, {FOLLOWED: after.followed}
    (followed,) = evaluator.compare_values(*values)
    return {
        "probes": probes,
        "ability": {
            "perplexity": {"before": before.perplexity, "after": after.perplexity, "n": len(TEXTS)},
            "instructions": asdict(followed),
        },
    }


def as_json(
    row: Measured | Comparison | Verdict | SystemVariant | dict[str, Any],
) -> dict[str, Any]:
    """A row as JSON types; values per question become their means."""
    if isinstance(row, dict):
        return row
    if isinstance(row, Measured):
        system = asdict(row.system) if isinstance(row.system, System) else {"generator": row.system}
        return {
            "question_set": row.question_set,
            **system,
            "weight": row.weight,
            "n": row.n,
            "metrics": means_of(row.values),
        }
    return asdict(row)
