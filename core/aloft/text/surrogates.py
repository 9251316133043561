"""Replaces code points that no encoding and no tokenizer accepts."""

import re

_SURROGATE = re.compile("[\ud800-\udfff]")


def replace_surrogates(text: str) -> str:
    """Return the text with each surrogate replaced by U+FFFD; offsets stay valid.

    A Python string may hold half of a UTF-16 pair, for example from a PDF's mathematical letters
    or an emoji that a chat widget cut in two.
    """
    return _SURROGATE.sub("\ufffd", text)
