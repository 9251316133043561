"""Turns a run folder and a few measured seconds into what is left to do: calls, hours, gigabytes.

No speed is taken from a table. A figure is a range where it hangs on what is not known before: how
many replies can be used (a sample's share, give or take its standard error), how much the rankings
that are reranked have in common, and how many parts the gate will let through.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from aloft.backends.checking import has_tokens
from aloft.config import Part, RunConfig
from aloft.config.strategies import Phase, phases_of
from aloft.errors import ConfigError
from aloft.evaluation.forgetting import INSTRUCTIONS
from aloft.evaluation.probes import COUNTS, QUESTIONS
from aloft.machine import peak_memory_megabytes
from aloft.retrieval.approximate import LARGE
from aloft.run.corpus_costs import CorpusCosts, time_reading
from aloft.run.disk import disk_of
from aloft.run.job import OpenRun
from aloft.run.pilot import Asked, Pace, Pilot
from aloft.run.plan import Plan as RunPlan
from aloft.run.ranges import NOTHING, Range, exactly, share_of
from aloft.run.stages.evaluate import reads_after_body, trained_parts
from aloft.training.memory import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What is left of one stage.

    Attributes:
        stage: Its name.
        left: How much there is to do.
        unit: What is counted.
        seconds: Time that it will take.
        calls, tokens_in, tokens_out: Of the teacher; None: not its work, or it does not tell.
        undivided: Seconds of them that do not become fewer with more nodes: loading, trainings, and
            what the run's own process does.
        measured: What the time is drawn from.
    """

    stage: str
    left: Range
    unit: str
    seconds: Range
    calls: Range | None = None
    tokens_in: Range | None = None
    tokens_out: Range | None = None
    undivided: Range = NOTHING
    measured: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What is left of a run.

    Attributes:
        passages: In the corpus.
        asked_about: Those that are chosen to be asked about.
        lines: One per stage that takes time and is not finished.
        disk: Most bytes that the run folder will hold, while a part is trained.
        memory: Most bytes that this process held while all of this was measured, and of another
            corpus those of its vectors.
        plan: What training the generator will hold; None: it is not trained, or not known.
        read: Passages that were read; None: all that are estimated for.
    """

    passages: int
    asked_about: int
    lines: tuple[Line, ...]
    disk: float
    memory: float
    plan: Plan | None = None
    read: int | None = None

    @property
    def seconds(self) -> Range:
        """Of all stages."""
        return sum((line.seconds for line in self.lines), NOTHING)


def estimate_run(run: OpenRun, passages: int | None = None) -> Estimate:
    """Cut the passages, try a little of each missing stage, and reckon what is left.

    Args:
        run: The run; its documents are read.
        passages: Estimate the whole run for a corpus of so many passages like those that are read.

    Raises:
        AloftError: something that the user can put right; the run itself would meet it too.
    """
    run.do("passages", "questions", "selection")
    plan = run.runner.plan({"bundle"})
    if passages is not None and not plan.has_left("pairs"):
        raise ConfigError(
            f"{run.folder} has its pairs, so that writing them cannot be timed for another number "
            "of passages. Choose an empty folder for --out."
        )
    pilot = Pilot(run, run.shared.progress, passages)
    pilot.ask(plan)
    if plan.has_left("verified"):
        pilot.time_reading()
    about = _asked_about(pilot)
    wider = about / max(1, len(run.records("selection")))
    expected = expect_pairs(pilot.asked, pilot.rated_well, about, run.config, wider)
    kept = expected.kept or exactly(len(pilot.pairs))
    readings = kept * pilot.readings_each
    lines = list(_reading_lines(pilot)) if passages is not None else []
    lines += _teacher_lines(pilot.asked, expected, readings, about)
    trained = trained_parts(run.runner.setup)
    makers = {part: run.runner.graph.maker(part).name for part in trained}
    parts: list[Part] = [part for part in trained if plan.has_left(makers[part])]
    corpus = CorpusCosts.measure(pilot) if pilot.passages_in_all >= LARGE else None
    if plan.has_left("evaluate"):
        amounts = _known_amounts(run, plan) or expect_amounts(
            kept, pilot.passages_in_all, run.config
        )
        lines += _lines_of_parts(pilot, amounts, parts, corpus, mines=plan.has_left("negatives"))
        lines.append(_evaluation_line(pilot, amounts, corpus))
    read = len(run.records("passages"))
    vectors = 0 if passages is None else passages * pilot.embedder.encode_passages(["a"]).nbytes
    return Estimate(
        passages=pilot.passages_in_all,
        asked_about=about,
        lines=tuple(lines),
        disk=disk_of(pilot, parts) + (corpus.disk if corpus else 0.0),
        memory=float((peak_memory_megabytes() << 20) + vectors),
        plan=pilot.plan_generator() if _has_rows("generator", parts, run.config) else None,
        read=None if passages is None else read,
    )


def _asked_about(pilot: Pilot) -> int:
    """How many passages are chosen to be asked about; of another corpus, the same share."""
    selected, read = (len(pilot.run.records(name)) for name in ("selection", "passages"))
    most = pilot.config.pairs.max_passages
    about = round(selected * pilot.passages_in_all / read)
    return about if most is None else min(about, max(selected, most))


def _reading_lines(pilot: Pilot) -> Iterator[Line]:
    """What reading the documents, cutting them and dropping copies takes anew."""
    amount = exactly(pilot.passages_in_all)
    for stage, pace, undivided in time_reading(pilot):
        seconds = amount.at(pace)
        yield Line(
            stage=stage,
            left=amount,
            unit=pace.unit,
            seconds=seconds,
            undivided=seconds * undivided,
            measured=str(pace),
        )


# ---- what the teacher is asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """How much the teacher is asked in all, and what comes of it; None: it is known by now.

    Attributes:
        passages: That it is asked for pairs of.
        written: Pairs that can be used.
        kept: Those of them that it marks high enough.
    """

    passages: Range
    written: Range
    kept: Range | None


def expect_pairs(
    asked: Mapping[str, Asked], rated_well: int, about: int, config: RunConfig, wider: float = 1.0
) -> Expected:
    """Carry what came of the sample over to all passages.

    Args:
        asked: The sample, by what the teacher did.
        rated_well: Passages of it whose mark was high enough.
        about: Passages that are chosen to be asked about.
        config: Of the run.
        wider: How many times as many subjects there are as were found.
    """
    rated, written, marked = (asked.get(n) for n in ("ratings", "pairs", "pair_ratings"))
    passages = exactly(wider * written.subjects if written else 0)
    if rated:
        share = share_of(rated_well, rated.subjects - rated.left)
        passages = share.most(1 - config.ratings.drop_share) * about
    pairs = exactly(wider * marked.subjects if marked else 0)
    if written:
        usable = share_of(written.kept, written.replies)
        pairs = passages * (written.replies / written.pace.amount) * usable
    kept = pairs * share_of(marked.kept, marked.replies) if marked else pairs
    return Expected(passages=passages, written=pairs, kept=kept if written or marked else None)


def _teacher_lines(
    asked: Mapping[str, Asked], expected: Expected, readings: Range, about: int
) -> Iterator[Line]:
    """What is left of what the teacher was asked a part of."""
    totals = {
        "ratings": exactly(about),
        "pairs": expected.passages,
        "pair_ratings": expected.written,
        "readings": readings,
    }
    for stage, one in asked.items():
        left = totals[stage].less(one.subjects - one.left)
        each = left * (1 / one.pace.amount)
        tokens = [each * n if one.spent.tokens_in else None for n in _tokens(one)]
        yield Line(
            stage=stage,
            left=left,
            unit=one.pace.unit,
            seconds=left.at(one.pace),
            calls=each * one.spent.calls,
            tokens_in=tokens[0],
            tokens_out=tokens[1],
            undivided=exactly(one.pace.startup),
            measured=str(one.pace),
        )


def _tokens(one: Asked) -> tuple[int, int]:
    return one.spent.tokens_in, one.spent.tokens_out


# ---- what is trained and measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    """How much is trained on and measured.

    Attributes:
        pairs: Kept, those held out among them.
        rows: Per part.
        held_out: Synthetic questions.
    """

    pairs: Range
    rows: Mapping[str, Range]
    held_out: Range


def expect_amounts(pairs: Range, passages: int, config: RunConfig) -> Amounts:
    """Rows and questions that so many pairs about a corpus come to."""
    sets = config.training_sets
    train = pairs * (1 - sets.held_out_share)
    asked = train * (1 / (1 - sets.abstaining_share))
    cloze = exactly(passages * (1 - sets.held_out_share)).most(sets.cloze_rows)
    rows = {
        "embedder": train + Range(0, cloze.high),
        "reranker": train * (1 + sets.reranker_negatives),
        "generator": asked.most(sets.max_generator_rows),
    }
    return Amounts(pairs=pairs, rows=rows, held_out=pairs * sets.held_out_share)


def _known_amounts(run: OpenRun, plan: RunPlan) -> Amounts | None:
    """What the finished training sets hold."""
    if plan.has_left("sets"):
        return None
    facts = run.runner.store.facts("sets")
    rows = {name: exactly(count) for name, count in facts["rows"].items()}
    return Amounts(pairs=exactly(facts["kept"]), rows=rows, held_out=rows["held_out"])


def _lines_of_parts(
    pilot: Pilot,
    amounts: Amounts,
    left: Collection[str],
    corpus: CorpusCosts | None,
    *,
    mines: bool,
) -> Iterator[Line]:
    if mines:
        encoding = pilot.time_encoding()
        texts = exactly(pilot.passages_in_all) + amounts.pairs * _worth(pilot)
        paces = [(texts, encoding)]
        alone: list[tuple[Range, Pace]] = []
        if corpus:
            paces.append((amounts.pairs * pilot.passages_in_all, corpus.comparing))
            alone.append((exactly(pilot.passages_in_all), corpus.cutting))
        yield Line(
            stage="negatives",
            left=texts,
            unit="passages",
            seconds=_taken([*paces, *alone]),
            undivided=exactly(encoding.startup) + _taken(alone),
            measured=_measured([*paces, *alone]),
        )
    for phase in phases_of(pilot.config.strategy, pilot.config.parts):
        parts = [part for part in phase.trains if part in left]
        if phase.by == "rows":
            taught = [part for part in parts if part != "reranker" or not pilot.config.takes_body]
            yield from (_line_of_part(pilot, amounts, part) for part in taught)
        elif parts:
            yield _line_of_phase(pilot, amounts, phase)


def _line_of_part(pilot: Pilot, amounts: Amounts, part: Part) -> Line:
    pace = pilot.time_training(part)
    rows = amounts.rows[part] * _epochs(pilot.config, part)
    seconds = rows.at(pace)
    return Line(
        stage=part,
        left=rows,
        unit="rows",
        seconds=seconds,
        undivided=seconds,
        measured=str(pace),
    )


def _taken(paces: Sequence[tuple[Range, Pace]]) -> Range:
    """Seconds that so much of each takes."""
    return sum((amount.at(pace) for amount, pace in paces), NOTHING)


def _measured(paces: Sequence[tuple[Range, Pace]]) -> str:
    return ", ".join(str(pace) for _, pace in paces)


def _epochs(config: RunConfig, part: Part) -> float:
    if part == "reranker":
        return config.reranker_training.epochs
    epochs: float = getattr(config, f"{part}_training").num_train_epochs
    return epochs


def _line_of_phase(pilot: Pilot, amounts: Amounts, phase: Phase) -> Line:
    """Of a training by what is retrieved for the questions that the generator has rows of."""
    asked = amounts.rows["generator"]
    rows = asked * getattr(pilot.config, f"{phase.paced_by}_training").num_train_epochs
    paces = [(rows, pilot.time_phase(phase))]
    if "generator" not in phase.trains:  # what it makes of the answers is read before
        readings = asked * pilot.config.rag_training.k
        paces.append((readings, pilot.time_answer_readings()))
    return Line(
        stage=phase.name,
        left=rows,
        unit="rows",
        seconds=_taken(paces),
        undivided=_taken(paces[:1]),
        measured=_measured(paces),
    )


def _has_rows(part: Part, left: Collection[str], config: RunConfig) -> bool:
    """Whether a part is still to be trained, by rows of its own."""
    phases = phases_of(config.strategy, config.parts)
    return part in left and any(part in one.trains and one.by == "rows" for one in phases)


def _worth(pilot: Pilot) -> float:
    """A question's length, in passages."""
    questions = fmean(len(pair.question) for pair in pilot.pairs)
    return questions / pilot.passage_length


def _evaluation_line(pilot: Pilot, amounts: Amounts, corpus: CorpusCosts | None) -> Line:
    config = pilot.config
    asked = pilot.run.records("questions")
    human = sum(bool(question.passage_ids) for question in asked)
    unanswerable = len(asked) - human
    sets = {"synthetic": amounts.held_out, **({"human": exactly(human)} if human else {})}
    questions = sum(sets.values(), NOTHING)
    paces: list[tuple[Range, Pace]] = []
    if "embedder" in config.parts:
        texts = exactly(pilot.passages_in_all) + questions * _worth(pilot)
        paces.append((texts, pilot.time_encoding()))
    scores = questions * scores_per_question(config)
    if config.reranker is None:  # late interaction reads a passage once, whatever the question
        scores = scores.most(pilot.passages_in_all * rerankers_of(config))
    if scores.high:
        paces.append((scores, pilot.time_scoring()))
    if reads_after_body(config):
        late = questions * _hybrids(config) * config.evaluation.rerank_depth
        late = late.most(pilot.passages_in_all * (1 + ("embedder" in config.parts)))
        paces.append((late, pilot.time_scoring(config.embedder)))
    if "generator" in config.parts:
        answers = answers_of(sets, config, unanswerable)
        paces.append((answers, pilot.time_replies()))
    searching: list[tuple[Range, Pace]] = []
    if corpus:  # BM25 and the untuned embedder rank in any case
        embedders = 1 + ("embedder" in config.parts)
        searching.append((exactly(pilot.passages_in_all), corpus.indexing))
        searching.append((questions * embedders * pilot.passages_in_all, corpus.comparing))
    loading = exactly(sum(pace.startup for _, pace in paces))
    return Line(
        stage="evaluate",
        left=questions,
        unit="questions",
        seconds=_taken([*paces, *searching]),
        undivided=loading + _taken(searching),
        measured=_measured([*paces, *searching]),
    )


def rerankers_of(config: RunConfig) -> int:
    """Rerankers that are measured: the trained one, and the one before it."""
    return _has_untuned_reranker(config) + ("reranker" in config.parts)


def _has_untuned_reranker(config: RunConfig) -> bool:
    """Whether something can rerank before training."""
    return config.reranker is not None or has_tokens(config.embedder)


def scores_per_question(config: RunConfig) -> Range:
    """Passages that rerankers score for a question.

    Each is scored once, whatever rankings it stands in: those of each embedder's hybrid. At least
    they are all alike, at most no two share a passage.
    """
    is_late, settings = reads_after_body(config), config.evaluation
    depth = settings.read_depth if is_late else settings.rerank_depth
    return _hybrids(config) * (rerankers_of(config) * depth)


def _hybrids(config: RunConfig) -> Range:
    """Rankings that are reranked, as far as they differ."""
    return Range(1, 1 + ("embedder" in config.parts))


def answers_of(questions: Mapping[str, Range], config: RunConfig, unanswerable: int = 0) -> Range:
    """Prompts that the generator answers: tuned and untuned, on shuffled passages and in order.

    Beside them are the instructions that show what was forgotten, and the probes where they are
    wanted. In order it answers behind nothing tuned and, tuned and untuned, behind what ships,
    which may retrieve the same. Where it may abstain, everything is asked once more without the
    right passages, and so are the user's questions that no passage answers.
    """
    evaluation = config.evaluation
    most = evaluation.max_answer_questions
    answers = [some.most(most) * 2 for some in questions.values()]
    if config.training_sets.abstains:
        answers += [*answers, exactly(unanswerable).most(most) * 2]
    human = questions.get("human", NOTHING)
    deciding = human if human.low >= evaluation.min_human_questions else questions["synthetic"]
    each = [some.most(evaluation.max_stack_questions) for some in questions.values()]
    if config.training_sets.abstains:
        each += [*each, exactly(unanswerable).most(evaluation.max_stack_questions)]
    stacks = sum(each, NOTHING) * Range(2, 3)
    beside = exactly(2 * len(INSTRUCTIONS))
    if evaluation.probes:
        variants = config.training_sets.contexts + len(COUNTS) + 1
        beside += deciding.most(QUESTIONS) * (2 * variants)
    return sum(answers, stacks + beside)
