"""The format "ralt": the answer alone, from passages put before an instruction.

Source: retrieval-augmented language model tuning in RA-DIT (arXiv:2310.01352), with all passages in
one prompt; the paper has a prompt for each of them.
"""

from collections.abc import Sequence

from aloft.models import Prompt
from aloft.prompts.citation import ANSWER, CitedAnswer, ask

SYSTEM = (
    "You answer a question with the help of background documents, of which only some may be to "
    "the point. Write the answer, in the language of the question, under the heading ### Answer."
)


class RaltFormat:
    """The answer, without a citation."""

    prefix = ANSWER
    cites = False

    def render(self, question: str, contents: Sequence[str]) -> Prompt:
        """Ask for the answer."""
        return ask(SYSTEM, question, contents, self.prefix)

    def target(self, answer: str, gold: Sequence[int], contents: Sequence[str]) -> str:
        """The answer."""
        return answer

    def parse(self, reply: str, contents: Sequence[str]) -> CitedAnswer:
        """The whole reply; it cites nothing."""
        return CitedAnswer(ordinals=(), answer=reply.strip())
