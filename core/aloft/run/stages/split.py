"""Cuts documents into passages that fit the embedder."""

from collections.abc import Iterator

from aloft.backends.loading import tokenizer_of
from aloft.config import PassagesConfig
from aloft.corpus.passages import DocumentSplitter
from aloft.records import Passage, Rejection
from aloft.run.context import Context, Inputs
from aloft.run.stage import Model, Records, by_record, stage


@stage(
    name="split",
    version=2,
    group="passages",
    doing="cutting passages",
    inputs=("documents",),
    output=Records(Passage, "work/stages/split.jsonl"),
    settings=lambda config: {
        "max_tokens": config.passages.max_tokens,
        "min_characters": config.passages.min_characters,
    },
    models=lambda setup: {"embedder": Model(setup.config.embedder, "weights")},
    partition=by_record("documents", size=32),
)
def split(context: Context, part: Inputs) -> Iterator[Passage | Rejection]:
    """The passages of each document, and those too short to ask about as rejections."""

    def build() -> DocumentSplitter:
        return DocumentSplitter(
            tokenizer_of(context.name("embedder")), PassagesConfig(**context.settings)
        )

    splitter = context.shared("splitter", build)
    for document in part.records:
        yield from splitter.split(document)
