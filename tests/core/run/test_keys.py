"""A stage's key changes with all that it declares, and with nothing else."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from aloft.config import RunConfig, check_config
from aloft.run.graph import Graph, declared_stages
from aloft.run.plan import Keys
from aloft.run.stage import Setup, Stage
from aloft.run.store import RunStore, Tally

BASE: dict[str, Any] = {
    "teacher": "a teacher",
    "generator": "a generator",
    "embedder": "an embedder",
    "reranker": "a reranker",
    "ratings": {"method": "expect"},
    "pairs": {"kinds": {"fact": 1, "why": 1}, "rating": True},
    "filters": {"use": ("support", "duplicate", "dependency")},
    "negatives": {"guards": ("copy", "reranker", "reading")},
    "training_sets": {"contexts": 5},
}
WITH_LOG = frozenset({"log"})


class Fingerprints:
    """Names weights by the models' names, but for those that were changed."""

    def __init__(self, changed: Mapping[str, str] | None = None) -> None:
        self._changed = changed or {}

    def of(self, stage: Stage) -> dict[str, str]:
        return {
            role: self._changed.get(model.name, model.name) for role, model in stage.models.items()
        }


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    """A run folder in which documents and a log were taken in."""
    found = RunStore(tmp_path)
    graph = Graph(Setup(check_config(BASE), WITH_LOG))
    for stage in graph.stages.values():
        if stage.source:
            found.write_manifest(stage, f"key of {stage.name}", Tally())
    return found


def keys_of(
    store: RunStore, config: RunConfig, fingerprints: Fingerprints | None = None
) -> dict[str, str]:
    graph = Graph(Setup(config, WITH_LOG))
    keys = Keys(graph, store, fingerprints or Fingerprints())
    return {name: keys.of(stage) for name, stage in graph.stages.items()}


def renewed(store: RunStore, config: RunConfig, **how: Any) -> set[str]:
    """Stages whose key is another than with the base settings."""
    before, after = keys_of(store, check_config(BASE)), keys_of(store, config, **how)
    return {name for name in before.keys() & after.keys() if before[name] != after[name]}


def behind(*names: str) -> set[str]:
    """Some stages and all that read their outputs, directly or not."""
    graph = Graph(Setup(check_config(BASE), WITH_LOG))
    found = set(names)
    for name, stage in graph.stages.items():  # in the order in which they are worked out
        if found & {graph.maker(one).name for one in stage.inputs}:
            found.add(name)
    return found


# By setting the stages that it enters, written down by hand: this is what a user pays for a change.
TRAINED = ("embedder", "reranker", "generator")
ENTERS: dict[str, tuple[str, ...]] = {
    "teacher": (),  # by its weights; see below
    "generator": (),
    "embedder": (),
    "reranker": (),
    "earlier": ("bundle",),  # what was carried over enters by its content
    "allow_remote": (),
    "strategy": (),  # another strategy has other stages
    "parts": ("evaluate",),
    "seed": ("selection", "drafts", "pairs", "sets", "remined", *TRAINED, "evaluate"),
    "documents": (),  # they are named by what is read
    "passages": ("split",),
    "passages.window_tokens": ("passage_vectors", "sets", "remined", "evaluate", "bundle"),
    "passages.min_characters": ("split", "passages"),
    "passages.near_duplicate_similarity": ("passages",),
    "ratings": ("ratings", "drafts"),
    "ratings.method": ("marks", "ratings", "drafts"),
    "pairs": ("drafts", "single_hop"),
    "pairs.multi_hop": ("drafts", "single_hop", "pairs"),
    "pairs.max_passages": ("selection", "drafts", "single_hop"),
    "pairs.form": ("marks", "drafts", "single_hop"),
    "filters": ("screened", "distinct", "verified"),
    "links": ("links",),
    "negatives": ("negatives", "remined"),
    "training_sets": ("sets", "remined", "evaluate", "bundle"),
    "embedder_training": ("embedder",),
    "embedder_training.method": ("embedder", "remined", "evaluate"),
    "reranker_training": ("reranker",),
    "generator_training": ("generator",),
    "generator_training.init_adapter": (),  # by its weights
    "rag_training": (),  # no stage of the strategy "independent" reads it
    "evaluation": ("evaluate", "bundle"),
    "evaluation.learning_curve": (),  # a stage of its own, which is there or not
    "federation": (),  # what it trained enters by its content
}
CHANGES: dict[str, Any] = {  # where neither a number nor a flag is changed
    "parts": ("embedder", "generator"),
    "strategy": "independent",
    "earlier": "another run",
    "ratings.method": "generate",
    "pairs.form": "examples",
    "pairs.kinds": {"fact": 2.0, "why": 1.0},
    "pairs.style": ("Where is it?",),
    "pairs.language": "German",
    "filters.use": ("support", "dependency"),
    "negatives.retriever": "hybrid",
    "negatives.guards": ("answer", "reranker", "reading"),
    "training_sets.format": "raft",
    "embedder_training.loss": "guided",
    "embedder_training.method": "lora",
    "embedder_training.matryoshka": (16,),
    "reranker_training.loss": "listwise",
    "reranker_training.method": "lora",
    "generator_training.method": "rslora",
    "rag_training.marginal": "token",
    "evaluation.probes": True,
}


def leaves(model: type[BaseModel], path: str = "") -> Iterator[str]:
    """Every setting by its dotted name."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from leaves(kind, f"{path}{name}.")
        else:
            yield f"{path}{name}"


def changed(config: RunConfig, name: str) -> RunConfig:
    """The configuration with another value of one setting; it need not make sense together."""
    *above, last = name.split(".")
    section: Any = config
    for part in above:
        section = getattr(section, part)
    value = getattr(section, last)
    if name in CHANGES:
        new = CHANGES[name]
    elif isinstance(value, bool):
        new = not value
    elif isinstance(value, int | float):
        new = value + 1
    elif value is None:
        new = "another adapter" if name.endswith("init_adapter") else 7
    else:
        new = f"another {value}"
    assert new != value or name == "strategy"
    section = section.model_copy(update={last: new})
    for part in reversed(above):
        section = config.model_copy(update={part: section})
    return section if isinstance(section, RunConfig) else config


@pytest.mark.parametrize("name", list(leaves(RunConfig)))
def test_a_setting_renews_the_stages_that_declare_it_and_those_behind_them(
    name: str, store: RunStore
) -> None:
    by_name = ENTERS.get(name)
    expected = ENTERS[name.split(".")[0]] if by_name is None else by_name
    config = changed(check_config(BASE), name)
    if name in ("teacher", "generator", "embedder", "reranker"):
        same = {getattr(config, name): getattr(check_config(BASE), name)}
        assert renewed(store, config, fingerprints=Fingerprints(same)) == behind("bundle")
        return
    sources = {"documents", "log"}  # renewed by content, when they are read again
    assert renewed(store, config) - sources == behind(*expected) - sources


@pytest.mark.parametrize(
    ("model", "users"),
    [
        ("a teacher", ("marks", "drafts", "single_hop", "verified", "negatives", "remined")),
        ("an embedder", ("split", "passage_vectors", "question_vectors", "log_vectors",
                         "sets", "remined", "embedder", "evaluate", "bundle")),
        ("a reranker", ("negatives", "remined", "reranker", "evaluate", "bundle")),
        ("a generator", ("generator", "evaluate", "bundle")),
    ],
)  # fmt: skip
def test_other_weights_renew_what_uses_them(
    model: str, users: tuple[str, ...], store: RunStore
) -> None:
    others = Fingerprints({model: "other weights"})
    assert renewed(store, check_config(BASE), fingerprints=others) == behind(*users)


@pytest.mark.parametrize("name", [one.name for one in declared_stages()])
def test_a_raised_version_renews_the_stage_and_those_behind_it(name: str, store: RunStore) -> None:
    from dataclasses import replace

    setup = Setup(check_config(BASE), WITH_LOG)
    usual = Graph(setup)
    if name not in usual.stages or usual.stages[name].source:
        pytest.skip("not a stage of this run, or one that is named by what the user gave")
    raised = [
        replace(one, version=one.version + 1) if one.name == name else one
        for one in declared_stages()
    ]
    keys = Keys(Graph(setup, raised), store, Fingerprints())
    after = {one: keys.of(stage) for one, stage in Graph(setup, raised).stages.items()}
    before = keys_of(store, check_config(BASE))
    assert {one for one in before if before[one] != after[one]} == behind(name)
