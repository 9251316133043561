"""Question, with or without passages, to a plain text that its answer goes on from.

Asked of a teacher not to be answered but to see how likely it finds an answer that is there
already. Plain text, which models that follow no instructions read as well as those that do.
"""

from collections.abc import Sequence

from aloft.protocols import Prompt
from aloft.records import Message


def render(question: str, contents: Sequence[str] = ()) -> Prompt:
    """The passages first, so that several questions about them begin alike."""
    parts = [*contents, f"Question: {question}\nAnswer:"]
    return Prompt(messages=(Message(role="user", content="\n\n".join(parts)),), is_plain=True)


def reply_of(answer: str) -> str:
    """The answer as it goes on from the question."""
    return f" {answer}"
