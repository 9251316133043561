"""EPUB: the chapters of a book in reading order."""

import posixpath
import re
from collections.abc import Iterator
from html.entities import html5
from typing import Any
from urllib.parse import unquote

from lxml import etree

from aloft.corpus.readers.archive import Archive, local_name
from aloft.corpus.readers.html import read_page
from aloft.corpus.readers.source import Found, Source, UnreadableError

_PAGES = ("application/xhtml+xml", "text/html", "text/x-oeb1-document")  # the last: before 2007
_AMPERSAND = re.compile(rb"&(?!(?:amp|lt|gt|quot|apos|#[0-9]+|#x[0-9A-Fa-f]+);)(\w+;)?")


def read(source: Source) -> Iterator[Found]:
    """One document, titled as the book is; a chapter that cannot be read is listed."""
    with Archive(source, "EPUB") as archive:
        title, chapters = _contents(archive)
        if "META-INF/encryption.xml" in archive:
            locked = archive.read("META-INF/encryption.xml").decode("utf-8", "replace")
            if any(chapter in unquote(locked) for chapter in chapters):
                raise UnreadableError("encrypted EPUB", "it is protected; get a copy that is not")
        texts: list[str] = []
        for chapter in chapters:
            try:
                _, text, notes = read_page(source.inner(chapter, archive.read(chapter)))
                texts.append(text)
                yield from notes
            except UnreadableError as error:
                if error.reason == "too large":
                    raise
                yield source.reject(error.reason, error.detail, place=f"{source.name}#{chapter}")
    yield source.document("\n\n".join(text for text in texts if text), title)


def _contents(archive: Archive) -> tuple[str, list[str]]:
    """The book's title and the names of its chapters."""
    container = _parse(archive, "META-INF/container.xml")
    package = next(one.get("full-path", "") for one in container.iter() if _is(one, "rootfile"))
    book = _parse(archive, package)
    title = next((one.text or "" for one in book.iter() if _is(one, "title")), "")
    files = {
        one.get("id"): posixpath.normpath(
            posixpath.join(posixpath.dirname(package), unquote(one.get("href", "")))
        )
        for one in book.iter()
        if _is(one, "item") and one.get("media-type") in _PAGES
    }
    spine = (one.get("idref") for one in book.iter() if _is(one, "itemref"))
    return title, [files[name] for name in spine if name in files]


def _parse(archive: Archive, name: str) -> Any:
    """Parse one part as far as it can be: many books have "&" or "&nbsp;" in theirs, not in XML."""
    raw = archive.read(name)
    if b"\0" not in raw:  # in UTF-16 each character has two bytes
        raw = _AMPERSAND.sub(_in_xml, raw)
    parser = etree.XMLParser(recover=True, resolve_entities=False, no_network=True, load_dtd=False)
    found = etree.fromstring(raw, parser)
    if found is None:
        raise archive.broken(ValueError(f"{name} holds no XML"))
    return found


def _in_xml(found: re.Match[bytes]) -> bytes:
    """An entity of HTML as its characters' numbers, or an ampersand that stands for itself."""
    name = (found[1] or b"").decode()
    characters = html5.get(name)
    return (
        f"&amp;{name}".encode()
        if characters is None
        else b"".join(b"&#%d;" % ord(one) for one in characters)
    )


def _is(element: Any, name: str) -> bool:
    return local_name(element) == name
