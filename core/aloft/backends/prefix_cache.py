"""Keeps keys and values of earlier prompts for later ones with the same beginning."""

from bisect import bisect_left, insort
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

Ids = tuple[int, ...]
Places = NDArray[np.intp]

SHORTEST_START = 32  # tokens; reusing a shorter beginning saves nothing


class PrefixCache:
    """Keys and values of the most recent prompts; beginnings that prompts share are kept once.

    A prompt is a list of places in a pool of fixed size; prompts with the same beginning share
    places. The oldest prompts are evicted first.

    Args:
        places: Maximum number of tokens kept.
    """

    def __init__(self, places: int) -> None:
        self._pool: list[torch.Tensor] = []  # each layer's keys, then values; (places, heads, size)
        self._holders = np.zeros(places, np.int32)  # prompts that use each place
        self._places: dict[Ids, Places] = {}  # oldest first
        self._ordered: list[Ids] = []

    def find(self, prompt: Ids) -> Places:
        """Places of the longest cached beginning of a prompt."""
        at = bisect_left(self._ordered, prompt)
        near = self._ordered[max(0, at - 1) : at + 1]
        count, best = max(((_common(prompt, other), other) for other in near), default=(0, ()))
        return self._places[best][:count] if count else np.zeros(0, np.intp)

    def open(self, prompts: Sequence[Ids], fresh: int = 1) -> DynamicCache:
        """A cache with the first columns of a left-padded batch that are known for every row.

        The last `fresh` columns are never included. A batch computes the same columns for every
        row, so a row of which more is cached gains nothing, and tokens keep the columns that they
        have without a cache. Padding columns contain place 0, which the mask hides.
        """
        width = max(map(len, prompts))
        begins = [width - len(prompt) for prompt in prompts]
        found = [self.find(prompt)[: max(0, len(prompt) - fresh)] for prompt in prompts]
        past = min(begin + len(places) for begin, places in zip(begins, found, strict=True))
        if past < SHORTEST_START:
            return DynamicCache()
        table = np.zeros((len(prompts), past), np.intp)
        for row, begin, places in zip(table, begins, found, strict=True):
            row[begin:] = places[: max(0, past - begin)]
        index = torch.from_numpy(table.ravel()).to(self._pool[0].device)
        cache = DynamicCache()
        for layer, pools in enumerate(zip(self._pool[::2], self._pool[1::2], strict=True)):
            keys, values = (
                pool.index_select(0, index).reshape(*table.shape, *pool.shape[1:]).transpose(1, 2)
                for pool in pools
            )
            cache.update(keys, values, layer)
        return cache

    def keep(self, prompts: Sequence[Ids], cache: Any) -> None:
        """Store the columns of left-padded prompts from a cache; later columns are dropped."""
        tensors = [tensor for layer in cache.layers for tensor in (layer.keys, layer.values)]
        if not self._pool:
            count = len(self._holders)
            self._pool = [t.new_empty(count, t.shape[1], t.shape[3]) for t in tensors]
        width = max(map(len, prompts))
        found = [self.find(prompt) for prompt in prompts]
        for known in found:
            self._holders[known] += 1  # so that no beginning needed here is evicted
        for row, (prompt, known) in enumerate(zip(prompts, found, strict=True)):
            fresh = self._make_room(len(prompt) - len(known))
            if fresh is None:
                self._holders[known] -= 1
                continue
            index = torch.from_numpy(fresh).to(self._pool[0].device)
            for pool, tensor in zip(self._pool, tensors, strict=True):
                own = tensor[row, :, width - len(fresh) : width]
                pool.index_copy_(0, index, own.transpose(0, 1))
            self._holders[fresh] += 1
            if prompt in self._places:
                self._drop(prompt)
            self._places[prompt] = np.concatenate([known, fresh])
            insort(self._ordered, prompt)

    def _make_room(self, count: int) -> Places | None:
        """Free places, evicting the oldest prompts if necessary; None where too few exist."""
        free = np.flatnonzero(self._holders == 0)
        while len(free) < count and self._places:
            self._drop(next(iter(self._places)))
            free = np.flatnonzero(self._holders == 0)
        return free[:count] if len(free) >= count else None

    def _drop(self, prompt: Ids) -> None:
        self._holders[self._places.pop(prompt)] -= 1
        del self._ordered[bisect_left(self._ordered, prompt)]


def can_be_kept(cache: Any) -> bool:
    """Whether a cache holds keys and values of every token: no window, no recurrent state."""
    layers = cache.layers if type(cache) is DynamicCache else [None]
    return all(type(layer) is DynamicLayer for layer in layers)


def bytes_per_token(cache: Any) -> int:
    """What the keys and values of one token take, of a cache that can be kept and holds some."""
    held = [tensor for layer in cache.layers for tensor in (layer.keys, layer.values)]
    return sum(t.shape[1] * t.shape[3] * t.element_size() for t in held)


def shared_starts(prompts: Sequence[Ids]) -> list[Ids]:
    """The beginning of each prompt that others share, and that is worth reading once.

    A beginning shared with some prompts counts only where it is clearly longer than the one that
    all prompts share.
    """
    order = sorted(range(len(prompts)), key=prompts.__getitem__)
    lengths = [0] * len(prompts)
    for one, other in pairwise(order):
        count = _common(prompts[one], prompts[other])
        lengths[one], lengths[other] = max(lengths[one], count), count
    by_all = _common(prompts[order[0]], prompts[order[-1]]) if len(order) > 1 else 0
    return [
        prompt[: length if length >= by_all + SHORTEST_START else by_all]
        for prompt, length in zip(prompts, lengths, strict=True)
    ]


def _common(one: Ids, other: Ids) -> int:
    unlike = (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return next(unlike, min(len(one), len(other)))
