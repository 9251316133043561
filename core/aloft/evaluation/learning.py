"""Learning curves: what training gains with fewer pairs than there are."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from aloft.evaluation.bootstrap import Comparison
from aloft.randomness import rng_for
from aloft.records import EmbedderRow, QAPair

SHARES = (0.25, 0.5, 1.0)  # of the pairs


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningPoint:
    """The gain that some of the pairs give.

    Attributes:
        pairs: That the embedder was trained on.
        gain: nDCG@10 of the stack with it, over nothing tuned.
    """

    question_set: str
    pairs: int
    gain: Comparison


def draw_rows(
    rows: Sequence[EmbedderRow], pairs: Sequence[QAPair], share: float, *, seed: int
) -> tuple[int, list[EmbedderRow]]:
    """Draw pairs, and the rows that are theirs or of no pair.

    Args:
        rows: Of the embedder.
        pairs: Those that it is trained on.
        share: Of the pairs, in (0, 1]; a smaller share is part of a larger one.
        seed: The run's seed.

    Returns:
        How many pairs were drawn, at least one, and the rows in their order.
    """
    ids = list(dict.fromkeys(pair.id for pair in pairs))
    drawn = list(ids)
    rng_for(seed, "learning curve").shuffle(drawn)
    count = max(1, round(share * len(ids)))
    left_out = set(drawn[count:])
    return count, [row for row in rows if row.pair_id not in left_out]


def points_to_json(points: Sequence[LearningPoint]) -> list[dict[str, Any]]:
    """As a JSON array."""
    return [asdict(point) for point in points]


def points_from_json(values: Sequence[Mapping[str, Any]]) -> tuple[LearningPoint, ...]:
    """What `points_to_json` wrote."""
    return tuple(LearningPoint(**{**one, "gain": Comparison(**one["gain"])}) for one in values)
