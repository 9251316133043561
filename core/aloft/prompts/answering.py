"""Prompts by which a teacher scores how likely a given answer is, or a question and its answer.

They are plain text that ends where the reply begins, so that base models score it as well as
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


def render_pair(contents: Sequence[str]) -> Prompt:
    """Return the prompt for a question and its answer."""
    text = "\n\n".join([*contents, "Question:"])
    return Prompt(messages=(Message(role="user", content=text),), is_plain=True)


def reply_of_pair(question: str, answer: str) -> str:
    """Return question and answer as the continuation of the prompt."""
    return f" {question}\nAnswer: {answer}"
