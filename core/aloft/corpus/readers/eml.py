"""E-mail messages: who wrote to whom and when, then the text; attachments are read as files are."""

import re
from codecs import BOM_UTF8
from collections.abc import Iterator
from dataclasses import replace
from email import message_from_bytes, policy
from email.message import Message

from aloft.corpus.readers.decoding import decode
from aloft.corpus.readers.html import read_page
from aloft.corpus.readers.source import Found, Source, UnreadableError, clean, parser_message

_HEADERS = ("From", "To", "Cc", "Date")
_DATA = {"text/calendar": ".ics", "text/vcard": ".vcf"}  # text for programs
_DELIMITER = re.compile(rb"^--([\w'()+,./:=?-]+)[ \t]*\r?\nContent-", re.IGNORECASE | re.MULTILINE)
_PLAIN_SHARE = 0.5  # a plain text shorter than this share of the HTML says "open it in a browser"


def read(source: Source) -> Iterator[Found | Source]:
    """One document, titled by the subject, and a file for each attachment."""
    reader = _Reader(source)
    try:
        message = message_from_bytes(_with_utf8_headers(source), policy=policy.default)
        title = _header(message, "Subject")
        lines = [f"{name}: {_header(message, name)}" for name in _HEADERS if name in message]
        texts = [text.strip() for text in reader.texts(message) if text.strip()]
    except Exception as error:  # the standard library's parser can raise anything
        detail = f"{parser_message(error)}; save it again"
        raise UnreadableError("unreadable message", detail) from error
    if texts:
        yield source.document("\n\n".join(["\n".join(lines), *texts]).strip(), title)
    elif not reader.files and not reader.notes:
        raise UnreadableError("empty", "it holds no text; remove it")
    yield from reader.notes
    for name, raw in reader.files.items():
        yield source.inner(name, raw)


class _Reader:
    """Goes through the parts of a message.

    Attributes:
        files: Attachments by name.
        notes: What is to be listed about its texts.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self.files: dict[str, bytes] = {}
        self.notes: list[Found] = []

    def texts(self, part: Message) -> Iterator[str]:
        """The texts in order; what is no text of the message goes to `files`."""
        if part.get_content_maintype() == "multipart" and not part.is_multipart():
            part = _divided(part)
        kind, name = part.get_content_type(), part.get_filename()
        disposition = part.get_content_disposition()
        if kind == "multipart/alternative":
            yield _best(["\n\n".join(self.texts(one)).strip() for one in _parts(part)])
        elif kind == "message/rfc822":
            for one in _parts(part):
                raw = one.as_bytes(policy=policy.compat32)  # which leaves headers as they are
                self._attach(f"{_header(one, 'Subject') or 'message'}.eml", raw)
        elif part.is_multipart():
            for one in _parts(part):
                yield from self.texts(one)
        elif disposition == "attachment" or (name and part.get_content_maintype() != "image"):
            self._attach(name or "attachment", _payload(part))
        elif kind in _DATA:
            self._attach(f"part{_DATA[kind]}", _payload(part))
        elif part.get_content_maintype() == "text":
            yield self._text(part, is_page=kind == "text/html")
        elif part.get_content_maintype() != "image":  # pictures within the text have none
            self._attach("part", _payload(part))

    def _attach(self, name: str, raw: bytes) -> None:
        names = (name, *(f"{number} {name}" for number in range(2, len(self.files) + 2)))
        self.files[next(one for one in names if one not in self.files)] = raw

    def _text(self, part: Message, *, is_page: bool) -> str:
        source = replace(self._source, raw=_payload(part))
        label = part.get_content_charset()
        try:
            if is_page:
                _, text, notes = read_page(source, label)
            else:
                text, notes = decode(source, label)
                text = _in_paragraphs(part, text)
        except UnreadableError as error:
            text, notes = "", [source.reject(error.reason, error.detail)]
        self.notes.extend(notes)
        return text


def _with_utf8_headers(source: Source) -> bytes:
    """The message without anything in front of its headers, and these in UTF-8."""
    raw = source.raw.removeprefix(BOM_UTF8).lstrip(b"\r\n")
    head, gap, body = raw.partition(b"\r\n\r\n" if b"\r\n\r\n" in raw else b"\n\n")
    if head.isascii():
        return raw
    try:  # by the whole message: a head alone is too short to guess from
        text, _ = decode(replace(source, raw=raw))
    except UnreadableError:
        return raw
    return text.partition(gap.decode())[0].encode() + gap + body


def _header(message: Message, name: str) -> str:
    try:
        value = message.get(name, "")
    except Exception:  # the parser of addresses can raise anything
        raw = next(text for key, text in message.raw_items() if key.lower() == name.lower())
        value = policy.default.header_factory("Subject", " ".join(raw.split()))
    return " ".join(str(value).split())


def _parts(message: Message) -> list[Message]:
    parts = message.get_payload()
    return [part for part in parts if isinstance(part, Message)] if isinstance(parts, list) else []


def _payload(part: Message) -> bytes:
    raw = part.get_payload(decode=True)
    return raw if isinstance(raw, bytes) else b""


def _divided(part: Message) -> Message:
    """What should have parts, by the boundary that its text shows; without one it is all text."""
    raw = _payload(part)
    delimiter = _DELIMITER.search(raw)
    head = b"Content-Type: text/plain\n\n"
    if delimiter:
        kind = part.get_content_type().encode()
        head = b'Content-Type: %s; boundary="%s"\n\n' % (kind, delimiter[1])
    return message_from_bytes(head + raw, policy=policy.default)


def _in_paragraphs(part: Message, text: str) -> str:
    """The text with soft line breaks removed, where the part is marked format=flowed (RFC 3676)."""
    if str(part.get_param("format")).lower() != "flowed":
        return text
    is_space_added = str(part.get_param("delsp")).lower() == "yes"
    lines: list[str] = []
    flowing = -1  # depth of quotes of the line above, where it goes on
    for line in clean(text).split("\n"):
        unquoted = line.lstrip(">")
        depth, words = len(line) - len(unquoted), unquoted.removeprefix(" ")
        flows = words.endswith(" ") and words != "-- "  # which stands above a signature
        shown = words[:-1] if flows and is_space_added else words
        if depth == flowing and words not in ("", "-- "):
            lines[-1] += shown
        else:
            lines.append(f"{'>' * depth} {shown}" if depth else shown)
        flowing = depth if flows else -1
    return "\n".join(lines)


def _best(versions: list[str]) -> str:
    """Of the same text in several formats the first, unless it is a stub of a later one."""
    longest = max(map(len, versions), default=0)
    return next((text for text in versions if len(text) >= _PLAIN_SHARE * longest), "")
