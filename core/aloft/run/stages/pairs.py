"""Drops pairs whose question names nothing of its own or that are rated low; composes others."""

from collections.abc import Iterator

from aloft.errors import DataError
from aloft.records import QAPair, Rejection
from aloft.run.context import Context, Inputs
from aloft.run.stage import Fact, Model, Records, Resources, Setup, by_record, stage
from aloft.run.stages.definitions import composes
from aloft.run.stages.marks import AT_ONCE
from aloft.synthesis.composition import compose_pairs
from aloft.synthesis.pairs import drop_repeated_questions
from aloft.synthesis.rating import rate_pairs


@stage(
    name="unrated_pairs",
    version=1,
    group="pairs",
    doing="dropping repeated questions",
    inputs=("rated", "drafts"),
    output=Records(QAPair, "work/stages/unrated_pairs.jsonl"),
)
def unrated_pairs(context: Context, part: Inputs) -> Iterator[QAPair | Rejection | Fact]:
    """The pairs, each question once."""
    kept, repeated = drop_repeated_questions(list(part["drafts"]))
    yield from kept
    yield from repeated
    yield Fact("repaired", sum(pair.attempts > 1 for pair in kept))
    if not kept:
        raise DataError(
            f"The teacher wrote no usable pair for {len(part['rated'])} passages. See "
            f'{context.run / "rejections" / "drafts.jsonl"}; try pairs.form = "examples" or a '
            "larger teacher."
        )


def _teacher(setup: Setup) -> dict[str, Model]:
    if not setup.config.pairs.rating:
        return {}
    return {"teacher": Model(setup.config.teacher, "teacher")}


@stage(
    name="single_hop",
    version=1,
    group="pairs",
    doing="rating pairs",
    inputs=("unrated_pairs", "passages"),
    output=Records(QAPair, "work/stages/single_hop.jsonl"),
    settings=lambda config: {
        "rating": config.pairs.rating,
        "pairs": config.pairs if config.pairs.rating else None,
    },
    models=_teacher,
    partition=lambda _: by_record("unrated_pairs", size=AT_ONCE),
    resources=Resources(gpu=True),
)
def single_hop(context: Context, part: Inputs) -> Iterator[QAPair | Rejection]:
    """The pairs that are rated high enough; all, where pairs are not rated."""
    if not context.has("teacher"):
        yield from part.records
        return
    corpus = part["passages"].by_id
    asked = [(pair, corpus[pair.passage_id]) for pair in part.records]
    yield from rate_pairs(asked, context.teacher(), context.settings["pairs"])


def _inputs(setup: Setup) -> tuple[str, ...]:
    composed = ("definitions", "passages") if composes(setup) else ()
    return ("single_hop", *composed)


@stage(
    name="pairs",
    version=2,
    doing="composing pairs",
    inputs=_inputs,
    output=Records(QAPair, "pairs.jsonl"),
    settings=lambda config: {"multi_hop": config.pairs.multi_hop, "seed": config.seed},
)
def pairs(context: Context, part: Inputs) -> Iterator[QAPair | Fact]:
    """The pairs as written, then those that are composed of them."""
    yield from part["single_hop"]
    composed = (
        compose_pairs(
            part["single_hop"],
            part["passages"].by_id,
            part["definitions"],
            context.settings["multi_hop"],
            seed=context.settings["seed"],
        )
        if "definitions" in part
        else []
    )
    yield from composed
    yield Fact("composed", len(composed))
