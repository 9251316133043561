"""The format "raft": verbatim quotes, then the numbers of their passages, then the answer.

Source: RAFT (arXiv:2403.10131), in which a larger model writes the quotes as part of a chain of
thought. Here a quote is the sentence of a gold passage that contains the answer, so no model call
is needed and no quote can be invented. The quotes of a reply are verified against the passages.
RAFT also keeps the answer as the target of some rows without a gold passage, to make the model
memorise it. Here this would teach the model to cite passages that are not shown, so such rows
abstain instead (`training_sets.abstaining_share`).
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from aloft.prompts.abstention import NONE, names_none
from aloft.prompts.citation import (
    REFERENCE,
    CitedAnswer,
    Quote,
    ask,
    cite,
    cited_pattern,
    ordinal_pattern,
    read_cited,
)
from aloft.protocols import Prompt
from aloft.text.normalising import find_normalized
from aloft.text.overlap import holds

SYSTEM = (
    "You answer a question from numbered documents. First copy, word for word and each on a line "
    'of its own, what they say about it, as in [2] "...", under the heading ### Quotes. Then write '
    "the number of the document that holds the answer, or several numbers with commas between "
    "them, under the heading ### Reference. Then write the answer, in the language of the "
    "question, under the heading ### Answer."
)
ABSTAIN = " If none of the documents holds it, write none under the first two and say so."
PREFIX = "### Quotes\n"
_REFERENCE = re.compile(r"\n\s*#{1,4}\s*Reference\s*:?[^\S\n]*\n?")
_QUOTE = re.compile(r'^\s*\[(\d{1,5})\]\s*["“«„](.+)["”»“]\s*$', re.MULTILINE)
_SENTENCE_END = re.compile(r"(?<=[.!?।؟])\s+|(?<=[。！？])|\n+")


@dataclass(frozen=True, slots=True)
class RaftFormat:
    """A reply with quotes, a reference section and an answer section."""

    abstains: bool = False
    prefix: str = PREFIX
    stop: tuple[str, ...] = ("\n### Question", "\n### Quotes", "\n### 1")
    cites: bool = True
    begins_with_citation: bool = False

    def render(self, question: str, contents: Sequence[str]) -> Prompt:
        """Return the prompt that asks for quotes, passage numbers and the answer."""
        system = SYSTEM + ABSTAIN if self.abstains else SYSTEM
        pattern = _pattern(len(contents), abstains=self.abstains)
        return ask(system, question, contents, self.prefix, pattern)

    def target(self, answer: str, gold: Sequence[int], contents: Sequence[str]) -> str | None:
        """Return quotes, numbers and answer; None if no gold passage contains the answer."""
        found = [(i, sentence_with(answer, contents[i - 1])) for i in gold]
        quotes = [f'[{i}] "{text}"' for i, text in found if text]
        if gold and not quotes:
            return None
        return ("\n".join(quotes) or NONE) + f"\n\n{REFERENCE}{cite(gold, answer)}"

    def parse(self, reply: str, contents: Sequence[str]) -> CitedAnswer:
        """Parse all sections and locate the quotes in their passages."""
        said, *rest = _REFERENCE.split("\n" + reply, maxsplit=1)
        ordinals, answer = read_cited(rest[0] if rest else reply, len(contents))
        given = _QUOTE.findall(said)
        quotes = tuple(_located(given, contents))
        return CitedAnswer(
            ordinals=ordinals if rest else (),
            answer=answer,
            quotes=quotes,
            unverified_quotes=len(given) - len(quotes),
            is_abstaining=names_none(rest[0] if rest else reply),
        )


def _pattern(count: int, *, abstains: bool) -> str:
    """Return a regular expression for quotes of existing passages and what `cite` writes."""
    quotes = [rf"(\[{ordinal_pattern(count)}\] [^\n]+\n)+"] if count else []
    quotes += [rf"{NONE}\n"] if abstains or not count else []
    return rf"({'|'.join(quotes)})\n### Reference\n" + cited_pattern(count, abstains=abstains)


def sentence_with(answer: str, text: str) -> str | None:
    """Return the first sentence that contains the answer, ignoring case and white space."""
    sentences = (" ".join(part.split()) for part in _SENTENCE_END.split(text))
    return next((sentence for sentence in sentences if holds(sentence, answer)), None)


def _located(given: Sequence[tuple[str, str]], contents: Sequence[str]) -> Iterator[Quote]:
    """Yield the quotes that are found in their passage after normalising, with their offsets."""
    for number, said in given:
        ordinal = int(number)
        if 1 <= ordinal <= len(contents):
            content = contents[ordinal - 1]
            for start, end in find_normalized(said, content)[:1]:
                yield Quote(ordinal=ordinal, start=start, end=end, text=content[start:end])
