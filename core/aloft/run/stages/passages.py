"""Drops passages that are copies of earlier ones."""

from collections.abc import Iterator

from aloft.corpus.duplicates import drop_copies
from aloft.errors import DataError
from aloft.records import Passage, Rejection
from aloft.run.context import Context, Inputs
from aloft.run.stage import Records, stage


@stage(
    name="passages",
    version=1,
    doing="dropping copies",
    inputs=("documents", "split"),
    output=Records(Passage, "passages.jsonl"),
    settings=lambda config: {
        "similarity": config.passages.near_duplicate_similarity,
        "min_characters": config.passages.min_characters,
    },
)
def passages(context: Context, part: Inputs) -> Iterator[Passage | Rejection]:
    """The corpus, cut and without copies."""
    kept = 0
    similarity = context.settings["similarity"]
    for outcome in drop_copies(part["split"], similarity, spread=context.spread):
        kept += isinstance(outcome, Passage)
        yield outcome
    if not kept:
        raise DataError(
            f"{len(part['documents'])} documents hold no passage of at least "
            f"{context.settings['min_characters']} characters. Give longer texts."
        )
