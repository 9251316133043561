"""Turns passages that an embedder does not read whole into windows that it does read."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aloft.protocols import Embedder
from aloft.records import Passage
from aloft.text.overlap import holds
from aloft.text.tokens import split_terms


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """What of a corpus is embedded.

    Attributes:
        texts: Of each passage all windows, in order.
        starts: The place in `texts` of each passage's first window; (passages,).
    """

    texts: tuple[str, ...]
    starts: NDArray[np.intp]

    def by_passage(self, passages: Sequence[Passage]) -> dict[str, tuple[str, ...]]:
        """The windows of each passage, by its id."""
        ends = [*self.starts[1:].tolist(), len(self.texts)]
        spans = zip(passages, self.starts.tolist(), ends, strict=True)
        return {passage.id: self.texts[start:end] for passage, start, end in spans}


def cut_windows(
    passages: Sequence[Passage], embedder: Embedder, most: int | None = None
) -> Windows:
    """Cut passages into stretches of like length, each behind the title.

    Args:
        passages: A corpus; what of it is read at once stays whole.
        embedder: Reads them.
        most: Tokens of a window, if they are to be fewer than the embedder reads.
    """
    limit = min((limit for limit in (embedder.reads, most) if limit is not None), default=None)
    if limit is None:
        texts = tuple(passage.content for passage in passages)
        return Windows(texts=texts, starts=np.arange(len(texts)))
    titles = {passage.title: None for passage in passages}
    located = embedder.locate_tokens(list(titles))
    heads = {
        title: _head(title, tokens, limit // 2)
        for title, tokens in zip(titles, located, strict=True)
    }
    found: list[str] = []
    starts = []
    spans = embedder.locate_tokens([passage.text for passage in passages])
    for passage, tokens in zip(passages, spans, strict=True):
        head, count = heads[passage.title]
        room = limit - count
        starts.append(len(found))
        if len(tokens) <= room:
            found.append(passage.content)
        else:
            found += (head + text for text in _stretches(passage.text, tokens, room))
    return Windows(texts=tuple(found), starts=np.array(starts, np.intp))


def _head(title: str, tokens: Sequence[tuple[int, int]], most: int) -> tuple[str, int]:
    """What stands in front of each window, a title no longer than that, and its tokens."""
    if not tokens:
        return "", 0
    return f"{title[: tokens[:most][-1][1]]}\n", min(len(tokens), most)


def _stretches(text: str, tokens: Sequence[tuple[int, int]], room: int) -> list[str]:
    size = math.ceil(len(tokens) / math.ceil(len(tokens) / room))
    runs = [tokens[start : start + size] for start in range(0, len(tokens), size)]
    return [text[run[0][0] : run[-1][1]] for run in runs]


def choose_window(question: str, answer: str, windows: Sequence[str]) -> str:
    """The window that holds the answer, or else shares most terms with the question."""
    telling = [window for window in windows if holds(window, answer)] or windows
    if len(telling) == 1:
        return telling[0]
    asked = set(split_terms(question))
    return max(telling, key=lambda window: len(asked.intersection(split_terms(window))))
