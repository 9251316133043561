"""Web pages: the text as a browser lays it out, without navigation and scripts.

A row of a table is a line, as in Word files, unless the table only lays out the page. Items of
ordered lists have their numbers, and powers a sign.
"""

import re
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape

from bs4 import BeautifulSoup
from bs4.dammit import EncodingDetector
from bs4.element import NavigableString, Tag, TemplateString
from lxml import etree

from aloft.corpus.readers.decoding import decode
from aloft.corpus.readers.formulas import formula_text
from aloft.corpus.readers.numerals import integer, numeral
from aloft.corpus.readers.source import Found, Source, clean
from aloft.corpus.readers.superscripts import Lowered, Raised, is_number, join_scripts, note_mark

_DROPPED_TAGS = frozenset(
    (
        *("head", "script", "style", "nav", "noscript", "template", "iframe", "object"),
        *("title", "desc", "metadata", "defs"),  # of an inline SVG: names of icons
    )
)
_PARAGRAPH_TAGS = (
    *("address", "article", "aside", "blockquote", "div", "dl", "fieldset", "figure", "footer"),
    *("form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "main", "ol", "p", "pre"),
    *("section", "table", "ul", "details", "center", "dialog", "dir", "hgroup", "menu", "optgroup"),
    "search",
)
_LINE_TAGS = ("br", "dd", "dt", "li", "option", "text", "tr")
_OWN_LINE_TAGS = ("caption", "figcaption", "legend", "summary")
_CELL_TAGS = ("td", "th")
_MARGINS = {
    **dict.fromkeys(_PARAGRAPH_TAGS, ("\n\n", "\n\n")),
    **dict.fromkeys(_LINE_TAGS, ("\n", "")),
    **dict.fromkeys(_OWN_LINE_TAGS, ("\n", "\n")),
    **dict.fromkeys(_CELL_TAGS, ("", " ")),
}
_FORMS = {  # of the numbers of lists, by the attribute `type` or in CSS
    **dict.fromkeys(("1", "decimal"), "decimal"),
    **dict.fromkeys(("a", "lower-alpha", "lower-latin"), "lowerAlpha"),
    **dict.fromkeys(("A", "upper-alpha", "upper-latin"), "upperAlpha"),
    **dict.fromkeys(("i", "lower-roman"), "lowerRoman"),
    **dict.fromkeys(("I", "upper-roman"), "upperRoman"),
    **dict.fromkeys(("none", "disc", "circle", "square"), "none"),
    "decimal-leading-zero": "decimalZero",
}
_CDATA = re.compile(  # text of XHTML in which nothing is markup, but not in comments and scripts
    r"<!--.*?(?:-->|\Z)|<script\b.*?(?:</script|\Z)|<!\[CDATA\[(?:(.*?)\]\]>|.*)",
    re.DOTALL | re.IGNORECASE,
)
_LIST_STYLE = re.compile(r"list-style(?:-type)?\s*:([^;]*)", re.IGNORECASE)
_SCRIPTS: Mapping[str, type[str]] = {"sup": Raised, "sub": Lowered}
_DRAWINGS = ("span", "nobr", "mjx-math")  # of formulas
_TEXTS = (NavigableString, TemplateString, str)  # comments and doctypes are other subclasses
_MOST_SPANNED = 1000  # columns or rows, as in browsers

_Cell = tuple[Tag, str]
_Spanning = dict[int, tuple[int, str | None]]
"""By column, how many rows below a cell spans, and its text, which its first column has."""


def read(source: Source) -> Iterator[Found]:
    """One document, titled as the page is."""
    title, text, notes = read_page(source)
    yield source.document(text, title)
    yield from notes


def read_page(source: Source, label: str | None = None) -> tuple[str, str, list[Found]]:
    """The title and the text of a page, and what is to be listed about it.

    Args:
        source: The page.
        label: Of its encoding, where its container states one; else the page's own.
    """
    label = label or EncodingDetector.find_declared_encoding(source.raw, is_html=True)
    page, notes = decode(source, label)
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # XHTML, bare addresses
        soup = BeautifulSoup(_CDATA.sub(_as_text, clean(page)), "lxml")
    for ordered in soup.find_all("ol"):
        _number_items(ordered)
    for table in soup.find_all("table"):
        _join_cells(table)
    titles = (title for title in soup.find_all("title") if not title.find_parent("svg"))
    title = next(titles, None)
    return title.get_text() if title else "", _text_of(soup), notes


def _as_text(found: re.Match[str]) -> str:
    """What a CDATA section holds as HTML writes it, whose parser takes sections for comments."""
    return found[0] if found[1] is None else escape(found[1], quote=False)


class _Number(NavigableString):
    """The number of an item, which stands before its first text; "" at the item's end."""


def _number_items(ordered: Tag) -> None:
    """Write the numbers of a list into its items."""
    items = ordered.find_all("li", recursive=False)
    step = -1 if ordered.has_attr("reversed") else 1
    value = integer(str(ordered.get("start")), 1 if step > 0 else len(items))
    for item in items:
        value = integer(str(item.get("value")), value)
        number = numeral(value, _form(item) or _form(ordered) or "decimal")
        if number:
            item.insert(0, _Number(f"{number}. "))
            item.append(_Number(""))
        value += step


def _form(tag: Tag) -> str:
    """The form of the numbers that a list or an item states; "": none."""
    style = _LIST_STYLE.search(str(tag.get("style", "")))
    words = style[1].lower().split() if style else []
    return next((_FORMS[word] for word in (*words, tag.get("type")) if word in _FORMS), "")


def _join_cells(table: Tag) -> None:
    """Write each row of a table of data as text, in the table itself."""
    if table.get("role") in ("presentation", "none") or table.find(("table", "pre")):
        return
    rows = table.find_all("tr")
    cells = [[(cell, _text_of(cell)) for cell in row.find_all(_CELL_TAGS)] for row in rows]
    if not _is_of_data(rows, cells):
        return
    spanning: _Spanning = {}
    for row, some in zip(rows, cells, strict=True):
        texts = _texts_of_row(some, spanning)
        row.string = " | ".join(texts) if any(texts) else ""


def _is_of_data(rows: Sequence[Tag], cells: Sequence[Sequence[_Cell]]) -> bool:
    """Whether a table's columns have names, or its cells a paragraph each at most."""
    if max(map(len, cells), default=0) < 2:
        return False
    if any(type(one) is NavigableString and one.strip() for row in rows for one in row.contents):
        return False  # there is text beside the cells
    each = [cell for some in cells for cell in some]
    return any(tag.name == "th" for tag, _ in each) or not any("\n\n" in text for _, text in each)


def _texts_of_row(cells: Sequence[_Cell], spanning: _Spanning) -> list[str]:
    """A cell that spans columns is given once, one that spans rows in each."""
    texts: list[str | None] = []
    waiting, column = deque(cells), 0
    while waiting or column <= max(spanning, default=-1):
        if column in spanning:
            rows, text = spanning.pop(column)
            if rows > 1:
                spanning[column] = rows - 1, text
            texts.append(text)
            column += 1
        elif waiting:
            cell, text = waiting.popleft()
            texts.append(" ".join(text.split()))
            width, height = _span(cell, "colspan"), _span(cell, "rowspan")
            if height > 1:
                below = [texts[-1]] + [None] * (width - 1)
                spanning |= {column + i: (height - 1, one) for i, one in enumerate(below)}
            column += width
        else:
            column += 1
    return [text for text in texts if text is not None]


def _span(cell: Tag, name: str) -> int:
    value = str(cell.get(name, ""))[:5]
    return min(max(int(value), 1), _MOST_SPANNED) if value.isdecimal() else 1


def _text_of(soup: Tag) -> str:
    """Blank lines around blocks, no line break within a sentence."""
    text = join_scripts(_pieces(soup))
    lines = (re.sub(r"^ (?! )", "", line.rstrip()) for line in text.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def _pieces(soup: Tag) -> Iterator[str]:
    to_do: list[tuple[object, bool]] = [(soup, False)]  # a stack: pages nest deeper than Python
    number = ""
    while to_do:
        node, is_pre = to_do.pop()
        if isinstance(node, Tag):
            if _is_dropped(node):
                continue
            if node.name.rpartition(":")[2] == "math":  # books and journals have a prefix
                to_do.append((_formula(node), True))
                continue
            script = None if number else _script(node)
            if script and is_number(raised := node.get_text(strip=True)):
                yield script(raised)
                continue
            before, after = _MARGINS.get(node.name, ("", ""))
            is_pre = is_pre or node.name == "pre"
            to_do.append((after, True))
            to_do.extend((child, is_pre) for child in reversed(node.contents))
            yield before
        elif isinstance(node, _Number):
            number = f"{number}{node}" if node else ""
        elif type(node) in _TEXTS:
            text = str(node) if is_pre else re.sub(r"\s+", " ", str(node))
            if number and text.strip():
                text, number = number + text.lstrip(), ""
            yield text


def _formula(math: Tag) -> str:
    plain = re.sub(r"(</?)[\w-]+:", r"\1", str(math))
    parsed = etree.fromstring(plain, etree.XMLParser(recover=True, resolve_entities=False))
    return "" if parsed is None else formula_text(parsed)


def _script(tag: Tag) -> Callable[[str], str] | None:
    """What a tag raises or lowers its text to; None: it does not.

    One that is a link as a whole is the mark of a note where it is raised.
    """
    script = _SCRIPTS.get(tag.name)
    link = tag.find("a") or tag.find_parent("a")
    if link is None or link.get_text(strip=True) != tag.get_text(strip=True):
        return script
    return note_mark if tag.name == "sup" else None


def _is_dropped(tag: Tag) -> bool:
    """Whether a reader passes over it: code, navigation, an aside that is mostly links.

    What a page hides otherwise is kept: most of it can be opened, as panels and answers are.
    """
    is_shadow = tag.name == "template" and tag.has_attr("shadowrootmode")  # a saved component
    if tag.name in _DROPPED_TAGS and not is_shadow:
        return True
    if tag.get("role") == "navigation" or _is_drawn_twice(tag):
        return True
    if tag.name != "aside":
        return False
    linked = sum(len(link.get_text(strip=True)) for link in tag.find_all("a"))
    return 2 * linked > len(tag.get_text(strip=True))


def _is_drawn_twice(tag: Tag) -> bool:
    """Whether it only draws a formula that the page also holds as MathML.

    KaTeX writes the MathML before the drawing, MathJax after it.
    """
    if tag.name not in _DRAWINGS or tag.get("aria-hidden") != "true":
        return False
    beside = (tag.find_previous_sibling(), tag.find_next_sibling())
    return any(one is not None and one.find("math", recursive=False) for one in beside)
