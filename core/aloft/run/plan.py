"""Turns a graph and a run folder into what is left to do; nothing is read but manifests."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Protocol

from aloft.records import cache_key
from aloft.run.context import Shared
from aloft.run.graph import Graph
from aloft.run.stage import Stage
from aloft.run.store import RunStore

_BLOCK = 1024  # lines hashed at a time


class Fingerprints(Protocol):
    """Names the weights of models without loading them."""

    def of(self, stage: Stage) -> Mapping[str, str]:
        """By role of the models that a stage declares."""
        ...


class ModelFingerprints:
    """The fingerprints of a run's models, each looked up once."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._known: dict[Any, str] = {}

    def of(self, stage: Stage) -> dict[str, str]:
        """By role of the models that a stage declares."""
        found = {}
        for role, model in stage.models.items():
            if model not in self._known:
                is_teacher = model.kind == "teacher"
                self._known[model] = (
                    self._shared.models.teacher_fingerprint(model.name)
                    if is_teacher
                    else self._shared.fingerprint(model.name, model.adapter)
                )
            found[role] = self._known[model]
        return found


class Keys:
    """The keys of a run's stages: equal keys, equal outputs.

    A key is made of the stage's name and version, its settings, the fingerprints of its models, the
    content of the files it declares, and the keys of its inputs. Of a stage that reads what the
    user gave it is the key under which the content was taken in.
    """

    def __init__(self, graph: Graph, store: RunStore, fingerprints: Fingerprints) -> None:
        self._graph = graph
        self._store = store
        self._fingerprints = fingerprints
        self._known: dict[str, str] = {}

    def of(self, stage: Stage) -> str:
        """A stage's key.

        Raises:
            DataError: a stage before it reads what the user has not given yet.
        """
        if stage.name not in self._known:
            if stage.source is not None:
                self._known[stage.name] = str(_key_in(self._store.facts(stage.name)))
            else:
                self._known[stage.name] = self._make(stage, stage.inputs)
        return self._known[stage.name]

    def of_parts(self, stage: Stage) -> str:
        """What all partitions of a stage have in common: all but the records that are divided."""
        assert stage.partition is not None  # noqa: S101 - it has partitions
        return self._make(stage, [i for i in stage.inputs if i not in stage.partition.over])

    def _make(self, stage: Stage, inputs: Iterable[str]) -> str:
        return cache_key(
            stage.name,
            stage.version,
            {name: _plain(value) for name, value in stage.settings.items()},
            dict(self._fingerprints.of(stage)),
            {file: self._store.digest(file) for file in stage.files},
            {name: self.of(self._graph.maker(name)) for name in inputs},
        )

    def forget(self) -> None:
        """Look keys up anew: something was taken in or written."""
        self._known.clear()


def _key_in(facts: Mapping[str, Any]) -> Any:
    return facts.get("key", facts.get("recipe"))  # format 0 wrote "recipe"


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else value


def content_key(stage: Stage, digest: str) -> str:
    """The key of a stage that reads what the user gave."""
    settings = {name: _plain(value) for name, value in stage.settings.items()}
    return cache_key(stage.name, stage.version, settings, digest)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is left to do.

    Attributes:
        missing: Stages whose outputs are not there under their present keys, in order.
        done: Names of those that are.
    """

    missing: tuple[Stage, ...]
    done: frozenset[str]

    def has_left(self, *names: str) -> bool:
        """Whether a stage or a group of these names is left."""
        return any(name in (one.name, one.group) for one in self.missing for name in names)


def plan(graph: Graph, store: RunStore, keys: Keys, wanted: Collection[str]) -> Plan:
    """List what is left to do for some stages, groups or outputs.

    Raises:
        DataError: the user has given nothing to read yet.
    """
    stages = graph.needed(wanted)
    missing = tuple(one for one in stages if not store.is_done(one, keys.of(one)))
    return Plan(missing, frozenset(one.name for one in stages) - {one.name for one in missing})


@dataclass(frozen=True, slots=True)
class PartPlace:
    """A partition: rows of an input, and its key."""

    over: str
    start: int
    stop: int
    key: str


def partitions(stage: Stage, graph: Graph, store: RunStore, keys: Keys) -> Iterator[PartPlace]:
    """The partitions of a stage whose inputs are there, in order."""
    assert stage.partition is not None  # noqa: S101 - it has partitions
    common = keys.of_parts(stage)
    for over in stage.partition.over:
        records = store.read(graph.maker(over).outputs[over])
        for start in range(0, len(records), stage.partition.size):
            stop = min(start + stage.partition.size, len(records))
            digest = sha256()
            for row in range(start, stop, _BLOCK):
                for line in records.lines(row, min(row + _BLOCK, stop)):
                    digest.update(line)
            yield PartPlace(over, start, stop, cache_key(common, over, start, digest.hexdigest()))
