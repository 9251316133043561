"""The numbers of lists as they are written: 4, 04, d, D, iv or IV."""

import re
from string import ascii_lowercase

_INTEGER = re.compile(r"\s*[-+]?[0-9]{1,9}\s*")
_ROMAN = (
    *((1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l")),
    *((40, "xl"), (10, "x"), (9, "ix"), (5, "v"), (4, "iv"), (1, "i")),
)
_MOST_ROMAN = 3999
_MOST_LETTERS = 780  # thirty times z; Office has digits beyond


def integer(text: str | None, default: int) -> int:
    """An attribute that should be an integer, or the default where it is none."""
    return int(text) if text and _INTEGER.fullmatch(text) else default


def numeral(value: int, form: str) -> str:
    """A number as a list shows it.

    Args:
        value: The number.
        form: As Word names it, such as "decimalZero", "upperRoman" or "lowerLetter", whose letters
            are repeated after z; "lowerAlpha" goes on with aa, ab. Unknown ones are digits.

    Returns:
        The number, or "" where the form is "none" or "bullet".
    """
    if form in ("none", "bullet"):
        return ""
    written = f"{value:02d}" if form == "decimalZero" else str(value)
    if form.endswith("Roman") and 0 < value <= _MOST_ROMAN:
        written = _roman(value)
    elif form.endswith("Letter") and 0 < value <= _MOST_LETTERS:
        written = ascii_lowercase[(value - 1) % 26] * (1 + (value - 1) // 26)
    elif form.endswith("Alpha") and value > 0:
        written = _alphabetic(value)
    return written.upper() if form.startswith("upper") else written


def _roman(value: int) -> str:
    written = ""
    for worth, letters in _ROMAN:
        count, value = divmod(value, worth)
        written += count * letters
    return written


def _alphabetic(value: int) -> str:
    written = ""
    while value:
        value, place = divmod(value - 1, 26)
        written = ascii_lowercase[place] + written
    return written
