"""Makes of what a federation trained the part that is best at this site."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from aloft.backends.fingerprint import fingerprint_folder
from aloft.config import Part
from aloft.evaluation.federated import LOCAL, Choice, choose_candidate
from aloft.files import link, write_folder
from aloft.records import Artifact
from aloft.run.context import Context, Inputs
from aloft.run.federated_parts import is_federated, weights_file, with_expected
from aloft.run.stage import (
    Declaration,
    Fact,
    Folder,
    Model,
    Records,
    Resources,
    Setup,
    To,
    Value,
    stage,
)
from aloft.run.stages.evaluate import ASKED, Sources, build_evaluator, measuring
from aloft.training.shared_weights import read_weights

GLOBAL, BLEND = "global", "blend"
CHOICE = "choice"


def _settings(part: Part) -> Callable[[Any], Mapping[str, Any]]:
    return lambda config: {
        "training": getattr(config, f"{part}_training"),
        **measuring(config),
        "takes_body": False,  # candidates are compared without reranking
    }


def _models(part: Part) -> Callable[[Setup], Mapping[str, Model]]:
    def models(setup: Setup) -> dict[str, Model]:
        found = {"embedder": Model(setup.config.embedder, "embedder")}
        if part == "generator":
            found["generator"] = Model(setup.config.generator_model, "generator")
        return found

    return models


def _declare(part: Part) -> Declaration:
    def choose(context: Context, inputs: Inputs) -> Iterator[Any]:
        yield from _choose(part, context, inputs)

    return stage(
        name=f"federated_{part}",
        version=1,
        group=part,
        doing=f"choosing the {part}",
        when=is_federated(part),
        inputs=partial(
            with_expected,
            inputs=(f"local_{part}_artifact", f"local_{part}", *ASKED),
        ),
        files=(weights_file(part),),
        output={
            f"{part}_artifact": Records(Artifact, f"{part}.jsonl"),
            part: Folder(part),
            f"{part}_{CHOICE}": Value(f"federation/{part}-choice.json", Choice),
        },
        settings=_settings(part),
        models=_models(part),
        resources=Resources(gpu=True),
    )(choose)


federated_embedder, federated_generator = _declare("embedder"), _declare("generator")


def _choose(part: Part, context: Context, inputs: Inputs) -> Iterator[Artifact | To | Fact]:
    """The site's own part, the shared one or their average, whichever its questions prefer."""
    from aloft.training.federated import save_blend, save_shared

    base, training = context.name(part), context.settings["training"]
    weights = read_weights(context.run / weights_file(part))
    folders: dict[str, Path] = {LOCAL: inputs[f"local_{part}"]}
    folders |= {name: context.scratch / name for name in (BLEND, GLOBAL)}
    if not folders[GLOBAL].exists():
        save_shared(base, training, weights.tensors, folders[GLOBAL])
    if not folders[BLEND].exists():
        save_blend(base, training, [folders[LOCAL], folders[GLOBAL]], folders[BLEND])
    evaluator = build_evaluator(context, inputs, Candidates(context, inputs, folders))
    choice = choose_candidate(evaluator, part, list(folders))
    context.release()
    ships = context.run / part
    write_folder(ships, partial(_copy, folders[choice.chosen]))
    (local,) = inputs[f"local_{part}_artifact"]
    described = f"{local.base_model}, {_ORIGINS[choice.chosen]}"
    yield replace(local, path=part, base_model=described, fingerprint=fingerprint_folder(ships))
    yield To(f"{part}_{CHOICE}", asdict(choice))
    yield Fact("kept", 1)


_ORIGINS = {
    LOCAL: "trained here alone",
    GLOBAL: "trained by the federation",
    BLEND: "the average of what was trained here and by the federation",
}


def _copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target, copy_function=link, dirs_exist_ok=True)


class Candidates(Sources):
    """The untuned parts, and the candidates of one part by their names."""

    def __init__(self, context: Context, part: Inputs, folders: Mapping[str, Path]) -> None:
        super().__init__(context, part)
        self._candidates = folders

    def _folder(self, name: Part, which: str) -> Path | None:
        return self._candidates.get(which)
