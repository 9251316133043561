"""Prompts for language models and parsers of their replies, one pure pair per module."""

from aloft.protocols import Prompt
from aloft.records import Message


def ask_about(content: str, task: str, prefix: str, *, pattern: str = "") -> Prompt:
    """Put the passage before the task, so that all tasks about a passage share a prefix.

    A prefix cache that has read the passage for one task need not read it for the others.
    """
    user = f"### Text\n{content}\n\n### Task\n{task}"
    messages = (Message(role="user", content=user),)
    return Prompt(messages=messages, prefix=prefix, pattern=pattern)
