"""Turns the declared stages into the graph of one run, and the graph into a picture."""

import importlib
import pkgutil
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from graphlib import TopologicalSorter

from aloft.errors import DataError
from aloft.run import stages as room
from aloft.run.stage import Declaration, Setup, Stage


@cache
def declared_stages() -> tuple[Declaration, ...]:
    """The declarations of all files in `aloft.run.stages`, by file name."""
    found: list[Declaration] = []
    for module in sorted(info.name for info in pkgutil.iter_modules(room.__path__)):
        names = vars(importlib.import_module(f"{room.__name__}.{module}"))
        found += [one for one in names.values() if isinstance(one, Declaration)]
    return tuple({one.name: one for one in found}.values())


class Graph:
    """The stages of one run, each behind those whose outputs it reads.

    Attributes:
        setup: What the run is asked to do.
        stages: By name, in an order in which they can be worked out.
    """

    def __init__(self, setup: Setup, declarations: Sequence[Declaration] | None = None) -> None:
        self.setup = setup
        declared = declared_stages() if declarations is None else declarations
        settled = [one for one in (item.settle(setup) for item in declared) if one is not None]
        self._makers = {name: one for one in settled for name in one.outputs}
        before = {one.name: [self.maker(name).name for name in one.inputs] for one in settled}
        by_name = {one.name: one for one in settled}
        order = TopologicalSorter(dict(sorted(before.items()))).static_order()
        self.stages = {name: by_name[name] for name in order}

    def maker(self, output: str) -> Stage:
        """The stage that writes an output.

        Raises:
            DataError: no stage of this run writes it.
        """
        if output not in self._makers:
            known = ", ".join(sorted(self._makers))
            raise DataError(f'No stage of this run writes "{output}". It may be one of: {known}.')
        return self._makers[output]

    def needed(self, names: Iterable[str]) -> list[Stage]:
        """Some stages and all that they need, in order.

        Args:
            names: Of stages, of groups (all their stages) or of outputs.
        """
        wanted: set[str] = set()
        todo = [one for name in names for one in self._named(name)]
        while todo:
            one = todo.pop()
            if one.name not in wanted:
                wanted.add(one.name)
                todo += [self.maker(name) for name in one.inputs]
        return [one for one in self.stages.values() if one.name in wanted]

    def _named(self, name: str) -> Iterator[Stage]:
        members = [one for one in self.stages.values() if name in (one.name, one.group)]
        yield from members or [self.maker(name)]

    @property
    def groups(self) -> dict[str, list[Stage]]:
        """The stages of each line of the funnel."""
        found: dict[str, list[Stage]] = {}
        for one in self.stages.values():
            found.setdefault(one.group, []).append(one)
        return found


def draw(graph: Graph) -> str:
    """The graph as a Mermaid flowchart: a box a group, a rounded box a barrier."""
    lines = ["flowchart TD"]
    for group, members in graph.groups.items():
        lines.append(f"    subgraph group_{group}[{group}]")
        for one in members:
            box = f"[{one.name}]" if one.partition else f"([{one.name}])"
            lines.append(f"        {one.name}{box}")
        lines.append("    end")
    for one in graph.stages.values():
        makers = dict.fromkeys(graph.maker(name).name for name in one.inputs)
        lines += [f"    {maker} --> {one.name}" for maker in makers]
    return "\n".join(lines) + "\n"
