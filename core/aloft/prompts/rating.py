"""Requests a rating of a passage, question or answer, and parses the number from the reply."""

import re
from typing import Literal

from aloft.prompts import ask_about
from aloft.protocols import Prompt
from aloft.records import Message

CRITERIA: dict[str, str] = {
    "passage": (
        "You judge source texts for a question-answering system. You are given one text. Say how "
        "much useful, factual information it holds, as a number from 0 (none: menus, boilerplate, "
        "fragments) to 10 (dense with facts worth asking about). The language of the text "
        "does not matter. Reply with the number alone."
    ),
    "question": (
        "You judge questions. You are given a context and a question. Say how well the question "
        "can be answered from the context alone and how fluent it is, as a number from 0 (not at "
        "all) to 10 (fully answerable and fluent). Reply with the number alone."
    ),
    "answer": (
        "You judge answers. You are given a context, a question and an answer. Say how correct "
        "the answer is by the context and how fluent it is, as a number from 0 (wrong) to "
        "10 (correct and fluent). Reply with the number alone."
    ),
}
PREFIX = {
    "passage": "### Filter score\n",
    "question": "### Question rating score\n",
    "answer": "### Answer rating score\n",
}
_DIGIT = (
    "How much useful, factual information does this text hold? Reply with one digit, from 0 (none: "
    "menus, boilerplate, fragments) to 9 (dense with facts worth asking about). The language of "
    "the text does not matter."
)
_NUMBER = re.compile(r"[\s\[\(\*]*(\d+(?:\.\d+)?)")


def render(
    criterion: Literal["passage", "question", "answer"],
    content: str,
    *,
    question: str = "",
    answer: str = "",
) -> Prompt:
    """Ask for a rating from 0 to 10, which the model writes."""
    sections = [("Context", content), ("Question", question), ("Answer", answer)]
    body = "\n\n".join(f"### {name}\n{text}" for name, text in sections if text)
    return Prompt(
        messages=(
            Message(role="system", content=CRITERIA[criterion]),
            Message(role="user", content=body),
        ),
        prefix=PREFIX[criterion],
    )


def render_digit(content: str, *, passage_first: bool) -> Prompt:
    """Ask for a passage's rating from 0 to 9, which is read from the probabilities of the digits.

    Args:
        content: The passage with its title.
        passage_first: Whether the passage comes before the task, because later prompts begin with
            it too; otherwise it comes after the task, which all prompts then share.
    """
    if passage_first:
        return ask_about(content, _DIGIT, PREFIX["passage"])
    return Prompt(
        messages=(
            Message(role="system", content=_DIGIT),
            Message(role="user", content=f"### Context\n{content}"),
        ),
        prefix=PREFIX["passage"],
    )


def parse(reply: str) -> float | None:
    """The rating at the start of the reply; None where there is no number from 0 to 10."""
    match = _NUMBER.match(reply)
    value = float(match[1]) if match else -1.0
    return value if 0 <= value <= 10 else None
