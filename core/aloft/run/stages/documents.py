"""Reads the user's documents."""

from collections.abc import Iterator
from pathlib import Path

from aloft.corpus.host_chunks import without_metadata
from aloft.corpus.readers import read_documents
from aloft.records import Document, Rejection
from aloft.run.context import Context, Inputs
from aloft.run.stage import Records, stage


@stage(
    name="documents",
    version=1,
    doing="reading documents",
    source="documents",
    output=Records(Document, "documents.jsonl"),
    settings=lambda config: {"documents": config.documents},
)
def documents(context: Context, _: Inputs) -> Iterator[Document | Rejection]:
    """The documents of a folder, or those that a host holds."""
    given = context.source()
    if isinstance(given, Path):
        settings = context.settings["documents"]
        beside = (context.origin, *context.questions_files)  # their answers would be found there
        yield from read_documents(
            given, settings, context.progress, exclude=beside, spread=context.spread
        )
    else:
        yield from map(without_metadata, given)
