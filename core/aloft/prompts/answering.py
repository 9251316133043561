"""The prompt by which a teacher scores how likely a given answer is.

It is plain text that ends where the answer begins, so that base models score it as well as
instruction-tuned ones. The teacher generates nothing.
"""

from collections.abc import Sequence

from aloft.protocols import Prompt
from aloft.records import Message


def render(question: str, contents: Sequence[str] = ()) -> Prompt:
    """Return the prompt; questions about the same passages share its start."""
    parts = [*contents, f"Question: {question}\nAnswer:"]
    return Prompt(messages=(Message(role="user", content="\n\n".join(parts)),), is_plain=True)


def reply_of(answer: str) -> str:
    """Return the answer as the continuation of the prompt."""
    return f" {answer}"
