"""Markdown: the text as it is, but for the bytes of pictures; its title is in its front matter.

Without one it is the first heading of level one outside code and front matter.
"""

import re
from collections.abc import Iterator

from aloft.corpus.readers.decoding import decode
from aloft.corpus.readers.source import Found, Source, clean

_FRONT = re.compile(r"---[ \t]*\n(.*?\n)(?:---|\.\.\.)[ \t]*(?:\n|$)", re.DOTALL)
_NAMED = re.compile(r"^title:[ \t]*(['\"]?)(\S.*?)\1[ \t]*$", re.MULTILINE)
_FOLDED = re.compile(r"^title:[ \t]*[>|][+-]?[ \t]*\n((?:[ \t]+\S.*\n)+)", re.MULTILINE)
_PICTURE = re.compile(r"data:image/[\w.+-]+;base64,[A-Za-z0-9+/=]+")  # its bytes, in the text
_HEADING = re.compile(r" {0,3}#[ \t]+(.*?)(?:[ \t]#+)?[ \t]*")
_UNDERLINE = re.compile(r" {0,3}=+[ \t]*")  # makes a heading of the line above
_FENCE = re.compile(r" {0,3}(`{3,}(?=[^`]*$)|~{3,})(.*)")


def read(source: Source) -> Iterator[Found]:
    """One document."""
    text, notes = decode(source)
    text = _PICTURE.sub("", text)
    yield source.document(text, _title(clean(text)))
    yield from notes


def _title(text: str) -> str:
    front = _FRONT.match(text)
    if front:
        if folded := _FOLDED.search(front[1]):
            return folded[1]
        if named := _NAMED.search(front[1]):
            return named[2]
        text = text[front.end() :]
    fence = above = ""
    for line in text.split("\n"):
        mark = _FENCE.match(line)
        if fence:  # inside, a heading is a comment of some code
            if mark and mark[1].startswith(fence) and not mark[2].strip():
                fence = ""
        elif mark:
            fence, above = mark[1], ""
        else:
            if heading := _HEADING.fullmatch(line):
                return heading[1]
            if above.strip() and _UNDERLINE.fullmatch(line):
                return above
            above = line
    return ""
