"""Requests one question and its answer about a passage, and parses the two from the reply.

There are three forms. "paper" is the paper's: instructions, then the whole passage. "instruct" has
the passage first, so that all requests about it share a prefix, which is read once. "examples" is
for models too small to follow instructions: worked examples, then one focus span of the passage
under its title; the model continues in the same form.
"""

import re
from collections.abc import Sequence

from aloft.config import Kind
from aloft.prompts import ask_about
from aloft.prompts.languages import LANGUAGES
from aloft.protocols import Prompt
from aloft.records import Message

_PAPER = (
    "You write test questions for a search system. You are given one text. Write one question that "
    "this text, and nothing else, answers, and then its answer. A reader who has never seen the "
    "text must be able to ask and understand the question: name the things it is about, assume no "
    "other knowledge, and never mention the text itself. Keep the answer short unless the question "
    "needs a long one. Write natural, fluent {language}. Reply with two sections, headed "
    "### Question and ### Answer."
)
_INSTRUCT = (
    "Write one question that only this text answers, and its answer. {kind} Name the people, "
    "places and things that the question is about, so that it is understood without the text; "
    "never mention the text itself. Answer in a few words of the text. Write in {language}. Reply "
    "with two sections, ### Question and ### Answer."
)
_ABOUT = " Ask about {name}, and call it by this name."
KINDS: dict[Kind, str] = {
    "fact": "Ask for one fact: who, what, which, where or when.",
    "definition": "Ask what something is or means.",
    "how": "Ask how something works or is done.",
    "why": "Ask why something is so or happened.",
    "comparison": "Ask how two things differ or what they share.",
    "numeric": "Ask for a number, an amount or a date.",
}
_PREFIX = "### Question\n"
_ANSWER_HEADING = re.compile(
    r"\n\s*(?:#{1,4}\s*\**\s*Answer\s*\**\s*:?|\**\s*Answer\s*(?::\s*\**|\**\s*:))\s*\n?",
    re.IGNORECASE,
)
_HEADING = re.compile(r"\n\s*(?:#{1,4}\s|\**Question\b)")

# the form of a reply, for engines with guided decoding: one line each, of limited length; models
# end with an empty line, and continue where it is forbidden
_PATTERN = r"[^\n]{4,400}\n\n### Answer\n[^\n]{1,600}(\n\n)?"
_EXAMPLES_PATTERN = r" [^\n]{{4,400}}\n{answer}: [^\n]{{1,400}}(\n\n)?"

EXAMPLE_QUESTIONS = frozenset(
    question for language in LANGUAGES.values() for _, _, question, _ in language.examples
)
ANSWER_HEADING = "\n\n### Answer\n"
STOP_INSTRUCT = ("### Question",)  # a second pair is not wanted
STOP_EXAMPLES = ("\n\n", *(f"\n{label}:" for label in LANGUAGES["en"].labels[:3]))
_LABELS = sorted({language.labels[3] for language in LANGUAGES.values()})
_LABEL, _LABEL_CUT = ("|".join(re.escape(label[:end]) for label in _LABELS) for end in (None, 3))
# small models put the answer's label at the end of the question, with the colon of their script; on
# a line of its own they misspell the label after its first three letters
_ANSWER_LABEL = re.compile(
    rf"(?:\n\s*(?:{_LABEL_CUT})[^\s:：]{{0,12}}|(?:\n\s*|(?<=[?？؟.。।!])\s*)(?:{_LABEL}))\s*[:：]"
)


def render_paper(content: str, *, language: str) -> Prompt:
    """The paper's prompt; the language is given by its English name."""
    system = _PAPER.format(language=language)
    return Prompt(
        messages=(Message(role="system", content=system), Message(role="user", content=content)),
        prefix=_PREFIX,
    )


def render_instruct(
    content: str, kind: Kind, *, language: str, style: Sequence[str] = (), about: str = ""
) -> Prompt:
    """The passage, then the task; all requests about a passage share this prefix.

    Args:
        content: The passage.
        kind: Kind of question.
        language: English name of the language to write in.
        style: Questions whose form and tone are imitated.
        about: A name in the passage that the question is to contain.
    """
    asked = KINDS[kind] + (_ABOUT.format(name=about) if about else "")
    task = _INSTRUCT.format(kind=asked, language=language)
    if style:
        shown = "\n".join(f"- {question}" for question in style)
        task += f"\n\nAsk in the form and tone of these questions, but not about them:\n{shown}"
    return ask_about(content, task, _PREFIX, pattern=_PATTERN)


def render_examples(title: str, focus: str, *, language: str) -> Prompt:
    """Worked examples, then the focus span; the model writes the question and the answer.

    Examples and labels are in the language with this code, or in English where it has none.
    """
    known = LANGUAGES.get(language, LANGUAGES["en"])
    topic, text, question, answer = known.labels
    shown = [
        f"{topic}: {one[0]}\n{text}: {one[1]}\n{question}: {one[2]}\n{answer}: {one[3]}\n\n"
        for one in known.examples
    ]
    task = f"{topic}: {title}\n{text}: {focus}\n"
    return Prompt(
        messages=(
            Message(role="user", content="".join(shown)),
            Message(role="user", content=task),
        ),
        prefix=f"{question}:",
        is_plain=True,
        pattern=_EXAMPLES_PATTERN.format(answer=answer),
    )


def parse_headings(reply: str) -> tuple[str, str] | None:
    """(question, answer), or None where the reply does not follow the form."""
    parts = _ANSWER_HEADING.split("\n" + reply, maxsplit=1)
    if len(parts) != 2:
        return None
    return _both(parts[0], _HEADING.split(parts[1], maxsplit=1)[0])


def parse_examples(reply: str) -> tuple[str, str] | None:
    """(question, answer), or None where the reply does not follow the form."""
    question, *rest = _ANSWER_LABEL.split(reply, maxsplit=1)
    return _both(question, rest[0].strip().split("\n")[0]) if rest else None


def answer_line(language: str) -> str:
    """The text between question and answer in the worked examples of a language."""
    return f"\n{LANGUAGES.get(language, LANGUAGES['en']).labels[3]}:"


def _both(question: str, answer: str) -> tuple[str, str] | None:
    question, answer = " ".join(question.split()), answer.strip()
    return (question, answer) if question and answer else None
