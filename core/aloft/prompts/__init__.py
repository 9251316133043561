"""What goes out to a language model and how its reply is read: one pure pair a module."""

from aloft.protocols import Prompt
from aloft.records import Message


def ask_about(
    content: str, task: str, prefix: str, *, further: str = "", pattern: str = ""
) -> Prompt:
    """The passage first and the task behind it: all tasks about a passage begin alike.

    What has read the passage for one of them (a prefix cache, kept keys and values) has read it
    for the others. A further passage stands between.
    """
    second = f"\n\n### Second text\n{further}" if further else ""
    user = f"### Text\n{content}{second}\n\n### Task\n{task}"
    messages = (Message(role="user", content=user),)
    return Prompt(messages=messages, prefix=prefix, pattern=pattern)
