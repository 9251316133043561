"""Has the teacher write questions and answers."""

from collections.abc import Iterator
from typing import Any

from aloft.records import Passage, QAPair, Rejection
from aloft.run.context import Context, Inputs
from aloft.run.stage import Affinity, Model, Records, Resources, Setup, by_record, stage
from aloft.run.stages.definitions import composes, open_names
from aloft.run.stages.marks import AT_ONCE, passage_first
from aloft.synthesis.pairs import generate_pairs
from aloft.synthesis.rating import may_be_kept


def _inputs(setup: Setup) -> tuple[str, ...]:
    return ("rated", "definitions") if composes(setup) else ("rated",)


def _may_be_asked(context: Context, passages: list[Any], outcomes: list[Any]) -> list[Passage]:
    """Passages that can still be kept: what they are asked is not asked a second time.

    What has just been read for its mark is kept by the teacher (a prefix cache, keys and values)
    and is not read again for its pairs. A passage whose mark then turns out to be among the lowest
    was written about in vain: far less than reading all of them twice.
    """
    if not context.settings["passage_first"]:
        return []
    config = context.settings["ratings"]
    passed = {one.subject_id for one in outcomes if may_be_kept(one, config)}
    return [one for one in passages if one.id in passed]


@stage(
    name="drafts",
    version=2,
    group="pairs",
    doing="writing pairs",
    inputs=_inputs,
    output=Records(QAPair, "work/stages/drafts.jsonl"),
    settings=lambda config: {
        "pairs": config.pairs,
        "seed": config.seed,
        "ratings": config.ratings,
        "passage_first": passage_first(config),
    },
    models=lambda setup: {"teacher": Model(setup.config.teacher, "teacher")},
    partition=lambda _: by_record("rated", size=AT_ONCE),
    affinity=Affinity("marks", _may_be_asked),
    resources=Resources(gpu=True),
)
def drafts(context: Context, part: Inputs) -> Iterator[QAPair | Rejection]:
    """The pairs of each passage, or the reason why one is missing."""
    yield from generate_pairs(
        part.records,
        context.teacher(),
        context.settings["pairs"],
        seed=context.settings["seed"],
        names=open_names(context, part),
    )
