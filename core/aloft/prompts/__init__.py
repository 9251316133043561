"""Prompts for language models and parsers of their replies, one pure pair per module."""

from aloft.protocols import Prompt
from aloft.records import Message


def ask_about(
    content: str, task: str, prefix: str, *, further: str = "", pattern: str = ""
) -> Prompt:
    """Put the passage before the task, so that all tasks about a passage share a prefix.

    A prefix cache that has read the passage for one task need not read it for the others. A second
    passage comes between the two.
    """
    second = f"\n\n### Second text\n{further}" if further else ""
    user = f"### Text\n{content}{second}\n\n### Task\n{task}"
    messages = (Message(role="user", content=user),)
    return Prompt(messages=messages, prefix=prefix, pattern=pattern)
