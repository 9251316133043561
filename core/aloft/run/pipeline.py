"""The order of the stages, from documents to a report; each is done once and then read back."""

import json
import logging
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aloft import __version__
from aloft.backends.checking import check_models
from aloft.backends.loading import Models, trained_on
from aloft.backends.packaged import resolve_model
from aloft.config import GRADED, PARTS, SERVER, Part, RunConfig, plain_name, read_run_config
from aloft.config.strategies import Phase, phases_of, trained_before
from aloft.corpus.duplicates import drop_copies
from aloft.corpus.grouping import group_documents
from aloft.corpus.locating import PassageLocator
from aloft.corpus.passages import DocumentSplitter
from aloft.corpus.readers import read_documents
from aloft.corpus.windows import Windows, cut_windows
from aloft.datasets.rows import (
    Corpus,
    build_training_sets,
    label_held_out,
    retrieved_rows,
    select_linked,
    split_pairs,
)
from aloft.errors import DataError
from aloft.evaluation.evaluator import Evaluator
from aloft.evaluation.gate import Verdict
from aloft.evaluation.measure import measure_parts
from aloft.evaluation.pages import write_report
from aloft.evaluation.report import (
    FunnelRow,
    Indexing,
    Measurements,
    PreviousRunFacts,
    Report,
    funnel_row,
    read_report,
)
from aloft.evaluation.splits import split_questions
from aloft.files import write_text
from aloft.machine import describe_machine, peak_memory_megabytes
from aloft.network_guard import NetworkGuard, guarded_steps, hosts_of, local_only
from aloft.prompts.formats import format_of
from aloft.protocols import Floats, LanguageModel, Progress, Prompt, no_progress
from aloft.questions import linking as links
from aloft.questions.labelled import read_questions
from aloft.questions.logs import read_log
from aloft.records import (
    Artifact,
    Document,
    EmbedderRow,
    GeneratorRow,
    LabelledQuestion,
    LinkedQuestion,
    LogEntry,
    Negatives,
    Passage,
    QAPair,
    Rating,
    Rejection,
    RerankerRow,
    RetrievedRow,
    from_json,
    to_json,
)
from aloft.retrieval import negatives
from aloft.retrieval.dense import DenseIndex
from aloft.retrieval.searchable import SearchableCorpus
from aloft.run.usage import Usage, describe_teacher
from aloft.run.warm_start import PreviousRun, known_vectors, read_previous_run, take_over
from aloft.run.work import Work
from aloft.serving.answering import Answer, ask_streaming
from aloft.serving.bundle import CARRIED, open_run_retriever, read_bundle, write_bundle
from aloft.storage import RunFolder, cache_key, split_rejections
from aloft.synthesis import filters, pairs
from aloft.synthesis import rating as ratings

logger = logging.getLogger(__name__)

STAGES = (
    "documents",
    "passages",
    "ratings",
    "pairs",
    "filters",
    "negatives",
    "sets",
    "train",
    "evaluate",
)
_COUNTED = (*STAGES[:5], "log", "links", *STAGES[5:7])  # the funnel's; a run may have no log
_FUNNEL = (*_COUNTED, "embedder", "remined", "reranker", "generator")
_ATTRIBUTES = {
    "questions": "human_questions",
    "filters": "filtered",
    "sets": "training_sets",
    "train": "artifacts",
    "evaluate": "report",
}
_PROMPTS = 4  # raised when a prompt's wording changes: journals of older wordings are not reused
_COMPARED = 16  # replies that a merged model is compared by
_MINED = 1000  # questions between two reports
_ROWS = {"embedder": EmbedderRow, "reranker": RerankerRow, "generator": GeneratorRow}
_TAUGHT = {  # what the teacher does, by stage
    "ratings": ("ratings",),
    "pairs": ("pairs", "pair_ratings"),
    "filters": ("readings",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a run comes to.

    Attributes:
        report: What was measured, and on what.
        folder: The run folder; `models/` in it holds what ships.
    """

    report: Report
    folder: Path

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """Per part whether it is kept and why."""
        return self.report.verdicts


class Aloft:
    """The whole job behind one call.

    Args:
        config: What to do; see `aloft.load_config` for presets.
        teacher: A language model of the host's; without one, `config.teacher` is loaded.
    """

    def __init__(self, config: RunConfig, *, teacher: LanguageModel | None = None) -> None:
        self.config = config
        self._teacher = teacher

    def run(
        self,
        documents: Path | Sequence[Document],
        out: Path,
        *,
        questions: Path | None = None,
        progress: Progress = no_progress,
    ) -> Result:
        """Read, synthesise, train, evaluate and report; goes on where an earlier run stopped.

        Args:
            documents: A folder or file, or documents that are read already.
            out: The run folder.
            questions: The user's own labelled questions, reported apart.
            progress: Told what is done.

        Raises:
            AloftError: something that the user can put right, in one line.
        """
        with open_run(out, self.config, self._teacher, progress) as run:
            run.give(documents, questions)
            return Result(report=run.report, folder=out)


class HostedRun:
    """A run on documents that a host holds, by the methods that fine-tune engines have.

    Args:
        documents: What to tune on.
        out: The run folder; another one on the same folder goes on where the first stopped.
        config: What to do.
        teacher: A language model of the host's; None: the configuration's.
        questions: A file of the user's own labelled questions, which then decide what is kept.
    """

    def __init__(
        self,
        documents: Sequence[Document],
        out: str | Path,
        config: RunConfig,
        teacher: LanguageModel | None,
        questions: str | Path | None,
    ) -> None:
        self.documents = documents
        self.out = Path(out)
        self.config = config
        self._teacher = teacher
        self._questions = Path(questions) if questions else None

    def finetune(self, progress: Progress = no_progress) -> None:
        """Do the whole run, or what is missing of it.

        Args:
            progress: Told what is done: a name, how much of it, and of how much.

        Raises:
            AloftError: something that the user can put right, in one line.
        """
        run = Aloft(self.config, teacher=self._teacher)
        run.run(self.documents, self.out, questions=self._questions, progress=progress)

    @property
    def report(self) -> Report:
        """The finished run's figures.

        Raises:
            DataError: `finetune` has not finished.
        """
        return read_report(self.out)

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """Per part whether it is kept and why.

        Raises:
            DataError: `finetune` has not finished.
        """
        return self.report.verdicts


@contextmanager
def open_run(
    out: Path,
    config: RunConfig | None = None,
    teacher: LanguageModel | None = None,
    progress: Progress = no_progress,
) -> Iterator["Run"]:
    """Hold a run folder, with the network shut, while stages work in it.

    Without a configuration the folder's own is used.
    """
    config = config or read_config(out)
    with RunFolder(out) as folder, local_only(_servers(config)) as guard:
        whole = take_over(config, folder)
        yield Run(folder, whole, Models(teacher, progress), progress, guard)


def _servers(config: RunConfig) -> set[str]:
    """Hosts other than this machine that the configuration names as servers."""
    urls = [name.removeprefix(SERVER) for name in config.servers]
    return {host for url in urls for host in hosts_of(url, allow_remote=config.allow_remote)}


def read_config(out: Path) -> RunConfig:
    """The configuration that a run folder was made with.

    Raises:
        DataError: the folder holds none.
    """
    return read_run_config(out)


def read_funnel(out: Path) -> list[FunnelRow]:
    """What each finished stage of a run folder kept and dropped."""
    found = [out / "manifests" / f"{stage}.json" for stage in _FUNNEL]
    return [funnel_row(path.stem, json.loads(path.read_bytes())) for path in found if path.exists()]


def read_skipped(out: Path, stage: str = "documents") -> list[Rejection]:
    """What a stage dropped, with reasons: files that can not be read, lines of a log."""
    path = out / "rejections" / f"{stage}.jsonl"
    lines = path.read_text(encoding="utf-8").split("\n") if path.exists() else []
    return [from_json(Rejection, json.loads(line)) for line in lines if line]


def merge_run(out: Path, folder: Path) -> float:
    """Write the generator that a finished run ships, with its adapter merged, to a new folder.

    Returns:
        By how much the log-probability of a training reply changed at the most, in nats a token.

    Raises:
        DataError: the run is not finished or ships no adapter, or the folder holds something.
        ModelError: the merged model does not reply as the adapter does.
    """
    contract = read_bundle(out / "models")
    if contract.adapter is None:
        raise DataError(
            f"{out} ships no adapter: its generator is {contract.generator}, whole as it is. "
            f"{out / 'report.md'} tells why."
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder} is not empty. Choose another --out.")
    rows = RunFolder(out).read_records("sets/generator.jsonl", GeneratorRow)[:_COMPARED]
    from aloft.training.merging import merge_adapter

    name = plain_name(contract.generator)
    return merge_adapter(name, Path(contract.adapter), folder, rows)


def ask_run(out: Path, question: str, progress: Progress = no_progress) -> Iterator[Answer]:
    """Answer a question from a finished run's documents with what it ships: answers that grow.

    Raises:
        DataError: the run is not finished.
    """
    bundle = read_bundle(out / "models")
    models = Models(progress=progress)

    def answers() -> Iterator[Answer]:
        retriever = open_run_retriever(out, models)
        yield from ask_streaming(bundle, retriever, question, models)

    yield from guarded_steps(answers(), _servers(read_config(out)))


class _UnfinishedError(Exception):
    """A stage would have to be worked out."""


class Run(Work):
    """One run: each stage is worked out when it is asked for, and what comes before it first."""

    def __init__(
        self,
        folder: RunFolder,
        config: RunConfig,
        models: Models,
        progress: Progress = no_progress,
        guard: NetworkGuard | None = None,
    ) -> None:
        super().__init__(folder, config, models, progress)
        self._guard = guard or NetworkGuard()
        self._given: Path | Sequence[Document] | None = None
        self._questions: Path | None = None
        self._recipes: dict[str, str] = {}
        self._wants_pairs = False
        self._only_reads = False

    def give(self, documents: Path | Sequence[Document], questions: Path | None = None) -> None:
        """Set what is read; without it the run folder's own documents are used."""
        self._given = documents
        self._questions = questions
        (self.folder.path / "human.jsonl").unlink(missing_ok=True)
        text = self.config.model_dump_json(indent=2)
        write_text(self.folder.path / "config.json", text + "\n")

    def do(self, stage: str) -> None:
        """Work a stage out, with all that comes before it."""
        getattr(self, _ATTRIBUTES.get(stage, stage))

    def finished(self) -> set[str]:
        """Stages and parts that can be read back as the run is set up now; nothing is worked out.

        Documents and passages count as the rest does, but must have been read.
        """
        done: set[str] = set()
        trained: dict[Part, Artifact] = {}
        self._only_reads = True
        try:
            for stage in STAGES[:-2]:
                with suppress(_UnfinishedError):
                    self.do(stage)
                    done.add(stage)
            for phase in self._phases:
                with suppress(_UnfinishedError):
                    trained |= self._train_phase(phase, trained)
        finally:
            self._only_reads = False
        return done | trained.keys()

    @cached_property
    def earlier(self) -> PreviousRun:
        """What the run that this one goes on from had read and trained on."""
        return read_previous_run(self.config, self.folder)

    def _known_vectors(
        self, model: str, texts: Sequence[str]
    ) -> tuple[Floats, NDArray[np.intp]] | None:
        return known_vectors(self.config, self.folder, model, texts)

    # ---- documents, passages

    @cached_property
    def documents(self) -> list[Document]:
        """What was read; files that can not be read are rejections."""
        if self._given is None:
            kept = self.folder.read_records("documents.jsonl", Document)
            self._recipes["documents"] = self.folder.facts("documents")["recipe"]
            return kept
        started = time.monotonic()
        if isinstance(self._given, Path):
            found = read_documents(
                self._given, self.config.documents, self._progress, exclude=[self.folder.path]
            )
            kept, dropped = split_rejections(list(found), Document)
        else:
            kept, dropped = list(self._given), []
        digest = sha256()
        for document in kept:
            digest.update(
                json.dumps(to_json(document), ensure_ascii=False).encode("utf-8", "replace")
            )
        recipe = cache_key("documents", digest.hexdigest())
        self._finish("documents", recipe, "documents.jsonl", kept, dropped, started)
        return kept

    @cached_property
    def passages(self) -> list[Passage]:
        """The corpus, cut and without copies."""
        documents = self.documents
        name = self.config.embedder
        recipe = self._after("documents", self.config.passages, self.models.fingerprint(name))
        if self._is_done("passages", recipe):
            return self.folder.read_records("passages.jsonl", Passage)
        started = time.monotonic()
        tokenizer = tokenizer_of(resolve_model(name))
        splitter = DocumentSplitter(tokenizer, self.config.passages)
        cut = [outcome for document in documents for outcome in splitter.split(document)]
        whole, short = split_rejections(cut, Passage)
        similarity = self.config.passages.near_duplicate_similarity
        kept, copied = split_rejections(list(drop_copies(whole, similarity)), Passage)
        dropped = [*short, *copied]
        if not kept:
            raise DataError(
                f"{len(documents)} documents hold no passage of at least "
                f"{self.config.passages.min_characters} characters. Give longer texts."
            )
        self._finish("passages", recipe, "passages.jsonl", kept, dropped, started)
        return kept

    @cached_property
    def passages_by_id(self) -> dict[str, Passage]:
        """The corpus by id."""
        return {passage.id: passage for passage in self.passages}

    # ---- what the teacher writes

    @cached_property
    def ratings(self) -> list[Rating]:
        """Marks of the passages that are worth asking about."""
        config = self.config.ratings
        asked = pairs.select_passages(self.passages, self.config.pairs, seed=self.config.seed)
        most, seed = self.config.pairs.max_passages, self.config.seed
        recipe = self._after("passages", config, self._passage_first, most, seed, self._teacher_id)
        if self._is_done("ratings", recipe):
            return self.folder.read_records("ratings.jsonl", Rating)
        started = time.monotonic()
        outcomes: list[Rating | Rejection]
        if config.method == "none":
            outcomes = [Rating(subject_id=p.id, criterion="passage", value=10.0) for p in asked]
        else:
            how = [_PROMPTS, config.method, self._passage_first, self._teacher_id]
            outcomes = self._journalled("ratings", how, asked, self._rate, Rating)
        marks, unreadable = split_rejections(outcomes, Rating)
        kept, low = ratings.select_rated(marks, config)
        self._finish("ratings", recipe, "ratings.jsonl", kept, unreadable + low, started)
        return kept

    def _rate(self, some: Sequence[Passage]) -> list[Rating | Rejection]:
        """Rate passages and, where pairs will be wanted, write these while the teacher knows them.

        What has just been read for its mark is kept by the teacher (a prefix cache, keys and
        values) and is not read again for its pairs. A passage whose mark then turns out to be
        among the lowest was written about in vain: far less than reading all of them twice.
        """
        if self._writes_along:
            self._partners  # noqa: B018 - a kill while they are found costs no batch of ratings
        outcomes = list(
            ratings.rate_passages(
                some, self._teacher, self.config.ratings, passage_first=self._passage_first
            )
        )
        if self._writes_along:
            passed = {o.subject_id for o in outcomes if ratings.may_be_kept(o, self.config.ratings)}
            self._write([one for one in some if one.id in passed], no_progress)
        return outcomes

    @property
    def _writes_along(self) -> bool:
        """Whether rating and writing begin alike and pairs are what is worked for."""
        return self._passage_first and self._wants_pairs

    @property
    def _passage_first(self) -> bool:
        """Whether the prompts for marks and for pairs begin alike, with the passage."""
        return self.config.ratings.method == "expect" and self.config.pairs.form == "instruct"

    def _write(
        self, asked: Sequence[Passage], progress: Progress | None = None
    ) -> list[QAPair | Rejection]:
        config, seed = self.config.pairs, self.config.seed
        return self._journalled(
            "pairs",
            [
                *(_PROMPTS, config.form, config.per_passage, config.kinds, config.max_new_tokens),
                *(config.language, config.style, seed, self._teacher_id, *self._partner_recipe),
            ],
            asked,
            lambda some: pairs.generate_pairs(
                some, self._teacher, config, seed=seed, partners=self._partners
            ),
            QAPair,
            progress,
        )

    @cached_property
    def pairs(self) -> list[QAPair]:
        """Questions and answers."""
        config = self.config.pairs
        self._wants_pairs = True
        rated = {rating.subject_id for rating in self.ratings}
        asked = [passage for passage in self.passages if passage.id in rated]
        seed = self.config.seed
        recipe = self._after("ratings", config, seed, self._teacher_id, *self._partner_recipe)
        if self._is_done("pairs", recipe):
            return self.folder.read_records("pairs.jsonl", QAPair)
        started = time.monotonic()
        written = self._write(asked)
        kept, dropped = split_rejections(written, QAPair)
        kept, repeated = pairs.drop_repeated_questions(kept)
        kept, stale = pairs.drop_stale(kept, self.passages_by_id)
        dropped += stale
        mended = sum(pair.tries > 1 for pair in kept)
        if config.rating:
            outcomes = self._journalled(
                "pair_ratings",
                [_PROMPTS, config.min_rating, self._teacher_id],
                kept,
                lambda some: ratings.rate_pairs(
                    [(pair, self.passages_by_id[pair.passage_id]) for pair in some],
                    self._teacher,
                    config,
                ),
                QAPair,
            )
            kept, low = split_rejections(outcomes, QAPair)
            repeated += low
        if not kept:
            raise DataError(
                f"The teacher wrote no usable pair for {len(asked)} passages. See "
                f'{self.folder.path / "work"}; try pairs.form = "examples" or a larger teacher.'
            )
        self._finish(
            "pairs", recipe, "pairs.jsonl", kept, dropped + repeated, started, mended=mended
        )
        return kept

    @property
    def _partner_recipe(self) -> tuple[str, ...]:
        """What the partners of multi-hop questions depend on; nothing where none are asked."""
        config = self.config.pairs
        wants = config.form == "instruct" and config.kinds.get("multi_hop", 0) > 0
        return (self.models.fingerprint(self.config.embedder),) if wants else ()

    @cached_property
    def _partners(self) -> dict[str, Passage]:
        """By passage the other one that a multi-hop question needs; of all that may be asked."""
        if not self._partner_recipe:
            return {}
        seed = self.config.seed
        asked = pairs.select_passages(self.passages, self.config.pairs, seed=seed)
        return pairs.choose_partners(asked, self.passages, self._index, seed=seed)

    # ---- which of it is kept

    @cached_property
    def filtered(self) -> list[QAPair]:
        """The pairs that are worth training on."""
        config, name = self.config.filters, self.config.embedder
        by = [self._teacher_id] if set(filters.READING) & set(config.use) else []
        recipe = self._after("pairs", config, self.models.fingerprint(name), *by)
        if self._is_done("filters", recipe):
            return self.folder.read_records("filtered.jsonl", QAPair)
        started = time.monotonic()
        corpus = SearchableCorpus(self.passages, self._index)
        screened = filters.screen_pairs(self.pairs, self._question_vectors, corpus, config)
        passed, dropped = split_rejections(screened, QAPair)
        unique = list(filters.drop_near_duplicates(passed, config))
        passed, copied = split_rejections(unique, QAPair)
        verified = filters.verify_pairs(passed, corpus.by_id, self._read, config)
        kept, unverified = split_rejections(verified, QAPair)
        dropped += copied + unverified
        if not kept:
            raise DataError(
                f"None of {len(self.pairs)} pairs passed the filters. See "
                f"{self.folder.path / 'rejections' / 'filters.jsonl'}; try a larger teacher, or "
                "fewer filters in filters.use."
            )
        self._finish("filters", recipe, "filtered.jsonl", kept, dropped, started)
        return kept

    @property
    def _question_vectors(self) -> Floats:
        """Of all pairs that were written, so that no filter's choice costs an encode."""
        questions = [pair.question for pair in self.pairs]
        return self._encode(self.config.embedder, "queries", questions)

    @cached_property
    def windows(self) -> Windows:
        """What of the passages is embedded."""
        embedder = self.models.embedder(self.config.embedder)
        return cut_windows(self.passages, embedder, self.config.passages.window_tokens)

    @property
    def _index(self) -> DenseIndex:
        return self._index_of(self.config.embedder)

    def _index_of(self, model: str) -> DenseIndex:
        vectors = self._encode(self._indexer(model), "passages", self.windows.texts)
        return DenseIndex(vectors, self.windows.starts)

    # ---- the user's log

    def import_log(self, path: Path) -> None:
        """Take in past questions, in place of those that were taken in before.

        Raises:
            DataError: the file holds no question that can be used.
        """
        started = time.monotonic()
        entries, dropped = read_log(path)
        recipe = cache_key("log", [to_json(entry) for entry in entries])
        self._finish("log", recipe, "log.jsonl", entries, dropped, started)

    @property
    def _has_log(self) -> bool:
        return (self.folder.path / "manifests" / "log.json").exists()

    @cached_property
    def links(self) -> list[LinkedQuestion]:
        """The questions of the log and their passages; none where no log was taken in."""
        if not self._has_log:
            return []
        config, name = self.config.links, self.config.embedder
        log = self.folder.facts("log")["recipe"]
        recipe = self._after("passages", log, config, self.models.fingerprint(name))
        if self._is_done("links", recipe):
            return self.folder.read_records("links.jsonl", LinkedQuestion)
        started = time.monotonic()
        entries = self.folder.read_records("log.jsonl", LogEntry)
        rejections = self.folder.read_records("rejections/passages.jsonl", Rejection)
        queries = self._encode(name, "queries", [entry.question for entry in entries])
        locator = PassageLocator(self.documents, self.passages, rejections)
        corpus = SearchableCorpus(self.passages, self._index)
        outcomes = links.link_log(entries, queries, corpus, locator, config)
        kept, dropped = split_rejections(outcomes, LinkedQuestion)
        self._finish("links", recipe, "links.jsonl", kept, dropped, started)
        return kept

    # ---- negatives, training sets

    @cached_property
    def negatives(self) -> list[Negatives]:
        """Hard negatives of every pair that is kept and logged question, from the whole corpus."""
        name = self.config.embedder
        logged = [question.pair for question in self.links]
        recipe = self._after(
            "filters", self.config.negatives, self.models.fingerprint(name), *self._log_recipe
        )
        if self._is_done("negatives", recipe):
            return self.folder.read_records("negatives.jsonl", Negatives)
        started = time.monotonic()
        row_of = {pair.id: row for row, pair in enumerate(self.pairs)}
        queries = [self._question_vectors[[row_of[pair.id] for pair in self.filtered]]]
        if logged:
            queries.append(self._encode(name, "queries", [pair.question for pair in logged]))
        mined = self._mine([*self.filtered, *logged], np.concatenate(queries), self._index)
        self._finish("negatives", recipe, "negatives.jsonl", mined, [], started)
        return mined

    def _mine(self, asked: Sequence[QAPair], queries: Floats, index: DenseIndex) -> list[Negatives]:
        mined = []
        for one in negatives.mine_negatives(
            asked,
            queries,
            SearchableCorpus(self.passages, index),
            self.config.negatives,
            negatives.Judges(score=lambda texts: self._score_by("base", texts), read=self._read),
        ):
            mined.append(one)
            if not len(mined) % _MINED:
                self._progress("mining negatives", len(mined), len(asked))
        return mined

    @cached_property
    def training_sets(self) -> dict[str, list[Any]]:
        """Rows per part, and the held-out questions."""
        config = self.config.training_sets
        mined = {record.pair_id: record for record in self.negatives}
        human = [question.question for question in self.human_questions] if self._has_log else []
        before = self.earlier.recipe
        recipe = self._after("negatives", config, self.config.seed, *human, *before)
        if not self._is_done("sets", recipe):
            started = time.monotonic()
            place = {passage.id: passage.document_id for passage in self.passages}
            alike = [
                (place[pair.passage_id], place[passage_id])
                for pair in self.filtered
                for passage_id in mined[pair.id].positive_ids
            ]
            groups = group_documents(self.documents, alike)
            seed = self.config.seed
            train, held_out, neither = split_pairs(
                self.filtered,
                self.passages_by_id,
                groups,
                config,
                seed=seed,
                settled=self.earlier.split,
            )
            train = self.earlier.replayed(train, config.replay_ratio, seed)
            evaluated = [*human, *(pair.question for pair in held_out)]
            outcomes = select_linked(self.links, held_out, evaluated, self.passages_by_id, groups)
            logged, dropped = split_rejections(outcomes, LinkedQuestion)
            logged = logged if config.log_repeat else []
            rows = [question.pair for question in logged] * config.log_repeat
            questions = label_held_out(held_out, mined)
            self.folder.write_records("sets/train.jsonl", [*train, *rows])
            self.folder.write_records("sets/held_out.jsonl", questions)
            counts = self._build_sets("sets", PARTS, [*train, *rows], questions, mined)
            counts["held_out"] = len(questions)
            kept = [*train, *logged, *held_out]
            self._finish("sets", recipe, None, kept, neither + dropped, started, rows=counts)
        read = self.folder.read_records
        return {
            **{part: list(read(f"sets/{part}.jsonl", cls)) for part, cls in _ROWS.items()},
            "train": read("sets/train.jsonl", QAPair),
            "held_out": read("sets/held_out.jsonl", LabelledQuestion),
        }

    def _build_sets(
        self,
        folder: str,
        parts: Sequence[Part],
        train: Sequence[QAPair],
        held_out: Sequence[LabelledQuestion],
        mined: Mapping[str, Negatives],
    ) -> dict[str, int]:
        """Lay out parts' rows in a folder; returns how many there are of each."""
        config, seed = self.config.training_sets, self.config.seed
        corpus = Corpus(
            passages=self.passages_by_id, windows=self.windows.by_passage(self.passages)
        )
        built = build_training_sets(train, held_out, corpus, mined, config, seed=seed)
        for part in parts:
            self.folder.write_records(f"{folder}/{part}.jsonl", getattr(built, part))
        return {part: len(getattr(built, part)) for part in parts}

    def _remined(self, part: Part, embedder: Artifact) -> list[Any]:
        """Rows whose negatives the tuned embedder found: it is whom a later part works behind.

        Source: the refresh of negatives in ANCE (arXiv:2007.00808).
        """
        recipe = self._after("sets", "remined", embedder.fingerprint)
        if not self._is_done("remined", recipe):
            started = time.monotonic()
            sets = self.training_sets
            asked = list({pair.id: pair for pair in sets["train"]}.values())
            model = str(self.folder.path / embedder.path)
            queries = self._encode(model, "queries", [pair.question for pair in asked])
            mined = self._mine(asked, queries, self._index_of(model))
            known = {record.pair_id: record for record in mined}
            rows = self._build_sets("remined", PARTS[1:], sets["train"], sets["held_out"], known)
            self._finish(
                "remined", recipe, "remined/negatives.jsonl", mined, [], started, rows=rows
            )
        return list(self.folder.read_records(f"remined/{part}.jsonl", _ROWS[part]))

    # ---- training

    @cached_property
    def artifacts(self) -> dict[Part, Artifact]:
        """The trained parts, in the order of the strategy's phases."""
        trained: dict[Part, Artifact] = {}
        for phase in self._phases:
            trained |= self._train_phase(phase, trained)
        return trained

    @property
    def _phases(self) -> list[Phase]:
        return phases_of(self.config.strategy, self.config.parts)

    def _train_phase(self, phase: Phase, earlier: dict[Part, Artifact]) -> Mapping[Part, Artifact]:
        if phase.by == "rows":
            return {part: self._train(part, earlier) for part in phase.trains}
        return self._train_by_retrieval(phase, earlier)

    def _train_by_retrieval(
        self, phase: Phase, earlier: dict[Part, Artifact]
    ) -> dict[Part, Artifact]:
        """Train parts by a loss over what the untuned embedder retrieves."""
        recipe = self._recipe_by_retrieval(phase, earlier)
        done = [self._is_done(part, recipe) for part in phase.trains]
        if all(done) and all((self.folder.path / part).is_dir() for part in phase.trains):
            read = self.folder.read_records
            return {part: read(f"{part}.jsonl", Artifact)[0] for part in phase.trains}
        started = time.monotonic()
        self._forget_other_training(phase.trains[0], recipe)
        rows = self._retrieved_rows()
        if "generator" not in phase.trains:
            rows = self._with_logs(rows, earlier)
        self.models.release()
        from aloft import training

        trained = {}
        for artifact in training.train_rag(
            rows,
            self._index.vectors,
            phase,
            self.config,
            self.folder.path,
            checkpoints=self._checkpoints_of(phase.trains[0]),
            progress=self._progress,
        ):
            part = artifact.kind
            artifact = replace(artifact, base_model=self._named(part, artifact.base_model))
            self._finish(part, recipe, f"{part}.jsonl", [artifact], [], started, rows=len(rows))
            trained[part] = artifact
            started = time.monotonic()
        return trained

    def _recipe_by_retrieval(self, phase: Phase, earlier: dict[Part, Artifact]) -> str:
        config = self.config
        return self._after(
            "sets",
            *(asdict(phase), config.rag_training, config.seed),
            *(config.embedder_training, config.generator_training),
            self.models.fingerprint(config.embedder),
            self.models.fingerprint(plain_name(config.generator_model)),
            *(artifact.fingerprint for artifact in earlier.values()),
        )

    def _retrieved_rows(self) -> list[RetrievedRow]:
        """The pairs that the generator has rows of, with what the untuned embedder finds."""
        config, sets = self.config.training_sets, self.training_sets
        answered = {row.pair_id for row in sets["generator"]}
        asked = [pair for pair in sets["train"] if pair.id in answered]
        queries = self._encode(self.config.embedder, "queries", [pair.question for pair in asked])
        index = self._index
        ranking = index.rank(queries, self.config.rag_training.k)
        form = format_of(config.format, abstains=config.abstains)
        rows = retrieved_rows(asked, ranking, self.passages, form)
        return [
            replace(row, windows=tuple(index.best_windows(query, row.columns)))
            for row, query in zip(rows, queries, strict=True)
        ]

    def _with_logs(
        self, rows: Sequence[RetrievedRow], earlier: dict[Part, Artifact]
    ) -> list[RetrievedRow]:
        """The rows with what the generator as it is makes of their answers, passage by passage."""
        name, adapter = self._generator("base")
        if "generator" in earlier:
            name, adapter = trained_on(name, self.folder.path / earlier["generator"].path)
        places = [(row, i) for row, one in enumerate(rows) for i in range(len(one.columns))]
        # prompts about one passage begin alike: side by side they read it once
        places.sort(key=lambda place: rows[place[0]].columns[place[1]])
        told = self._read_answers(
            name,
            adapter,
            [Prompt(messages=rows[n].prompts[i], prefix=rows[n].prefix) for n, i in places],
            [rows[n].answer for n, _ in places],
            "reading answers by passage",
        )
        logs = {place: tuple(some) for place, some in zip(places, told, strict=True)}
        return [
            replace(row, logs=tuple(logs[n, i] for i in range(len(row.columns))))
            for n, row in enumerate(rows)
        ]

    def _train(self, part: Part, earlier: dict[Part, Artifact]) -> Artifact:
        base, settings = self._base_of(part, earlier)
        rows, stage = self.training_sets[part], "sets"
        if "embedder" in trained_before(part, self._phases):
            if "embedder" not in earlier:
                raise _UnfinishedError(part)
            rows, stage = self._remined(part, earlier["embedder"]), "remined"
        recipe = cache_key(
            self._recipes[stage], part, settings, self.config.seed, self.models.fingerprint(base)
        )
        file = f"{part}.jsonl"
        if self._is_done(part, recipe) and (self.folder.path / part).is_dir():
            return self.folder.read_records(file, Artifact)[0]
        started = time.monotonic()
        self._forget_other_training(part, recipe)
        self.models.release()
        from aloft import training

        train: Any = {
            "embedder": training.train_embedder,
            "reranker": training.train_reranker,
            "generator": training.train_generator,
        }[part]
        if part == "embedder" and settings.loss in GRADED:
            rows = self._grade(rows)
        artifact: Artifact = train(
            rows,
            base,
            self.folder.path / part,
            settings,
            seed=self.config.seed,
            checkpoints=self._checkpoints_of(part),
            progress=self._progress,
        )
        artifact = replace(artifact, base_model=self._named(part, base))
        self._finish(part, recipe, file, [artifact], [], started, rows=len(rows))
        return artifact

    def _grade(self, rows: Sequence[EmbedderRow]) -> list[EmbedderRow]:
        """The rows with what the untuned reranker says of their passages, in [0, 1]."""
        shown = [(row.positive, *row.negatives) for row in rows]
        texts = [(row.anchor, text) for row, some in zip(rows, shown, strict=True) for text in some]
        told = self._score_by("base", texts)
        if told.min() < 0 or told.max() > 1:  # some rerankers give logits
            told = (1 / (1 + np.exp(-told))).astype(np.float32)
        ends = np.cumsum([len(some) for some in shown])[:-1]
        graded = zip(rows, np.split(told, ends), strict=True)
        return [replace(row, grades=tuple(some.tolist())) for row, some in graded]

    def _base_of(self, part: Part, earlier: dict[Part, Artifact]) -> tuple[str, Any]:
        """What a part is trained from, and its settings."""
        if part == "embedder":
            return self.config.embedder, self.config.embedder_training
        if part == "generator":
            return plain_name(self.config.generator_model), self.config.generator_training
        # of an embedder that leaves passages as they are only a part that asks has changed
        is_whole = "embedder" in earlier and not self.config.embedder_training.keeps_index
        body = str(self.folder.path / "embedder") if is_whole else self.config.embedder
        return self.config.reranker or body, self.config.reranker_training

    def _named(self, part: Part, base: str) -> str:
        if part == "reranker" and base == str(self.folder.path / "embedder"):
            return "the tuned embedder's body"
        is_earlier = Path(base).is_relative_to(self.folder.path / CARRIED)
        return f"the earlier run's {part}" if is_earlier else base

    def _forget_other_training(self, part: Part, recipe: str) -> None:
        """Checkpoints of other rows or settings must not be gone on from."""
        mark = self.folder.path / "work" / f"{part}-recipe.txt"
        if not (mark.exists() and mark.read_text() == recipe):
            shutil.rmtree(self._checkpoints_of(part), ignore_errors=True)
            write_text(mark, recipe)

    def _checkpoints_of(self, part: Part) -> Path:
        return self.folder.path / "work" / f"{part}-checkpoints"

    # ---- evaluation and report

    @cached_property
    def human_questions(self) -> list[LabelledQuestion]:
        """The user's own questions, linked to passages where any answers them."""
        if self._questions is not None:
            documents, passages = self.documents, self.passages
            dropped = self.folder.read_records("rejections/passages.jsonl", Rejection)
            linked = read_questions(self._questions, documents, passages, dropped)
            self.folder.write_records("human.jsonl", linked)
            return linked
        if (self.folder.path / "human.jsonl").exists():
            return self.folder.read_records("human.jsonl", LabelledQuestion)
        return []

    @cached_property
    def question_sets(self) -> dict[str, list[LabelledQuestion]]:
        """The user's own questions that have answers, and the held-out synthetic ones."""
        synthetic = self.training_sets["held_out"]
        human = [question for question in self.human_questions if question.passage_ids]
        return {"human": human, "synthetic": synthetic} if human else {"synthetic": synthetic}

    def check(self) -> None:
        """Find a fault in what the user gave before hours of work, not after.

        Raises:
            AloftError: a model is missing, the machine can not do what is asked, or the questions
                do not fit the documents.
        """
        names = {self.config.embedder, self.config.generator_model, self.config.reranker}
        if self.models.given is None:
            names.add(self.config.teacher)
        check_models(self.config, has_teacher=self.models.given is not None)
        for name in names - {None}:
            self.models.fingerprint(str(name))
        if "generator" in self.config.parts and self.config.generator_training.method == "qlora":
            from aloft.backends.device import check_four_bits

            check_four_bits()
        self.human_questions  # noqa: B018 - reading them is the check

    @cached_property
    def evaluator(self) -> Evaluator:
        """What measures, with every encode, score and reply kept in the run folder."""
        return Evaluator(
            passages=self.passages,
            questions=self.question_sets,
            splits=split_questions(self.question_sets, self.passages, seed=self.config.seed),
            unanswerable=[one.question for one in self.human_questions if not one.passage_ids],
            config=self.config.evaluation,
            sets=self.config.training_sets,
            seed=self.config.seed,
            encode=lambda which, texts: self._encode(
                self._model("embedder", which), "queries", texts
            ),
            index=lambda which: self._index_of(self._model("embedder", which)),
            score=self._score_by,
            reply=self._reply_by,
            read=self._read_by,
        )

    def _model(self, part: Part, which: str) -> str:
        if which == "tuned":
            return str(self.folder.path / self.artifacts[part].path)
        return self.config.embedder if part == "embedder" else str(self.config.reranker)

    def _indexer(self, model: str) -> str:
        """The model that passages are embedded by: of a kept index it is the untuned one."""
        return self.config.embedder if self.config.embedder_training.keeps_index else model

    def _score_by(self, which: str, texts: Sequence[tuple[str, str]]) -> Floats:
        return self._score(self._model("reranker", which), texts, f"reranking ({which} reranker)")

    def _reply_by(self, which: str, prompts: Sequence[Prompt]) -> list[str]:
        name, adapter = self._generator(which)
        stop = self.evaluator.form.stop
        return self._reply(name, adapter, prompts, stop, f"answering ({which} generator)")

    def _read_by(self, which: str, prompts: Sequence[Prompt], replies: Sequence[str]) -> Floats:
        name, adapter = self._generator(which)
        doing = f"reading ({which} generator)"
        told = self._read_answers(name, adapter, prompts, replies, doing)
        return np.array([np.mean(logs) for logs in told], np.float32)

    def _generator(self, which: str) -> tuple[str, Path | None]:
        """A generator's model and adapter."""
        if which == "tuned":
            return trained_on(self.config.generator_model, Path(self._model("generator", which)))
        start = self.config.generator_training.init_adapter
        return self.config.generator_model, Path(start) if start else None

    @cached_property
    def report(self) -> Report:
        """The evidence: figures, comparisons, verdicts and what ships; also written as files."""
        self.check()
        trained = self.artifacts
        started = time.monotonic()
        measured = measure_parts(self.evaluator, self.config, tuple(trained))
        write_bundle(self.folder.path, self.config, measured.variants[0])
        seconds = round(time.monotonic() - started, 1)
        self.folder.finish("evaluate", cache_key("evaluate"), kept=0, dropped={}, seconds=seconds)
        report = self._describe(measured, trained)
        write_report(report, self.folder.path)
        return report

    def _describe(self, measured: Measurements, trained: dict[Part, Artifact]) -> Report:
        log = ("log", "links") if self._has_log else ()
        done = {*STAGES, *log, *trained, *self._recipes}
        stages = [*(stage for stage in _FUNNEL if stage in done), "evaluate"]
        return Report(
            aloft=__version__,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            command=" ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
            machine=describe_machine(),
            config=self.config.model_dump(mode="json"),
            funnel=tuple(funnel_row(stage, self.folder.facts(stage)) for stage in stages),
            parts=trained,
            measured=measured,
            indexing=self._indexing(),
            previous_run=self._previous_run_facts(),
            connections_refused=tuple(self._guard.refused),
            text_sent_to=tuple(sorted(self._guard.reached)),
            peak_memory_megabytes=peak_memory_megabytes(),
        )

    def _indexing(self) -> Indexing | None:
        """What embedding the corpus takes, and whether the tuned embedder needs it."""
        if "passages" not in self._encoded or "embedder" not in self.config.parts:
            return None
        texts, seconds = self._encoded["passages"]
        keeps = self.config.embedder_training.keeps_index
        return Indexing(texts=texts, seconds=seconds, is_kept=keeps)

    def _previous_run_facts(self) -> PreviousRunFacts | None:
        """How much is new since the run that this one was started from."""
        if self.config.earlier is None:
            return None
        known = self.earlier.passages
        asked = {pair.id for pair in self.training_sets["train"]}
        return PreviousRunFacts(
            run=self.config.earlier,
            passages=len(self.passages),
            new_passages=sum(passage.id not in known for passage in self.passages),
            new_pairs=len(asked - self.earlier.pairs),
            replayed_pairs=len(asked & self.earlier.pairs),
        )

    # ---- recipes

    def _after(self, stage: str, *parts: Any) -> str:
        """A recipe that depends on all of an earlier stage's."""
        getattr(self, _ATTRIBUTES.get(stage, stage))
        return cache_key(self._recipes[stage], *parts)

    @property
    def _log_recipe(self) -> tuple[str, ...]:
        """What depends on the user's log adds this to its recipe; nothing where there is none."""
        self.links  # noqa: B018 - working them out is what names their recipe
        return (self._recipes["links"],) if self._has_log else ()

    def _is_done(self, stage: str, recipe: str) -> bool:
        self._recipes[stage] = recipe
        is_done = self.folder.is_done(stage, recipe)
        if self._only_reads and not is_done:
            raise _UnfinishedError(stage)
        return is_done

    def _finish(
        self,
        stage: str,
        recipe: str,
        file: str | None,
        kept: Sequence[Any],
        dropped: Sequence[Rejection],
        started: float,
        **facts: Any,
    ) -> None:
        if file:
            self.folder.write_records(file, kept)
        self.folder.write_records(f"rejections/{stage}.jsonl", dropped)
        self._recipes[stage] = recipe
        spent = {name: self._spent.get(name, Usage()) for name in _TAUGHT.get(stage, ())}
        facts |= describe_teacher(spent, len(kept) if stage == "pairs" else None)
        reasons = dict(Counter(rejection.reason for rejection in dropped).most_common())
        seconds = round(time.monotonic() - started, 1)
        self.folder.finish(stage, recipe, kept=len(kept), dropped=reasons, seconds=seconds, **facts)
        self._progress(stage, 1, 1)
        logger.info("%s: kept %d, dropped %d", stage, len(kept), len(dropped))


def tokenizer_of(folder: str) -> Any:
    """A model's own tokenizer, for counting; cutting and padding are switched off."""
    from tokenizers import Tokenizer

    path = Path(folder) / "tokenizer.json"
    if not path.exists():
        raise DataError(f"{folder} holds no tokenizer.json. Choose a model with a fast tokenizer.")
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
