"""Turns the manifests of stages into the lines of the funnel, a line per group of stages."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from aloft.run.executors.worker import AHEAD
from aloft.run.graph import Graph
from aloft.run.store import RunStore
from aloft.run.usage import Usage, as_account, total

ORDER = (
    "documents",
    "passages",
    "ratings",
    "pairs",
    "filters",
    "log",
    "links",
    "negatives",
    "sets",
    "embedder",
    "remined",
    "reranker",
    "generator",
)
_OWN = ("stage", "group", "key", "recipe", "kept", "dropped", "seconds", "usage", "windows")
_TASKS = {  # what the teacher does, by stage
    "marks": "ratings",
    "drafts": "pairs",
    "single_hop": "pair_ratings",
    "verified": "readings",
}


def read_rows(store: RunStore, graph: Graph, groups: Iterable[str] = ORDER) -> list[dict[str, Any]]:
    """The lines of the groups whose last stage is finished."""
    every = {one.name: store.manifest(one.name) for one in graph.stages.values()}
    ahead = _ahead(one for one in every.values() if one is not None)
    rows = []
    for group in groups:
        members = [one.name for one in graph.groups.get(group, ())]
        found = [facts for name in members if (facts := every[name]) is not None]
        if found and found[-1]["stage"] == members[-1]:
            rows.append({"stage": group, **merge(found, ahead)})
        elif not found and (old := store.manifest(group)) is not None:  # of an earlier format
            rows.append({"stage": group, **merge([old], ahead)})
    return rows


def _ahead(manifests: Iterable[Mapping[str, Any]]) -> dict[str, Usage]:
    """What the teacher was asked for stages in advance, by stage."""
    return {
        role.removeprefix(AHEAD): Usage(**values)
        for facts in manifests
        for role, values in facts.get("usage", {}).items()
        if role.startswith(AHEAD)
    }


def merge(facts: Sequence[Mapping[str, Any]], ahead: Mapping[str, Usage]) -> dict[str, Any]:
    """Manifests of one group as one line: what its last stage kept, what all dropped and took.

    What a stage's teacher was asked in advance counts where it was more: some of it was in vain.
    """
    dropped: Counter[str] = Counter()
    for one in facts:
        dropped.update(one["dropped"])
    line: dict[str, Any] = {
        "kept": facts[-1]["kept"],
        "dropped": dict(dropped.most_common()),
        "seconds": round(sum(one["seconds"] for one in facts), 1),
    }
    for one in facts:
        line |= {name: value for name, value in one.items() if name not in _OWN}
    usages = {}
    for one in facts:
        if "teacher" in one.get("usage", {}):
            own = Usage(**one["usage"]["teacher"])
            more = ahead.get(one["stage"], own)
            usage = more if more.calls > own.calls else own
            usages[_TASKS.get(one["stage"], one["stage"])] = usage
    if usages:
        line["teacher"] = {name: as_account(usage) for name, usage in usages.items()}
        seconds = total(usages.values()).seconds
        if facts[-1]["stage"] == "pairs" and seconds:
            line["pairs_an_hour"] = round(line["kept"] * 3600 / seconds)
    return line
