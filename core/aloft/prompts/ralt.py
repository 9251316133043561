"""The format "ralt": the answer alone, from passages put before an instruction.

Source: retrieval-augmented language model tuning in RA-DIT (arXiv:2310.01352), with all passages in
one prompt; the paper has a prompt for each of them.
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
    """The answer, without a citation."""

    abstains: bool = False
    prefix: str = ANSWER
    stop: tuple[str, ...] = ("\n### ",)
    cites: bool = False

    def render(self, question: str, contents: Sequence[str]) -> Prompt:
        """Ask for the answer."""
        system = SYSTEM + ABSTAIN if self.abstains else SYSTEM
        return ask(system, question, contents, self.prefix)

    def target(self, answer: str, gold: Sequence[int], contents: Sequence[str]) -> str:
        """The answer."""
        return answer

    def parse(self, reply: str, contents: Sequence[str]) -> CitedAnswer:
        """The whole section; it cites nothing."""
        answer = end_section(reply)
        return CitedAnswer(ordinals=(), answer=answer, is_abstaining=is_abstention(answer))
