"""Has the teacher rate the passages that are asked about."""

from collections.abc import Iterator

from aloft.config import RatingsConfig, RunConfig
from aloft.records import Rating, Rejection
from aloft.run.context import Context, Inputs
from aloft.run.stage import Model, Records, Resources, Setup, by_record, stage
from aloft.synthesis.rating import rate_passages

AT_ONCE = 64  # passages of a partition: what a kill can cost


def passage_first(config: RunConfig) -> bool:
    """Whether the prompts for marks and for pairs begin alike, with the passage."""
    return config.ratings.method == "expect" and config.pairs.form == "instruct"


def asked_teacher(setup: Setup) -> dict[str, Model]:
    """The teacher, where passages are rated at all."""
    if setup.config.ratings.method == "none":
        return {}
    return {"teacher": Model(setup.config.teacher, "teacher")}


@stage(
    name="marks",
    version=1,
    group="ratings",
    doing="rating passages",
    inputs=("selection",),
    output=Records(Rating, "work/stages/marks.jsonl"),
    settings=lambda config: {
        "method": config.ratings.method,
        "passage_first": passage_first(config),
    },
    models=asked_teacher,
    partition=lambda _: by_record("selection", size=AT_ONCE),
    resources=Resources(gpu=True),
)
def marks(context: Context, part: Inputs) -> Iterator[Rating | Rejection]:
    """A mark per passage; without a method each gets the highest."""
    if not context.has("teacher"):
        for passage in part.records:
            yield Rating(subject_id=passage.id, criterion="passage", value=10.0)
        return
    config = RatingsConfig(method=context.settings["method"])
    is_first = context.settings["passage_first"]
    yield from rate_passages(part.records, context.teacher(), config, passage_first=is_first)
