"""Order of reading where it is not that of drawing: columns drawn across, and forms."""

from collections.abc import Sequence
from itertools import pairwise

Box = tuple[float, float, float, float]
"""Left, bottom, right and top of a stretch of text, in points; the page's origin is below left."""

_FEWEST_LINES = 6  # of a column
_NARROWEST_GUTTER = 8.0  # points; a space between justified words is narrower
_NARROWEST_COLUMN = 0.15  # of the width of all text
_LEAST_ASPECT = 10.0  # a line's width over its height: about twenty letters
_FULL = 0.75  # of its column's width, from which a line fills it
_FULL_LINES = 0.7  # share of the lines of running text that fill their column; cells do not
_SWITCHES = 0.8  # changes of column for each line of the shorter column, in the order of drawing


def reading_order(boxes: Sequence[Box]) -> list[Box]:
    """Areas of a page in the order in which they are to be read; empty: as it was drawn.

    Args:
        boxes: The stretches of text in the order in which they are drawn.

    Returns:
        Where running text in columns was drawn line by line across them, the areas of the
        columns one after the other, and between them what stands across all columns.
    """
    columns = _columns(boxes)
    if not columns or not _is_mixed(boxes, columns):
        return []
    left, right = columns[0][0], columns[-1][1]
    areas: list[Box] = []
    upper = max(box[3] for box in boxes)
    for _, bottom, _, top in sorted(
        (box for box in boxes if _column_of(box, columns) is None), key=lambda box: -box[3]
    ):
        if top < upper:
            areas += [(begin, top, end, upper) for begin, end in columns]
        areas.append((left, bottom, right, min(top, upper)))
        upper = min(upper, bottom)
    lowest = min(box[1] for box in boxes)
    return [*areas, *((begin, lowest, end, upper) for begin, end in columns)]


def in_lines(boxes: Sequence[Box]) -> list[list[Box]]:
    """The lines of a page from above, and in each its stretches from the left.

    Args:
        boxes: The stretches of text in any order.
    """
    lines: list[list[Box]] = []
    for box in sorted(boxes, key=lambda box: -(box[1] + box[3])):
        middle = (box[1] + box[3]) / 2
        if lines and lines[-1][0][1] < middle:
            lines[-1].append(box)
        else:
            lines.append([box])
    return [sorted(line) for line in lines]


def _columns(boxes: Sequence[Box]) -> list[tuple[float, float]]:
    """Left and right of each column; fewer than two: there are none."""
    if not boxes:
        return []
    left, right = min(box[0] for box in boxes), max(box[2] for box in boxes)
    spans = sorted((box[0], box[2]) for box in boxes if box[2] - box[0] < 0.6 * (right - left))
    merged: list[tuple[float, float]] = []
    for begin, end in spans:
        if merged and begin - merged[-1][1] < _NARROWEST_GUTTER:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    is_wide = all(end - begin >= _NARROWEST_COLUMN * (right - left) for begin, end in merged)
    return merged if len(merged) > 1 and is_wide else []


def _is_mixed(boxes: Sequence[Box], columns: Sequence[tuple[float, float]]) -> bool:
    """Whether each column is running text, and the drawing goes from one to the other."""
    lines = [_lines(boxes, column) for column in columns]
    for (left, right), column in zip(columns, lines, strict=True):
        full = [end - begin >= _FULL * (right - left) for begin, end, _ in column]
        long = [end - begin >= _LEAST_ASPECT * height for begin, end, height in column]
        if len(column) < _FEWEST_LINES or sum(full) < _FULL_LINES * len(column) or not any(long):
            return False
    places = [_column_of(box, columns) for box in boxes]
    switches = sum(one != other for one, other in pairwise(places) if None not in (one, other))
    return switches >= _SWITCHES * min(len(column) for column in lines)


def _lines(boxes: Sequence[Box], column: tuple[float, float]) -> list[tuple[float, float, float]]:
    """Left, right and height of each line of a column."""
    lines: dict[int, tuple[float, float, float]] = {}
    for left, bottom, right, top in boxes:
        if column[0] <= left and right <= column[1]:
            key = round((bottom + top) / 2 / max(top - bottom, 1.0))
            begin, end, height = lines.get(key, (left, right, 0.0))
            lines[key] = (min(begin, left), max(end, right), max(height, top - bottom))
    return list(lines.values())


def _column_of(box: Box, columns: Sequence[tuple[float, float]]) -> int | None:
    inside = (number for number, (left, right) in enumerate(columns) if left <= box[0])
    number = max(inside, default=None)
    return number if number is not None and box[2] <= columns[number][1] else None
