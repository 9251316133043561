"""One run from the outside: open its folder, give it documents, ask for what it comes to."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import Any

from aloft import __version__
from aloft.backends.checking import check_models
from aloft.backends.loading import Models, try_encoders
from aloft.config import PARTS, SERVER, SHARES_PART, Part, RunConfig, read_run_config
from aloft.corpus.sections import cut_sections
from aloft.errors import AloftError, ConfigError, DataError, ModelError
from aloft.evaluation import report as reports
from aloft.evaluation.evaluator import Evaluator
from aloft.evaluation.federated import choice_from_json
from aloft.evaluation.learning import LearningPoint, points_from_json
from aloft.evaluation.pages import write_report
from aloft.evaluation.report import FunnelRow, Report
from aloft.files import write_atomically, write_text
from aloft.jsonl import RecordFile
from aloft.machine import describe_command, describe_machine, peak_memory_megabytes
from aloft.network_guard import NetworkGuard, hosts_of, local_only
from aloft.protocols import LanguageModel, Progress, ReadingModel, no_progress
from aloft.questions.rows import unpack
from aloft.records import Artifact, Document, Rejection, cache_key
from aloft.run import funnel
from aloft.run.changes import ReportManifest, describe_changes, mark_pages
from aloft.run.context import Context, Inputs, Shared
from aloft.run.copying import copied
from aloft.run.executors.local import Executor, LocalExecutor
from aloft.run.federated_parts import (
    BUDGET,
    EXPECTED_GAINS,
    federated_sources,
    read_participation,
)
from aloft.run.host_teacher import AbsentTeacher, recall_teacher, remember_teacher
from aloft.run.replacing import refuse_other_corpus
from aloft.run.runner import Runner, accept_all
from aloft.run.stage import Setup
from aloft.run.stages.definitions import composes
from aloft.run.stages.evaluate import Sources, build_evaluator, trained_parts
from aloft.run.stages.questions import FILE as QUESTIONS
from aloft.run.store import RunStore
from aloft.run.warm_start import (
    check_previous_run,
    known_vectors,
    read_previous_run,
    take_over,
)
from aloft.serving.host_corpus import write_chunks
from aloft.synthesis.pairs import check_language
from aloft.training.privacy_budget import PrivacyBudget


@contextmanager
def open_run(
    out: Path,
    config: RunConfig | None = None,
    teacher: LanguageModel | None = None,
    progress: Progress = no_progress,
    executor: Executor | None = None,
    *,
    dry_run: bool = False,
) -> Iterator["OpenRun"]:
    """Hold a run folder, with the network shut, while stages work in it.

    Args:
        out: The run folder.
        config: What to do with documents that are then given; nothing is written before. None: as
            the folder was made with.
        teacher: A language model of the host's; None: the configured one, or where no
            configuration is given either, what stands for the teacher of the host before.
        progress: Called with what is done.
        executor: Works out partitions; None: this process.
        dry_run: Work in a copy of the folder, which is deleted at the end: nothing changes that is
            read later, but what models return is kept.

    Raises:
        DataError: no configuration is given, and the folder holds none.
        RunFolderError: another process holds the folder, or it cannot be written.
    """
    settings = config or read_run_config(out)
    with (
        RunStore(out) as held,
        local_only(servers_of(settings)) as guard,
        copied(held) if dry_run else nullcontext(held) as store,
    ):
        if config is None:
            if teacher is not None:
                remember_teacher(store.path, teacher)
            teacher = teacher or recall_teacher(store.path)
            settings = take_over(settings, store)
        shared = Shared(
            store,
            Models(teacher),
            progress,
            calling=(executor or LocalExecutor()).call,
            earlier_vectors=lambda name, texts: known_vectors(
                opened.config, store.path, name, texts
            ),
        )
        opened = OpenRun(settings, shared, guard, executor)
        try:
            yield opened
        finally:
            shared.cache.close()
            with suppress(AloftError):  # which the report itself then meets
                mark_pages(store.path)


def servers_of(config: RunConfig) -> set[str]:
    """Hosts other than this machine that the configuration names as servers."""
    urls = [name.removeprefix(SERVER) for name in config.servers]
    return {host for url in urls for host in hosts_of(url, allow_remote=config.allow_remote)}


def sources_in(out: Path) -> frozenset[str]:
    """What the user gave a run, of that which not every run has."""
    log = {"log"} if (out / "manifests" / "log.json").exists() else set()
    return federated_sources(out) | log


class OpenRun:
    """A run whose folder is held.

    Attributes:
        config: Of the run, with a previous run's parts in place of untuned ones.
        runner: Works out its stages.
        shared: What stages share, such as models.
    """

    def __init__(
        self,
        config: RunConfig,
        shared: Shared,
        guard: NetworkGuard,
        executor: Executor | None = None,
    ) -> None:
        self.config = config
        self.shared = shared
        self._guard = guard
        self._questions: Path | None = None
        setup = Setup(config, sources_in(shared.store.path))
        self.runner = Runner(setup, shared, executor)

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.shared.store.path

    def give(
        self,
        documents: Path | Sequence[Document],
        questions: Path | None = None,
        *,
        overwrite: bool = False,
    ) -> None:
        """Take in documents and, where there are any, the user's own labelled questions.

        Args:
            documents: A folder or file, or documents that are read already.
            questions: A file of labelled questions.
            overwrite: Whether a run on other documents, or one that continued another, may be
                replaced.

        Raises:
            DataError: they cannot be read, or there is no previous run to continue from.
            RunFolderError: the folder holds a run on other documents, or one that continued
                another, and this one does not.
        """
        store = self.shared.store
        check_previous_run(self.config, store, overwrite=overwrite)
        content = None if questions is None else unpack(questions)
        accept = accept_all if overwrite else partial(refuse_other_corpus, store)
        self.shared.given["questions"] = questions
        self.runner.take_in("documents", documents, accept)
        remember_teacher(self.folder, self.shared.models.given)
        self.config = take_over(self.config, store)
        text = self.config.model_dump_json(indent=2)
        write_text(self.folder / "config.json", text + "\n")
        if not isinstance(documents, Path):
            write_chunks(self.folder, documents)
        self._questions = questions
        copy = self.folder / QUESTIONS
        if content is None:
            copy.unlink(missing_ok=True)
        else:
            write_atomically(copy, lambda temporary: _write_bytes(temporary, content))
        self.runner.arrange(Setup(self.config, self.runner.setup.sources))

    def import_log(self, path: Path) -> None:
        """Take in past questions, in place of those that were taken in before.

        Raises:
            DataError: the file holds no question that can be used.
        """
        self.runner.arrange(Setup(self.config, self.runner.setup.sources | {"log"}))
        self.runner.take_in("log", path)

    def do(self, *wanted: str) -> None:
        """Work out stages, groups or outputs, with all that they need."""
        self.runner.do(*wanted)

    def records(self, output: str) -> RecordFile[Any]:
        """An output of records, worked out where it is missing."""
        return self.runner.records(output)

    def check(self) -> None:
        """Find a fault in what the user gave before hours of work, not after.

        Raises:
            AloftError: a model is missing, the machine cannot do what is asked, the language is
                unknown, all text is one short document, the questions do not fit the documents, or
                the teacher is to read given answers and cannot.
        """
        check_language(self.config.pairs)
        check_models(self.config, has_teacher=self.shared.models.given is not None)
        if "generator" in self.config.parts and self.config.generator_training.method == "qlora":
            from aloft.backends.device import check_four_bits

            check_four_bits()
        passages = self.records("passages")
        documents = list(islice(self.records("documents"), 2))  # the file may hold millions
        if len(documents) == 1 and not cut_sections(passages).starts:
            raise DataError(
                f'All text is one document, "{documents[0].id}", of {len(passages)} passages: too '
                "few to train on some and evaluate on others. Give more documents."
            )
        self.check_questions()
        self._check_reads()
        try_encoders(self.shared.models, self.config.embedder, self.config.reranker)

    def _check_reads(self) -> None:
        """Check that a teacher that is to read given answers can, before it writes any.

        A host's teacher that is not here now may have read all of them.

        Raises:
            ModelError: it cannot, as none behind a server can.
        """
        given, config = self.shared.models.given, self.config
        is_served = given is None and config.teacher.startswith(SERVER)
        if not is_served and isinstance(given, ReadingModel | AbsentTeacher | None):
            return
        left = self.runner.plan({"filters", "negatives"})
        advice = ""
        if left.has_left("verified") and "dependency" in config.filters.use:
            advice = 'Remove "dependency" from filters.use'
        elif left.has_left("verified") and "needs_all" in config.filters.use and self._composes():
            advice = "Set pairs.multi_hop to 0, as multi-hop pairs are filtered so"
        elif left.has_left("negatives") and "reading" in config.negatives.guards:
            advice = 'Remove "reading" from negatives.guards'
        if advice:
            raise ModelError(
                "The teacher does not return the likelihood of a given answer, as models behind "
                f"servers and of most applications do not. {advice}, or choose a teacher on this "
                "machine."
            )

    def _composes(self) -> bool:
        """Whether multi-hop pairs are composed of what these documents define."""
        return composes(self.runner.setup) and len(self.records("definitions")) > 0

    def check_questions(self) -> None:
        """Find the passages that answer the user's own questions.

        Raises:
            DataError: the questions do not fit the documents; it names the file that was given.
        """
        copy = str(self.folder / QUESTIONS)
        try:
            self.do("questions")
        except DataError as error:  # name the file that the user gave, not the run's copy of it
            raise DataError(str(error).replace(copy, str(self._questions or copy))) from error

    def train(self) -> dict[Part, Artifact]:
        """Train the parts, and return what came of each."""
        parts = trained_parts(self.runner.setup)
        self.do(*parts)
        return self._artifacts()

    def _artifacts(self) -> dict[Part, Artifact]:
        parts = trained_parts(self.runner.setup)
        found = {part: self.runner.store.path / f"{part}.jsonl" for part in PARTS if part in parts}
        return {part: RecordFile(path, Artifact)[0] for part, path in found.items()}

    @cached_property
    def evaluator(self) -> Evaluator:
        """What measures the run's parts; a tuned part must have been trained."""
        self.do("held_out", "questions")
        runner = self.runner
        one = runner.graph.stages["evaluate"]
        context = Context(one, self.shared, key=runner.keys.of(one))
        part = Inputs(one, runner.graph, runner.store)
        return build_evaluator(context, part, Sources(context, part))

    def measure_also(self, *, probes: bool = False, learning_curve: bool = False) -> None:
        """Measure more than is configured.

        Args:
            probes: How the position and the number of passages change the answers.
            learning_curve: What a quarter and half of the pairs gain.

        Raises:
            ConfigError: the run trains no part that this could be measured of.
        """
        if probes and "generator" not in trained_parts(self.runner.setup):
            raise ConfigError(
                f"{self.folder} trains no generator, whose answers --probes measures. Leave it "
                "out, or run again with the generator among the parts (--only)."
            )
        wanted = {"probes": probes, "learning_curve": learning_curve}
        more = {name: True for name, is_wanted in wanted.items() if is_wanted}
        evaluation = self.config.evaluation.model_copy(update=more)
        self.config = self.config.model_copy(update={"evaluation": evaluation})
        self.runner.arrange(Setup(self.config, self.runner.setup.sources))
        if learning_curve and _LEARNING not in self.runner.graph.stages:
            raise ConfigError(
                f"{self.folder} trains no embedder by rows of pairs, which --learning-curve does "
                'with fewer of them. Leave it out, or run again with "embedder" among the parts '
                '(--only) and strategy = "independent".'
            )

    def report(self) -> Report:
        """The evidence: figures, comparisons, verdicts and what ships; written as files too."""
        self.check()
        runner = self.runner
        reported = [name for name in _REPORTED if name in runner.graph.stages]
        self.do(*reported)
        made_of = {one.name: runner.keys.of(one) for one in runner.graph.needed(reported)}
        settings = self.config.model_dump(mode="json")
        key = cache_key("report", settings, *(made_of[name] for name in reported))
        known = ReportManifest.read(self.folder)
        if known is not None and known.key == key and (self.folder / reports.FILE).exists():
            with suppress(DataError):  # a damaged one is written anew
                return reports.read_report(self.folder)
        written = self._describe()
        write_report(written, self.folder)
        ReportManifest(key=key, made_of=made_of).write(self.folder)
        return written

    def _describe(self) -> Report:
        runner = self.runner
        rows = funnel.read_rows(runner.store, runner.graph, (*funnel.ORDER, "evaluate"))
        return Report(
            aloft=__version__,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            command=describe_command(),
            machine=describe_machine(),
            config=self.config.model_dump(mode="json"),
            funnel=tuple(reports.funnel_row(row.pop("stage"), row) for row in rows),
            parts=self._artifacts(),
            measured=reports.measurements_from_json(runner.read("measured")),
            learning=self._learning(),
            indexing=self._indexing(),
            previous_run=self._previous(),
            federation=tuple(map(self._federation, self._federated_parts)),
            shared_shares=self._shared_shares(),
            connections_refused=tuple(self._guard.refused),
            text_sent_to=tuple(sorted(self._guard.reached)),
            peak_memory_megabytes=peak_memory_megabytes(),
        )

    def _learning(self) -> tuple[LearningPoint, ...]:
        """What fewer pairs gain, where that was measured."""
        if _LEARNING not in self.runner.graph.stages:
            return ()
        return points_from_json(self.runner.read("learning_points"))

    def _indexing(self) -> reports.Indexing | None:
        """What embedding the corpus takes, and whether the tuned embedder needs it."""
        if "embedder" not in self.config.parts:
            return None
        keeps = self.config.embedder_training.keeps_index
        known = self.runner.store.facts("evaluate").get("indexing")
        return reports.Indexing(**known, is_kept=keeps) if known else None

    @property
    def _federated_parts(self) -> list[Part]:
        return [part for part in PARTS if f"federated_{part}" in self.runner.graph.stages]

    def _federation(self, part: Part) -> reports.FederationFacts:
        """What a federation trained, and what of it ships."""
        own = read_participation(self.folder, part)
        config = self.config.federation
        budget = PrivacyBudget(
            file=self.folder / BUDGET, epsilon=config.epsilon, delta=config.delta
        )
        has_noise = bool(budget.multipliers)
        return reports.FederationFacts(
            part=part,
            rounds=own.round,
            sites=own.sites,
            answered=own.answered,
            rows=own.rows,
            bytes_sent=own.bytes_sent,
            bytes_received=own.bytes_received,
            epsilon=budget.spent if has_noise else None,
            delta=config.delta if has_noise else None,
            choice=choice_from_json(self.runner.read(f"{part}_choice")),
        )

    def _shared_shares(self) -> reports.SharedShares | None:
        """On how many questions sites have measured what shares gain; None: they have not."""
        if EXPECTED_GAINS not in self.runner.graph.stages:
            return None
        own = read_participation(self.folder, SHARES_PART)
        return reports.SharedShares(questions=own.rows, others=own.others, sites=own.sites)

    def _previous(self) -> reports.PreviousRunFacts | None:
        """How much is new since the run that this one continues from."""
        if self.config.earlier is None:
            return None
        before = read_previous_run(self.folder)
        passages = self.records("passages")
        asked = {pair.id for pair in self.records("train_pairs")}
        return reports.PreviousRunFacts(
            run=self.config.earlier,
            passages=len(passages),
            new_passages=sum(passage.id not in before.passages for passage in passages),
            new_pairs=len(asked - before.pairs),
            replayed_pairs=len(asked & before.pairs),
        )


_LEARNING = "learning_curve"  # a stage where it is wanted
_REPORTED = ("evaluate", "bundle", _LEARNING)


def _write_bytes(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def read_funnel(out: Path) -> list[FunnelRow]:
    """What each finished group of stages of a run folder kept and dropped."""
    setup = Setup(read_run_config(out), sources_in(out))
    runner = Runner(setup, Shared(RunStore(out), Models(), read_only=True))
    rows = funnel.read_rows(runner.store, runner.graph)
    return [reports.funnel_row(row.pop("stage"), row) for row in rows]


def read_changes(out: Path) -> str:
    """What has changed since a run's report was written, in a line; "": nothing.

    Raises:
        DataError: there is no report, or it cannot be read.
    """
    return describe_changes(out, reports.read_report(out))


def read_skipped(out: Path, stage: str = "documents") -> list[Rejection]:
    """What a stage dropped, with reasons: files that cannot be read, lines of a log."""
    path = out / "rejections" / f"{stage}.jsonl"
    return list(RecordFile(path, Rejection)) if path.exists() else []
