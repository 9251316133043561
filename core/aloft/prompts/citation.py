"""Question and passages to the citation format that generators are trained on, and the reply back.

The form is ALoFTRAG's (arXiv:2501.11929): numbered passages, then the question; the reply names
the passage under one heading and answers under the next. `render` is used to train, to evaluate
and to serve, so that a trained model always meets the prompt that it knows.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from aloft.models import Prompt
from aloft.records import Message

SYSTEM = (
    "You answer a question from numbered documents. First write the number of the document that "
    "holds the answer, or several numbers with commas between them, under the heading "
    "### Reference. Then write the answer, in the language of the question, under the heading "
    "### Answer."
)
PREFIX = "### Reference\n"
_ANSWER = re.compile(r"\n\s*#{1,4}\s*Answer\s*:?[^\S\n]*\n?")
_ORDINAL = re.compile(r"\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class CitedAnswer:
    """A parsed reply.

    Attributes:
        ordinals: Passages cited, counted from 1, only those that exist, each once.
        answer: The text under the answer heading; the whole reply where there is no heading.
    """

    ordinals: tuple[int, ...]
    answer: str


def render(question: str, contents: Sequence[str]) -> Prompt:
    """Ask one question about numbered passages."""
    numbered = "\n\n".join(f"### {i}\n{text}" for i, text in enumerate(contents, start=1))
    user = f"{numbered}\n\n### Question\n{question}"
    return Prompt(
        messages=(Message(role="system", content=SYSTEM), Message(role="user", content=user)),
        prefix=PREFIX,
    )


def target(ordinals: Sequence[int], answer: str) -> str:
    """The reply to train on, behind the prefix."""
    return f"{', '.join(map(str, ordinals))}\n\n### Answer\n{answer}"


def parse(reply: str, count: int) -> CitedAnswer:
    """Read a reply to a prompt of `count` passages; a bad reply cites nothing."""
    cited, *rest = _ANSWER.split("\n" + reply, maxsplit=1)
    first_line = cited.strip().split("\n")[0]
    numbers = [int(number) for number in _ORDINAL.findall(first_line) if len(number) < 6]
    ordinals = tuple(dict.fromkeys(n for n in numbers if 1 <= n <= count))
    if re.search(r"[^\W\d_]{4}", first_line):
        ordinals = ()  # a sentence that happens to hold a number is no citation
    return CitedAnswer(ordinals=ordinals, answer=(rest[0] if rest else reply).strip())
