"""Web pages in a single file, as browsers and Word save them: the page without its resources."""

from collections.abc import Iterator
from dataclasses import replace
from email import message_from_bytes, policy

from aloft.corpus.readers.html import read_page
from aloft.corpus.readers.source import Found, Source, UnreadableError, parser_message

_PAGES = ("text/html", "application/xhtml+xml")


def read(source: Source) -> Iterator[Found]:
    """One document, titled as the page is."""
    try:
        message = message_from_bytes(source.raw, policy=policy.compat32)
        page = next((part for part in message.walk() if part.get_content_type() in _PAGES), None)
        raw = page.get_payload(decode=True) if page else None
        label = page.get_content_charset() if page else None
    except Exception as error:  # the standard library's parser can raise anything
        detail = f"{parser_message(error)}; save the page again"
        raise UnreadableError("unreadable page", detail) from error
    if not isinstance(raw, bytes):
        raise UnreadableError("unreadable page", "it holds no HTML; save the page again")
    title, text, notes = read_page(replace(source, raw=raw), label)
    yield source.document(text, title)
    yield from notes
