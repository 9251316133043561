"""Finds names that passages define, of which multi-hop questions are made."""

from collections.abc import Iterator

from aloft.run.context import Context, Inputs
from aloft.run.stage import Records, Setup, stage
from aloft.synthesis.composition import DefinedNames, Definition, define_names


def composes(setup: Setup) -> bool:
    """Whether multi-hop pairs are composed."""
    return setup.config.pairs.multi_hop > 0


@stage(
    name="definitions",
    version=2,
    group="pairs",
    doing="finding definitions",
    when=composes,
    inputs=("selection", "passages"),
    output=Records(Definition, "work/stages/definitions.jsonl"),
)
def definitions(_context: Context, part: Inputs) -> Iterator[Definition]:
    """The names that one passage defines and another one, which is asked about, holds."""
    yield from define_names(part["passages"], part["selection"])


def open_names(context: Context, part: Inputs) -> DefinedNames:
    """The defined names, to be found in texts; none where nothing is composed."""
    if "definitions" not in part:
        return DefinedNames(())
    return context.shared("names", lambda: DefinedNames(part["definitions"]))
