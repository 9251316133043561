"""Turns a seed and the ids of what it is for into a random generator of its own."""

from hashlib import sha256
from random import Random


def rng_for(seed: int, *ids: str) -> Random:
    """One generator per record, so that order and number of processes change nothing."""
    key = "\x1f".join((str(seed), *ids))
    return Random(int.from_bytes(sha256(key.encode()).digest()[:8], "big"))
