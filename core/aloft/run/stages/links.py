"""Links the questions of the user's log to passages."""

from collections.abc import Iterator

from aloft.corpus.locating import PassageLocator
from aloft.questions import linking
from aloft.records import LinkedQuestion, Rejection
from aloft.run.context import Context, Inputs
from aloft.run.stage import Records, stage
from aloft.run.stages.passage_vectors import open_corpus, open_vectors


@stage(
    name="links",
    version=1,
    doing="linking past questions",
    when=lambda setup: "log" in setup.sources,
    inputs=("log", "log_vectors", "documents", "passages", "passage_vectors"),
    output=Records(LinkedQuestion, "links.jsonl"),
    settings=lambda config: {"links": config.links},
)
def links(context: Context, part: Inputs) -> Iterator[LinkedQuestion | Rejection]:
    """The questions and their passages, each link with its confidence."""
    locator = PassageLocator(part["documents"], part["passages"], part.rejections("passages"))
    yield from linking.link_log(
        part["log"],
        open_vectors(part["log_vectors"]),
        open_corpus(context, part),
        locator,
        context.settings["links"],
    )
