"""Trains the embedder with fewer pairs, to see whether more documents would help."""

from collections import ChainMap
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from aloft.config.strategies import Phase, phases_of
from aloft.evaluation.gate import METRICS
from aloft.evaluation.learning import SHARES, LearningPoint, draw_rows, points_to_json
from aloft.run.context import Context, Inputs
from aloft.run.federated_parts import with_expected
from aloft.run.stage import Fact, Model, Resources, Setup, To, Value, stage
from aloft.run.stages.evaluate import ASKED, Sources, base_models, build_evaluator
from aloft.run.stages.training import graded


def _is_wanted(setup: Setup) -> bool:
    phases = phases_of(setup.config.strategy, setup.config.parts)
    return setup.config.evaluation.learning_curve and Phase(("embedder",), "rows") in phases


def _models(setup: Setup) -> dict[str, Model]:
    return base_models(setup) | {"base": Model(setup.config.embedder, "weights")}


@stage(
    name="learning_curve",
    version=3,
    doing="training with fewer pairs",
    when=_is_wanted,
    inputs=partial(
        with_expected,
        inputs=(*ASKED, "train_pairs", "embedder_rows", "embedder"),
    ),
    output={"learning_points": Value("work/stages/learning_curve.json", list[LearningPoint])},
    settings=lambda config: {
        "evaluation": config.evaluation,
        "training_sets": config.training_sets,
        "training": config.embedder_training,
        "seed": config.seed,
        "window_tokens": config.passages.window_tokens,
        "keeps_index": config.embedder_training.keeps_index,
        "untuned_body": config.reranker is None,
        "takes_body": config.takes_body,
    },
    models=_models,
    resources=Resources(gpu=True, retries=10),
)
def learning_curve(context: Context, part: Inputs) -> Iterator[To | Fact]:
    """The gain of the stack with a quarter, half and all of the pairs.

    Each embedder is trained anew with the run's settings, its body reranks where that of the run's
    does, and what is chosen with questions is chosen anew too. A quarter is part of the half.
    """
    from aloft.training import train_embedder

    pairs, seed = list(part["train_pairs"]), context.settings["seed"]
    rows = graded(context, list(part["embedder_rows"]), context.settings["training"])
    points: list[LearningPoint] = []
    for share in SHARES:
        count, some = draw_rows(rows, pairs, share, seed=seed)
        folder = context.scratch / f"{count}"
        if share == 1:
            folder = part["embedder"]
        elif not folder.exists():
            context.release()
            train_embedder(
                some,
                context.name("base"),
                folder,
                context.settings["training"],
                seed=seed,
                checkpoints=context.scratch / "checkpoints",
                progress=context.progress,
            )
        points += _measure(context, part, folder, count)
    yield To("learning_points", points_to_json(points))
    yield Fact("kept", len(points))


def _measure(context: Context, part: Inputs, folder: Path, pairs: int) -> Iterator[LearningPoint]:
    """The gain of a stack with an embedder over nothing tuned, on each question set."""
    tuned = {"embedder": folder, "reranker": folder}  # the latter where its body reranks
    known: Mapping[str, Any] = ChainMap(tuned, part)  # type: ignore[arg-type] # read by name alone
    evaluator = build_evaluator(context, known, Sources(context, known))
    stacks = evaluator.system_of(()), evaluator.with_embedder
    for name in evaluator.questions:
        sides = (evaluator.measure_system(name, system) for system in stacks)
        for gain in evaluator.compare(*sides):
            if gain.metric == METRICS["embedder"]:
                yield LearningPoint(question_set=name, pairs=pairs, gain=gain)
