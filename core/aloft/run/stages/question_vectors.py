"""Embeds the questions of pairs and of the user's log with the embedder before training."""

from collections.abc import Iterator

from aloft.run.context import Context, Inputs
from aloft.run.stage import Fact, Folder, Model, Resources, stage
from aloft.run.stages.passage_vectors import save_vectors


@stage(
    name="question_vectors",
    version=1,
    group="filters",
    doing="embedding questions",
    inputs=("pairs",),
    output=Folder("work/stages/question_vectors"),
    models=lambda setup: {"embedder": Model(setup.config.embedder, "embedder")},
    resources=Resources(gpu=True),
)
def question_vectors(context: Context, part: Inputs) -> Iterator[Fact]:
    """A vector per pair, so that no filter's choice costs an encode."""
    questions = [pair.question for pair in part["pairs"]]
    vectors = context.encode("queries", questions)
    save_vectors(context.run / "work" / "stages" / "question_vectors", vectors)
    yield Fact("questions", len(questions))


@stage(
    name="log_vectors",
    version=1,
    group="links",
    doing="embedding past questions",
    when=lambda setup: "log" in setup.sources,
    inputs=("log",),
    output=Folder("work/stages/log_vectors"),
    models=lambda setup: {"embedder": Model(setup.config.embedder, "embedder")},
    resources=Resources(gpu=True),
)
def log_vectors(context: Context, part: Inputs) -> Iterator[Fact]:
    """A vector per question of the log."""
    questions = [entry.question for entry in part["log"]]
    vectors = context.encode("queries", questions)
    save_vectors(context.run / "work" / "stages" / "log_vectors", vectors)
    yield Fact("questions", len(questions))
