"""The format "aloftrag": the passages that hold the answer are named, then the answer is given.

Source: step 5 of ALoFTRAG (arXiv:2501.11929).
"""

from collections.abc import Sequence

from aloft.models import Prompt
from aloft.prompts.citation import REFERENCE, CitedAnswer, ask, cite, read_cited

SYSTEM = (
    "You answer a question from numbered documents. First write the number of the document that "
    "holds the answer, or several numbers with commas between them, under the heading "
    "### Reference. Then write the answer, in the language of the question, under the heading "
    "### Answer."
)


class AloftragFormat:
    """Reference, then answer."""

    prefix = REFERENCE
    cites = True

    def render(self, question: str, contents: Sequence[str]) -> Prompt:
        """Ask for the passages' numbers and the answer."""
        return ask(SYSTEM, question, contents, self.prefix)

    def target(self, answer: str, gold: Sequence[int], contents: Sequence[str]) -> str:
        """Numbers and answer."""
        return cite(gold, answer)

    def parse(self, reply: str, contents: Sequence[str]) -> CitedAnswer:
        """Read numbers and answer."""
        ordinals, answer = read_cited(reply, len(contents))
        return CitedAnswer(ordinals=ordinals, answer=answer)
