"""The report of a run as typed data, and how it is written to report.json and read back.

Rates and gains are shares in [0, 1]; pages show them in percent. A field that a run has nothing
for is empty or None, and its section is left out of the pages.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from aloft.config import Part
from aloft.errors import DataError
from aloft.evaluation.abstention import AbstentionCurve
from aloft.evaluation.bootstrap import Comparison
from aloft.evaluation.federated import Choice
from aloft.evaluation.gate import Verdict
from aloft.evaluation.learning import LearningPoint
from aloft.evaluation.systems import ShareCurve, System, SystemVariant
from aloft.files import read_json_object
from aloft.records import Artifact
from aloft.retrieval.fusion import WHOLE, CoverageShare
from aloft.retrieval.retriever import RetrieverName

FORMAT = 3
FILE = "report.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherUsage:
    """What a teacher was asked in a stage; None: it does not return token counts."""

    calls: int
    tokens_in: int | None
    tokens_out: int | None
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FunnelRow:
    """What a stage kept and dropped.

    Attributes:
        dropped: Number of rejections by reason.
        rows: Training rows that were laid out or trained on, in all or by part.
        teacher: Its usage by task, such as "pairs" or "ratings".
        pairs_an_hour: Pairs kept per hour that the teacher was waited for.
        repaired: Pairs that took more than one reply.
    """

    stage: str
    kept: int
    dropped: Mapping[str, int]
    seconds: float
    rows: int | Mapping[str, int] | None = None
    teacher: Mapping[str, TeacherUsage] = field(default_factory=dict)
    pairs_an_hour: int | None = None
    repaired: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionCounts:
    """The held-out questions of one set.

    Attributes:
        questions: Those that are reported.
        documents: Documents that they are about; None: not known.
        is_crossed: Whether what is measured with a question was chosen on questions about other
            documents.
        are_sections: Whether sections of long documents count as documents.
    """

    questions: int
    documents: int | None
    is_crossed: bool
    are_sections: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrievalRow:
    """Retrieval metrics of one system on the questions of one set.

    Attributes:
        dense_share: Of a hybrid, the mean over its questions; None of other retrievers.
        rerank_share: Of a reranker; None without one.
    """

    question_set: str
    retriever: RetrieverName
    embedder: str
    reranker: str
    dense_share: float | None
    rerank_share: float | None
    n: int
    metrics: Mapping[str, float]

    def is_of(self, system: System) -> bool:
        """Whether this row measures a system."""
        found = self.retriever, self.embedder, self.reranker
        return found == (system.retriever, system.embedder, system.reranker)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRow:
    """Answer metrics of one generator.

    Attributes:
        generator: "base" or "tuned".
        questions: "all" questions, the "easy" or "hard" ones, or "unanswerable" ones.
    """

    question_set: str
    generator: str
    questions: str
    n: int
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartComparison(Comparison):
    """One metric of one part, or of the whole system that ships, before and after."""

    part: str
    question_set: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRow:
    """Answer metrics of one generator for one place or number of passages.

    Attributes:
        probe: What is varied.
        value: The place, from 1, or the number of passages.
    """

    probe: str
    value: int
    question_set: str
    generator: str
    n: int
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Perplexity:
    """Perplexity of plain texts before and after training."""

    before: float
    after: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgetting:
    """What the generator can still do beside its task; no verdict rests on it."""

    perplexity: Perplexity
    instructions: Comparison


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexing:
    """What embedding the corpus takes.

    Attributes:
        seconds: On this machine.
        is_kept: Whether an index made with the untuned embedder can be kept.
    """

    texts: int
    seconds: float
    is_kept: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviousRunFacts:
    """What is new since the run that this one was started from.

    Attributes:
        run: Its folder.
        new_pairs: Pairs trained on for the first time.
        replayed_pairs: Pairs that were trained on before, too.
    """

    run: str
    passages: int
    new_passages: int
    new_pairs: int
    replayed_pairs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FederationFacts:
    """What a federation trained, and what of it this site ships.

    Attributes:
        rounds: Of the federation, up to the global part that was judged.
        sites: Sites whose updates the last round averaged.
        answered: Rounds in which this site trained.
        rows: Its training rows.
        bytes_sent, bytes_received: Weights, before encryption.
        epsilon: What all updates of this site so far may reveal of its documents, at `delta`; None:
            they were sent without noise.
        choice: What ships, and why.
    """

    part: Part
    rounds: int
    sites: int
    answered: int
    rows: int
    bytes_sent: int
    bytes_received: int
    epsilon: float | None
    delta: float | None
    choice: Choice


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedShares:
    """On how many questions the sites of a federation have measured what shares gain.

    Attributes:
        questions: Of this site, on which it has measured what lines of shares gain; 0: it has sent
            nothing.
        others: Questions of the other sites.
        sites: Other sites that have measured; shares are drawn to what two or more have.
    """

    questions: int
    others: int
    sites: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurements:
    """Everything that `aloft.evaluation.measure.measure_parts` measures.

    Attributes:
        questions: Counts by question set.
        deciding: The question set that verdicts rest on.
        variants: On/off combinations of the kept parts, the one that ships first.
        curves: What each share of what ships, and of nothing tuned, is worth.
        abstention: What abstaining comes to for both generators, where they may.
    """

    questions: Mapping[str, QuestionCounts] = field(default_factory=dict)
    deciding: str = ""
    retrieval: tuple[RetrievalRow, ...] = ()
    answers: tuple[AnswerRow, ...] = ()
    comparisons: tuple[PartComparison, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    variants: tuple[SystemVariant, ...] = ()
    curves: tuple[ShareCurve, ...] = ()
    abstention: tuple[AbstentionCurve, ...] = ()
    probes: tuple[ProbeRow, ...] = ()
    forgetting: Forgetting | None = None

    @property
    def shipped(self) -> SystemVariant | None:
        """The variant that ships."""
        return self.variants[0] if self.variants else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A run's figures and what they were taken on.

    Attributes:
        aloft: Version that made the run.
        created: ISO 8601, UTC.
        command: The command line; of an application that was the host, its name.
        machine: Processor, cores, versions; no host name.
        config: The configuration as JSON.
        funnel: Per stage, in order.
        parts: The trained parts.
        measured: What was measured.
        learning: What fewer pairs gain; empty unless it was asked for.
        federation: Of each part that a federation trained.
        shared_shares: Where its sites have measured shares.
        connections_refused: Hosts, one for each outbound connection that was refused.
        text_sent_to: Hosts that were allowed and reached.
    """

    aloft: str = ""
    created: str = ""
    command: str = ""
    machine: Mapping[str, str | int | None] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    funnel: tuple[FunnelRow, ...] = ()
    parts: Mapping[Part, Artifact] = field(default_factory=dict)
    measured: Measurements = field(default_factory=Measurements)
    learning: tuple[LearningPoint, ...] = ()
    indexing: Indexing | None = None
    previous_run: PreviousRunFacts | None = None
    federation: tuple[FederationFacts, ...] = ()
    shared_shares: SharedShares | None = None
    connections_refused: tuple[str, ...] | None = None
    text_sent_to: tuple[str, ...] = ()
    peak_memory_megabytes: int | None = None

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """Per trained part whether it is kept and why."""
        return self.measured.verdicts

    @property
    def shipped(self) -> SystemVariant | None:
        """The variant that ships."""
        return self.measured.shipped


_DAMAGED = f"{FILE} is damaged"
_REWRITE = "Write it again: aloft evaluate RUN"
_SURROGATE = re.compile("[\ud800-\udfff]")
_REPORT = TypeAdapter(Report)
_FUNNEL = TypeAdapter(FunnelRow)
_MEASURED = tuple(attribute.name for attribute in fields(Measurements))
_KNOWN = {*_MEASURED, *(attribute.name for attribute in fields(Report))}


def funnel_row(stage: str, facts: Mapping[str, Any]) -> FunnelRow:
    """A stage's row from the facts in its manifest; what the row has no field for is left out."""
    return _FUNNEL.validate_python({**facts, "stage": stage})


def to_json(report: Report) -> dict[str, Any]:
    """The content of report.json: the run's facts, and beside them what was measured.

    What ships is repeated under "shipped", for people and scripts that read the file.
    """
    values: dict[str, Any] = _REPORT.dump_python(report, mode="json")
    measured = values.pop("measured")
    ships = measured["variants"][0] if measured["variants"] else None
    whole = {"format": FORMAT, **values, **measured, "shipped": ships}
    finite: dict[str, Any] = _spell_non_finite(whole)
    return finite


def from_json(values: Mapping[str, Any]) -> Report:
    """A report from the content of report.json, of this format or an earlier one.

    Fields that this version does not know are ignored.

    Raises:
        DataError: the content is of a later format, or is no report.
    """
    if not values.keys() & _KNOWN:
        raise DataError(f"{_DAMAGED}: it holds no report. {_REWRITE}")
    written_as = values.get("format", 0)
    if not isinstance(written_as, int) or written_as > FORMAT:
        raise DataError(
            f"{FILE} has format {written_as}, but this version of Aloft reads formats up to "
            f"{FORMAT}. Update Aloft."
        )
    try:
        current = values
        for migrate in _MIGRATIONS[written_as:]:
            current = migrate(current)
        facts = {name: value for name, value in current.items() if name not in _MEASURED}
        facts["measured"] = {name: current[name] for name in _MEASURED if name in current}
        return _REPORT.validate_python(facts)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        raise DataError(f"{_DAMAGED}: {where}: {fault['msg']}. {_REWRITE}") from error
    except (AttributeError, KeyError, TypeError) as error:  # of a shape that no version wrote
        raise DataError(f"{_DAMAGED}: {error!r}. {_REWRITE}") from error


def read_report(run: Path) -> Report:
    """The report of a finished run.

    Raises:
        DataError: the run is not finished, or its report cannot be read.
    """
    path = run / FILE
    missing = f"{run} holds no report yet. Finish it: aloft evaluate {run}"
    repair = f"Write it again: aloft evaluate {run}"
    return from_json(read_json_object(path, missing=missing, repair=repair))


def dump(report: Report) -> str:
    """The text of report.json, for people too.

    Text that cannot be encoded, such as half a character of a file's name, is escaped.
    """
    text = json.dumps(to_json(report), indent=2, ensure_ascii=False, allow_nan=False)
    return _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n"


def _spell_non_finite(value: Any) -> Any:
    """JSON has no NaN and no infinity: a loss that diverged is spelled, and read back as it was."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {name: _spell_non_finite(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_spell_non_finite(inner) for inner in value]
    return value


# ---- format 0, whose reports say no format: Aloft 0.1.0 before 2026


def _migrate_format_0(values: Mapping[str, Any]) -> dict[str, Any]:
    """Choices and figures came from the same questions, which were resampled one by one."""
    renamed = {"stacks": "variants", "ability": "forgetting", "earlier": "previous_run"}
    current = {renamed.get(name, name): value for name, value in values.items()}
    current["questions"] = {
        name: {"validation": n, "test": n, "documents": None, "is_parted": False}
        for name, n in current.get("questions", {}).items()
    }
    current["answers"] = [_parted_answer(row) for row in current.get("answers", ())]
    current["comparisons"] = [_by_question(row) for row in current.get("comparisons", ())]
    current["verdicts"] = [
        {**verdict, "comparison": _by_question(verdict["comparison"])}
        for verdict in current.get("verdicts", ())
    ]
    if current.get("forgetting"):
        followed = _by_question(current["forgetting"]["instructions"])
        current["forgetting"] = {**current["forgetting"], "instructions": followed}
    return current


def _parted_answer(row: Mapping[str, Any]) -> dict[str, Any]:
    generator, _, questions = row["generator"].partition(", ")
    return {**row, "generator": generator, "questions": questions or "all"}


def _by_question(comparison: Mapping[str, Any]) -> dict[str, Any]:
    return {**comparison, "clusters": comparison["n"]}


# ---- format 1, until November 2026


def _migrate_format_1(values: Mapping[str, Any]) -> dict[str, Any]:
    """A hybrid had one dense share, its "weight"; a reranker, the whole say."""
    current = dict(values)
    current["retrieval"] = [
        {**row, "dense_share": row["weight"], "rerank_share": _whole_say(row["reranker"])}
        for row in current.get("retrieval", ())
    ]
    current["variants"] = [
        {
            **variant,
            "dense_share": asdict(CoverageShare.constant(variant["weight"])),
            "rerank_share": asdict(WHOLE),
        }
        for variant in current.get("variants", ())
    ]
    if isinstance(rows := current.get("funnel"), list):
        current["funnel"] = [{**row, "repaired": row.get("mended")} for row in rows]
    return current


def _whole_say(reranker: str) -> float | None:
    return None if reranker == "none" else 1.0


# ---- format 2, until 28 November 2026


def _migrate_format_2(values: Mapping[str, Any]) -> dict[str, Any]:
    """Some questions chose, and the others were reported."""
    counts = {
        name: {
            "questions": one["test"],
            "documents": one["documents"],
            "is_crossed": one["is_parted"],
        }
        for name, one in values.get("questions", {}).items()
    }
    return {**values, "questions": counts}


_MIGRATIONS = (_migrate_format_0, _migrate_format_1, _migrate_format_2)
_MEASUREMENTS = TypeAdapter(Measurements)


def measurements_to_json(measured: Measurements) -> dict[str, Any]:
    """What was measured, as JSON types."""
    values: dict[str, Any] = _spell_non_finite(_MEASUREMENTS.dump_python(measured, mode="json"))
    return values


def measurements_from_json(values: Mapping[str, Any]) -> Measurements:
    """What was measured, from the values that `measurements_to_json` returns."""
    return _MEASUREMENTS.validate_python(values)
