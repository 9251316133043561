"""Turns a seed and the ids of what it is for into a random generator or an even deal."""

from collections.abc import Sequence
from hashlib import sha256
from random import Random


def rng_for(seed: int, *ids: str) -> Random:
    """One generator per record, so that order and number of processes change nothing."""
    key = "\x1f".join((str(seed), *ids))
    return Random(int.from_bytes(sha256(key.encode()).digest()[:8], "big"))


def deal_places(sizes: Sequence[int], seed: int, *ids: str) -> list[int]:
    """A place from 0 to size - 1 for each list, every place of a size as often as the others.

    Independent draws come out uneven in a few hundred lists, and a model that is trained on
    them learns to shun the place that was rare.
    """
    order = list(range(len(sizes)))
    rng_for(seed, *ids).shuffle(order)
    places, dealt = [0] * len(sizes), dict.fromkeys(sizes, 0)
    for i in order:
        places[i] = dealt[sizes[i]] % sizes[i]
        dealt[sizes[i]] += 1
    return places
