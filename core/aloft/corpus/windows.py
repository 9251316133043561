"""Cuts passages that exceed an embedder's input length into windows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aloft.protocols import Embedder
from aloft.records import Frame, Passage
from aloft.text.overlap import holds
from aloft.text.tokens import split_terms


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """The texts that are embedded for some passages.

    Attributes:
        texts: All windows of each passage, in order.
        starts: Index in `texts` of each passage's first window; (passages,).
    """

    texts: tuple[str, ...]
    starts: NDArray[np.intp]

    def by_passage(self, passages: Sequence[Passage]) -> dict[str, tuple[str, ...]]:
        """Return the windows of each passage by its id."""
        ends = [*self.starts[1:].tolist(), len(self.texts)]
        spans = zip(passages, self.starts.tolist(), ends, strict=True)
        return {passage.id: self.texts[start:end] for passage, start, end in spans}


def cut_windows(
    passages: Sequence[Passage], embedder: Embedder, most: int | None = None
) -> Windows:
    """Cut passages into windows of equal length, each with what stands around the passage's text.

    A passage's windows do not depend on the other passages, so that any part of a corpus may be cut
    by itself. A passage that fits stays whole.

    Args:
        passages: Some passages.
        embedder: Its tokenizer counts the tokens, and its input length is the limit.
        most: Longest window in tokens, where it is to be shorter than the embedder's input.
    """
    limit = min((limit for limit in (embedder.reads, most) if limit is not None), default=None)
    if limit is None:
        texts = tuple(passage.embedded for passage in passages)
        return Windows(texts=texts, starts=np.arange(len(texts)))
    frames = list({passage.embedded_in: None for passage in passages})
    located = embedder.locate_tokens(["".join(frame) for frame in frames])
    lengths = {frame: len(tokens) for frame, tokens in zip(frames, located, strict=True)}
    fitting = {
        frame: _fit_frame(frame, tokens, limit // 2)
        for frame, tokens in zip(frames, located, strict=True)
    }
    found: list[str] = []
    starts = []
    spans = embedder.locate_tokens([passage.text for passage in passages])
    for passage, tokens in zip(passages, spans, strict=True):
        frame, length = passage.embedded_in, lengths[passage.embedded_in]
        starts.append(len(found))
        if len(tokens) + length <= limit or len(frame) == 1:
            found.append(passage.embedded)
        else:
            room = limit - min(length, limit // 2)
            found += (text.join(fitting[frame]) for text in _stretches(passage.text, tokens, room))
    return Windows(texts=tuple(found), starts=np.array(starts, np.intp))


def _fit_frame(frame: Frame, tokens: Sequence[tuple[int, int]], most: int) -> Frame:
    """A frame as it stands around each window: of a longer one, the first tokens on a line."""
    if len(tokens) <= most:
        return frame
    start = "".join(frame)[: tokens[most - 1][1]] if most else ""
    return (f"{' '.join(start.split())}\n" if start else "", "")


def _stretches(text: str, tokens: Sequence[tuple[int, int]], room: int) -> list[str]:
    size = math.ceil(len(tokens) / math.ceil(len(tokens) / room))
    runs = [tokens[start : start + size] for start in range(0, len(tokens), size)]
    return [text[run[0][0] : run[-1][1]] for run in runs]


def choose_window(question: str, answer: str, windows: Sequence[str]) -> str:
    """Return the window that contains the answer, or else shares most terms with the question."""
    telling = [window for window in windows if holds(window, answer)] or windows
    if len(telling) == 1:
        return telling[0]
    asked = set(split_terms(question))
    return max(telling, key=lambda window: len(asked.intersection(split_terms(window))))
