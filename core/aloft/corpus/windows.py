"""Cuts passages that exceed an embedder's input length into windows."""

import math
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

from aloft.protocols import Embedder
from aloft.records import Frame, Passage, cache_key, content_id_of
from aloft.text.overlap import holds
from aloft.text.tokens import split_terms

_BLOCK = 256  # passages, or windows, that are held at once
_WHOLE = (-1, -1)  # stands for the span of a window that is its passage
_COLUMNS = 3  # of a table: a passage's row, and where its window begins and ends
KeepTable = Callable[[str, Callable[[], NDArray[np.int32]], int], NDArray[np.int32]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """The texts that are embedded for some passages.

    Attributes:
        texts: All windows of each passage, in order; of a corpus on disk they are read on access.
        starts: Index in `texts` of each passage's first window; (passages,).
    """

    texts: Sequence[str]
    starts: NDArray[np.intp]

    def by_passage(self, passages: Sequence[Passage]) -> dict[str, tuple[str, ...]]:
        """Return the windows of each passage by its id."""
        ends = [*self.starts[1:].tolist(), len(self.texts)]
        spans = zip(passages, self.starts.tolist(), ends, strict=True)
        return {passage.id: tuple(self.texts[start:end]) for passage, start, end in spans}


class _WindowTexts(Sequence[str]):
    """The texts of windows, which are cut out of their passages when they are read.

    Args:
        passages: What windows are cut out of; records that are parsed on access stay on disk.
        table: Of each window its passage's row, and characters [start, end) of the passage's text,
            or `_WHOLE`; (windows, 3).
        frames: What stands around windows of passages that are cut.
    """

    def __init__(
        self, passages: Sequence[Passage], table: NDArray[np.int32], frames: "_Frames"
    ) -> None:
        self._passages = passages
        self._table = table
        self._frames = frames

    def __len__(self) -> int:
        return len(self._table)

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), _BLOCK):
            yield from self[start : start + _BLOCK]

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        rows = range(len(self))[index]
        if isinstance(rows, int):
            return self._cut(range(rows, rows + 1))[0]
        return self._cut(rows)

    def _cut(self, rows: range) -> list[str]:
        if not rows:
            return []
        owners = self._table[rows, 0].tolist()
        first = min(owners)
        passages = self._passages[first : max(owners) + 1]
        return [
            self._text(passages[owner - first], span)
            for owner, span in zip(owners, self._table[rows, 1:], strict=True)
        ]

    def _text(self, passage: Passage, span: NDArray[np.int32]) -> str:
        start, end = span.tolist()
        if (start, end) == _WHOLE:
            return passage.embedded
        return passage.text[start:end].join(self._frames.around_window(passage.embedded_in))


class _Frames:
    """What stands around passages, in tokens, and around the windows of those that are cut.

    Args:
        embedder: Counts the tokens.
        most: Those around a window.
    """

    def __init__(self, embedder: Embedder, most: int) -> None:
        self._embedder = embedder
        self._most = most
        self._lengths: dict[Frame, int] = {}
        self._fitting: dict[Frame, Frame] = {}

    def lengths(self, passages: Sequence[Passage]) -> list[int]:
        """Tokens around each of some passages."""
        self._read({one.embedded_in: None for one in passages})
        return [self._lengths[one.embedded_in] for one in passages]

    def around_window(self, frame: Frame) -> Frame:
        """What stands around a window of a passage that has this around it."""
        self._read([frame])
        return self._fitting[frame]

    def _read(self, frames: Iterable[Frame]) -> None:
        new = [frame for frame in frames if frame not in self._lengths]
        if not new:
            return
        located = self._embedder.locate_tokens(["".join(frame) for frame in new])
        for frame, tokens in zip(new, located, strict=True):
            self._lengths[frame] = len(tokens)
            self._fitting[frame] = _fit_frame(frame, tokens, self._most)


def cut_windows(
    passages: Sequence[Passage],
    embedder: Embedder,
    most: int | None = None,
    keep: KeepTable | None = None,
) -> Windows:
    """Cut passages into windows of equal length, each with what stands around the passage's text.

    A passage's windows do not depend on the other passages, so that any part of a corpus may be cut
    by itself. A passage that fits stays whole. Of each window 12 bytes are held in memory.

    Args:
        passages: Some passages.
        embedder: Its tokenizer counts the tokens, and its input length is the limit.
        most: Longest window in tokens, where it is to be shorter than the embedder's input.
        keep: Keeps where windows stand by a name, so that they are found once; None: it does not.
    """
    limit = min((limit for limit in (embedder.reads, most) if limit is not None), default=None)
    frames = _Frames(embedder, (limit or 0) // 2)
    if limit is None:
        rows = np.arange(len(passages), dtype=np.int32)
        table = np.stack([rows, *(np.full_like(rows, place) for place in _WHOLE)], axis=1)
    elif keep is None:
        table = _find_windows(passages, embedder, limit, frames)
    else:
        texts = (part for one in passages for part in (one.text, *one.embedded_in))
        name = f"windows-{cache_key(embedder.fingerprint, limit, content_id_of(texts))}"
        table = keep(name, lambda: _find_windows(passages, embedder, limit, frames), _COLUMNS)
    starts = np.flatnonzero(np.diff(table[:, 0], prepend=-1))
    return Windows(texts=_WindowTexts(passages, table, frames), starts=starts)


def _find_windows(
    passages: Sequence[Passage], embedder: Embedder, limit: int, frames: _Frames
) -> NDArray[np.int32]:
    """Where windows stand, as `_WindowTexts` takes it; (windows, 3)."""
    table = array("i")
    for first in range(0, len(passages), _BLOCK):
        block = passages[first : first + _BLOCK]
        located = embedder.locate_tokens([passage.text for passage in block])
        lengths = frames.lengths(block)
        for row, (passage, tokens, length) in enumerate(
            zip(block, located, lengths, strict=True), start=first
        ):
            if len(tokens) + length <= limit or len(passage.embedded_in) == 1:
                table.extend((row, *_WHOLE))
            else:
                room = limit - min(length, limit // 2)
                for span in stretches(tokens, room):
                    table.extend((row, *span))
    return np.frombuffer(table, np.int32).reshape(-1, _COLUMNS)


def _fit_frame(frame: Frame, tokens: Sequence[tuple[int, int]], most: int) -> Frame:
    """A frame as it stands around each window: of a longer one, the first tokens on a line."""
    if len(tokens) <= most:
        return frame
    start = "".join(frame)[: tokens[most - 1][1]] if most else ""
    return (f"{' '.join(start.split())}\n" if start else "", "")


def stretches(tokens: Sequence[tuple[int, int]], room: int) -> list[tuple[int, int]]:
    """Cut a text into parts of as many tokens each, up to rounding.

    Args:
        tokens: Character span of each token of the text; at least one.
        room: Most tokens of a part.

    Returns:
        Characters [start, end) of each part, in order.
    """
    size = math.ceil(len(tokens) / math.ceil(len(tokens) / room))
    runs = [tokens[start : start + size] for start in range(0, len(tokens), size)]
    return [(run[0][0], run[-1][1]) for run in runs]


def choose_window(question: str, answer: str, windows: Sequence[str]) -> str:
    """Return the window that contains the answer, or else shares most terms with the question."""
    telling = [window for window in windows if holds(window, answer)] or windows
    if len(telling) == 1:
        return telling[0]
    asked = set(split_terms(question))
    return max(telling, key=lambda window: len(asked.intersection(split_terms(window))))
