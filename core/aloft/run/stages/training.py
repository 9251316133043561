"""Trains the parts: each by its own rows, or by what was retrieved, as the strategy has it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from aloft.backends.loading import trained_on
from aloft.config import GRADED, EmbedderTrainingConfig, Part, RunConfig, plain_name
from aloft.config.strategies import Phase, phases_of, trained_before
from aloft.datasets.rows import retrieved_rows
from aloft.prompts.formats import format_of
from aloft.protocols import Prompt
from aloft.records import Artifact, EmbedderRow, RetrievedRow
from aloft.retrieval.dense import DenseIndex
from aloft.run.context import Context, Inputs
from aloft.run.federated_parts import is_federated
from aloft.run.stage import (
    Declaration,
    Fact,
    Folder,
    Model,
    Output,
    Records,
    Resources,
    Setup,
    To,
    stage,
)
from aloft.run.stages.passage_vectors import open_index
from aloft.run.stages.remined import uses_remined
from aloft.serving.bundle import CARRIED

_TRAINING = Resources(gpu=True, is_task=True, retries=10)
_VERSIONS: dict[Part, int] = {"embedder": 2, "reranker": 5}


def _outputs(*parts: Part, prefix: str = "", folder: str = "") -> dict[str, Output]:
    """The artifacts first, which is what is counted; then the folders."""
    records: dict[str, Output] = {
        f"{prefix}{part}_artifact": Records(Artifact, f"{folder}{part}.jsonl") for part in parts
    }
    return records | {f"{prefix}{part}": Folder(f"{folder}{part}") for part in parts}


def _phase(setup: Setup, *parts: Part) -> Phase | None:
    """The phase of a run's strategy that trains just these parts."""
    phases = phases_of(setup.config.strategy, setup.config.parts)
    return next((phase for phase in phases if phase.trains == parts), None)


def _by_rows(part: Part, *, is_local: bool) -> Callable[[Setup], bool]:
    def is_trained(setup: Setup) -> bool:
        phase = _phase(setup, part)
        by_rows = phase is not None and phase.by == "rows"
        return by_rows and is_federated(part)(setup) == is_local

    return is_trained


def _by_retrieval(*parts: Part) -> Callable[[Setup], bool]:
    return lambda setup: (phase := _phase(setup, *parts)) is not None and phase.by != "rows"


# ---- by rows


def rows_of(setup: Setup, part: Part) -> str:
    """The output whose rows a part is trained on."""
    return f"remined_{part}_rows" if uses_remined(setup, part) else f"{part}_rows"


def _row_inputs(part: Part) -> Callable[[Setup], tuple[str, ...]]:
    def inputs(setup: Setup) -> tuple[str, ...]:
        if part == "reranker" and setup.config.takes_body:
            return ("embedder",)
        rows = rows_of(setup, part)
        body = ("embedder",) if part == "reranker" and setup.config.starts_from_body else ()
        return (rows, *body)

    return inputs


def _bases(part: Part) -> Callable[[Setup], dict[str, Model]]:
    def models(setup: Setup) -> dict[str, Model]:
        config = setup.config
        if part == "embedder":
            found = {"base": Model(config.embedder, "weights")}
            if config.embedder_training.loss in GRADED and config.reranker is not None:
                found["reranker"] = Model(config.reranker, "reranker")
            return found
        if part == "reranker":
            if config.starts_from_body or config.takes_body:
                return {}
            return {"base": Model(config.reranker or config.embedder, "weights")}
        start = config.generator_training.init_adapter
        name = plain_name(config.generator_model)
        return {"base": Model(name, "weights", Path(start) if start else None)}

    return models


def _settings(part: Part) -> Callable[[RunConfig], dict[str, Any]]:
    def settings(config: RunConfig) -> dict[str, Any]:
        training = getattr(config, f"{part}_training")
        if part == "generator":  # an adapter counts by its weights, wherever it lies
            training = training.model_copy(update={"init_adapter": None})
        return {"training": training, "seed": config.seed}

    return settings


def _declare(part: Part, *, is_local: bool = False) -> Declaration:
    """A part trained here; of a federated one, what is weighed against the shared part."""
    prefix, folder = ("local_", "federation/local/") if is_local else ("", "")

    def train(context: Context, inputs: Inputs) -> Iterator[Any]:
        yield from _train_by_rows(part, context, inputs, context.run / f"{folder}{part}")

    return stage(
        name=f"{prefix}{part}",
        version=_VERSIONS.get(part, 1),
        group=part,
        doing=f"training the {part}",
        when=_by_rows(part, is_local=is_local),
        inputs=_row_inputs(part),
        output=_outputs(part, prefix=prefix, folder=folder),
        settings=_settings(part),
        models=_bases(part),
        resources=_TRAINING,
    )(train)


embedder, reranker, generator = _declare("embedder"), _declare("reranker"), _declare("generator")
local_embedder = _declare("embedder", is_local=True)
local_generator = _declare("generator", is_local=True)


def _train_by_rows(
    part: Part, context: Context, inputs: Inputs, folder: Path
) -> Iterator[Artifact | Fact]:
    from aloft import training as trainers

    training = context.settings["training"]
    names = [one for one in (f"remined_{part}_rows", f"{part}_rows") if one in inputs]
    if not names:
        body = trainers.take_body(inputs["embedder"], folder)
        yield replace(body, base_model=_described(context, part, body.base_model))
        return
    rows: Sequence[Any] = list(inputs[names[0]])
    base = str(inputs["embedder"]) if "embedder" in inputs else context.name("base")
    if part == "generator":
        start = context.adapter("base")
        training = training.model_copy(update={"init_adapter": str(start) if start else None})
    if part == "embedder":
        rows = graded(context, rows, training)
    context.release()
    train: Any = getattr(trainers, f"train_{part}")
    artifact: Artifact = train(
        rows,
        base,
        folder,
        training,
        seed=context.settings["seed"],
        checkpoints=context.scratch / "checkpoints",
        progress=context.progress,
    )
    yield replace(artifact, base_model=_described(context, part, base))
    yield Fact("rows", len(rows))


def _described(context: Context, part: Part, base: str) -> str:
    """What a part was trained from, for a reader of the report."""
    if base == str(context.run / "embedder"):
        return "the tuned embedder's body"
    is_carried = Path(base).is_relative_to(context.run / CARRIED)
    return f"the previous run's {part}" if is_carried else base


def graded(
    context: Context, rows: Sequence[EmbedderRow], training: EmbedderTrainingConfig
) -> Sequence[EmbedderRow]:
    """The rows, for a loss that asks for them with the untuned reranker's scores, in [0, 1]."""
    if training.loss not in GRADED:
        return rows
    shown = [(row.positive, *row.negatives) for row in rows]
    texts = [(row.anchor, text) for row, some in zip(rows, shown, strict=True) for text in some]
    scores = context.reranker(label="reranking (base reranker)").score(texts)
    if scores.min() < 0 or scores.max() > 1:  # some rerankers return logits
        scores = (1 / (1 + np.exp(-scores))).astype(np.float32)
    ends = np.cumsum([len(some) for some in shown])[:-1]
    both = zip(rows, np.split(scores, ends), strict=True)
    return [replace(row, grades=tuple(some.tolist())) for row, some in both]


# ---- by what is retrieved


def _retrieval_inputs(*parts: Part) -> Callable[[Setup], tuple[str, ...]]:
    def inputs(setup: Setup) -> tuple[str, ...]:
        phases = phases_of(setup.config.strategy, setup.config.parts)
        before = trained_before(parts[0], phases)
        return ("train_pairs", "generator_rows", "passages", "passage_vectors", *before)

    return inputs


def _retrieval_models(setup: Setup) -> dict[str, Model]:
    config = setup.config
    start = config.generator_training.init_adapter
    generator = plain_name(config.generator_model)
    return {
        "embedder": Model(config.embedder, "embedder"),
        "generator": Model(generator, "generator", Path(start) if start else None),
    }


def _retrieval_settings(config: RunConfig) -> dict[str, Any]:
    generator = config.generator_training.model_copy(update={"init_adapter": None})
    phases = phases_of(config.strategy, config.parts)
    return {
        "phases": [asdict(phase) for phase in phases if phase.by != "rows"],
        "rag_training": config.rag_training,
        "embedder_training": config.embedder_training,
        "generator_training": generator,
        "training_sets": config.training_sets,
        "seed": config.seed,
    }


def _declare_by_retrieval(name: str, *parts: Part) -> Declaration:
    def train(context: Context, inputs: Inputs) -> Iterator[Any]:
        yield from _train_by_retrieval(parts, context, inputs)

    return stage(
        name=name,
        version=2,
        group=parts[0],
        doing=f"training the {' and '.join(parts)}",
        when=_by_retrieval(*parts),
        inputs=_retrieval_inputs(*parts),
        output=_outputs(*parts),
        settings=_retrieval_settings,
        models=_retrieval_models,
        resources=_TRAINING,
    )(train)


retrieving_embedder = _declare_by_retrieval("embedder_by_answers", "embedder")
retrieving_generator = _declare_by_retrieval("generator_by_answers", "generator")
both = _declare_by_retrieval("embedder_and_generator", "embedder", "generator")


def _train_by_retrieval(
    parts: tuple[Part, ...], context: Context, inputs: Inputs
) -> Iterator[Artifact | To | Fact]:
    """Train parts by a loss over what the untuned embedder retrieves."""
    phase = next(
        Phase(tuple(one["trains"]), one["by"])
        for one in context.settings["phases"]
        if tuple(one["trains"]) == parts
    )
    index = open_index(inputs)
    rows = _retrieved(context, inputs, index)
    if "generator" not in parts:
        rows = _with_likelihoods(context, inputs, rows)
    context.release()
    from aloft import training as trainers

    config = _config_of(context)
    artifacts = trainers.train_rag(
        rows,
        index.vectors,
        phase,
        config,
        context.run,
        checkpoints=context.scratch / "checkpoints",
        progress=context.progress,
    )
    for artifact in artifacts:
        named = _described(context, artifact.kind, artifact.base_model)
        yield To(f"{artifact.kind}_artifact", replace(artifact, base_model=named))
    yield Fact("rows", len(rows))


def _config_of(context: Context) -> RunConfig:
    """A configuration of what this training depends on, and of nothing else."""
    settings = dict(context.settings)
    del settings["phases"]
    start = context.adapter("generator")
    settings["generator_training"] = settings["generator_training"].model_copy(
        update={"init_adapter": str(start) if start else None}
    )
    name = context.name("generator")
    return RunConfig.model_construct(
        teacher=name, generator=name, embedder=context.name("embedder"), **settings
    )


def _retrieved(context: Context, inputs: Inputs, index: DenseIndex) -> list[RetrievedRow]:
    """The pairs that the generator has rows of, with what the untuned embedder finds."""
    settings = context.settings
    sets = settings["training_sets"]
    answered = {row.pair_id for row in inputs["generator_rows"]}
    asked = [pair for pair in inputs["train_pairs"] if pair.id in answered]
    queries = context.encode("queries", [pair.question for pair in asked])
    ranking = index.rank(queries, settings["rag_training"].k)
    form = format_of(sets.format, abstains=sets.abstains)
    rows = retrieved_rows(asked, ranking, inputs["passages"], form)
    return [
        replace(row, windows=tuple(index.best_windows(query, row.columns)))
        for row, query in zip(rows, queries, strict=True)
    ]


def _with_likelihoods(
    context: Context, inputs: Inputs, rows: Sequence[RetrievedRow]
) -> list[RetrievedRow]:
    """The rows with the likelihood of their answers from each passage, as the generator has it."""
    label = "reading answers by passage"
    trained = None
    if "generator" in inputs:
        trained = trained_on(context.name("generator"), inputs["generator"])
    model = context.generator("generator", label=label, trained=trained)
    places = [(row, i) for row, one in enumerate(rows) for i in range(len(one.columns))]
    # prompts about one passage begin alike: next to each other they are read once
    places.sort(key=lambda place: rows[place[0]].columns[place[1]])
    logs = model.token_logprobs(
        [Prompt(messages=rows[n].prompts[i], prefix=rows[n].prefix) for n, i in places],
        [rows[n].answer for n, _ in places],
    )
    known = {place: tuple(some) for place, some in zip(places, logs, strict=True)}
    return [
        replace(row, logs=tuple(known[n, i] for i in range(len(row.columns))))
        for n, row in enumerate(rows)
    ]
