"""Numbers as Office programs show them, but for digits that they round."""

import re

_QUOTED = re.compile(r'"([^"]*)"|\\(.)|\[\$([^\]-]*)[^\]]*\]')  # what a format shows as it is
_UNSEEN = re.compile(r"\[[^\]]*\]|[_*].")  # colours and conditions, blanks and what fills a cell
_MOST_WHOLE = 1e21  # a number of more digits is an estimate, and written as one
_DIGITS = re.compile(r"[0#?](?:[0#?,.]|E[+-]0)*")


def in_format(value: float, number_format: str) -> str:
    """A number with what its format shows around the digits, or in per cent.

    Args:
        value: The number.
        number_format: As files hold it, such as `0.0 "kg"`.
    """
    shown: list[str] = []

    def keep(match: re.Match[str]) -> str:
        shown.append(next(text for text in match.groups() if text is not None))
        return "\0"

    form = _QUOTED.sub(keep, number_format).partition(";")[0]
    form = _UNSEEN.sub("", form)
    digits = _DIGITS.findall(form)
    if len(digits) != 1 or digits[0].endswith(","):  # no number, a fraction, or in thousands
        return _digits(value)
    whole, dot, rest = _digits(value * 100 if "%" in form else value).partition(".")
    zeros = re.split("[.E]", digits[0])[0].count("0")  # so many digits at least, as of a post code
    amount = whole.zfill(zeros + whole.startswith("-")) + dot + rest
    texts = iter(shown)
    return re.sub("\0", lambda _: next(texts), form.replace(digits[0], amount)).strip()


def _digits(value: float) -> str:
    """A whole number, such as a long identifier, as it is; of a fraction 15 digits, as in Excel."""
    is_whole = isinstance(value, int) or (value.is_integer() and abs(value) < _MOST_WHOLE)
    return str(int(value)) if is_whole else f"{value:.15g}"
