"""Puts what ships into one folder."""

from collections.abc import Iterator
from typing import Any

from aloft.config import PassagesConfig, RunConfig
from aloft.evaluation.report import measurements_from_json
from aloft.run.context import Context, Inputs
from aloft.run.stage import Fact, Folder, stage
from aloft.run.stages.evaluate import base_models, trained_parts
from aloft.run.warm_start import STATE
from aloft.serving.bundle import write_bundle


def _names(config: RunConfig) -> dict[str, Any]:
    return {
        "teacher": config.teacher,
        "embedder": config.embedder,
        "generator": config.generator,
        "reranker": config.reranker,
        "earlier": config.earlier,
    }


@stage(
    name="bundle",
    version=2,
    group="evaluate",
    doing="writing what ships",
    inputs=lambda setup: ("measured", *trained_parts(setup)),
    files=(STATE,),
    output=Folder("models"),
    settings=lambda config: {
        "names": _names(config),
        "window_tokens": config.passages.window_tokens,
        "training_sets": config.training_sets,
        "evaluation": config.evaluation,
    },
    models=base_models,
)
def bundle(context: Context, part: Inputs) -> Iterator[Fact]:
    """The parts of the best variant, and how they were measured."""
    settings = dict(context.settings)
    passages = PassagesConfig(window_tokens=settings.pop("window_tokens"))
    config = RunConfig.model_construct(**settings.pop("names"), passages=passages, **settings)
    shipped = measurements_from_json(part["measured"]).shipped
    if shipped is not None:
        write_bundle(context.run, config, shipped)
    yield Fact("kept", 0)
