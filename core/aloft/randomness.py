"""Derives random generators and even assignments from a seed and record ids."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from random import Random


def rng_for(seed: int, *ids: str) -> Random:
    """A generator per record, so that results depend on neither order nor number of processes."""
    key = "\x1f".join((str(seed), *ids))
    return Random(int.from_bytes(sha256(key.encode()).digest()[:8], "big"))


@contextmanager
def global_random_kept() -> Iterator[None]:
    """Leave Python's global generator, which is the host's, as it was before a library drew."""
    state = random.getstate()
    try:
        yield
    finally:
        random.setstate(state)


def deal_places(sizes: Sequence[int], seed: int, *ids: str) -> list[int]:
    """Assign each list a place from 0 to size - 1, each place equally often per list size.

    Independent draws are uneven over a few hundred lists, and a model trained on them learns to
    avoid the rarest place.
    """
    order = list(range(len(sizes)))
    rng_for(seed, *ids).shuffle(order)
    places, dealt = [0] * len(sizes), dict.fromkeys(sizes, 0)
    for i in order:
        places[i] = dealt[sizes[i]] % sizes[i]
        dealt[sizes[i]] += 1
    return places
