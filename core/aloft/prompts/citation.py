"""What all reply formats share: numbered passages, citations and quotes.

Training, evaluation and serving use the same `render` of a format, so that a trained generator
always gets the prompt that it was trained on.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
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
# Lines that are not headings, and optionally the start of the next section, at which generation
# stops: some models that cannot start a new section write on without end.
_ANSWERED = r"\n\n### Answer\n[^\n]+(\n(#{0,2}[^#\n][^\n]*)?)*(\n###)?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """A verbatim span of a passage in the prompt.

    Attributes:
        ordinal: Number of the passage, from 1.
        start, end: Character offsets in the passage as it was shown.
        text: The span itself.
    """

    ordinal: int
    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CitedAnswer:
    """A parsed reply.

    Attributes:
        ordinals: Numbers of the cited passages, from 1, without repeats; numbers that match no
            passage are dropped.
        answer: The text under the answer heading, or the whole reply if it has no heading.
        quotes: The quotes that were found in the passage that they name.
        unverified_quotes: Number of quotes that were not found.
        is_abstaining: Whether the reply says that no passage contains the answer.
    """

    ordinals: tuple[int, ...]
    answer: str
    quotes: tuple[Quote, ...] = ()
    unverified_quotes: int = 0
    is_abstaining: bool = False


class Format(Protocol):
    """A prompt, the reply that a generator is trained to give, and how replies are parsed."""

    @property
    def prefix(self) -> str:
        """The start of every reply; it is part of the prompt, so the model does not write it."""
        ...

    @property
    def stop(self) -> tuple[str, ...]:
        """Stop strings: headings that cannot follow the answer."""
        ...

    @property
    def cites(self) -> bool:
        """Whether replies cite passages."""
        ...

    @property
    def begins_with_citation(self) -> bool:
        """Whether a reply's first word names a passage."""
        ...

    def render(self, question: str, contents: Sequence[str]) -> Prompt:
        """Return the prompt for a question about passages."""
        ...

    def target(self, answer: str, gold: Sequence[int], contents: Sequence[str]) -> str | None:
        """Return the reply to train on, without the prefix.

        Args:
            answer: The reference answer, or the sentence that says there is none.
            gold: Numbers of the passages that contain it, from 1.
            contents: Texts of the passages.

        Returns:
            The reply, or None if the passages lack what the format requires.
        """
        ...

    def parse(self, reply: str, contents: Sequence[str]) -> CitedAnswer:
        """Parse a reply without its prefix; a malformed reply cites nothing."""
        ...


def ask(
    system: str, question: str, contents: Sequence[str], prefix: str, pattern: str = ""
) -> Prompt:
    """Return a prompt of numbered passages, followed by the question."""
    numbered = "\n\n".join(f"### {i}\n{text}" for i, text in enumerate(contents, start=1))
    user = f"{numbered}\n\n### Question\n{question}"
    messages = (Message(role="system", content=system), Message(role="user", content=user))
    return Prompt(messages=messages, prefix=prefix, pattern=pattern)


def cite(ordinals: Sequence[int], answer: str) -> str:
    """Return the reference and answer sections, without the first heading."""
    return f"{', '.join(map(str, ordinals)) or NONE}\n\n{ANSWER}{answer}"


def go_on_from(prompt: Prompt, named: str, count: int) -> Prompt:
    """Return the prompt of a reply that begins with a citation already.

    Args:
        prompt: About passages, in a format whose replies begin with a citation.
        named: What is cited, a number or `NONE`.
        count: Passages in the prompt.
    """
    rest = _ANSWERED if named == NONE else _further(count) + _ANSWERED
    return replace(prompt, prefix=prompt.prefix + named, pattern=rest)


def named_in(target: str, prefix: str) -> tuple[int, int]:
    """Return the span of a target that holds the passage numbers; (0, 0) if it has none."""
    found = None if prefix == ANSWER else _NAMED.match(target)
    return found.span(1) if found else (0, 0)


def ordinal_pattern(count: int) -> str:
    """Return a regular expression for a number from 1 to `count`."""
    return f"({'|'.join(map(str, range(1, count + 1)))})"


def cited_pattern(count: int, *, abstains: bool) -> str:
    """Return a regular expression for what `cite` writes about `count` passages."""
    named = [ordinal_pattern(count) + _further(count)] if count else []
    named += [NONE] if abstains or not count else []
    return f"({'|'.join(named)}){_ANSWERED}"


def _further(count: int) -> str:
    return f"(, {ordinal_pattern(count)}){{0,{count - 1}}}" if count > 1 else ""


def begins_answer(reply: str) -> bool:
    """Return whether a partial reply contains the answer heading."""
    return _ANSWER.search("\n" + reply) is not None


def end_section(text: str) -> str:
    """Return the text before the next heading."""
    return _SECTION.split("\n" + text, maxsplit=1)[0].strip()


def read_cited(reply: str, count: int) -> tuple[tuple[int, ...], str]:
    """Parse passage numbers and answer from a reply about `count` passages."""
    cited, *rest = _ANSWER.split("\n" + reply, maxsplit=1)
    first_line = cited.strip().split("\n")[0]
    numbers = [int(number) for number in _ORDINAL.findall(first_line) if len(number) < 6]
    ordinals = tuple(dict.fromkeys(n for n in numbers if 1 <= n <= count))
    if re.search(r"[^\W\d_]{4}", first_line):
        ordinals = ()  # a sentence that happens to contain a number is not a citation
    return ordinals, end_section(rest[0]) if rest else reply.strip()
