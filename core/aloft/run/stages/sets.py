"""Splits pairs by document, and lays out the rows that each part is trained on."""

from collections.abc import Iterator, Mapping, Sequence

from aloft.config import PARTS, Part
from aloft.corpus.grouping import group_documents
from aloft.corpus.sections import Sections, cut_sections
from aloft.corpus.windows import cut_windows
from aloft.datasets.rows import Corpus, TrainingRows
from aloft.datasets.split import label_held_out, select_linked, split_pairs
from aloft.protocols import Embedder
from aloft.records import (
    EmbedderRow,
    GeneratorRow,
    LabelledQuestion,
    LinkedQuestion,
    Negatives,
    Passage,
    QAPair,
    Rejection,
    RerankerRow,
)
from aloft.run.context import Context, Inputs
from aloft.run.stage import Fact, Model, Records, Setup, To, Value, stage
from aloft.run.warm_start import SECTIONS, STATE, read_previous_run

ROWS: dict[Part, type] = {
    "embedder": EmbedderRow,
    "reranker": RerankerRow,
    "generator": GeneratorRow,
}


def _inputs(setup: Setup) -> tuple[str, ...]:
    own = ("documents", "passages", "filtered", "negatives")
    return (*own, "links", "questions") if "log" in setup.sources else own


@stage(
    name="sets",
    version=2,
    doing="laying out rows",
    inputs=_inputs,
    files=(STATE,),
    output={
        "train_pairs": Records(QAPair, "sets/train.jsonl"),
        "held_out": Records(LabelledQuestion, "sets/held_out.jsonl"),
        **{f"{part}_rows": Records(cls, f"sets/{part}.jsonl") for part, cls in ROWS.items()},
        "sections": Value(SECTIONS, dict[str, list[int]]),
    },
    settings=lambda config: {
        "training_sets": config.training_sets,
        "seed": config.seed,
        "window_tokens": config.passages.window_tokens,
    },
    models=lambda setup: {"embedder": Model(setup.config.embedder, "embedder")},
)
def sets(context: Context, part: Inputs) -> Iterator[QAPair | To | Rejection | Fact]:
    """Training pairs and held-out questions, and the rows of each part."""
    config, seed = context.settings["training_sets"], context.settings["seed"]
    passages, mined = part["passages"].by_id, part["negatives"].by_id
    pairs: list[QAPair] = list(part["filtered"])
    previous = read_previous_run(context.run)
    sections = cut_sections(part["passages"], previous.sections, previous.split)
    alike = _alike(pairs, passages, mined, sections)
    groups = group_documents(part["documents"], alike)
    sections = sections.among({group[0] for group in groups if len(group) == 1})
    groups = list(sections.divide(groups))
    train, held_out, neither = split_pairs(
        pairs,
        passages,
        groups,
        config,
        seed=seed,
        settled=previous.split,
        sections=sections,
        mined=mined,
    )
    train = previous.replayed(train, config.replay_ratio, seed)
    questions = label_held_out(held_out, mined)
    logged, dropped = _logged(part, questions, passages, groups, sections)
    repeated = [question.pair for question in logged] * config.log_repeat
    yield To("sections", dict(sections.starts))
    yield from (*train, *repeated)
    yield from (To("held_out", question) for question in questions)
    rows = TrainingRows(
        pairs=[*train, *repeated],
        held_out=questions,
        corpus=corpus_of(context, passages),
        negatives=mined,
        config=config,
        seed=seed,
        sections=sections,
    )
    counts = {"held_out": len(questions)}
    for name in PARTS:
        counts[name] = 0
        for row in rows.of(name):
            counts[name] += 1
            yield To(f"{name}_rows", row)
    yield Fact("rows", counts)
    yield Fact("pairs", len(train) + len(logged) + len(held_out))
    yield from (*neither, *dropped)


def _alike(
    pairs: Sequence[QAPair],
    passages: Mapping[str, Passage],
    mined: Mapping[str, Negatives],
    sections: Sections,
) -> list[tuple[str, str]]:
    """Whole documents that answer one question: they stay on one side.

    Sections do not: those of one document are alike, and few would be left. There the split leaves
    out what would be trained on.
    """
    found = (
        (passages[pair.passage_id].document_id, passages[other].document_id)
        for pair in pairs
        for other in mined[pair.id].positive_ids
    )
    return [both for both in found if sections.starts.keys().isdisjoint(both)]


def _logged(
    part: Inputs,
    held_out: Sequence[LabelledQuestion],
    passages: Mapping[str, Passage],
    groups: Sequence[Sequence[str]],
    sections: Sections,
) -> tuple[list[LinkedQuestion], list[Rejection]]:
    """Questions of the log that give nothing away of what is evaluated."""
    if "links" not in part:
        return [], []
    human = [question.question for question in part["questions"]]
    evaluated = [*human, *(one.question for one in held_out)]
    linked = list(part["links"])
    outcomes = select_linked(linked, held_out, evaluated, passages, groups, sections)
    kept = [one for one in outcomes if isinstance(one, LinkedQuestion)]
    return kept, [one for one in outcomes if isinstance(one, Rejection)]


def corpus_of(context: Context, passages: Mapping[str, Passage]) -> Corpus:
    """The corpus, with the windows of those passages that are asked for."""
    windows = _Windows(passages, context.embedder(), context.settings["window_tokens"])
    return Corpus(passages=passages, windows=windows)


class _Windows(Mapping[str, Sequence[str]]):
    """What of a passage is embedded, cut when it is asked for."""

    def __init__(
        self, passages: Mapping[str, Passage], embedder: Embedder, most: int | None
    ) -> None:
        self._passages = passages
        self._embedder = embedder
        self._most = most

    def __getitem__(self, passage_id: str) -> Sequence[str]:
        return cut_windows([self._passages[passage_id]], self._embedder, self._most).texts

    def __iter__(self) -> Iterator[str]:
        return iter(self._passages)

    def __len__(self) -> int:
        return len(self._passages)
