"""What a page is made of: sections of tables, charts and paragraphs, all of it text to escape."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from aloft.evaluation.pages.figures import NONE

_NUMBER = re.compile(r"[+-]?\d[\d,.]*|\[[+-][\d.]+, [+-][\d.]+\]|–")
_LONG = 40  # characters from which a cell may be broken anywhere


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of text below a header; `marked` rows are highlighted."""

    caption: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    marked: frozenset[int] = frozenset()

    @property
    def styles(self) -> list[str]:
        """A CSS class per column: "number", "long" or none."""
        return [_style(column) for column in zip(*self.rows, strict=True)]


def _style(cells: Sequence[str]) -> str:
    if all(_NUMBER.fullmatch(cell) for cell in cells) and {*cells} != {NONE}:
        return "number"
    return "long" if max(map(len, cells)) > _LONG else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A chart: shown in HTML, left out of Markdown, where the table beside it has its figures."""

    svg: Markup
    caption: str = ""
    is_small: bool = False


Block = str | Table | Picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A heading and the blocks below it."""

    title: str
    blocks: Sequence[Block]
