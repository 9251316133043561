"""Draws the passages that the teacher is asked about."""

from collections.abc import Iterator

from aloft.records import Passage
from aloft.run.context import Context, Inputs
from aloft.run.stage import Records, stage
from aloft.synthesis.pairs import select_passages


@stage(
    name="selection",
    version=1,
    group="ratings",
    doing="choosing passages",
    inputs=("passages",),
    output=Records(Passage, "work/stages/selection.jsonl"),
    settings=lambda config: {"max_passages": config.pairs.max_passages, "seed": config.seed},
)
def selection(context: Context, part: Inputs) -> Iterator[Passage]:
    """The chosen passages, in corpus order."""
    yield from select_passages(
        part["passages"], context.settings["max_passages"], seed=context.settings["seed"]
    )
