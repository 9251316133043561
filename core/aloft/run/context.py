"""What a stage's function can reach: the settings, models and inputs that it declared."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from aloft.backends.checking import outgrows
from aloft.backends.fingerprint import fingerprint_folder
from aloft.backends.loading import Models
from aloft.corpus.windows import Windows, cut_windows
from aloft.files import read_json, write_text
from aloft.jsonl import RecordFile
from aloft.protocols import (
    Embedder,
    Floats,
    ItemT,
    PacedModel,
    Progress,
    ResultT,
    no_progress,
)
from aloft.records import Passage, Rejection, content_id
from aloft.retrieval.approximate import index_for_search
from aloft.retrieval.dense import DenseIndex
from aloft.retrieval.index_store import IndexStore, vectors_key
from aloft.run.cache import CallCache, KeptCalls
from aloft.run.calls import CachedLanguageModel, CachedReranker, Caller
from aloft.run.graph import Graph
from aloft.run.model_calls import Call, FunctionCall, ModelCall, ModelRef, perform_in_order
from aloft.run.stage import Model, Stage
from aloft.run.store import RunStore
from aloft.run.usage import Meter

ValueT = TypeVar("ValueT")
EarlierVectors = Callable[[str, Sequence[str]], tuple[Floats, NDArray[np.intp]] | None]
Calling = Callable[[Iterable[Call], "Shared"], Iterator[tuple[int, Any]]]
"""Works calls out: the place of each among them and its result, in any order."""
_SPREAD = 64  # items at a time, whose results are held until those before them are there
_BLOCK = 512  # texts of a call; an encoder has blocks as large, so that it pads alike


class UndeclaredError(Exception):
    """A stage asked for what it did not declare: a fault of the stage."""


class Inputs:
    """The inputs of a stage, or of one of its partitions.

    Attributes:
        records: Of a partition, in order; empty for a barrier.
        over: The input that they are from.
        start: The first one's row in that input.
    """

    def __init__(
        self,
        stage: Stage,
        graph: Graph,
        store: RunStore,
        records: Sequence[Any] = (),
        place: tuple[str, int] = ("", 0),
    ) -> None:
        self.records = records
        self.over, self.start = place
        self._stage = stage
        self._graph = graph
        self._store = store
        self._open: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        """An input: a `RecordFile`, a folder's path or a JSON document.

        Raises:
            UndeclaredError: the stage does not declare it.
        """
        if name not in self._stage.inputs:
            raise UndeclaredError(f'Stage "{self._stage.name}" does not declare input "{name}".')
        if name not in self._open:
            self._open[name] = self._store.read(self._graph.maker(name).outputs[name])
        return self._open[name]

    def __contains__(self, name: str) -> bool:
        return name in self._stage.inputs

    def rejections(self, name: str) -> RecordFile[Rejection]:
        """What the stage that wrote an input dropped.

        Raises:
            UndeclaredError: the stage does not declare the input.
        """
        if name not in self._stage.inputs:
            raise UndeclaredError(f'Stage "{self._stage.name}" does not declare input "{name}".')
        return self._store.rejections(self._graph.maker(name).name)


class Context:
    """Hands a stage its settings and models; a context serves one stage of one run.

    Attributes:
        settings: As the stage declares them.
        meter: What models were asked.
    """

    def __init__(
        self,
        stage: Stage,
        shared: "Shared",
        *,
        key: str = "",
        progress: Progress | None = None,
        offline: bool = False,
    ) -> None:
        self.settings = stage.settings
        self.meter = Meter()
        self._stage = stage
        self._shared = shared
        self._key = key
        self._progress = progress or shared.progress
        self._offline = offline

    def progress(self, doing: str, done: int, total: int) -> None:
        """Report how much of some work is done."""
        self._progress(doing, done, total)

    def source(self) -> Any:
        """What the user gave for the stage to read."""
        if self._stage.source is None:
            raise UndeclaredError(f'Stage "{self._stage.name}" does not declare a source.')
        return self._shared.given[self._stage.source]

    @property
    def questions_files(self) -> list[Path]:
        """Files of labelled questions that the user gave, which are no documents."""
        found = self._shared.given.get("questions")
        return [found] if isinstance(found, Path) else []

    def has(self, role: str) -> bool:
        """Whether the stage declares a model for a role."""
        return role in self._stage.models

    def _declared(self, role: str) -> Model:
        if role not in self._stage.models:
            raise UndeclaredError(f'Stage "{self._stage.name}" does not declare model "{role}".')
        return self._stage.models[role]

    def name(self, role: str) -> str:
        """The name of a declared model, for what loads it by itself, such as a training."""
        return self._declared(role).name

    def adapter(self, role: str) -> Path | None:
        """The adapter of a declared model."""
        return self._declared(role).adapter

    def outgrows(self, role: str) -> bool:
        """Whether a declared language model is much larger than the declared teacher."""
        generator, teacher = self._declared(role).name, self._declared("teacher").name
        return self._shared.models.given is None and outgrows(generator, teacher)

    def teacher(self, role: str = "teacher", *, label: str = "") -> CachedLanguageModel:
        """The teacher; what it is asked at once is asked at once, or as it says, and kept."""
        model = self._declared(role)
        models = self._shared.models
        at_once = models.given.at_once if isinstance(models.given, PacedModel) else 1 << 30
        caller = self._caller(role, models.teacher_fingerprint(model.name), label, at_once=at_once)
        return CachedLanguageModel(ModelRef("teacher", model.name), caller)

    def generator(
        self, role: str, *, label: str = "", trained: tuple[str, Path | None] | None = None
    ) -> CachedLanguageModel:
        """A language model that answers.

        Args:
            role: As declared; its usage is counted under it.
            label: What is being done, for a person.
            trained: Weights and adapter of an input that are used in its place.
        """
        declared = self._declared(role)
        name, adapter = trained or (declared.name, declared.adapter)
        caller = self._caller(role, self._shared.fingerprint(name, adapter), label)
        return CachedLanguageModel(ModelRef("language_model", name, adapter), caller)

    def reranker(
        self, role: str = "reranker", *, label: str = "", trained: Path | None = None
    ) -> CachedReranker:
        """A reranker: the declared one, or a trained input in its place."""
        name = str(trained) if trained else self._declared(role).name
        caller = self._caller(role, self._shared.models.fingerprint(name), label)
        return CachedReranker(ModelRef("reranker", name), caller)

    def _caller(
        self, role: str, fingerprint: str, label: str, at_once: int | None = None
    ) -> Caller:
        return Caller(
            role=role,
            fingerprint=fingerprint,
            cache=self._shared.calls,
            meter=self.meter,
            perform=self._shared.perform,
            progress=self._progress,
            label=label,
            at_once=at_once,
            offline=self._offline,
        )

    def embedder(self, role: str = "embedder", *, trained: Path | None = None) -> Embedder:
        """An embedder: the declared one, or a trained input in its place."""
        return self._shared.models.embedder(str(trained) if trained else self._declared(role).name)

    def encode(
        self,
        kind: str,
        texts: Sequence[str],
        *,
        role: str = "embedder",
        trained: Path | None = None,
    ) -> Floats:
        """Vectors of "queries", "passages" or "unrelated" texts, worked out once for a model."""
        name = str(trained) if trained else self._declared(role).name
        return self._shared.encode(name, kind, texts)

    def windows(self, passages: Sequence[Passage]) -> Windows:
        """What is embedded of a corpus, cut once and kept in the run folder."""
        most = self.settings["window_tokens"]
        return cut_windows(passages, self.embedder(), most, self.indexes.get_table)

    def index(
        self, windows: Windows, *, role: str = "embedder", trained: Path | None = None
    ) -> DenseIndex:
        """The index of a corpus' windows, as what ships opens it."""
        name = str(trained) if trained else self._declared(role).name
        return self._shared.index(name, windows)

    def indexing(
        self, texts: Sequence[str], *, role: str = "embedder", trained: Path | None = None
    ) -> dict[str, Any] | None:
        """How many of a corpus' texts were encoded in this folder, and the seconds that took."""
        name = str(trained) if trained else self._declared(role).name
        return self._shared.indexing(name, texts)

    def shared(self, name: str, build: Callable[[], ValueT]) -> ValueT:
        """What all partitions of the stage share in this process, such as an index."""
        memo = self._shared.memo
        if (self._stage.name, self._key, name) not in memo:
            memo.clear()  # of one stage at a time
            memo[self._stage.name, self._key, name] = build()
        found: ValueT = memo[self._stage.name, self._key, name]
        return found

    def spread(
        self, work: Callable[[ItemT], Iterable[ResultT]], items: Iterable[ItemT], /
    ) -> Iterator[Iterable[ResultT]]:
        """What a function makes of each item, in order; the executor may give items away."""
        rest = iter(items)
        while some := list(islice(rest, _SPREAD)):
            found = dict(self._shared.perform(FunctionCall(work, item) for item in some))
            yield from (found.pop(place) for place in range(len(some)))

    def release(self) -> None:
        """Let language models go, so that a training has the memory."""
        self._shared.models.release()

    @property
    def indexes(self) -> IndexStore:
        """Where the run folder keeps what its corpus is searched by."""
        return self._shared.indexes

    @property
    def scratch(self) -> Path:
        """A folder for what the stage needs to resume; it is deleted once the stage ends."""
        return self._shared.store.scratch(self._stage.name, self._key)

    @property
    def run(self) -> Path:
        """The run folder, for what the stage writes beside records."""
        return self._shared.store.path

    @property
    def origin(self) -> Path:
        """The run folder, also where the stage works in a copy of it."""
        return self._shared.store.origin


class Shared:
    """What all stages of a run share in this process.

    Args:
        store: The run folder.
        models: Where models are loaded from.
        progress: Called with what is done.
        earlier_vectors: Vectors of some texts by a model that a previous run had embedded, with the
            row of each text there or -1; None where it had not.
        read_only: Whether nothing is written to disk.
        calling: Works calls of models out; None: this process.

    Attributes:
        cache: The run folder's, of what models returned.
        calls: Where what models return is looked up and kept: in the cache, unless another process
            has it.
        given: What the user gave, by source.
        memo: What the partitions of one stage share.
    """

    def __init__(
        self,
        store: RunStore,
        models: Models,
        progress: Progress = no_progress,
        *,
        earlier_vectors: EarlierVectors = lambda _name, _texts: None,
        read_only: bool = False,
        calling: Calling | None = None,
    ) -> None:
        self.store = store
        self.models = models
        self.progress = progress
        self.cache = CallCache(store.origin / "work" / "calls.sqlite", read_only=read_only)
        self.calls: KeptCalls = self.cache
        self.indexes = IndexStore(store.origin / "work", read_only=read_only)
        self.given: dict[str, Any] = {}
        self.memo: dict[tuple[str, str, str], Any] = {}
        self._earlier_vectors = earlier_vectors
        self._read_only = read_only
        self._calling = calling

    def perform(self, calls: Iterable[Call]) -> Iterator[tuple[int, Any]]:
        """Work calls out: the place of each and its result, in any order."""
        if self._calling is None:
            return perform_in_order(calls, self.models)
        return self._calling(calls, self)

    def fingerprint(self, name: str, adapter: Path | None = None) -> str:
        """Names a model's weights, those of an adapter among them."""
        whole = self.models.fingerprint(name)
        return f"{whole}+{fingerprint_folder(adapter)}" if adapter else whole

    def encode(self, name: str, kind: str, texts: Sequence[str]) -> Floats:
        """Vectors of texts, worked out once for a model and texts and kept in the run folder."""
        weights = self.models.fingerprint(name)

        def encode() -> Floats:
            started = time.monotonic()
            known = self._earlier_vectors(name, texts) if kind == "passages" else None
            vectors, count = self._encode_missing(name, kind, texts, known)
            if kind == "passages" and not self._read_only:
                self._describe(weights, texts, {"encoded": count, "seconds": since(started)})
            return vectors

        return self.indexes.get(kind, weights, texts, encode)

    def index(self, name: str, windows: Windows) -> DenseIndex:
        """The index of a corpus' windows by a model."""
        vectors = self.encode(name, "passages", windows.texts)
        return index_for_search(vectors, windows.starts, self.indexes)

    def _encode_missing(
        self,
        name: str,
        kind: str,
        texts: Sequence[str],
        known: tuple[Floats, NDArray[np.intp]] | None,
    ) -> tuple[Floats, int]:
        """Vectors of all texts, and how many had to be encoded."""
        if known is None:
            return self._encode_all(name, kind, texts), len(texts)
        vectors, rows = known
        whole = np.empty((len(texts), vectors.shape[1]), np.float32)
        is_new = rows < 0
        whole[~is_new] = vectors[rows[~is_new]]
        if is_new.any():
            new = [texts[row] for row in np.flatnonzero(is_new).tolist()]
            whole[is_new] = self._encode_all(name, kind, new)
        return whole, int(is_new.sum())

    def _encode_all(self, name: str, kind: str, texts: Sequence[str]) -> Floats:
        method = "encode_queries" if kind == "queries" else "encode_passages"
        doing = "embedding questions" if kind == "queries" else "embedding passages"
        starts = range(0, max(1, len(texts)), _BLOCK)  # of no texts the number of dimensions counts
        model = ModelRef("embedder", name)
        calls = (
            ModelCall(model=model, method=method, arguments=(list(texts[start : start + _BLOCK]),))
            for start in starts
        )
        whole: Floats | None = None
        done = 0
        if len(starts) > 1:
            self.progress(doing, 0, len(texts))
        for place, result in self.perform(calls):
            if whole is None:
                whole = np.empty((len(texts), result.values.shape[1]), np.float32)
            whole[starts[place] : starts[place] + len(result.values)] = result.values
            done += len(result.values)
            self.progress(doing, done, len(texts))
        assert whole is not None  # noqa: S101 - there is one call at least
        return whole

    def _describe(self, weights: str, texts: Sequence[str], facts: Mapping[str, Any]) -> None:
        """Say whose vectors of which texts they are, for a run that continues from this one."""
        name = vectors_key("passages", weights, texts)
        values = {"model": weights, "texts": [content_id(text) for text in texts], **facts}
        write_text(self.store.origin / "work" / f"passages-{name}.json", json.dumps(values))

    def indexing(self, name: str, texts: Sequence[str]) -> dict[str, Any] | None:
        """How many passages' texts a model had to encode here, and the seconds that took."""
        recipe = vectors_key("passages", self.models.fingerprint(name), texts)
        path = self.store.origin / "work" / f"passages-{recipe}.json"
        if not path.exists():
            return None
        values = read_embedded(path)
        if "encoded" not in values:  # of an earlier format
            return None
        return {"texts": values["encoded"], "seconds": values["seconds"]}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Embedded:
    """What is kept beside the vectors of a corpus."""

    model: str
    texts: list[str]
    encoded: int = 0
    seconds: float = 0.0


def read_embedded(path: Path) -> dict[str, Any]:
    """Whose vectors of which texts were kept: "model" and "texts", and what encoding them took.

    Raises:
        DataError: the file is missing or damaged.
    """
    repair = "Delete it and the .npy file of the same name; both are then computed again."
    missing = f"{path} is missing. {repair}"
    found: dict[str, Any] = read_json(path, _Embedded, missing=missing, repair=repair)
    return found


def since(started: float) -> float:
    """Seconds since a time of the monotonic clock, to a tenth."""
    return round(time.monotonic() - started, 1)
