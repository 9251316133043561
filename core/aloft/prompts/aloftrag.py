"""The format "aloftrag": the reply cites passages by number, then gives the answer.

Source: step 5 of ALoFTRAG (arXiv:2501.11929).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from aloft.prompts.abstention import names_none
from aloft.prompts.citation import (
    REFERENCE,
    CitedAnswer,
    ask,
    cite,
    cited_pattern,
    read_cited,
)
from aloft.protocols import Prompt

SYSTEM = (
    "You answer a question from numbered documents. First write the number of the document that "
    "holds the answer, or several numbers with commas between them, under the heading "
    "### Reference. Then write the answer, in the language of the question, under the heading "
    "### Answer."
)
ABSTAIN = " If none of the documents holds it, write none under ### Reference and say so."


@dataclass(frozen=True, slots=True)
class AloftragFormat:
    """A reply with a reference section and an answer section."""

    abstains: bool = False
    prefix: str = REFERENCE
    stop: tuple[str, ...] = ("\n### Question", "\n### Reference", "\n### 1")
    cites: bool = True
    begins_with_citation: bool = True

    def render(self, question: str, contents: Sequence[str]) -> Prompt:
        """Return the prompt that asks for passage numbers and the answer."""
        system = SYSTEM + ABSTAIN if self.abstains else SYSTEM
        pattern = cited_pattern(len(contents), abstains=self.abstains)
        return ask(system, question, contents, self.prefix, pattern)

    def target(self, answer: str, gold: Sequence[int], contents: Sequence[str]) -> str:
        """Return the reply to train on: numbers and answer."""
        return cite(gold, answer)

    def parse(self, reply: str, contents: Sequence[str]) -> CitedAnswer:
        """Parse numbers and answer from a reply."""
        ordinals, answer = read_cited(reply, len(contents))
        return CitedAnswer(ordinals=ordinals, answer=answer, is_abstaining=names_none(reply))
