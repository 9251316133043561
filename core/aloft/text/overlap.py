"""Tells by letters and words alone whether one text stands in another."""

import math
import re
from collections import Counter
from collections.abc import Sequence

from aloft.text.tokens import split_words

# of 15,486 human questions in 16 languages 33 are such copies, 31 of them Japanese
_COPIED_SHARE = 0.95
# 35 of 25,381 human questions in 18 languages have such answers, 29 of them Thai
_LEAKED_SHARE = 0.8
_TELLING_WORDS = 8  # an answer of fewer may well be made of the question's
_RUN = 4  # words
_ENDS = ".!?。！？।؟…"  # a round may be told from the end of a sentence on
_LOOP = re.compile(r"(.{6,400}?)\1{2,}", re.DOTALL)


def fold(text: str) -> str:
    """A text as it is compared: letter case and white space aside."""
    return " ".join(text.casefold().split())


def holds(text: str, answer: str) -> bool:
    """Whether the answer stands in the text, letter case and white space aside."""
    wanted = fold(answer).strip(" .")
    return bool(wanted) and wanted in fold(text)


def shared_share(first: str, second: str) -> float:
    """Share of the shorter text's runs of four words that the other one holds too, in [0, 1]."""
    runs = [_runs(split_words(text)) for text in (first, second)]
    fewer, more = sorted(runs, key=len)
    return len(fewer & more) / len(fewer)


def _runs(words: Sequence[str]) -> set[tuple[str, ...]]:
    """Runs of four words, or all words where there are fewer."""
    return {tuple(words[i : i + _RUN]) for i in range(max(1, len(words) - _RUN + 1))}


def truncate_repetition(text: str) -> str | None:
    """A text that runs in circles up to where its second round begins; None where it does not.

    What comes three times in a row and then only begins again, as a cut reply may, is such a round.
    """
    for loop in _LOOP.finditer(text):
        if loop[1].startswith(text[loop.end() :]):
            first = loop.end(1)
            ends = len(text[first:]) - len(text[first:].lstrip(_ENDS))
            return text[: first + ends].rstrip()
    return None


def leaks(question: str, answer: str) -> bool:
    """Whether the question holds the answer, word for word, or a longer one but for a few words."""
    asked, wanted = split_words(question), split_words(answer)
    if len(wanted) >= _TELLING_WORDS:
        shared = Counter(asked) & Counter(wanted)
        return shared.total() >= _LEAKED_SHARE * len(wanted)
    starts = range(len(asked) - len(wanted) + 1)
    return bool(wanted) and any(asked[i : i + len(wanted)] == wanted for i in starts)


def copies(question: str, text: str) -> bool:
    """Whether a question is a sentence of the text, word for word but for one word in twenty."""
    asked, there = split_words(question), f" {' '.join(split_words(text))} "
    count = math.ceil(_COPIED_SHARE * len(asked))
    runs = (" ".join(asked[i : i + count]) for i in range(len(asked) - count + 1))
    return bool(asked) and any(f" {run} " in there for run in runs)
