"""Web pages: the text as a browser lays it out, without navigation and scripts."""

import re
import warnings
from collections.abc import Iterator

from bs4 import BeautifulSoup
from bs4.dammit import EncodingDetector
from bs4.element import NavigableString, Tag

from aloft.corpus.readers.decoding import decode
from aloft.corpus.readers.source import Found, Source, clean

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
_MARGINS = {
    **dict.fromkeys(_PARAGRAPH_TAGS, ("\n\n", "\n\n")),
    **dict.fromkeys(_LINE_TAGS, ("\n", "")),
    **dict.fromkeys(_OWN_LINE_TAGS, ("\n", "\n")),
    **dict.fromkeys(("td", "th"), ("", " ")),
}


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
        soup = BeautifulSoup(clean(page), "lxml")
    titles = (title for title in soup.find_all("title") if not title.find_parent("svg"))
    title = next(titles, None)
    return title.get_text() if title else "", _text_of(soup), notes


def _text_of(soup: BeautifulSoup) -> str:
    """Blank lines around blocks, no line break within a sentence."""
    text = "".join(_pieces(soup))
    lines = (re.sub(r"^ (?! )", "", line.rstrip()) for line in text.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def _pieces(soup: BeautifulSoup) -> Iterator[str]:
    to_do: list[tuple[object, bool]] = [(soup, False)]  # a stack: pages nest deeper than Python
    while to_do:
        node, is_pre = to_do.pop()
        if isinstance(node, Tag):
            if _is_dropped(node):
                continue
            before, after = _MARGINS.get(node.name, ("", ""))
            is_pre = is_pre or node.name == "pre"
            to_do.append((after, True))
            to_do.extend((child, is_pre) for child in reversed(node.contents))
            yield before
        elif type(node) in (NavigableString, str):  # a comment or doctype is a subclass
            yield str(node) if is_pre else re.sub(r"\s+", " ", str(node))


def _is_dropped(tag: Tag) -> bool:
    """Whether a reader passes over it: code, navigation, an aside that is mostly links."""
    if tag.name in _DROPPED_TAGS or tag.get("role") == "navigation":
        return True
    if tag.name != "aside":
        return False
    linked = sum(len(link.get_text(strip=True)) for link in tag.find_all("a"))
    return 2 * linked > len(tag.get_text(strip=True))
