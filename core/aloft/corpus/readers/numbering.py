"""The numbers that Word writes before headings and paragraphs of lists, which are not in the text.

A paragraph, or its style, names a list and its depth in it. A list is a variant of an abstract one:
lists of the same abstract one count on, unless a variant says where to start.
"""

import re
from collections.abc import Iterable, Iterator, Mapping

from lxml import etree

from aloft.corpus.readers.archive import attribute, local_name
from aloft.corpus.readers.numerals import integer, numeral

_Level = Mapping[str, str]
"""What is said of a level, by the names of the elements, such as `lvlText`."""

_List = tuple[str, Mapping[int, _Level]]
"""Which abstract list it is a variant of, and its levels by depth."""


class Numbering:
    """Counts the paragraphs of a document, which are given in order.

    Args:
        definitions: What defines lists; none: nothing has a number.
        styles: What defines styles.
    """

    def __init__(
        self, definitions: Iterable[etree._Element], styles: Iterable[etree._Element]
    ) -> None:
        self._lists = dict(_lists(definitions))
        self._styles = {attribute(one, "styleId"): one for one in _named(styles, "style")}
        self._plain = next((name for name, one in self._styles.items() if _is_default(one)), "")
        self._counts: dict[str, dict[int, int]] = {}  # of each abstract list, by depth
        self._begun: set[tuple[str, int]] = set()  # lists and depths that were used

    def before(self, paragraph: etree._Element, style: str) -> str:
        """What Word writes before the next paragraph, with a space; "" where it has no number.

        Args:
            paragraph: The paragraph.
            style: The id of its style; "": it names none.
        """
        given = {"": _given(paragraph)}
        given |= {name: _given(self._styles[name]) for name in self._line_of(style or self._plain)}
        identifier = next((one["numId"] for one in given.values() if "numId" in one), "0")
        if identifier not in self._lists:
            return ""
        _, levels = self._lists[identifier]
        linked = {level["pStyle"]: str(n) for n, level in levels.items() if "pStyle" in level}
        depths = (linked.get(name, one.get("ilvl")) for name, one in given.items())
        depth = integer(next((one for one in depths if one), None), 0)
        return _written(levels, depth, self._count(identifier, depth)) if depth in levels else ""

    def _line_of(self, style: str) -> Iterator[str]:
        """A style and those that it is based on."""
        seen: set[str] = set()
        while style in self._styles and style not in seen:
            seen.add(style)
            yield style
            based = [one for one in self._styles[style] if local_name(one) == "basedOn"]
            style = attribute(based[0], "val") if based else ""

    def _count(self, identifier: str, depth: int) -> Mapping[int, int]:
        abstract, levels = self._lists[identifier]
        counts = self._counts.setdefault(abstract, {})
        is_first = (identifier, depth) not in self._begun and "startOverride" in levels[depth]
        self._begun.add((identifier, depth))
        is_first = is_first or depth not in counts
        counts[depth] = _start(levels[depth]) if is_first else counts[depth] + 1
        for deeper in [one for one in counts if one > depth]:
            if depth < integer(levels.get(deeper, {}).get("lvlRestart"), deeper):
                del counts[deeper]
        return counts


def _lists(definitions: Iterable[etree._Element]) -> Iterator[tuple[str, _List]]:
    """The lists by their ids, but for "0", which means none."""
    definitions = [*definitions]
    abstract = {attribute(one, "abstractNumId"): one for one in _named(definitions, "abstractNum")}
    by_style = {_value(one, "styleLink"): name for name, one in abstract.items()}
    for one in _named(definitions, "num"):
        name = _value(one, "abstractNumId")
        if name in abstract and (style := _value(abstract[name], "numStyleLink")):
            name = by_style.get(style, name)
        if name in abstract and attribute(one, "numId") != "0":
            levels = _levels(abstract[name])
            for depth, override in _levels(one).items():
                levels[depth] = {**levels.get(depth, {}), **override}
            yield attribute(one, "numId"), (name, levels)


def _levels(definition: etree._Element) -> dict[int, _Level]:
    """The levels of a list, or what a variant changes; of alternatives the plain one."""
    return {
        integer(attribute(level, "ilvl"), 0): {
            local_name(one): attribute(one, "val") for one in level.iter()
        }
        for level in definition
        if local_name(level) in ("lvl", "lvlOverride")
    }


def _written(levels: Mapping[int, _Level], depth: int, counts: Mapping[int, int]) -> str:
    level = levels[depth]
    if level.get("numFmt") == "bullet":
        return ""
    is_legal = level.get("isLgl", "0") not in ("0", "false", "off")

    def write(match: re.Match[str]) -> str:
        place = int(match[1]) - 1
        if place > depth or place not in levels:
            return ""
        form = "decimal" if is_legal else levels[place].get("numFmt", "decimal")
        return numeral(counts.get(place, _start(levels[place])), form)

    text = re.sub("%([1-9])", write, level.get("lvlText", "")).strip()
    return f"{text}{'' if level.get('suff') == 'nothing' else ' '}" if text else ""


def _start(level: _Level) -> int:
    return integer(level.get("startOverride", level.get("start")), 0)


def _given(element: etree._Element) -> Mapping[str, str]:
    """What a paragraph or a style itself says of its number: `numId` and `ilvl`."""
    properties = (one for one in element if local_name(one) == "pPr")
    return {
        local_name(one): attribute(one, "val")
        for given in _named(properties, "numPr")
        for one in given
    }


def _named(parents: Iterable[etree._Element], name: str) -> Iterator[etree._Element]:
    return (one for parent in parents for one in parent if local_name(one) == name)


def _value(element: etree._Element, name: str) -> str:
    return next((attribute(one, "val") for one in _named([element], name)), "")


def _is_default(style: etree._Element) -> bool:
    kind, default = attribute(style, "type"), attribute(style, "default")
    return kind == "paragraph" and default in ("1", "true", "on")
