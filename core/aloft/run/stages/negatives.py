"""Mines hard negatives for every pair that is kept and every question of the log."""

from collections.abc import Iterator

import numpy as np

from aloft.protocols import Floats
from aloft.records import LinkedQuestion, LogEntry, Negatives, QAPair
from aloft.retrieval import negatives as mining
from aloft.run.context import Context, Inputs
from aloft.run.stage import Model, Partition, Records, Resources, Setup, by_record, stage
from aloft.run.stages.passage_vectors import open_corpus, open_vectors

_AT_ONCE = 1024


def _over(setup: Setup) -> Partition:
    over = ("filtered", "links") if "log" in setup.sources else ("filtered",)
    return by_record(*over, size=_AT_ONCE)


def _inputs(setup: Setup) -> tuple[str, ...]:
    own = ("filtered", "pairs", "passages", "passage_vectors", "question_vectors")
    return (*own, "links", "log", "log_vectors") if "log" in setup.sources else own


def judging_models(setup: Setup) -> dict[str, Model]:
    """The models that guards ask."""
    config = setup.config
    found = {}
    if "reranker" in config.negatives.guards and config.reranker is not None:
        found["reranker"] = Model(config.reranker, "reranker")
    if "reading" in config.negatives.guards:
        found["teacher"] = Model(config.teacher, "teacher")
    return found


@stage(
    name="negatives",
    version=1,
    doing="mining negatives",
    inputs=_inputs,
    output=Records(Negatives, "negatives.jsonl"),
    settings=lambda config: {"negatives": config.negatives},
    models=judging_models,
    partition=_over,
    resources=Resources(gpu=True),
)
def negatives(context: Context, part: Inputs) -> Iterator[Negatives]:
    """What was looked at for each question's hard negatives, over the whole corpus."""
    corpus = context.shared("corpus", lambda: open_corpus(context, part))
    asked = [one.pair if isinstance(one, LinkedQuestion) else one for one in part.records]
    config = context.settings["negatives"]
    queries = _queries(part, asked)
    yield from mining.mine_negatives(asked, queries, corpus, config, judges_of(context))


def judges_of(context: Context) -> mining.Judges:
    """The models that guards ask, as far as the stage declares them."""
    return mining.Judges(
        score=context.reranker("reranker").score if context.has("reranker") else None,
        read=context.teacher().score_replies if context.has("teacher") else None,
    )


def _queries(part: Inputs, asked: list[QAPair]) -> Floats:
    """The questions' vectors, which are there already."""
    if part.over == "links":
        entries = part["log"].by_id
        rows = [entries.row(LogEntry(question=pair.question).id) for pair in asked]
        return np.asarray(open_vectors(part["log_vectors"])[rows])
    rows = [part["pairs"].by_id.row(pair.id) for pair in asked]
    return np.asarray(open_vectors(part["question_vectors"])[rows])
