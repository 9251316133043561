"""A report's charts as small inline SVG; colours come from the page's style sheet.

Nothing is shown by colour alone: every mark has its figure as text, and a refused part's mark is
hollow. All texts are data and are escaped here.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby

from markupsafe import Markup

_WIDTH = 960
_LEFT = 230  # where plots begin, behind the labels
_RIGHT = 730  # where plots end, before the figures
_LINE = 22
_TOP = 12
_FIGURES = 6  # points of a line that each have their figure: those of more would overlap


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A gain with its interval, in percentage points."""

    group: str
    label: str
    gain: float
    low: float
    high: float
    figure: str  # gain and interval as they are written
    mark: str  # "kept", "refused" or "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """One horizontal bar."""

    group: str
    label: str
    value: float
    rest: float = 0.0  # what was dropped, drawn behind the value
    figure: str  # the value as it is written
    mark: str  # "base", "tuned" or "other"


def draw_forest(name: str, title: str, estimates: Sequence[Estimate]) -> Markup:
    """Gains with their intervals around a zero line, grouped.

    Args:
        name: Prefix of the picture's ids, unique within a page.
        title: Accessible name of the picture.
        estimates: Gains in drawing order, those of a group side by side.
    """
    lowest = min([0.0, *(estimate.low for estimate in estimates)])
    highest = max([0.0, *(estimate.high for estimate in estimates)])
    step = _step(highest - lowest)
    first = math.floor(lowest / step)
    last = max(math.ceil(highest / step), first + 1)

    def across(value: float) -> float:
        return _LEFT + (_RIGHT - _LEFT) * (value / step - first) / (last - first)

    marks, y = [], float(_TOP)
    for group, members in groupby(estimates, key=lambda estimate: estimate.group):
        marks.append(_text(0, y + 15, group, "group"))
        y += _LINE
        for member in members:
            low, gain, high = (across(value) for value in (member.low, member.gain, member.high))
            marks.append(_estimate(member, low, gain, high, y))
            y += _LINE
        y += 6
    grid = []
    for tick in range(first, last + 1):
        x = across(tick * step)
        grid.append(_line(x, _TOP, x, y, "zero" if tick == 0 else "grid"))
        grid.append(_text(x, y + 16, f"{tick * step:+g}" if tick else "0", "tick", "middle"))
    spoken = "; ".join(f"{e.group}, {e.label}: {e.figure}" for e in estimates)
    return _frame(name, title, spoken, y + 24, grid + marks)


def _estimate(estimate: Estimate, low: float, gain: float, high: float, y: float) -> str:
    middle = y + _LINE / 2
    return (
        _text(16, middle + 4, estimate.label)
        + _line(low, middle, high, middle, f"stroke {estimate.mark}")
        + f'<circle cx="{gain:.1f}" cy="{middle:.1f}" r="5" class="dot {escape(estimate.mark)}"/>'
        + _text(_RIGHT + 20, middle + 4, estimate.figure, "figure")
    )


def draw_bars(name: str, title: str, bars: Sequence[Length], most: float) -> Markup:
    """Horizontal bars, grouped.

    Args:
        name: Prefix of the picture's ids, unique within a page.
        title: Accessible name of the picture.
        bars: Bars in drawing order, those of a group side by side.
        most: The value that fills the width.
    """
    scale = (_RIGHT - _LEFT) / (most or 1.0)
    marks, y = [], float(_TOP)
    for group, members in groupby(bars, key=lambda bar: bar.group):
        if group:
            marks.append(_text(0, y + 15, group, "group"))
            y += _LINE
        above = y
        for bar in members:
            marks.append(_text(16, y + 15, bar.label))
            end = _LEFT + bar.value * scale
            marks.append(_box(_LEFT, y + 3, end - _LEFT, f"bar {bar.mark}"))
            marks.append(_box(end, y + 3, bar.rest * scale, "bar dropped"))
            marks.append(_text(end + bar.rest * scale + 8, y + 15, bar.figure, "figure"))
            y += _LINE
        marks.append(_line(_LEFT, above, _LEFT, y, "zero"))
        y += 6
    spoken = "; ".join(", ".join(filter(None, (b.group, b.label, b.figure))) for b in bars)
    return _frame(name, title, spoken, y, marks)


def draw_curve(name: str, title: str, losses: Sequence[float]) -> Markup:
    """Losses as logged, first to last, on a scale from zero; all must be finite."""
    width, height, left, top = 320, 190, 48, 10
    right, bottom = width - 12, height - 26
    step = _step(max(losses))
    most = step * max(1, math.ceil(max(losses) / step))

    def down(value: float) -> float:
        return bottom - (bottom - top) * value / most

    marks = []
    for tick in range(round(most / step) + 1):
        y = down(tick * step)
        marks.append(_line(left, y, right, y, "zero" if tick == 0 else "grid"))
        marks.append(_text(left - 6, y + 4, f"{tick * step:g}", "tick", "end"))
    between = (right - left) / max(1, len(losses) - 1)
    points = [(left + i * between, down(loss)) for i, loss in enumerate(losses)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    x, y = points[-1]
    marks.append(f'<polyline points="{path}" class="curve"/>')
    marks.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" class="dot tuned"/>')
    marks.append(_text(right, y - 9, f"{losses[-1]:.3f}", "figure", "end"))
    marks.append(_text(left, height - 8, "1", "tick"))
    marks.append(_text(right, height - 8, f"logged step {len(losses)}", "tick", "end"))
    spoken = ", ".join(f"{loss:.3f}" for loss in losses)
    return _frame(name, title, spoken, height, marks, width)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Values along the labels of a picture, in percent."""

    label: str
    values: Sequence[float]
    mark: str  # "base", a broken line with its figures below it, or "tuned"
    ring: tuple[float, float] | None = None  # place, from 0 at the first label, and value


def draw_lines(
    name: str,
    title: str,
    labels: Sequence[str],
    lines: Sequence[Line],
    scale: tuple[float, float] = (0, 100),
) -> Markup:
    """Lines over a scale, each point with its figure; of many, the ends and the highest.

    Args:
        name: Prefix of the picture's ids, unique within a page.
        title: Accessible name of the picture.
        labels: Of the places along the picture, evenly spaced.
        lines: One value a label each, and at most one point between them that is ringed.
        scale: Its ends.
    """
    width, height, left, top = 320, 220, 40, 22
    right, bottom = width - 8, height - 34
    between = (right - left) / len(labels)
    xs = [left + (i + 0.5) * between for i in range(len(labels))]
    marks = []
    low, high = scale

    def down(value: float) -> float:
        return bottom - (bottom - top) * (value - low) / (high - low)

    for tick in (low, (low + high) / 2, high):
        y = down(tick)
        marks.append(_line(left, y, right, y, "grid" if tick > low else "zero"))
        marks.append(_text(left - 6, y + 4, f"{tick:g}", "tick", "end"))
    for x, label in zip(xs, labels, strict=True):
        marks.append(_text(x, height - 14, label, "tick", "middle"))
    spoken = []
    for line in lines:
        ys = [down(value) for value in line.values]
        marks += _points(line, list(zip(xs, ys, strict=True)))
        if line.ring is not None:
            place, value = line.ring
            x = max(left, xs[0] + place * between)
            marks.append(_ring(x, down(value), line.mark))
        pairs = zip(labels, line.values, strict=True)
        spoken.append(f"{line.label}: " + ", ".join(f"{label} {v:.1f}" for label, v in pairs))
    return _frame(name, title, "; ".join(spoken), height, marks, width)


def _points(line: Line, points: Sequence[tuple[float, float]]) -> list[str]:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    marks = [f'<polyline points="{path}" class="curve {escape(line.mark)}"/>']
    highest = max(range(len(points)), key=line.values.__getitem__, default=0)
    labelled = set(range(len(points)))
    if len(points) > _FIGURES:
        labelled = {0, highest, len(points) - 1}
    for i, ((x, y), value) in enumerate(zip(points, line.values, strict=True)):
        style = f"dot {escape(line.mark)}"
        marks.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" class="{style}"/>')
        if i in labelled:
            baseline = y + 16 if line.mark == "base" else y - 8
            marks.append(_text(x, baseline, f"{value:.0f}", "figure", "middle"))
    return marks


def _ring(x: float, y: float, mark: str) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="7" class="ring {escape(mark)}"/>'


def _step(span: float) -> float:
    """A round tick distance that divides a span into four to ten parts."""
    if span <= 0:
        return 1.0
    power: float = 10.0 ** math.floor(math.log10(span))
    shares = (0.2, 0.25, 0.5, 1.0, 2.0)
    return next(power * share for share in shares if span <= 8 * power * share)


def _frame(
    name: str, title: str, spoken: str, height: float, marks: Sequence[str], width: int = _WIDTH
) -> Markup:
    name = escape(name)
    ids = f"{name}-title {name}-desc"
    return Markup(  # noqa: S704 - each text in it was escaped where it was written
        f'<svg viewBox="0 0 {width} {height:.0f}" role="img" aria-labelledby="{ids}">'
        f'<title id="{name}-title">{escape(title)}</title>'
        f'<desc id="{name}-desc">{escape(spoken)}</desc>{"".join(marks)}</svg>'
    )


def _text(x: float, y: float, text: str, style: str = "label", anchor: str = "start") -> str:
    at = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {at} class="{style}">{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} class="{escape(style)}"/>'


def _box(x: float, y: float, width: float, style: str) -> str:
    if width <= 0:
        return ""
    place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{_LINE - 6}"'
    return f'<rect {place} class="{escape(style)}"/>'
