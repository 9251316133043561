"""Charts of Office files: their titles, and the figures that were saved with them, as a table."""

from collections.abc import Iterator, Mapping

from lxml import etree

from aloft.corpus.readers.archive import attribute, local_name
from aloft.corpus.readers.number_formats import in_format

_NAMES, _CATEGORIES, _FIGURES = ("tx",), ("cat", "xVal"), ("val", "yVal")


def chart_text(part: etree._Element) -> str:
    """The titles, a line each, then a line of the series' names and one for each category.

    Args:
        part: The chart's part of the file.
    """
    titles = [" ".join(_texts(one).split()) for one in part.iter() if local_name(one) == "title"]
    series = [one for one in part.iter() if local_name(one) == "ser"]
    names = [" ".join(_points(one, _NAMES).values()) for one in series]
    figures = [_points(one, _FIGURES) for one in series]
    categories = {
        place: text for one in series for place, text in _points(one, _CATEGORIES).items()
    }
    places = sorted({place for some in figures for place in some})
    rows = [names] if any(names) else []
    rows += [[some.get(place, "") for some in figures] for place in places]
    if categories:
        first = ["" for _ in rows[: len(rows) - len(places)]]
        first += [categories.get(place, "") for place in places]
        rows = [[name, *row] for name, row in zip(first, rows, strict=True)]
    lines = (" | ".join(row).strip() for row in rows)
    return "\n".join(line for line in (*titles, *lines) if line)


def _texts(title: etree._Element) -> str:
    return " ".join(one.text or "" for one in title.iter() if local_name(one) in ("t", "v"))


def _points(series: etree._Element, wanted: tuple[str, ...]) -> Mapping[int, str]:
    """What a series' names, categories or figures are, by their places."""
    found: dict[int, str] = {}
    for holder in series:
        if local_name(holder) in wanted:
            for place, text in _cached(holder):
                found.setdefault(place, text)  # of categories in levels, the innermost come first
    return found


def _cached(holder: etree._Element) -> Iterator[tuple[int, str]]:
    form = "General"
    for one in holder.iter():
        name = local_name(one)
        if name == "formatCode":
            form = one.text or form
        elif name == "pt":
            text = _texts(one)
            is_number = local_name(one.getparent()) in ("numCache", "numLit")
            yield int(attribute(one, "idx") or 0), _shown(text, form) if is_number else text
        elif name == "v" and local_name(one.getparent()) == "tx":  # a name without a cell
            yield 0, one.text or ""


def _shown(text: str, form: str) -> str:
    try:
        return in_format(float(text), form)
    except ValueError:  # an error value of Excel, such as #N/A
        return ""
