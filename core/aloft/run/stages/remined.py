"""Mines negatives anew with the tuned embedder, behind which later parts work."""

from collections.abc import Iterator

from aloft.config import Part
from aloft.config.strategies import phases_of, trained_before
from aloft.corpus.sections import Sections
from aloft.datasets.rows import TrainingRows
from aloft.records import Negatives, QAPair
from aloft.retrieval import negatives as mining
from aloft.retrieval.dense import DenseIndex
from aloft.retrieval.searchable import SearchableCorpus
from aloft.run.context import Context, Inputs
from aloft.run.stage import Fact, Model, Records, Resources, Setup, To, stage
from aloft.run.stages.negatives import judges_of, judging_models
from aloft.run.stages.sets import ROWS, corpus_of

_PARTS: tuple[Part, ...] = ("reranker", "generator")


def uses_remined(setup: Setup, part: Part) -> bool:
    """Whether a part is trained by rows whose negatives the tuned embedder found."""
    if part == "reranker" and setup.config.takes_body:
        return False
    phases = phases_of(setup.config.strategy, setup.config.parts)
    own = [phase for phase in phases if part in phase.trains and phase.by == "rows"]
    return bool(own) and part != "embedder" and "embedder" in trained_before(part, phases)


@stage(
    name="remined",
    version=1,
    doing="mining negatives anew",
    when=lambda setup: any(uses_remined(setup, part) for part in _PARTS),
    inputs=("train_pairs", "held_out", "sections", "passages", "embedder"),
    output={
        "remined": Records(Negatives, "remined/negatives.jsonl"),
        **{f"remined_{part}_rows": Records(ROWS[part], f"remined/{part}.jsonl") for part in _PARTS},
    },
    settings=lambda config: {
        "negatives": config.negatives,
        "training_sets": config.training_sets,
        "seed": config.seed,
        "window_tokens": config.passages.window_tokens,
        "keeps_index": config.embedder_training.keeps_index,
    },
    models=lambda setup: {
        "embedder": Model(setup.config.embedder, "embedder"),
        **judging_models(setup),
    },
    resources=Resources(gpu=True),
)
def remined(context: Context, part: Inputs) -> Iterator[Negatives | To | Fact]:
    """Rows of the parts behind the embedder.

    Source: the refresh of negatives in ANCE (arXiv:2007.00808).
    """
    asked = list({pair.id: pair for pair in part["train_pairs"]}.values())
    mined = list(_mine(context, part, asked))
    yield from mined
    settings = context.settings
    rows = TrainingRows(
        pairs=list(part["train_pairs"]),
        held_out=list(part["held_out"]),
        corpus=corpus_of(context, part["passages"].by_id),
        negatives={one.pair_id: one for one in mined},
        config=settings["training_sets"],
        seed=settings["seed"],
        sections=Sections(part["sections"]),
    )
    counts = dict.fromkeys(_PARTS, 0)
    for name in _PARTS:
        for row in rows.of(name):
            counts[name] += 1
            yield To(f"remined_{name}_rows", row)
    yield Fact("rows", counts)


def _mine(context: Context, part: Inputs, asked: list[QAPair]) -> Iterator[Negatives]:
    tuned = part["embedder"]
    indexer = None if context.settings["keeps_index"] else tuned
    windows = context.windows(part["passages"])
    vectors = context.encode("passages", windows.texts, trained=indexer)
    queries = context.encode("queries", [pair.question for pair in asked], trained=tuned)
    corpus = SearchableCorpus(
        part["passages"], DenseIndex(vectors, windows.starts), context.indexes
    )
    config, judges = context.settings["negatives"], judges_of(context)
    mined = mining.mine_negatives(asked, queries, corpus, config, judges)
    for done, record in enumerate(mined, start=1):
        yield record
        if not done % 1000:
            context.progress("mining negatives anew", done, len(asked))
