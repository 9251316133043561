"""What flows between the stages: frozen records that point back by id and are JSON-shaped."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any, Literal, TypeVar

RecordT = TypeVar("RecordT")
Role = Literal["system", "user", "assistant", "tool"]


def content_id(*parts: str) -> str:
    """Hash fields to an id that is the same on every machine; the separator keeps them apart."""
    return sha256("\x1f".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def content_id_of(texts: Iterable[str]) -> str:
    """The `content_id` of all texts of a corpus, which are read one at a time."""
    digest = sha256()
    for row, text in enumerate(texts):
        digest.update(f"\x1f{text}"[not row :].encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:16]


def cache_key(*parts: Any) -> str:
    """Name all that a result depends on; parts are JSON types, pydantic models or strings."""
    return content_id(*map(_canonical, parts))


def _canonical(part: Any) -> str:
    if hasattr(part, "model_dump"):
        part = part.model_dump(mode="json")
    return json.dumps(part, sort_keys=True, ensure_ascii=False)


Frame = tuple[str, ...]
"""What stands around a text: models read `text.join(frame)`; a single part leaves the text out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A stretch of a document that a host framework holds as an object of its own.

    Attributes:
        document_id: Of the document.
        start, end: Characters [start, end) of its text.
        is_apart: Whether it differs from the chunk before in more than its text, so that no passage
            may hold text of both.
        embedding_frame: What stands around a text of the chunk where it is embedded or ranked.
        reading_frame: What stands around it where a language model reads it.
        host_id: The host's id.
        metadata: The host's metadata, a JSON object.
        form: What else the host needs to make the object again, a JSON object.
    """

    document_id: str
    start: int
    end: int
    is_apart: bool = True
    embedding_frame: Frame = ("", "")
    reading_frame: Frame = ("", "")
    host_id: str = ""
    metadata: str = "{}"
    form: str = "{}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One text that the user gave, as it was read.

    Attributes:
        id: Path below the folder, or the id that the file states.
        chunks: Of a document that a host holds, in the order of its text.
    """

    id: str
    text: str
    title: str = ""
    chunks: tuple[Chunk, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A span of one document, the unit that is rated, asked about, retrieved and cited.

    Attributes:
        start: Character offset into the document's text.
        embedding_frame: What a host puts around the text where it is embedded or ranked; (): the
            title is put in front of it.
        reading_frame: The same where a language model reads it.
    """

    document_id: str
    text: str
    start: int
    title: str = ""
    embedding_frame: Frame = ()
    reading_frame: Frame = ()

    @property
    def id(self) -> str:
        """Stable across runs and machines."""
        place = (self.document_id, str(self.start), self.title, self.text)
        return content_id(*place, *self.embedding_frame, *self.reading_frame)

    @property
    def end(self) -> int:
        """Character offset behind the passage in the document's text."""
        return self.start + len(self.text)

    @property
    def content(self) -> str:
        """What language models read: by default the title, where there is one, and the text."""
        return self.text.join(self.read_in)

    @property
    def embedded(self) -> str:
        """What embedders, BM25 and rerankers read: by default the same."""
        return self.text.join(self.embedded_in)

    @property
    def read_in(self) -> Frame:
        """What stands around the text in `content`."""
        return self.reading_frame or self._title_frame

    @property
    def embedded_in(self) -> Frame:
        """What stands around the text in `embedded`."""
        return self.embedding_frame or self._title_frame

    @property
    def _title_frame(self) -> Frame:
        return (f"{self.title}\n" if self.title else "", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rating:
    """A teacher's mark for a passage or a pair."""

    subject_id: str
    criterion: Literal["passage", "question", "answer"]
    value: float  # 0 to 10

    @property
    def id(self) -> str:
        """One rating per subject and criterion."""
        return content_id(self.subject_id, self.criterion)


@dataclass(frozen=True, slots=True, kw_only=True)
class QAPair:
    """A question and its answer, written from one passage, or from several that it needs."""

    passage_id: str
    question: str
    answer: str
    kind: str = ""  # of question, where one was asked for
    attempts: int = 1  # replies that it took
    additional_passage_ids: tuple[
        str, ...
    ] = ()  # the other passages that a multi-hop question needs

    @property
    def id(self) -> str:
        """Stable across runs and machines."""
        return content_id(self.passage_id, self.question, self.answer)

    @property
    def passage_ids(self) -> tuple[str, ...]:
        """All passages that it takes to answer."""
        return (self.passage_id, *self.additional_passage_ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """A question that people asked, once, with what they took for its answer."""

    question: str
    answer: str = ""  # that was accepted; "": none
    clicks: tuple[str, ...] = ()  # ids or paths of documents, or quotes of them

    @property
    def id(self) -> str:
        """One entry per question."""
        return content_id(self.question)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkedQuestion:
    """A question of the user's log and the passage that is taken to answer it."""

    passage_id: str
    question: str
    answer: str  # "": none was accepted
    confidence: float  # estimated probability that it is the right passage, in (0, 1]

    @property
    def id(self) -> str:
        """That of the pair."""
        return self.pair.id

    @property
    def pair(self) -> QAPair:
        """What is trained on."""
        return QAPair(passage_id=self.passage_id, question=self.question, answer=self.answer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A passage that ranked high for a question, and what it is taken for.

    Attributes:
        rank: Its place in the ranking, from 1; the right passages count.
        score: Cosine similarity to the question.
        verdict: "positive" answers the question too, "dropped" may or may not.
        reason: Why it is no negative; "" for one.
    """

    passage_id: str
    rank: int
    score: float
    verdict: Literal["negative", "positive", "dropped"]
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Negatives:
    """What was looked at for the hard negatives of one pair, best rank first.

    Attributes:
        score: Cosine similarity of question and right passage, of several the lowest.
    """

    pair_id: str
    score: float
    candidates: tuple[Candidate, ...]

    @property
    def passage_ids(self) -> tuple[str, ...]:
        """The negatives, hardest first."""
        return self._of("negative")

    @property
    def positive_ids(self) -> tuple[str, ...]:
        """Passages that answer the question as well as its own does."""
        return self._of("positive")

    def _of(self, verdict: str) -> tuple[str, ...]:
        return tuple(one.passage_id for one in self.candidates if one.verdict == verdict)

    @property
    def id(self) -> str:
        """One record per pair."""
        return self.pair_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """Something that a stage dropped, and why."""

    subject_id: str
    stage: str
    reason: str
    detail: str = ""

    @property
    def id(self) -> str:
        """Stable across runs and machines."""
        return content_id(self.subject_id, self.stage, self.reason, self.detail)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledQuestion:
    """A held-out question with the passages that answer it; none where nothing does."""

    id: str
    question: str
    answers: tuple[str, ...]
    passage_ids: tuple[str, ...]  # each of them answers it alone
    origin: Literal["synthetic", "human"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedderRow:
    """One contrastive example: a question, a passage that it needs and hard negatives.

    Attributes:
        pair_id: Of the pair; of a cloze row, of the passage.
        anchor: The question, or a sentence in its place.
        grades: What a reranker says of the positive and of each negative, in [0, 1], where the loss
            asks for it.
    """

    pair_id: str
    anchor: str
    positive: str
    negatives: tuple[str, ...]
    grades: tuple[float, ...] = ()

    @property
    def id(self) -> str:
        """One row per pair and passage."""
        return content_id(self.pair_id, self.positive)


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankerRow:
    """One labelled example for a reranker."""

    pair_id: str
    query: str
    passage: str
    label: float  # 1 where the passage answers the query, else 0

    @property
    def id(self) -> str:
        """One row per pair and passage."""
        return content_id(self.pair_id, self.passage)


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorRow:
    """One conversation whose last turn, and only that, is trained on."""

    pair_id: str
    prompt: tuple[Message, ...]
    prefix: str  # what every completion begins with
    completion: str

    @property
    def id(self) -> str:
        """One row per pair."""
        return self.pair_id


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrievedRow:
    """A question with its answer and what was retrieved for it, whether it is right or not.

    Attributes:
        columns: The passages' places in the corpus, best first.
        windows: The rows of their best windows among the corpus' vectors; none where each passage
            is one row.
        scores: Their cosine similarities when they were retrieved.
        prompts: For each of them a conversation that asks the question about it alone.
        prefix: What every reply begins with.
        answer: The reply behind the prefix.
        logs: For each passage the log-probabilities of the answer's tokens, where a generator that
            is not trained has read them.
    """

    pair_id: str
    question: str
    columns: tuple[int, ...]
    scores: tuple[float, ...]
    prompts: tuple[tuple[Message, ...], ...]
    prefix: str
    answer: str
    windows: tuple[int, ...] = ()
    logs: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """How an encoder in training scored a few rows that it is trained on.

    Attributes:
        step: After how many steps.
        found: Mean reciprocal rank of the right passages.
        spread: Standard deviation of a question's scores, on the mean.
        right: Score of the right passages, on the mean.
        likeness: Rank correlation with the scores from before training, in [-1, 1].
    """

    step: int
    found: float
    spread: float
    right: float
    likeness: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A trained part on disk.

    Attributes:
        path: Relative to the run folder.
        fingerprint: Changes with the weights.
        losses: As logged, in order.
        probes: What a watch of the training saw.
        event: Why it was stopped before its end; "": it was not.
    """

    kind: Literal["embedder", "reranker", "generator"]
    path: str
    base_model: str
    fingerprint: str
    seconds: float = 0.0
    losses: tuple[float, ...] = ()
    probes: tuple[Probe, ...] = ()
    event: str = ""

    @property
    def id(self) -> str:
        """One artifact per part."""
        return self.kind


def to_json(record: Any) -> dict[str, Any]:
    """A record as JSON types; a property such as the id is not stored, it follows from the rest."""
    return {name: value for name, value in asdict(record).items() if value or name not in _SPARSE}


_SPARSE = ("chunks", "embedding_frame", "reading_frame")  # not stored where they are empty


def from_json(cls: type[RecordT], values: Mapping[str, Any]) -> RecordT:
    """A record from JSON types: lists become tuples, records inside it become records."""
    return cls(**{_RENAMED.get(name, name): _thaw(value) for name, value in values.items()})


_RENAMED = {  # fields of records that were written by version 0.1
    "further_ids": "additional_passage_ids",
    "tries": "attempts",
}


def _thaw(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_thaw(element) for element in value)
    if isinstance(value, dict):
        inside = {name: _thaw(one) for name, one in value.items()}
        return _INSIDE[frozenset(value)](**inside)
    return value


_INSIDE = {frozenset(cls.__slots__): cls for cls in (Message, Candidate, Probe, Chunk)}
