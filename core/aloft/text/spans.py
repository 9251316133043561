"""Cuts a text into spans of one or two sentences, in any language."""

import re

from semantic_text_splitter import TextSplitter

_CHARACTERS = (80, 280)  # one or two sentences: what a 135M model can still ask about
_SHORTEST = 40
_CONTINUES = re.compile(r"[\w,;:(–-][^\S\n]*(?=\S)")  # a sentence, beyond a span's last character
_DENSE = re.compile("[぀-ヿ㐀-鿿豈-﫿가-힯]")  # a character carries as much as three letters


def cut_spans(text: str) -> list[tuple[int, int]]:
    """Characters (start, end) of the spans, in reading order.

    Parts of a sentence that is longer than a span are among them only where there is nothing else:
    they break off. A text without any span is one.
    """
    letters = letters_a_character(text)
    low, high = (round(limit / letters) for limit in _CHARACTERS)
    spans, is_cut = [], False
    for start, chunk in TextSplitter((low, high)).chunk_indices(text):
        end = start + len(chunk)
        began, is_cut = is_cut, bool(_CONTINUES.match(text, end - 1))
        if len(chunk) * letters >= _SHORTEST:
            spans.append((start, end, not (began or is_cut)))
    whole = [(start, end) for start, end, is_whole in spans if is_whole]
    return whole or [(start, end) for start, end, _ in spans] or [(0, len(text))]


def letters_a_character(text: str) -> float:
    """How many letters of an alphabet carry as much as one character of the text; from 1 to 3."""
    return 1 + 2 * len(_DENSE.findall(text)) / max(1, len(text))
