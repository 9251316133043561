"""Word files: the text that Word shows with all changes accepted.

Kept are tracked insertions, content controls, nested tables, text boxes, notes (behind the
paragraph that refers to them), SmartArt, charts, web pages that Word takes in when it opens the
file, and once each the headers and footers. Dropped are deletions, comments, hidden text and field
codes. Numbers of headings and lists stand before their paragraphs, and powers have a sign. Embedded
files are read by themselves.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from lxml import etree

from aloft.corpus.readers.archive import Archive, attribute, local_name
from aloft.corpus.readers.charts import chart_text
from aloft.corpus.readers.formulas import formula_text
from aloft.corpus.readers.html import read_page
from aloft.corpus.readers.numbering import Numbering
from aloft.corpus.readers.numerals import integer
from aloft.corpus.readers.pptx import shape_texts
from aloft.corpus.readers.source import Found, Source
from aloft.corpus.readers.superscripts import Lowered, Raised, join_scripts, note_mark

_DROPPED = frozenset(
    (
        *("del", "moveFrom", "delText", "instrText"),
        *("pPr", "rPr", "tblPr", "tblPrEx", "tcPr", "trPr", "sectPr"),
        "rt",  # how the characters below it are pronounced
    )
)
_CHARACTERS = {"tab": "\t", "ptab": "\t", "cr": "\n", "br": "\n", "noBreakHyphen": "-"}
_SYMBOLS = dict(  # of the font Symbol: Greek letters stand where their Latin ones do
    zip(
        b"abgdezhqiklmnxoprstufcywABGDEZHQIKLMNXOPRSTUFCYW",
        "αβγδεζηθικλμνξοπρστυφχψωΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩ",
        strict=True,
    )
) | dict(
    zip(
        (*range(0xA3, 0xA4), *range(0xB0, 0xBA), 0xA5, 0xAB, 0xAC, 0xAE, 0xB7, 0xC6, 0xCE, 0xD6),
        "≤°±″≥×∝∂•÷≠∞↔←→•∅∈√",
        strict=True,
    )
)
_DINGBATS = {  # of Wingdings
    **dict.fromkeys((0x6C, 0x6E, 0x9F, 0xA7), "•"),
    **dict.fromkeys((0x6F, 0x71, 0xA8), "☐"),
    **dict.fromkeys((0xFC, 0x50), "✓"),
    **dict.fromkeys((0xFB, 0x4F), "✗"),
    **dict.fromkeys((0xFD, 0x78), "☒"),
    **dict.fromkeys((0xFE, 0x52), "☑"),
    **dict.fromkeys((0xE0, 0xE8, 0xF0), "→"),
    **dict.fromkeys((0xDF, 0xE7, 0xEF), "←"),
}
_PRIVATE = re.compile("[\uf000-\uf0ff]")  # characters of symbol fonts, by their places in them
_PAGES = (".htm", ".html", ".xhtml")
_SCRIPTS: Mapping[str, type[str]] = {"superscript": Raised, "subscript": Lowered}
_NOTES = {"footnoteReference": "footnotes", "endnoteReference": "endnotes"}


def read(source: Source) -> Iterator[Found | Source]:
    """One document; its title is the first paragraph of the style "Title".

    Files of other kinds that Word takes in when it opens the file follow, the broken parts, and
    the files that are embedded.
    """
    with Archive(source, "DOCX") as archive:
        reader = _Reader(source, archive)
        text = "\n\n".join(block for block in reader.blocks() if block.strip())
        embedded = [*archive.embedded(source, archive.main_part())]
    if text or not (reader.others or embedded):
        yield source.document(text, reader.title)
    yield from (*reader.others, *embedded)


class _Reader:
    def __init__(self, source: Source, archive: Archive) -> None:
        main = archive.main_part()
        self._source = source
        self._archive = archive
        self._body = archive.parse(main)
        self._relations = archive.relations(main)
        self.title = ""
        self._begun: tuple[str, list[str]] = "", []  # the next paragraph's text and what follows
        self.others: list[Found | Source] = []
        self._notes = {kind: self._read_notes(kind) for kind in _NOTES.values()}
        self._numbering = Numbering(self._parts("numbering"), self._parts("styles"))

    def blocks(self) -> Iterator[str]:
        """Paragraphs and tables in reading order."""
        yield from self._edges("header")
        yield from self._blocks(self._body)
        yield from self._edges("footer")

    @contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        """What is wrong with a part is listed and costs that part alone."""
        try:
            yield
        except Exception as error:  # the parser's
            fault, place = self._archive.broken(error), f"{self._source.name}#{name}"
            if fault.reason == "too large":
                raise
            self.others.append(self._source.reject(fault.reason, fault.detail, place=place))

    def _parts(self, kind: str) -> Iterator[etree._Element]:
        for other, name in dict.fromkeys(self._relations.values()):
            if other == kind and name in self._archive:
                with self._alone(name):
                    yield self._archive.parse(name)

    def _edges(self, kind: str) -> Iterator[str]:
        """The texts of all headers or footers, each once, however many sections repeat it."""
        yield from dict.fromkeys(
            " ".join(block.split()) for part in self._parts(kind) for block in self._blocks(part)
        )

    def _read_notes(self, kind: str) -> Mapping[str, etree._Element]:
        return {
            attribute(note, "id"): note
            for part in self._parts(kind)
            for note in part
            if attribute(note, "type")
            in ("", "normal")  # else the line that separates notes from the text
        }

    def _blocks(self, container: etree._Element) -> Iterator[str]:
        """Those of the body, a cell, a box or a note: no paragraph goes on in another one."""
        yield from self._blocks_in(container)
        yield from self._end()

    def _blocks_in(self, container: etree._Element) -> Iterator[str]:
        for child in _shown(container):
            name = local_name(child)
            if name == "p":
                yield from self._paragraph(child)
            elif name == "tbl":
                yield from self._end()
                yield self._table(child)
            elif name == "altChunk":
                yield from self._end()
                yield self._taken_in(attribute(child, "id"))
            else:
                yield from self._blocks_in(child)

    def _end(self) -> Iterator[str]:
        """What no paragraph goes on with."""
        (text, anchored), self._begun = self._begun, ("", [])
        yield from (text, *anchored)

    def _taken_in(self, relation: str) -> str:
        """The text of a web page; a file of another kind is read by itself."""
        _, name = self._relations.get(relation, ("", ""))
        if name not in self._archive:
            return ""
        with self._alone(name):
            inner = self._source.inner(name, self._archive.read(name))
            if name.lower().endswith(_PAGES):
                _, text, notes = read_page(inner)
                self.others += notes
                return text
            self.others.append(inner)
        return ""

    def _paragraph(self, paragraph: etree._Element) -> Iterator[str]:
        """Its own text, behind its number, then what is anchored in it.

        The text of one without an end, or of a letter set over several lines, begins the next one.
        """
        style, is_joined = _style(paragraph), _is_joined(paragraph)
        number = "" if is_joined else self._numbering.before(paragraph, style)
        (begun, anchored), self._begun = self._begun, ("", [])  # not of what is anchored here
        text = begun + join_scripts(self._pieces(paragraph, anchored)).strip("\n")
        frame = _property(paragraph, "framePr")
        is_initial = frame is not None and attribute(frame, "dropCap") in ("drop", "margin")
        if not self.title and style == "Title":
            self.title = text
        if is_joined or is_initial:
            self._begun = text, anchored
        else:
            yield f"{number}{text}" if text.strip() else number.strip()
            yield from anchored

    def _pieces(self, element: etree._Element, anchored: list[str]) -> Iterator[str]:
        for child in _shown(element):
            name = local_name(child)
            if name == "t":
                yield _in_font(child.text or "", _property(element, "rFonts"))
            elif name == "oMath":
                yield formula_text(child)
            elif name == "sym":
                yield _symbol(child)
            elif name in _CHARACTERS:
                yield _CHARACTERS[name]
            elif name in ("checkBox", "ddList"):
                yield _chosen(child)
            elif name == "txbxContent":
                anchored.extend(self._blocks(child))
            elif name in _NOTES:
                note = self._notes[_NOTES[name]].get(attribute(child, "id"))
                anchored.extend(() if note is None else self._blocks(note))
            elif name == "relIds":
                anchored.append(self._diagram(attribute(child, "dm")))
            elif name == "chart":
                anchored.append(self._chart(attribute(child, "id")))
            elif name == "hyperlink":
                pieces = [*self._pieces(child, anchored)]
                is_note = all(type(piece) is Raised for piece in pieces)
                yield from (note_mark("".join(pieces)),) if is_note else pieces
            elif script := _script(child):
                yield script("".join(self._pieces(child, anchored)))
            else:
                yield from self._pieces(child, anchored)

    def _chart(self, relation: str) -> str:
        _, name = self._relations.get(relation, ("", ""))
        if name in self._archive:
            with self._alone(name):
                return chart_text(self._archive.parse(name))
        return ""

    def _diagram(self, relation: str) -> str:
        _, name = self._relations.get(relation, ("", ""))
        if name not in self._archive:
            return ""
        with self._alone(name):
            return "\n".join(shape_texts(self._archive.parse(name)))
        return ""

    def _table(self, table: etree._Element) -> str:
        """One line a row; a cell that spans columns is given once, one that spans rows in each."""
        rows: list[str] = []
        above: dict[int, str] = {}
        for row in _descend(table, "tr"):
            column, texts = 0, []
            for cell in _descend(row, "tc"):
                merge = _property(cell, "vMerge")
                text = " ".join(" ".join(self._blocks(cell)).split())
                if merge is not None and attribute(merge, "val") != "restart":
                    text = above.get(column, text)
                above[column] = text
                texts.append(text)
                span = _property(cell, "gridSpan")
                column += 1 if span is None else integer(attribute(span, "val"), 1)
            if texts:
                rows.append(" | ".join(texts))
        return "\n".join(rows)


def _shown(element: etree._Element) -> Iterator[etree._Element]:
    """Children that are visible; of alternative contents the first that there is."""
    if local_name(element) == "AlternateContent":
        choices = [child for child in element if local_name(child) in ("Choice", "Fallback")]
        yield from choices[:1]
        return
    if local_name(element) == "r" and _is_on(_property(element, "vanish")):
        return
    if local_name(element) == "tr" and _property(element, "del") is not None:
        return
    for child in element:
        if local_name(child) not in ("", *_DROPPED):
            yield child


def _descend(element: etree._Element, name: str) -> Iterator[etree._Element]:
    """Rows of a table or cells of a row, also those in content controls; not those of others."""
    for child in _shown(element):
        if local_name(child) == name:
            yield child
        elif local_name(child) != "tbl":
            yield from _descend(child, name)


def _property(element: etree._Element, name: str) -> etree._Element | None:
    """A property of a run, paragraph, row or cell, which stands in its first children."""
    for properties in element:
        if not local_name(properties).endswith(("Pr", "PrEx")):
            break
        for one in properties:
            if local_name(one) == name:
                return one
    return None


def _script(element: etree._Element) -> type[str] | None:
    """What a run is raised or lowered to; None: neither."""
    if any(local_name(one) in _NOTES for one in element):
        return None
    align = _property(element, "vertAlign") if local_name(element) == "r" else None
    return None if align is None else _SCRIPTS.get(attribute(align, "val"))


def _chosen(field: etree._Element) -> str:
    """What a form field of Word 97 shows: whether it is ticked, or the entry that is chosen."""
    stated = {local_name(one): one for one in field}
    state = stated.get("checked", stated.get("result", stated.get("default")))
    if local_name(field) == "checkBox":
        return "☒" if _is_on(state) else "☐"
    entries = [attribute(one, "val") for one in field if local_name(one) == "listEntry"]
    place = 0 if state is None else integer(attribute(state, "val"), 0)
    return entries[place] if 0 <= place < len(entries) else ""


def _symbol(element: etree._Element) -> str:
    """A character of a symbol font, by what it shows; U+FFFD where that is not known."""
    try:
        code = int(attribute(element, "char"), 16)
    except ValueError:
        return ""
    if 0xF000 <= code <= 0xF0FF:
        return _of_symbol_font(code, attribute(element, "font"))
    return chr(code) if 0 <= code <= sys.maxunicode else ""


def _in_font(text: str, fonts: etree._Element | None) -> str:
    """A text whose characters of a symbol font are what they show."""
    font = "" if fonts is None else attribute(fonts, "ascii")
    if not font.startswith(("Symbol", "Wingdings")):
        return text
    return _PRIVATE.sub(lambda found: _of_symbol_font(ord(found[0]), font), text)


def _of_symbol_font(code: int, font: str) -> str:
    table = _SYMBOLS if font.startswith("Symbol") else _DINGBATS
    return table.get(code - 0xF000, "\N{REPLACEMENT CHARACTER}")


def _is_on(element: etree._Element | None) -> bool:
    return element is not None and attribute(element, "val") not in ("0", "false", "off")


def _is_joined(paragraph: etree._Element) -> bool:
    """Whether its end was deleted or is hidden, so that it is no paragraph of its own."""
    end = _property(paragraph, "rPr")
    names = {local_name(one): one for one in (() if end is None else end)}
    is_hidden = _is_on(names.get("vanish")) and "specVanish" not in names
    return is_hidden or not names.keys().isdisjoint(("del", "moveFrom"))


def _style(paragraph: etree._Element) -> str:
    style = _property(paragraph, "pStyle")
    return "" if style is None else attribute(style, "val")
