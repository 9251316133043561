"""Bytes to text: UTF-8 first, then what the file declares, then a careful guess.

UTF-16 without a mark is known by its NUL bytes, of which every second byte of spaces and line ends
is one. A file that is UTF-8 but for a byte here and there stays UTF-8.

Labels mean what browsers take them for (the WHATWG Encoding Standard): "iso-8859-1" is
windows-1252. What declares nothing is guessed among the encodings that old office files have.
"""

import codecs
import re
from typing import TYPE_CHECKING

from aloft.corpus.readers.source import Found, Source, UnreadableError

if TYPE_CHECKING:
    from charset_normalizer import CharsetMatch

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CODE_PAGES = [
    *(f"cp{number}" for number in (1250, 1251, 1252, 1253, 1254, 1255, 1256, 1257)),
    *("cp850", "cp866", "mac_roman", "iso8859_2", "koi8_r"),
    *("cp932", "euc_jp", "iso2022_jp", "gb18030", "big5", "cp949"),
]
_RARE = ("cp850", "mac_roman")  # only where no other is as probable
_ESCAPE = b"\x1b$"  # begins Japanese in ISO-2022-JP, whose bytes are all ASCII
_SAMPLE_BYTES = 100_000
_LEAST_SAMPLE_BYTES = 1000  # where the text is as long
_MOST_CHAOS = 0.1  # share of improbable characters: German in DOS letters has 0.06 as cp1252
_FEWEST_NULS = 0.02  # share of the bytes of UTF-16: every 25th character is a space or line end
_SOUND = 9  # characters beyond ASCII that are UTF-8, for each that is not
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1f]")
_BEYOND_ASCII = re.compile(rb"[\x80-\xff]")
_FEWEST_LETTERS = 24  # of a text; a guess from fewer is a throw of the dice


def decode(source: Source, declared: str | None = None) -> tuple[str, list[Found]]:
    """Decode a text file or page.

    Args:
        source: The file.
        declared: The label of the encoding that the file itself or its container states.

    Returns:
        The text, and a line to be listed where its encoding was guessed.

    Raises:
        UnreadableError: it is no text in any encoding that could be determined.
    """
    raw = source.raw
    for mark, encoding in _MARKS:
        if raw.startswith(mark):
            return raw[len(mark) :].decode(encoding, "replace"), []
    if wide := _wide(raw):
        return wide, []
    if _ESCAPE in raw and (text := _decode_declared(raw, declared)):
        return text, []
    try:
        return raw.decode("utf-8"), []
    except UnicodeDecodeError as error:
        text = _decode_declared(raw, declared)
        mended = raw.decode("utf-8", "replace")
        is_utf8 = text is None and _is_mostly_utf8(raw, mended)
        guess = "" if text or is_utf8 else _guess(raw)
        if text is None and not guess:
            found = f"byte {error.start} is 0x{raw[error.start]:02x}"
            if not is_utf8 and not _declares_utf8(declared):
                raise UnreadableError("not UTF-8", f"{found}; save it as UTF-8") from error
            detail = f"{found}; it and others like it are read as \N{REPLACEMENT CHARACTER}"
            return mended, [source.reject("damaged text", detail)]
    if text is not None:
        return text, []
    note = source.reject(
        "encoding guessed", f"read as {guess}; if letters are wrong, save it as UTF-8"
    )
    return str(raw, guess, "replace"), [note]


def decode_utf8(raw: bytes) -> str:
    """Decode what must be UTF-8, as JSON must.

    Raises:
        UnreadableError: it is not.
    """
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        at = error.start + (3 if raw.startswith(codecs.BOM_UTF8) else 0)
        found = f"byte {at} is 0x{raw[at]:02x}"
        raise UnreadableError("not UTF-8", f"{found}; save it as UTF-8") from error


def _wide(raw: bytes) -> str:
    """The text of UTF-16 that has no mark; "": it is something else."""
    nuls = raw.count(0)
    if len(raw) % 2 or nuls < _FEWEST_NULS * len(raw):
        return ""
    for encoding, high in (("utf-16-le", 1), ("utf-16-be", 0)):
        if raw[high::2].count(0) == nuls:
            try:
                text = raw.decode(encoding)
            except UnicodeDecodeError:
                return ""
            return "" if _CONTROLS.search(text) else text
    return ""


def _is_mostly_utf8(raw: bytes, mended: str) -> bool:
    """Whether nearly all characters beyond ASCII are UTF-8."""
    mark = "\N{REPLACEMENT CHARACTER}"
    damaged = mended.count(mark) - raw.count(mark.encode())
    sound = sum(not character.isascii() for character in mended) - damaged
    return sound >= _SOUND * damaged


def _declares_utf8(label: str | None) -> bool:
    import webencodings

    encoding = webencodings.lookup(label) if label else None
    return encoding is not None and encoding.name == "utf-8"


def _decode_declared(raw: bytes, label: str | None) -> str | None:
    import webencodings

    encoding = webencodings.lookup(label) if label else None
    if encoding is None or encoding.name.startswith("utf-"):  # it is not UTF-8, whatever it says
        return None
    text: str = encoding.codec_info.decode(raw, "replace")[0]
    return text


def _guess(raw: bytes) -> str:
    """The likeliest old encoding, windows-1252 where another is as likely; "": there is none."""
    from charset_normalizer import from_bytes

    telling = _BEYOND_ASCII.search(raw)
    begin = min(telling.start() if telling else 0, max(0, len(raw) - _LEAST_SAMPLE_BYTES))
    sample = raw[begin : begin + _SAMPLE_BYTES]
    if b"\0" in sample or len(sample.translate(None, b" \t\r\n")) < _FEWEST_LETTERS:
        return ""
    guesses = from_bytes(sample, cp_isolation=_CODE_PAGES, threshold=_MOST_CHAOS)
    likeliest = min(guesses, key=_order, default=None)
    if likeliest is None:
        return ""
    is_western = "cp1252" in likeliest.could_be_from_charset  # of the sample it gives the same text
    return "cp1252" if is_western else likeliest.encoding


def _order(guess: "CharsetMatch") -> tuple[float, bool, float, bool]:
    """Least for the likeliest guess."""
    is_rare, is_western = guess.encoding in _RARE, guess.encoding == "cp1252"
    return guess.chaos, is_rare, -guess.coherence, not is_western
