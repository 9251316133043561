"""EPUB: the chapters of a book in reading order."""

import posixpath
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from aloft.corpus.readers.archive import Archive, local_name
from aloft.corpus.readers.html import read_page
from aloft.corpus.readers.source import Found, Source, UnreadableError

_PAGES = ("application/xhtml+xml", "text/html", "text/x-oeb1-document")  # the last: before 2007


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
    container = archive.parse("META-INF/container.xml")
    package = next(one.get("full-path", "") for one in container.iter() if _is(one, "rootfile"))
    book = archive.parse(package)
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


def _is(element: Any, name: str) -> bool:
    return local_name(element) == name
