"""File names as ids: printable text in composed letters, whatever bytes the disk holds."""

import unicodedata
from collections import Counter
from collections.abc import Iterable

_UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")  # controls, bytes that are no text, line separators


def unique_names(names: Iterable[str]) -> dict[str, str]:
    """Of each file name the printable one, in NFC where no other file has the same NFC name."""
    printable = {name: printable_name(name) for name in names}
    counts = Counter(printable.values())
    return {
        name: composed if counts[composed] == 1 else _escape_all(name)
        for name, composed in printable.items()
    }


def printable_name(name: str) -> str:
    """The name in NFC, with an escape for each character that cannot be printed.

    A byte that is not UTF-8, which Python reads as a lone surrogate, is written as its number.
    """
    return _escape_all(unicodedata.normalize("NFC", name))


def _escape_all(name: str) -> str:
    if name.isprintable():
        return name
    return "".join(map(_escape, name))


def _escape(character: str) -> str:
    if unicodedata.category(character) not in _UNPRINTABLE:
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"  # the byte that stands on the disk
    return character.encode("unicode_escape").decode("ascii")
