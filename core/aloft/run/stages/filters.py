"""Drops the pairs that are not worth training on."""

from collections.abc import Iterator

import numpy as np

from aloft.errors import DataError
from aloft.records import QAPair, Rejection
from aloft.run.context import Context, Inputs
from aloft.run.stage import Model, Records, Resources, Setup, by_record, stage
from aloft.run.stages.passage_vectors import open_corpus, open_vectors
from aloft.synthesis import filters as pure

_AT_ONCE = 1024
_READ_AT_ONCE = 64  # pairs whose answers the teacher reads between two writes


@stage(
    name="screened",
    version=1,
    group="filters",
    doing="screening pairs",
    inputs=("pairs", "passages", "passage_vectors", "question_vectors"),
    output=Records(QAPair, "work/stages/screened.jsonl"),
    settings=lambda config: {"filters": config.filters},
    partition=by_record("pairs", size=_AT_ONCE),
)
def screened(context: Context, part: Inputs) -> Iterator[QAPair | Rejection]:
    """The pairs that pass each filter that looks at a pair by itself."""
    corpus = context.shared("corpus", lambda: open_corpus(context, part))
    stop = part.start + len(part.records)
    queries = np.asarray(open_vectors(part["question_vectors"])[part.start : stop])
    yield from pure.screen_pairs(part.records, queries, corpus, context.settings["filters"])


@stage(
    name="distinct",
    version=1,
    group="filters",
    doing="dropping near duplicates",
    inputs=("screened",),
    output=Records(QAPair, "work/stages/distinct.jsonl"),
    settings=lambda config: {"filters": config.filters},
)
def distinct(context: Context, part: Inputs) -> Iterator[QAPair | Rejection]:
    """The pairs whose question is not nearly that of an earlier pair."""
    yield from pure.drop_near_duplicates(part["screened"], context.settings["filters"])


def _teacher(setup: Setup) -> dict[str, Model]:
    """The teacher, where a filter reads answers with it."""
    if not set(pure.READING) & set(setup.config.filters.use):
        return {}
    return {"teacher": Model(setup.config.teacher, "teacher")}


@stage(
    name="verified",
    version=1,
    group="filters",
    doing="reading answers",
    inputs=("distinct", "passages"),
    output=Records(QAPair, "work/stages/verified.jsonl"),
    settings=lambda config: {"filters": config.filters},
    models=_teacher,
    partition=by_record("distinct", size=_READ_AT_ONCE),
    resources=Resources(gpu=True),
)
def verified(context: Context, part: Inputs) -> Iterator[QAPair | Rejection]:
    """The pairs whose answer the teacher finds likelier with what the question needs."""
    if not context.has("teacher"):
        yield from part.records
        return
    yield from pure.verify_pairs(
        part.records,
        part["passages"].by_id,
        context.teacher().score_replies,
        context.settings["filters"],
    )


@stage(
    name="filters",
    version=1,
    doing="counting pairs",
    inputs=("pairs", "verified"),
    output={"filtered": Records(QAPair, "filtered.jsonl")},
)
def filters(context: Context, part: Inputs) -> Iterator[QAPair]:
    """The pairs that are worth training on."""
    yield from part["verified"]
    if not len(part["verified"]):
        raise DataError(
            f"None of {len(part['pairs'])} pairs passed the filters. See the files "
            f"{context.run / 'rejections'}; try a larger teacher, or fewer filters in filters.use."
        )
