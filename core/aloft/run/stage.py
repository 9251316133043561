"""What a stage declares of itself: all that may change its output, and how it can be divided.

A stage is one file of `aloft.run.stages`: a declaration and a call of a function that knows nothing
of runs. It can reach what it declared and nothing else, so that its key, which is made of the
declaration, cannot forget anything. See docs/contributing/add-a-stage.md.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from aloft.config import RunConfig

if TYPE_CHECKING:
    from aloft.run.context import Context, Inputs

ModelKind = Literal["teacher", "generator", "embedder", "reranker", "weights"]


@dataclass(frozen=True, slots=True)
class Setup:
    """What a run is asked to do.

    Attributes:
        config: Its settings.
        sources: Of what the user gave, what not every run has: "log", "questions".
    """

    config: RunConfig
    sources: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Records:
    """An output of records, written as JSON Lines.

    Attributes:
        cls: Class of the records.
        file: Below the run folder.
    """

    cls: type
    file: str


@dataclass(frozen=True, slots=True)
class Folder:
    """An output that is a folder, such as a trained part; `file` is below the run folder."""

    file: str


@dataclass(frozen=True, slots=True)
class Value:
    """An output that is one JSON document.

    Attributes:
        file: Below the run folder.
        cls: The type of its values, as `aloft.files.read_json` checks it.
    """

    file: str
    cls: Any = dict[str, Any]


Output = Records | Folder | Value


@dataclass(frozen=True, slots=True)
class Model:
    """A model that a stage may ask for.

    Attributes:
        name: As configured.
        kind: "teacher": the host's, or the named language model; "generator": a language model
            that answers; "weights": what a training starts from, never loaded by the runner.
        adapter: Folder of an adapter of the generator.
    """

    name: str
    kind: ModelKind
    adapter: Path | None = None


@dataclass(frozen=True, slots=True)
class Partition:
    """A stage whose records are worked out some at a time, each set without the others.

    Attributes:
        over: Inputs whose records are divided, in this order.
        size: Records of a partition.
    """

    over: tuple[str, ...]
    size: int


def by_record(*over: str, size: int) -> Partition:
    """Divide the records of some inputs into runs of `size`."""
    return Partition(over, size)


@dataclass(frozen=True, slots=True)
class Affinity:
    """A stage that reads the same texts with the same model right after another stage has.

    After each partition of `stage`, this stage works on the records that `select` leaves of it, on
    the same worker; the model's results are in the cache when the stage's turn comes. What a model
    has just read (a prefix cache, keys and values) is then not read a second time.

    Attributes:
        stage: The other stage.
        select: Records of that stage's partition that this stage may be given, by its outcomes.
    """

    stage: str
    select: Callable[["Context", list[Any], list[Any]], list[Any]]


@dataclass(frozen=True, slots=True)
class Resources:
    """What a partition, or a barrier, needs of a machine; executors place work by it.

    Attributes:
        gpu: Whether it is faster with a GPU.
        is_task: Whether a barrier is one task, as a training is, which an executor may give to a
            worker. Other barriers are worked out where the run is, and only their calls of models
            and what they spread is given away.
        retries: How often an executor may start it again after its worker was lost.
    """

    gpu: bool = False
    is_task: bool = False
    retries: int = 3


@dataclass(frozen=True, slots=True)
class Fact:
    """Something about a stage's work that its manifest records."""

    name: str
    value: Any


@dataclass(frozen=True, slots=True)
class To:
    """A record for another output than the stage's first."""

    output: str
    record: Any


Outcome = Any
"""A record, a `Rejection`, a `To` or a `Fact`."""
Work = Callable[["Context", "Inputs"], Iterable[Outcome]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A declaration that is settled for one run.

    Attributes:
        name: Names its manifest.
        version: Raised when the code or a prompt changes what comes out.
        group: The line of the funnel, and the command, that it belongs to.
        doing: What it does, for a person.
        inputs: Outputs of other stages.
        outputs: By name; the first takes records that name none.
        settings: All settings that its function sees, as they enter its key.
        models: By role.
        files: Files below the run folder whose content enters its key.
        partition: How it is divided; None: a barrier, which sees all at once.
        affinity: The stage after whose partitions it is worked on in advance.
        source: What the user gave that it reads; its key is the content's.
        resources: What it needs.
        work: Its function.
    """

    name: str
    version: int
    group: str
    doing: str
    inputs: tuple[str, ...]
    outputs: Mapping[str, Output]
    settings: Mapping[str, Any]
    models: Mapping[str, Model]
    files: tuple[str, ...]
    partition: Partition | None
    affinity: Affinity | None
    source: str | None
    resources: Resources
    work: Work


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """A stage as its file declares it; what depends on the run is a function of its `Setup`."""

    name: str
    version: int
    work: Work
    outputs: Mapping[str, Output]
    group: str = ""
    doing: str = ""
    inputs: Callable[[Setup], tuple[str, ...]] = lambda _: ()
    settings: Callable[[RunConfig], Mapping[str, Any]] = lambda _: {}
    models: Callable[[Setup], Mapping[str, Model]] = lambda _: {}
    files: tuple[str, ...] = ()
    partition: Callable[[Setup], Partition | None] = lambda _: None
    affinity: Affinity | None = None
    source: str | None = None
    resources: Resources = field(default_factory=Resources)
    when: Callable[[Setup], bool] = lambda _: True

    def settle(self, setup: Setup) -> Stage | None:
        """The stage of one run; None where the run has no use for it."""
        if not self.when(setup):
            return None
        return Stage(
            name=self.name,
            version=self.version,
            group=self.group or self.name,
            doing=self.doing or self.name,
            inputs=self.inputs(setup),
            outputs=self.outputs,
            settings=self.settings(setup.config),
            models=self.models(setup),
            files=self.files,
            partition=self.partition(setup),
            affinity=self.affinity,
            source=self.source,
            resources=self.resources,
            work=self.work,
        )


def stage(
    *,
    name: str,
    version: int,
    output: Output | Mapping[str, Output],
    inputs: tuple[str, ...] | Callable[[Setup], tuple[str, ...]] = (),
    partition: Partition | Callable[[Setup], Partition | None] | None = None,
    **declared: Any,
) -> Callable[[Work], Declaration]:
    """Declare a stage; its function becomes the declaration.

    Args:
        name: Also of its first output, where `output` is a single one.
        version: Raised when the code or a prompt changes what comes out.
        output: What it writes.
        inputs: Names of outputs, or a function of the run's setup that returns them.
        partition: As `Stage.partition`, or a function of the run's setup that returns it.
        declared: The other attributes of `Declaration`.
    """

    def declare(work: Work) -> Declaration:
        return Declaration(
            name=name,
            version=version,
            work=work,
            outputs=output if isinstance(output, Mapping) else {name: output},
            inputs=inputs if callable(inputs) else lambda _: inputs,
            partition=partition if callable(partition) else lambda _: partition,
            **declared,
        )

    return declare
