"""What the formats share that generators are trained on: numbered passages, citations, quotes.

A format's `render` is used to train, to evaluate and to serve, so that a trained model always meets
the prompt that it knows.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from aloft.prompts.abstention import NONE
from aloft.protocols import Prompt
from aloft.records import Message

REFERENCE = "### Reference\n"
ANSWER = "### Answer\n"
_ANSWER = re.compile(r"\n\s*#{1,4}\s*Answer\s*:?[^\S\n]*\n?")
_SECTION = re.compile(r"\n\s*###(?:\s|$)")
_NAMED = re.compile(rf"\[?(\d+(?:, \d+)*|{NONE})")
_ORDINAL = re.compile(r"\d+")
# lines that are no headings; with the next section's the reply ends, as where it is forbidden to
# begin one some models write on
_ANSWERED = r"\n\n### Answer\n[^\n]+(\n(#{0,2}[^#\n][^\n]*)?)*(\n###)?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """A verbatim stretch of a passage that was shown.

    Attributes:
        ordinal: The passage, counted from 1.
        start, end: Where it stands in what was shown of the passage, in characters.
        text: As it stands there.
    """

    ordinal: int
    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CitedAnswer:
    """A parsed reply.

    Attributes:
        ordinals: Passages cited, counted from 1, only those that exist, each once.
        answer: The text under the answer heading; the whole reply where there is no heading.
        quotes: Those that stand in the passage that they name.
        unverified_quotes: How many do not.
        is_abstaining: Whether it says that no passage holds the answer.
    """

    ordinals: tuple[int, ...]
    answer: str
    quotes: tuple[Quote, ...] = ()
    unverified_quotes: int = 0
    is_abstaining: bool = False


class Format(Protocol):
    """How a generator is asked, what it is trained to reply, and how replies are read."""

    @property
    def prefix(self) -> str:
        """What every reply begins with; it is put before the model, not asked of it."""
        ...

    @property
    def stop(self) -> tuple[str, ...]:
        """What a reply ends before: headings that have no place behind the answer."""
        ...

    @property
    def cites(self) -> bool:
        """Whether replies name passages."""
        ...

    def render(self, question: str, contents: Sequence[str]) -> Prompt:
        """Ask one question about passages."""
        ...

    def target(self, answer: str, gold: Sequence[int], contents: Sequence[str]) -> str | None:
        """The reply to train on, behind the prefix.

        Args:
            answer: The right one, or what is said where no passage holds it.
            gold: The passages that hold it, counted from 1.
            contents: The passages.

        Returns:
            None where the format asks for something that the passages do not give.
        """
        ...

    def parse(self, reply: str, contents: Sequence[str]) -> CitedAnswer:
        """Read what came behind the prefix; a bad reply cites nothing."""
        ...


def ask(
    system: str, question: str, contents: Sequence[str], prefix: str, pattern: str = ""
) -> Prompt:
    """Numbered passages, then the question."""
    numbered = "\n\n".join(f"### {i}\n{text}" for i, text in enumerate(contents, start=1))
    user = f"{numbered}\n\n### Question\n{question}"
    messages = (Message(role="system", content=system), Message(role="user", content=user))
    return Prompt(messages=messages, prefix=prefix, pattern=pattern)


def cite(ordinals: Sequence[int], answer: str) -> str:
    """The sections that name passages and answer, behind the first one's heading."""
    return f"{', '.join(map(str, ordinals)) or NONE}\n\n{ANSWER}{answer}"


def named_in(target: str, prefix: str) -> tuple[int, int]:
    """The characters of a target that first name passages; none where its format names none."""
    found = None if prefix == ANSWER else _NAMED.match(target)
    return found.span(1) if found else (0, 0)


def ordinal_pattern(count: int) -> str:
    """Any number from 1 to `count`, as a regular expression."""
    return f"({'|'.join(map(str, range(1, count + 1)))})"


def cited_pattern(count: int, *, abstains: bool) -> str:
    """What `cite` writes about `count` passages, as a regular expression: no other is named."""
    further = f"(, {ordinal_pattern(count)}){{0,{count - 1}}}" if count > 1 else ""
    named = [ordinal_pattern(count) + further] if count else []
    named += [NONE] if abstains or not count else []
    return f"({'|'.join(named)}){_ANSWERED}"


def begins_answer(reply: str) -> bool:
    """Whether the heading of the answer stands in what there is of a reply."""
    return _ANSWER.search("\n" + reply) is not None


def end_section(text: str) -> str:
    """A section's text: what comes before the next heading."""
    return _SECTION.split("\n" + text, maxsplit=1)[0].strip()


def read_cited(reply: str, count: int) -> tuple[tuple[int, ...], str]:
    """Ordinals and answer of a reply about `count` passages, as `cite` writes them."""
    cited, *rest = _ANSWER.split("\n" + reply, maxsplit=1)
    first_line = cited.strip().split("\n")[0]
    numbers = [int(number) for number in _ORDINAL.findall(first_line) if len(number) < 6]
    ordinals = tuple(dict.fromkeys(n for n in numbers if 1 <= n <= count))
    if re.search(r"[^\W\d_]{4}", first_line):
        ordinals = ()  # a sentence that happens to hold a number is no citation
    return ordinals, end_section(rest[0]) if rest else reply.strip()
