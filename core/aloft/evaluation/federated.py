"""Chooses what a site ships of a federation: its own part, the shared one, or their average."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from aloft.config import Part
from aloft.evaluation.bootstrap import Comparison, compare
from aloft.evaluation.evaluator import Evaluator
from aloft.evaluation.gate import METRICS
from aloft.evaluation.systems import Measured, System

LOCAL = "local"
BySet = Mapping[str, Measured]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a site ships of one part, and what it gains over training alone.

    Attributes:
        chosen: Name of a candidate.
        reason: In words, with the figures.
        question_set: The set that decides.
        metric: By which candidates are compared.
        values: The metric's mean on that set, by candidate.
        over_local: The metric with the site's own part and, for each question, with the candidate
            that is best on the other folds; None where it applies to no question.
    """

    chosen: str
    reason: str
    question_set: str
    metric: str
    values: Mapping[str, float]
    over_local: Comparison | None


_CHOICE = TypeAdapter(Choice)


def choice_from_json(values: Mapping[str, Any]) -> Choice:
    """A choice from its values as JSON types."""
    return _CHOICE.validate_python(values)


def choose_candidate(evaluator: Evaluator, part: Part, candidates: Sequence[str]) -> Choice:
    """Judge each candidate against the site's own part as the gate judges a part.

    Args:
        evaluator: Of the site's questions; it knows the candidates by their names.
        part: "embedder" or "generator".
        candidates: Their names; `LOCAL` is among them, and ships unless another one passes.

    Returns:
        Of those that pass, the one with the highest metric.
    """
    measure = _measure_embedder if part == "embedder" else _measure_generator
    found = {name: measure(evaluator, name) for name in candidates}
    deciding, metric = evaluator.deciding, METRICS[part]
    values = {
        name: measured[0][deciding].values.get(metric, np.array([], float))
        for name, measured in found.items()
    }
    means = {name: float(np.nanmean(one)) for name, one in values.items() if np.isfinite(one).any()}
    chosen, reason = LOCAL, "no other is better on the site's own questions"
    for name in candidates:
        if name == LOCAL:
            continue
        verdict = evaluator.judge(part, found[LOCAL][0], found[name][0], _sides(found, name))
        if verdict.is_kept and means[name] > means[chosen]:
            chosen, reason = name, verdict.reason
    return Choice(
        chosen=chosen,
        reason=reason,
        question_set=deciding,
        metric=metric,
        values=means,
        over_local=_over_local(evaluator, part, values, found[LOCAL][0][deciding]),
    )


def _sides(found: Mapping[str, Sequence[BySet]], name: str) -> list[BySet]:
    """What judges a candidate by itself, before and after; empty of a generator."""
    return [found[LOCAL][1], found[name][1]] if len(found[name]) > 1 else []


def _measure_embedder(evaluator: Evaluator, name: str) -> list[BySet]:
    """Retrieval beside BM25, by which it is judged, and by itself."""
    systems = System("hybrid", name, "none"), System("dense", name, "none")
    return [
        {sets: evaluator.measure_system(sets, system) for sets in evaluator.questions}
        for system in systems
    ]


def _measure_generator(evaluator: Evaluator, name: str) -> list[BySet]:
    """Answers from what the untuned embedder finds beside BM25."""
    most = evaluator.config.max_stack_questions
    sets = sorted(evaluator.questions, key=lambda one: one != evaluator.deciding)
    system = System("hybrid", "base", "none")
    return [
        {
            one: evaluator.measure_end_to_end(one, system, evaluator.rank(one, system), name, most)
            for one in sets
        }
    ]


def _over_local(
    evaluator: Evaluator,
    part: Part,
    values: Mapping[str, NDArray[np.float64]],
    local: Measured,
) -> Comparison | None:
    """What choosing gains where no question takes part in its own choice."""
    name, most = evaluator.deciding, evaluator.config.max_stack_questions
    rows = list(range(local.n)) if part == "embedder" else evaluator.chosen(name, most)
    table = np.stack(list(values.values()))
    if table.shape[1] != len(rows) or not np.isfinite(table).any():
        return None
    crossed = table[list(values).index(LOCAL)].copy()
    for fold in evaluator.splits[name].folds:
        choosing, reported = np.isin(rows, fold.choosing), np.isin(rows, fold.reported)
        if np.isfinite(table[:, choosing]).any(axis=1).all():
            best = int(np.nanmean(table[:, choosing], axis=1).argmax())
            crossed[reported] = table[best, reported]
    before = values[LOCAL]
    both = np.isfinite(before) & np.isfinite(crossed)
    documents = local.among(both).documents
    how = {"resamples": evaluator.config.resamples, "seed": evaluator.seed}
    return compare(METRICS[part], before[both], crossed[both], documents, **how)
