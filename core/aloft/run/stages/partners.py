"""Draws the second passage that a multi-hop question needs."""

from collections.abc import Iterator
from dataclasses import dataclass

from aloft.jsonl import RecordLookup
from aloft.records import Passage
from aloft.run.context import Context, Inputs
from aloft.run.stage import Records, Setup, stage
from aloft.run.stages.passage_vectors import open_index
from aloft.synthesis.pairs import choose_partners


@dataclass(frozen=True, slots=True, kw_only=True)
class Partner:
    """A passage that is asked about together with another one."""

    passage_id: str
    partner_id: str

    @property
    def id(self) -> str:
        """A passage has a partner at most."""
        return self.passage_id


def wants_partners(setup: Setup) -> bool:
    """Whether questions about two passages are asked for."""
    pairs = setup.config.pairs
    return pairs.form == "instruct" and pairs.kinds.get("multi_hop", 0) > 0


@stage(
    name="partners",
    version=1,
    group="pairs",
    doing="choosing partners",
    when=wants_partners,
    inputs=("selection", "passages", "passage_vectors"),
    output=Records(Partner, "work/stages/partners.jsonl"),
    settings=lambda config: {"seed": config.seed},
)
def partners(context: Context, part: Inputs) -> Iterator[Partner]:
    """The partners of all passages that may be asked about."""
    corpus = RecordLookup(part["passages"])
    found = choose_partners(
        part["selection"], corpus, open_index(part), seed=context.settings["seed"]
    )
    for passage_id, partner_id in found.items():
        yield Partner(passage_id=passage_id, partner_id=partner_id)


def partners_of(part: Inputs, passages: list[Passage]) -> dict[str, Passage]:
    """The partners of some passages, by the passages' ids."""
    chosen = part["partners"].by_id
    corpus = part["passages"].by_id
    return {one.id: corpus[chosen[one.id].partner_id] for one in passages if one.id in chosen}
