"""The format "ralt": the answer without a citation.

Source: retrieval-augmented language model tuning in RA-DIT (arXiv:2310.01352). All passages are in
one prompt here; the paper uses one prompt per passage.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from aloft.prompts.abstention import is_abstention
from aloft.prompts.citation import ANSWER, CitedAnswer, ask, end_section
from aloft.protocols import Prompt

SYSTEM = (
    "You answer a question with the help of background documents, of which only some may be to "
    "the point. Write the answer, in the language of the question, under the heading ### Answer."
)
ABSTAIN = " If none of the documents holds it, say so."


@dataclass(frozen=True, slots=True)
class RaltFormat:
    """A reply with an answer section only."""

    abstains: bool = False
    prefix: str = ANSWER
    stop: tuple[str, ...] = ("\n### ",)
    cites: bool = False
    begins_with_citation: bool = False

    def render(self, question: str, contents: Sequence[str]) -> Prompt:
        """Return the prompt that asks for the answer."""
        system = SYSTEM + ABSTAIN if self.abstains else SYSTEM
        return ask(system, question, contents, self.prefix)

    def target(self, answer: str, gold: Sequence[int], contents: Sequence[str]) -> str:
        """Return the reply to train on: the answer."""
        return answer

    def parse(self, reply: str, contents: Sequence[str]) -> CitedAnswer:
        """Parse the answer; there are no citations."""
        answer = end_section(reply)
        return CitedAnswer(ordinals=(), answer=answer, is_abstaining=is_abstention(answer))
