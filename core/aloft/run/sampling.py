"""Turns a run that is not done yet into paces: a little of each kind of its work, timed here.

What the teacher is asked stands in the run folder's journals, so that the run does not ask it
again. Trainings are the real ones on rows like the real ones, left after a few steps.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from aloft.config import Part, plain_name
from aloft.config.strategies import Phase
from aloft.corpus.windows import cut_windows
from aloft.datasets.rows import retrieved_rows
from aloft.prompts.formats import format_of
from aloft.protocols import Progress, Prompt
from aloft.randomness import rng_for
from aloft.records import (
    EmbedderRow,
    GeneratorRow,
    Passage,
    QAPair,
    Rejection,
    RerankerRow,
    RetrievedRow,
    from_json,
)
from aloft.retrieval.ranking import Ranking
from aloft.run.pipeline import Run
from aloft.run.usage import Usage, total
from aloft.storage import cache_key, split_rejections
from aloft.synthesis import filters
from aloft.training.memory import Plan

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
        return f"{self.amount:g} {self.unit} in {self.seconds:.1f} s"

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


class Pilot(Run):
    """A run that asks its teacher about a few passages and finishes no stage.

    Attributes:
        asked: By what the teacher did; nothing where the journal lacks nothing.
        readings_each: How often the teacher reads an answer of a pair for the filters.
    """

    def __init__(self, run: Run, progress: Progress) -> None:
        super().__init__(run.folder, run.config, run.models, progress)
        self.asked: dict[str, Asked] = {}
        self.readings_each = 0.0

    def _journalled(
        self, stage: str, recipe: list[Any], subjects: Sequence[Any], *how: Any
    ) -> list[Any]:
        journal = self.folder.journal(stage, cache_key(stage, *recipe))
        known = len(journal.notes)
        missing = [subject for subject in subjects if subject.id not in journal]
        if not missing:
            return super()._journalled(stage, recipe, subjects, *how)
        some = _drawn(missing, _SUBJECTS, self.config.seed)
        started = time.monotonic()
        outcomes: list[Any] = super()._journalled(stage, recipe, some, *how)
        took = time.monotonic() - started
        spent = total(from_json(Usage, note) for note in journal.notes[known:])
        self.asked[stage] = Asked(
            subjects=len(subjects),
            left=len(missing) - len(some),
            spent=spent,
            pace=Pace(
                amount=len(some),
                unit="passages" if isinstance(some[0], Passage) else "pairs",
                seconds=spent.seconds,
                startup=max(0.0, took - spent.seconds),
            ),
            replies=len(outcomes),
            kept=sum(not isinstance(outcome, Rejection) for outcome in outcomes),
        )
        return outcomes

    @property
    def _writes_along(self) -> bool:
        """Each is timed by itself; what the teacher has just rated it knows all the same."""
        return False

    def _finish(self, stage: str, recipe: str, *_: Any, **_facts: Any) -> None:
        self._recipes[stage] = recipe

    def time_reading(self) -> None:
        """Have the teacher read for the filters, of a few pairs; nothing where none needs it."""
        use = tuple(name for name in filters.READING if name in self.config.filters.use)
        known, read = len(self.readings.notes), len(self.readings)
        some = _drawn(self.pairs, _SUBJECTS, self.config.seed + read)
        started = time.monotonic()
        config = self.config.filters.model_copy(update={"use": use})
        outcomes = filters.verify_pairs(some, self.passages_by_id, self._read, config)
        kept, _ = split_rejections(outcomes, QAPair)
        took = time.monotonic() - started
        spent = total(from_json(Usage, note) for note in self.readings.notes[known:])
        if not spent.calls:
            return
        self.readings_each = spent.calls / len(some)
        self.asked["readings"] = Asked(
            subjects=round(self.readings_each * len(self.pairs)),
            left=round(self.readings_each * len(self.pairs)) - len(self.readings),
            spent=spent,
            pace=Pace(
                amount=spent.calls,
                unit="readings",
                seconds=spent.seconds,
                startup=max(0.0, took - spent.seconds),
            ),
            replies=len(some),
            kept=len(kept),
        )

    def time_encoding(self) -> Pace:
        """Embed a few passages with the embedder as it is."""
        started = time.monotonic()
        embedder = self.models.embedder(self.config.embedder)
        some = self._some(_ENCODED)
        texts = cut_windows(some, embedder, self.config.passages.window_tokens).texts
        embedder.encode_passages(texts[:_WARMING])
        begun = time.monotonic()
        embedder.encode_passages(texts)
        took = time.monotonic() - begun
        return Pace(amount=len(some), unit="passages", seconds=took, startup=begun - started)

    def time_scoring(self) -> Pace:
        """Score a few passages; the embedder's body stands for a reranker not trained yet."""
        texts = [passage.content for passage in self._some(_ENCODED)]
        asked = [(pair.question, text) for pair, text in zip(cycle(self.pairs), texts)]
        started = time.monotonic()
        reranker = self.models.reranker(self.config.reranker or self.config.embedder)
        reranker.score(asked[:_WARMING])
        begun = time.monotonic()
        reranker.score(asked)
        took = time.monotonic() - begun
        return Pace(amount=len(asked), unit="scores", seconds=took, startup=begun - started)

    def time_replies(self) -> Pace:
        """Let the generator, as it is, answer a few prompts of the size that evaluation has."""
        started = time.monotonic()
        model = self.models.language_model(self.config.generator_model)
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

        base, settings = self._base_of(part, {})
        size = _batch_size(part, settings.per_device_train_batch_size)
        short = settings.model_copy(
            update={"num_train_epochs": 1.0, "per_device_train_batch_size": size}
        )
        rows = list(self._rows(part, _STEPS * size))
        train: Callable[..., Any] = getattr(training, f"train_{part}")

        def start(folder: Path, tick: Progress) -> None:
            train(rows, base, folder / part, short, seed=self.config.seed, progress=tick)

        return self._time_steps(start, part, size)

    def time_phase(self, phase: Phase) -> Pace:
        """Train by what was retrieved for a few steps, which are thrown away."""
        from aloft import training

        size = getattr(self.config, f"{phase.paced_by}_training").per_device_train_batch_size
        rows = self._retrieved(_STEPS * size)
        some = self._some(_VARIED)
        embedder = self.models.embedder(self.config.embedder)
        vectors = embedder.encode_passages([some[0].content]).repeat(len(some), 0)  # any will do

        def start(folder: Path, tick: Progress) -> None:
            training.train_rag(rows, vectors, phase, self.config, folder, progress=tick)

        return self._time_steps(start, phase.name, size)

    def time_answer_readings(self) -> Pace:
        """Let the generator, as it is, read a few answers passage by passage."""
        started = time.monotonic()
        model: Any = self.models.language_model(plain_name(self.config.generator_model))
        begun = time.monotonic()
        rows = self._retrieved(_ANSWERED)
        asked = [Prompt(messages=one, prefix=row.prefix) for row in rows for one in row.prompts]
        model.token_logprobs(asked, [row.answer for row in rows for _ in row.prompts])
        took = time.monotonic() - begun
        return Pace(amount=len(asked), unit="readings", seconds=took, startup=begun - started)

    def _time_steps(self, start: Callable[[Path, Progress], None], name: str, size: int) -> Pace:
        """Start a training and leave it once a few steps were done."""
        self.models.release()
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

    def plan_generator(self) -> Plan | None:
        """The memory that training the generator takes here; None: the model's make is unknown."""
        from aloft import training

        base, settings = self._base_of("generator", {})
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

    def _some(self, most: int) -> list[Passage]:
        return _drawn(self.passages, most, self.config.seed)


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
    return rng_for(seed, "sample").sample(list(subjects), min(most, len(subjects)))
