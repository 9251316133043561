"""Keeps the passages that were rated high enough."""

from collections.abc import Iterator

from aloft.jsonl import RecordFile
from aloft.records import Passage, Rating, Rejection
from aloft.run.context import Context, Inputs
from aloft.run.stage import Records, To, stage
from aloft.synthesis.rating import select_rated


@stage(
    name="ratings",
    version=1,
    doing="choosing by rating",
    inputs=("selection", "marks"),
    output={
        "ratings": Records(Rating, "ratings.jsonl"),
        "rated": Records(Passage, "work/stages/rated.jsonl"),
    },
    settings=lambda config: {"ratings": config.ratings},
)
def ratings(context: Context, part: Inputs) -> Iterator[Rating | Rejection | To]:
    """Marks that are high enough, and their passages."""
    selection: RecordFile[Passage] = part["selection"]
    kept, low = select_rated(list(part["marks"]), context.settings["ratings"])
    for rating in kept:
        yield rating
        yield To("rated", selection.by_id[rating.subject_id])
    yield from low
