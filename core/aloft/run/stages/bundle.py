"""Puts what ships into one folder."""

from collections.abc import Iterator, Mapping
from typing import Any

from aloft.config import PassagesConfig, RunConfig
from aloft.evaluation.report import measurements_from_json
from aloft.run.context import Context, Inputs
from aloft.run.stage import Fact, Folder, stage
from aloft.run.stages.evaluate import base_models, trained_parts
from aloft.run.warm_start import STATE
from aloft.serving.bundle import write_bundle


def _models(config: RunConfig) -> dict[str, Any]:
    """Which models there are, and which of them were trained in which order."""
    return {
        "teacher": config.teacher,
        "embedder": config.embedder,
        "generator": config.generator,
        "reranker": config.reranker,
        "earlier": config.earlier,
        "parts": config.parts,
        "strategy": config.strategy,
    }


def settings_of(config: RunConfig) -> dict[str, Any]:
    """What a bundle depends on."""
    return {
        "models": _models(config),
        "window_tokens": config.passages.window_tokens,
        "training_sets": config.training_sets,
        "embedder_training": config.embedder_training,
        "reranker_training": config.reranker_training,
        "evaluation": config.evaluation.decisive,
    }


def config_of(settings: Mapping[str, Any]) -> RunConfig:
    """A configuration of what `settings_of` names, and of nothing else."""
    further = dict(settings)
    passages = PassagesConfig(window_tokens=further.pop("window_tokens"))
    return RunConfig.model_construct(**further.pop("models"), passages=passages, **further)


@stage(
    name="bundle",
    version=2,
    group="evaluate",
    doing="writing what ships",
    inputs=lambda setup: ("measured", *trained_parts(setup)),
    files=(STATE,),
    output=Folder("models"),
    settings=settings_of,
    models=base_models,
)
def bundle(context: Context, part: Inputs) -> Iterator[Fact]:
    """The parts of the best variant, and how they were measured."""
    shipped = measurements_from_json(part["measured"]).shipped
    if shipped is not None:
        write_bundle(context.run, config_of(context.settings), shipped)
    yield Fact("kept", 0)
