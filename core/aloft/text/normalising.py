"""The one way in which texts are made comparable: NFKC, case, quotes, and what is invisible.

Every second PDF holds ligatures, files from a Mac hold decomposed letters, and Word sets curly
quotation marks and dashes where keyboards and language models write straight ones. BM25, overlaps,
quotes, clicks, document names and answers are therefore compared as `normalize` writes them. What
is found in a normalised text is still given by its place in the original: `find_normalized`.
"""

import re
import unicodedata
from array import array
from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby
from operator import itemgetter

# Characters that are not shown (soft hyphen, zero-width and direction marks, variation selectors),
# the Arabic elongation sign, and marks that NFKC would append to a word as letters
_INVISIBLE = (
    "\u00ad\u034f\u061c\u0640\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u2120\u2122\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_REMOVED = re.compile(f"[{_INVISIBLE}]+")
# inside of words, where `\w` does not match them: accents, vowel signs of Indic and Thai script
_IS_MARK = (unicodedata.category(chr(code))[0] == "M" for code in range(0x1F000))
MARKS = "".join(
    f"{chr(codes[0])}-{chr(codes[-1])}"
    for is_mark, run in groupby(enumerate(_IS_MARK), key=itemgetter(1))
    if is_mark
    for codes in [[code for code, _ in run]]
)
# besides marks, what may be composed with the character before it: Hangul vowels and finals, and
# the half-width voicing marks of kana
_COMPOSED = "\u1160-\u11ff\u3131-\u318e\ud7b0-\ud7ff\uff9e-\uffdc"
_CLUSTER = re.compile(rf"\w[{MARKS}{_COMPOSED}{_INVISIBLE}]*|[\s\S][{MARKS}{_INVISIBLE}]*")
_PLAIN = re.compile(rf"[\x00-\x7f]{{8,}}(?![{MARKS}{_COMPOSED}{_INVISIBLE}])")  # nothing combines
_ALIGNED = 8  # long texts that are looked at again and again: the documents of labelled questions
_STRAIGHT = {  # apostrophes and quotation marks, hyphens and dashes, as keyboards write them
    **dict.fromkeys(map(ord, "\u02bc\u05f3\u2018\u2019\u201a\u201b"), "'"),
    **dict.fromkeys(map(ord, "\u05f4\u201c\u201d\u201e\u201f"), '"'),
    **dict.fromkeys((*range(0x2010, 0x2016), 0x2212), "-"),
}
_TURKISH = re.compile("i\u0307+|ı\u0307*")  # what case folding makes of İ, and what it leaves of ı


def normalize(text: str) -> str:
    """Return a text as it is compared with others.

    Compatibility forms are replaced (NFKC: ligatures, full-width digits, Arabic presentation forms,
    composed and decomposed letters), case is folded (ß to ss, final sigma to sigma), dotted and
    dotless i are one letter, quotation marks and dashes are straight, and invisible characters are
    removed. White space and other punctuation stay. The result is stable: normalising it again
    changes nothing.
    """
    if text.isascii():
        return text.lower()
    folded = _TURKISH.sub("i", unify_forms(text).casefold())
    return unicodedata.normalize("NFKC", folded)


def unify_forms(text: str) -> str:
    """Return a text in NFKC, quotation marks and dashes straight, without invisible characters."""
    return unicodedata.normalize("NFKC", _REMOVED.sub("", text)).translate(_STRAIGHT)


def fold(text: str) -> str:
    """Return a normalised text with every run of white space as a single space."""
    return " ".join(normalize(text).split())


def fold_question(question: str) -> str:
    """Return a folded question without the punctuation at its end."""
    return fold(question).rstrip(" ?!.؟。")


def find_normalized(quote: str, text: str) -> list[tuple[int, int]]:
    """Return where a quote stands in a text, case, white space and Unicode forms aside.

    Args:
        quote: Some words of the text; white space at its ends does not count.
        text: The original text.

    Returns:
        Spans of the original text, in order, with `fold(text[start:end]) == fold(quote)`. Where
        some have the quote's letter case, or else stand between word boundaries, only those.
    """
    words = fold(quote).split()
    if not words:
        return []
    pattern = r"\s+".join(map(re.escape, words))
    normal, starts, ends = _align(text)
    bounded, anywhere = (
        [
            (starts[match.start()], ends[match.end() - 1])
            for match in re.finditer(regex, normal)
            if starts[match.start()] >= 0 and ends[match.end() - 1] >= 0
        ]
        for regex in (rf"(?<!\w){pattern}(?!\w)", pattern)
    )
    cased = unify_forms(quote).split()
    of_same_case = (
        [(start, end) for start, end in spans if unify_forms(text[start:end]).split() == cased]
        for spans in (bounded, anywhere)
    )
    return next(filter(None, (*of_same_case, bounded, anywhere)), [])


@lru_cache(_ALIGNED)
def _align(text: str) -> tuple[str, Sequence[int], Sequence[int]]:
    """Return the normalised text, and for each of its characters where its original one lies.

    Several characters may come of one (a ligature) or of several (a letter and its accent). Only
    the first of them has a start and only the last has an end; the others have -1, as no span of
    the original text begins or ends there.
    """
    if text.isascii():
        return text.lower(), range(len(text)), range(1, len(text) + 1)
    starts, ends = array("q"), array("q")
    pieces: list[str] = []
    done = 0
    for plain in _PLAIN.finditer(text):
        _align_clusters(text, done, plain.start(), (starts, ends, pieces))
        done = plain.end()
        starts.extend(range(plain.start(), done))
        ends.extend(range(plain.start() + 1, done + 1))
        pieces.append(plain.group().lower())
    _align_clusters(text, done, len(text), (starts, ends, pieces))
    return "".join(pieces), starts, ends


def _align_clusters(
    text: str, begin: int, end: int, aligned: tuple["array[int]", "array[int]", list[str]]
) -> None:
    """Align a stretch of text whose characters may combine."""
    starts, ends, pieces = aligned
    for cluster in _CLUSTER.finditer(text, begin, end):
        piece = normalize(cluster.group())
        if piece:
            gap = [-1] * (len(piece) - 1)
            starts.extend([cluster.start(), *gap])
            ends.extend([*gap, cluster.end()])
            pieces.append(piece)
