"""Formulas of Office files and of MathML in a line of text: 1/2, (a+b)^2, √x, ∑_(i=1)^n i."""

import re

from lxml import etree

from aloft.corpus.readers.archive import attribute, local_name

_UNSEEN = ("annotation", "annotation-xml", "mphantom", "del", "moveFrom")
_INVISIBLE = re.compile("[\u2061-\u2064]")  # operators that are not drawn, as between 2 and x
_WORD = re.compile(r"[-+\u2212]?[\w.,]+")
_FRACTIONS = ("mfrac", "f")


def formula_text(element: etree._Element) -> str:
    """A formula, or a part of one, in a line.

    Args:
        element: Of MathML, or of the language of formulas that Office files have.
    """
    name = local_name(element)
    if name == "t":
        return element.text or ""
    if name in ("mi", "mn", "mo", "mtext", "ms"):
        text = re.sub(r"\s+", " ", "".join(element.itertext()).strip(" \t\r\n"))
        return _INVISIBLE.sub("", text)
    shown = [one for one in element if local_name(one) not in ("", *_UNSEEN)]
    inside = [one for one in shown if not local_name(one).endswith("Pr")]
    parts = [formula_text(one) for one in inside]
    whole = _beside(inside, parts)
    match name, parts:
        case (("mfrac" | "f"), [above, below]):
            return f"{_grouped(above)}/{_grouped(below)}"
        case ("msqrt", _) | ("rad", [_]):
            return f"√{_grouped(whole)}"
        case ("mroot", [base, degree]) | ("rad", [degree, base]):
            return f"{_grouped(base)}^(1/{degree})" if degree else f"√{_grouped(base)}"
        case (("msup" | "sSup"), [base, above]):
            return base + _above(above)
        case (("msub" | "sSub"), [base, below]):
            return base + (below if below.isalnum() else _below(below))
        case (("msubsup" | "munderover" | "sSubSup"), [base, below, above]):
            return base + _below(below) + _above(above)
        case (("munder" | "limLow"), [base, below]):
            return base + _below(below)
        case "nary", [below, above, base]:
            sign = _property(element, "chr", "\N{INTEGRAL}")
            return f"{sign}{_below(below)}{_above(above)} {base}"
        case "d", _:
            inner = _property(element, "sepChr", "|").join(parts)
            return _property(element, "begChr", "(") + inner + _property(element, "endChr", ")")
        case "mfenced", _:
            return f"{element.get('open', '(')}{', '.join(parts)}{element.get('close', ')')}"
        case (("mtable" | "m" | "eqArr"), _):
            return "; ".join(parts)
        case (("mtr" | "mr"), _):
            return " ".join(parts)
        case "mspace", _:
            return " "
    return whole


def _beside(elements: list[etree._Element], parts: list[str]) -> str:
    """Parts in a row, with a space between a fraction and what it would run together with."""
    text, after_fraction = "", False
    for element, part in zip(elements, parts, strict=True):
        is_fraction = local_name(element) in _FRACTIONS
        if (is_fraction or after_fraction) and text[-1:].isalnum() and part[:1].isalnum():
            text += " "
        text += part
        after_fraction = is_fraction
    return text


def _grouped(text: str) -> str:
    return text if _WORD.fullmatch(text) else f"({text})"


def _above(text: str) -> str:
    """What stands above, as an exponent does; a prime or an accent is not one."""
    return f"^{_grouped(text)}" if any(map(str.isalnum, text)) else text


def _below(text: str) -> str:
    return f"_{_grouped(text)}" if any(map(str.isalnum, text)) else text


def _property(element: etree._Element, name: str, default: str) -> str:
    """A sign that an Office file states only where it is not the usual one."""
    properties = (one for one in element if local_name(one).endswith("Pr"))
    signs = (one for some in properties for one in some if local_name(one) == name)
    return next((attribute(sign, "val") for sign in signs), default)
