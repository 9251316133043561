"""Turns a small part of what a run has left into paces: how long some work takes on this machine.

Trainings are timed on rows like the real ones, which are left after a few steps.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from aloft.backends.loading import Models
from aloft.config import Part, plain_name
from aloft.config.strategies import Phase
from aloft.corpus.windows import cut_windows
from aloft.datasets.rows import retrieved_rows
from aloft.errors import DataError
from aloft.jsonl import RecordFile
from aloft.prompts.formats import format_of
from aloft.protocols import Embedder, Progress, Prompt, no_progress
from aloft.randomness import rng_for
from aloft.records import (
    Document,
    EmbedderRow,
    GeneratorRow,
    Passage,
    QAPair,
    Rating,
    Rejection,
    RerankerRow,
    RetrievedRow,
)
from aloft.retrieval.ranking import Ranking
from aloft.run.calls import NotCachedError
from aloft.run.context import Context, Inputs
from aloft.run.job import OpenRun
from aloft.run.plan import Plan
from aloft.run.usage import Usage, total
from aloft.synthesis.composition import compose_pairs
from aloft.synthesis.pairs import drop_repeated_questions
from aloft.synthesis.rating import select_rated
from aloft.training.memory import Plan as MemoryPlan

_SUBJECTS = 8  # asked about, of each stage of the teacher's
_ENCODED = 64
_WARMING = 8  # of them, before they are timed
_VARIED = 1000  # passages that rows are made of
_ANSWERED = 8
_LEAST_SECONDS = 3.0  # of steps behind the first one, of which there is at least one
_PLANNED = 100  # rows that memory is planned for; the longest of them counts
_STEPS = 25  # that rows are laid out for: so many that none of those timed saves a checkpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long some work took on this machine.

    Attributes:
        amount: How much of it was timed.
        unit: What is counted, such as "passages".
        seconds: What that took.
        startup: Seconds that come once: loading, and the first step's preparations.
    """

    amount: float
    unit: str
    seconds: float
    startup: float = 0.0

    def __str__(self) -> str:
        return f"{self.amount:,.0f} {self.unit} in {self.seconds:.1f} s"

    def seconds_for(self, amount: float) -> float:
        """What so much of it will take."""
        return self.startup + amount * self.seconds / self.amount if amount else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the teacher was asked of a stage, to see what the whole will take.

    Attributes:
        subjects: Those of the stage, as far as they are known.
        left: Those of them that the journal still lacks.
        spent: On those that were asked now.
        pace: Of those.
        replies: That came of them.
        kept: Those that can be used.
    """

    subjects: int
    left: int
    spent: Usage
    pace: Pace
    replies: int
    kept: int


class Pilot:
    """Works a little of each missing stage out, to see what the whole will take.

    What models are asked is kept: the run finds it in its cache and does not ask again. Nothing
    else is: no stage is finished, and the few steps of a training are thrown away.

    Attributes:
        asked: By the teacher's task; nothing where none of it is left.
        pairs: Of the pilot, or all where they are written.
        readings_each: How often the teacher reads an answer of a pair for the filters.
        rated_well: Passages of the pilot that were rated high enough.
        passages_in_all: Passages of the corpus that is estimated for.
    """

    def __init__(
        self, run: OpenRun, progress: Progress, passages_in_all: int | None = None
    ) -> None:
        self.run = run
        self.config = run.config
        self.asked: dict[str, Asked] = {}
        self.pairs: Sequence[QAPair] = ()
        self.readings_each = 0.0
        self.rated_well = 0
        self._graph = run.runner.graph
        self._progress = progress
        self._passages: RecordFile[Passage] = run.records("passages")
        self.passages_in_all = passages_in_all or len(self._passages)

    def ask(self, plan: Plan) -> None:
        """Have the teacher do a little of each of its tasks that is left."""
        if not plan.has_left("pairs"):
            self.pairs = self.run.records("pairs")
            self.rated_well = self.run.runner.store.facts("ratings")["kept"]
            return
        rated = self._rate(plan)
        self.rated_well = len(rated)
        drafts = self._draft(rated)
        kept, _ = drop_repeated_questions([one for one in drafts if isinstance(one, QAPair)])
        if self.config.pairs.rating:
            outcomes = self._try("single_hop", "pair_ratings", kept)
            kept = [one for one in outcomes if isinstance(one, QAPair)]
        if not kept:
            raise DataError(
                f"The teacher wrote no usable pair for {len(rated)} passages. Try pairs.form = "
                '"examples" or a larger teacher.'
            )
        self.pairs = [*kept, *self._compose(kept)]

    def _rate(self, plan: Plan) -> Sequence[Passage]:
        """The passages that are rated high enough: of the pilot, or all."""
        if not plan.has_left("ratings"):
            return self.run.records("rated")
        if self.config.ratings.method == "none":
            return self.run.records("rated")  # costs no model call
        selection = self.run.records("selection")
        marks = [one for one in self._try("marks", "ratings", selection) if isinstance(one, Rating)]
        kept, _ = select_rated(marks, self.config.ratings)
        return [selection.by_id[rating.subject_id] for rating in kept]

    def _compose(self, pairs: Sequence[QAPair]) -> list[QAPair]:
        if "definitions" not in self._graph.stages:
            return []
        definitions = self.run.records("definitions")
        share, seed = self.config.pairs.multi_hop, self.config.seed
        return compose_pairs(pairs, self._passages.by_id, definitions, share, seed=seed)

    def _draft(self, rated: Sequence[Passage]) -> list[Any]:
        needed = [name for name in self._graph.stages["drafts"].inputs if name != "rated"]
        if needed:
            self.run.do(*needed)
        return self._try("drafts", "pairs", rated)

    def _try(self, name: str, task: str, records: Sequence[Any]) -> list[Any]:
        """The outcomes of what is known of a stage's records, and of a few that are not."""
        known, unknown = self._part(name, records)
        some = _drawn(unknown, _SUBJECTS, self.config.seed)
        outcomes, usage, seconds = self._work(name, some)
        if unknown:
            self.asked[task] = Asked(
                subjects=len(records),
                left=len(unknown) - len(some),
                spent=usage,
                pace=Pace(
                    amount=len(some),
                    unit="passages" if isinstance(some[0], Passage) else "pairs",
                    seconds=usage.seconds,
                    startup=max(0.0, seconds - usage.seconds),
                ),
                replies=len(outcomes),
                kept=sum(not isinstance(outcome, Rejection) for outcome in outcomes),
            )
        return [*self._work(name, known)[0], *outcomes]

    def _part(self, name: str, records: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """Records whose every model call is in the cache, and the others."""
        known: list[Any] = []
        unknown: list[Any] = []
        for record in records:
            (known if self._is_known(name, record) else unknown).append(record)
        return known, unknown

    def _is_known(self, name: str, record: Any) -> bool:
        if not self.run.shared.cache.has_entries:
            return False
        try:
            self._work(name, [record], offline=True)
        except NotCachedError:
            return False
        return True

    def _work(
        self, name: str, records: Sequence[Any], *, offline: bool = False
    ) -> tuple[list[Any], Usage, float]:
        """A stage's outcomes for some records, what models were asked, and seconds."""
        if not records:
            return [], Usage(), 0.0
        started = time.monotonic()
        stage = self._graph.stages[name]
        store = self.run.runner.store
        context = Context(stage, self.run.shared, progress=no_progress, offline=offline)
        outcomes = list(stage.work(context, Inputs(stage, self._graph, store, records)))
        usage = total(context.meter.by_role.values())
        if not offline:
            self._progress(f"trying: {stage.doing}", 1, 1)
        return outcomes, usage, time.monotonic() - started

    def time_reading(self) -> None:
        """Have the teacher read answers of a few pairs for the filters, where filters need it."""
        if not self._graph.stages["verified"].models:
            return
        _, unknown = self._part("verified", self.pairs)
        some = _drawn(unknown, _SUBJECTS, self.config.seed)
        outcomes, usage, seconds = self._work("verified", some)
        if not usage.calls:
            return
        self.readings_each = usage.calls / len(some)
        subjects = round(self.readings_each * len(self.pairs))
        self.asked["readings"] = Asked(
            subjects=subjects,
            left=round(self.readings_each * (len(unknown) - len(some))),
            spent=usage,
            pace=Pace(
                amount=usage.calls,
                unit="readings",
                seconds=usage.seconds,
                startup=max(0.0, seconds - usage.seconds),
            ),
            replies=len(some),
            kept=sum(not isinstance(outcome, Rejection) for outcome in outcomes),
        )

    def time_encoding(self) -> Pace:
        """Embed a few passages with the embedder as it is."""
        started = time.monotonic()
        embedder = self._models.embedder(self.config.embedder)
        some = self._some(_ENCODED)
        texts = cut_windows(some, embedder, self.config.passages.window_tokens).texts
        embedder.encode_passages(texts[:_WARMING])
        begun = time.monotonic()
        embedder.encode_passages(texts)
        took = time.monotonic() - begun
        return Pace(amount=len(some), unit="passages", seconds=took, startup=begun - started)

    def time_scoring(self, reranker: str | None = None) -> Pace:
        """Score a few passages; the embedder's body stands for a reranker not trained yet.

        Args:
            reranker: Name of the model; None: the configured one or, where none is, that body.
        """
        texts = [passage.embedded for passage in self._some(_ENCODED)]
        asked = [(pair.question, text) for pair, text in zip(cycle(self.pairs), texts)]
        started = time.monotonic()
        scorer = self._models.reranker(reranker or self.config.base_model("reranker"))
        scorer.score(asked[:_WARMING])
        begun = time.monotonic()
        scorer.score(asked)
        took = time.monotonic() - begun
        return Pace(amount=len(asked), unit="scores", seconds=took, startup=begun - started)

    def time_replies(self) -> Pace:
        """Let the generator, as it is, answer a few prompts of the size that evaluation has."""
        started = time.monotonic()
        model = self._models.language_model(self.config.generator_model)
        begun = time.monotonic()
        rows = self._rows("generator", _ANSWERED)
        asked = [Prompt(messages=row.prompt, prefix=row.prefix) for row in rows]
        model.complete(asked, max_new_tokens=self.config.evaluation.max_new_tokens)
        took = time.monotonic() - begun
        return Pace(amount=_ANSWERED, unit="answers", seconds=took, startup=begun - started)

    def time_training(self, part: Part) -> Pace:
        """Train a part for a few steps, which are thrown away.

        A reranker that is to start from the tuned embedder's body starts from the untuned one's,
        which is as large.
        """
        from aloft import training

        base, settings = self._base_of(part)
        size = _batch_size(part, settings.per_device_train_batch_size)
        short = settings.model_copy(
            update={"num_train_epochs": 1.0, "per_device_train_batch_size": size}
        )
        rows = list(self._rows(part, _STEPS * size))
        train: Callable[..., Any] = getattr(training, f"train_{part}")

        def start(folder: Path, tick: Progress) -> None:
            train(
                rows,
                base,
                folder / part,
                short,
                seed=self.config.seed,
                checkpoints=folder / "checkpoints",
                progress=tick,
            )

        return self._time_steps(start, part, size)

    def time_phase(self, phase: Phase) -> Pace:
        """Train by what was retrieved for a few steps, which are thrown away."""
        from aloft import training

        size = getattr(self.config, f"{phase.paced_by}_training").per_device_train_batch_size
        rows = self._retrieved(_STEPS * size)
        some = self._some(_VARIED)
        embedder = self._models.embedder(self.config.embedder)
        vectors = embedder.encode_passages([some[0].embedded]).repeat(len(some), 0)  # any will do

        def start(folder: Path, tick: Progress) -> None:
            training.train_rag(
                rows,
                vectors,
                phase,
                self.config,
                folder,
                checkpoints=folder / "checkpoints",
                progress=tick,
            )

        return self._time_steps(start, phase.name, size)

    def time_answer_readings(self) -> Pace:
        """Let the generator, as it is, read a few answers passage by passage."""
        started = time.monotonic()
        model: Any = self._models.language_model(plain_name(self.config.generator_model))
        begun = time.monotonic()
        rows = self._retrieved(_ANSWERED)
        asked = [Prompt(messages=one, prefix=row.prefix) for row in rows for one in row.prompts]
        model.token_logprobs(asked, [row.answer for row in rows for _ in row.prompts])
        took = time.monotonic() - begun
        return Pace(amount=len(asked), unit="readings", seconds=took, startup=begun - started)

    def _time_steps(self, start: Callable[[Path, Progress], None], name: str, size: int) -> Pace:
        """Start a training and leave it once a few steps were done."""
        self._models.release()
        ticks = [time.monotonic()]

        def tick(_stage: str, _done: int, _total: int) -> None:
            ticks.append(time.monotonic())
            is_enough = len(ticks) > 2 and ticks[-1] - ticks[1] >= _LEAST_SECONDS
            self._progress(f"timing the {name}", int(is_enough), 1)
            if is_enough:
                raise _EnoughError

        with TemporaryDirectory() as folder, suppress(_EnoughError):
            start(Path(folder), tick)
        return _pace_of(ticks, size)

    def plan_generator(self) -> MemoryPlan | None:
        """The memory that training the generator takes here; None: the model's make is unknown."""
        from aloft import training

        base, settings = self._base_of("generator")
        return training.plan_generator(list(self._rows("generator", _PLANNED)), base, settings)

    def _rows(self, part: Part, count: int) -> Iterator[Any]:
        """Rows as long as the real ones; a number makes each text another one."""
        sets = self.config.training_sets
        texts = (f"{i} {p.content}" for i, p in enumerate(cycle(self._some(_VARIED))))
        asked = enumerate(islice(cycle(self.pairs), count))
        form = format_of(sets.format, abstains=sets.abstains)
        for i, pair in asked:
            if part == "embedder":
                positive, *others = islice(texts, 1 + sets.embedder_negatives)
                yield EmbedderRow(
                    pair_id=str(i),
                    anchor=f"{i} {pair.question}",
                    positive=positive,
                    negatives=tuple(others),
                    grades=(1.0, *(0.0 for _ in others)),
                )
            elif part == "reranker":
                label = float(i % (1 + sets.reranker_negatives) == 0)
                yield RerankerRow(
                    pair_id=str(i), query=pair.question, passage=next(texts), label=label
                )
            else:
                contents = list(islice(texts, sets.contexts - 1))
                held = f"{pair.answer}. {next(texts)}"  # so that any format finds what it asks for
                target = form.target(pair.answer, [1], [held, *contents])
                yield GeneratorRow(
                    pair_id=str(i),
                    prompt=form.render(pair.question, [held, *contents]).messages,
                    prefix=form.prefix,
                    completion=f"{form.prefix}{target}",
                )

    def _retrieved(self, count: int) -> list[RetrievedRow]:
        """Rows by what was retrieved, as long as the real ones; nothing is searched for."""
        sets, some = self.config.training_sets, self._some(_VARIED)
        width = min(self.config.rag_training.k, len(some))
        columns = np.arange(count * width).reshape(count, width) % len(some)
        ranking = Ranking(columns=columns, scores=np.zeros(columns.shape, np.float32))
        form = format_of(sets.format, abstains=sets.abstains)
        rows = retrieved_rows(list(islice(cycle(self.pairs), count)), ranking, some, form)
        return [replace(row, logs=((-1.0,) * len(row.answer.split()),) * width) for row in rows]

    @property
    def embedder(self) -> Embedder:
        """The embedder as it is."""
        return self._models.embedder(self.config.embedder)

    def some_documents(self) -> Iterator[Document]:
        """The documents in an order that is drawn, each read when its turn comes."""
        documents = self.run.records("documents")
        rows = rng_for(self.config.seed, "sample").sample(range(len(documents)), len(documents))
        return (documents[row] for row in rows)

    def some_passages(self) -> list[Passage]:
        """As many of the corpus as rows are made of."""
        return self._some(_VARIED)

    def _some(self, most: int) -> list[Passage]:
        return _drawn(self._passages, most, self.config.seed)

    @property
    def passage_length(self) -> float:
        """Characters of a passage, on the mean of a sample."""
        return fmean(len(passage.content) for passage in self._some(_VARIED))

    @property
    def _models(self) -> Models:
        return self.run.shared.models

    def _base_of(self, part: Part) -> tuple[str, Any]:
        """A model as large as the one that a part is trained from, and the part's settings."""
        return self.config.base_model(part), getattr(self.config, f"{part}_training")


class _EnoughError(Exception):
    """Leaves a training once it has been timed."""


def _batch_size(part: Part, size: int) -> int:
    """What a step is timed on: of the embedder's large batches as much as is held at a time."""
    from aloft.backends.device import best_device
    from aloft.training.embedder import AT_ONCE

    return min(size, AT_ONCE) if part == "embedder" and best_device() == "cpu" else size


def _pace_of(ticks: Sequence[float], size: int) -> Pace:
    """Of the steps behind the first, which warms up and has the loading before it."""
    if len(ticks) < 3:  # the only row that fits
        return Pace(amount=size, unit="rows", seconds=ticks[-1] - ticks[0])
    steps = len(ticks) - 2
    took = ticks[-1] - ticks[1]
    startup = ticks[1] - ticks[0] - took / steps
    return Pace(amount=steps * size, unit="rows", seconds=took, startup=max(0.0, startup))


def _drawn(subjects: Sequence[Any], most: int, seed: int) -> list[Any]:
    """Some of them, drawn by the run's seed."""
    rows = rng_for(seed, "sample").sample(range(len(subjects)), min(most, len(subjects)))
    return [subjects[row] for row in rows]
