"""Passage to a request for one question and its answer, and the reply to the two.

Two forms. "instruct" is the paper's: instructions, the whole passage, Markdown headings.
"examples" is for models too small to follow instructions: worked examples, then one focus span of
the passage under its title; the model goes on in the same form.
"""

import re

from aloft.models import Prompt
from aloft.records import Message

_INSTRUCTIONS = (
    "You write test questions for a search system. You are given one text. Write one question that "
    "this text, and nothing else, answers, and then its answer. A reader who has never seen the "
    "text must be able to ask and understand the question: name the things it is about, assume no "
    "other knowledge, and never mention the text itself. Keep the answer short unless the question "
    "needs a long one. Write natural, fluent {language}. Reply with two sections, headed "
    "### Question and ### Answer."
)
_ANSWER_HEADING = re.compile(r"\n\s*#{1,4}\s*Answer\s*:?\s*\n?")
_HEADING = re.compile(r"\n\s*#{1,4}\s")

# (title, text, question, answer): written for Aloft, about four unlike subjects
EXAMPLES: tuple[tuple[str, str, str, str], ...] = (
    (
        "Rhine Falls",
        "In an average summer about 600 cubic metres of water a second pour over the Rhine Falls, "
        "which are 150 metres wide.",
        "How much water flows over the Rhine Falls each second in summer?",
        "about 600 cubic metres",
    ),
    (
        "Working from home",
        "Claims are filed through the travel portal before the tenth day of the following month "
        "and need a signed statement from the line manager.",
        "Who has to sign a claim for working from home?",
        "the line manager",
    ),
    (
        "Bearings",
        "Ceramic bearings run cooler than steel ones because the balls are lighter and press less "
        "against the outer ring at high speed.",
        "Why do ceramic bearings stay cooler than steel bearings?",
        "because the balls are lighter and press less against the outer ring",
    ),
    (
        "Mitochondria",
        "Using electron microscopy, Palade described the inner membrane folds of mitochondria, "
        "which are called cristae and carry the respiratory enzymes.",
        "What are the inner membrane folds of mitochondria called?",
        "cristae",
    ),
)
STOP_INSTRUCT: tuple[str, ...] = ()
STOP_EXAMPLES: tuple[str, ...] = ("\n\n", "\nTopic:", "\nText:", "\nQuestion:")


def render_instruct(content: str, *, language: str) -> Prompt:
    """The paper's request; `language` is an English name, or "auto" for the text's own."""
    named = "prose in the language of the text" if language == "auto" else language
    return Prompt(
        messages=(
            Message(role="system", content=_INSTRUCTIONS.format(language=named)),
            Message(role="user", content=content),
        ),
        prefix="### Question\n",
    )


def render_examples(title: str, focus: str) -> Prompt:
    """Worked examples, then the focus span; the model writes the question and the answer."""
    shown = [
        f"Topic: {topic}\nText: {text}\nQuestion: {question}\nAnswer: {answer}\n\n"
        for topic, text, question, answer in EXAMPLES
    ]
    task = f"Topic: {title}\nText: {focus}\n"
    return Prompt(
        messages=(
            Message(role="user", content="".join(shown)),
            Message(role="user", content=task),
        ),
        prefix="Question:",
        is_plain=True,
    )


def parse_instruct(reply: str) -> tuple[str, str] | None:
    """(question, answer), or None where the reply does not keep the form."""
    parts = _ANSWER_HEADING.split("\n" + reply, maxsplit=1)
    if len(parts) != 2:
        return None
    return _both(parts[0], _HEADING.split(parts[1], maxsplit=1)[0])


def parse_examples(reply: str) -> tuple[str, str] | None:
    """(question, answer), or None where the reply does not keep the form."""
    question, heading, rest = reply.partition("\nAnswer:")
    return _both(question, rest.strip().split("\n")[0]) if heading else None


def _both(question: str, answer: str) -> tuple[str, str] | None:
    question, answer = " ".join(question.split()), answer.strip()
    return (question, answer) if question and answer else None
