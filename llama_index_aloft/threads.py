"""What is worked out piece by piece, for an event loop that goes on meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import TypeVar

T = TypeVar("T")


async def in_threads(pieces: Iterator[T]) -> AsyncIterator[T]:
    """Each piece as it comes, worked out in a thread."""
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        yield piece
