"""Converts prompts to what a host's language model takes, and its answers to replies.

A host's model cannot be forced to begin with a prefix and does not always accept stop strings, so
both are handled in the returned text.
"""

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator, Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from aloft.protocols import Prompt, Reply
from aloft.records import Message, content_id
from aloft.text.surrogates import replace_surrogates

_CUT = frozenset({"length", "max_tokens", "max_length", "max_output_tokens"})
_REPLY_SETTINGS = (
    *("fingerprint", "temperature", "top_p", "top_k", "seed", "max_tokens", "num_predict"),
    *("max_new_tokens", "system_prompt", "reasoning_effort", "thinking", "json_mode"),
    *("additional_kwargs", "generate_kwargs", "model_kwargs", "extra_body", "options"),
    *("context_window", "num_ctx", "reasoning", "format", "min_p", "repeat_penalty"),
    *("presence_penalty", "frequency_penalty"),
)
_ADDRESS = re.compile(r"\bat 0x[0-9a-f]+", re.IGNORECASE)
_REASONS = ("finish_reason", "stop_reason", "done_reason")
# control tokens of the common model families: <|im_start|>, <s>, [INST], <end_of_turn> …
_CONTROL = re.compile(
    r"<(?=[|｜]|/?s>|(?:bos|eos|pad|unk|mask|start_of_turn|end_of_turn)>|<SYS>|</SYS>)"
    r"|\[(?=/?[A-Z][A-Z_]{3,}\])"
)
_THOUGHTS = re.compile(r"\A.*?</think>\s*|\A\s*<think>.*", re.DOTALL)
_JOINER = "\u2060"  # word joiner: invisible, but it breaks up a token
_OF_REPLIES = ("temperature", "top_p", "seed", "stop")
T = TypeVar("T")
logger = logging.getLogger(__name__)


def warn_of_unused(model: object) -> None:
    """Say which settings of one of our models have no effect where it teaches.

    What it is asked for then says itself how the reply is drawn and where it ends.
    """
    unused = [name for name in _OF_REPLIES if getattr(model, name, None)]
    if unused:
        logger.warning(
            "Settings of %s without effect where it teaches: %s. Leave them out.",
            *(type(model).__name__, ", ".join(unused)),
        )


def escape_control_tokens(text: str) -> str:
    """Break up what a host may read as control tokens with an invisible character.

    A host renders and tokenizes by itself, and documents are data: `<|im_start|>` in one of them
    must not open a turn. Surrogates, which no host can encode, become U+FFFD.
    """
    return _CONTROL.sub(lambda match: match[0] + _JOINER, replace_surrogates(text))


def fingerprint_of_host(
    model: object, name: str, options: Mapping[str, Any], declared: str = ""
) -> str:
    """Identify a host's model by class, name and settings of its replies.

    Hosts do not know weights; a model of ours has a fingerprint of them.

    Args:
        model: The host's.
        name: By which the host knows it.
        options: Of each call.
        declared: All that the host itself tells replies apart by.
    """
    kind = type(model)
    asked = {setting: getattr(model, setting, None) for setting in _REPLY_SETTINGS}
    settings = json.dumps([asked, dict(options), declared], sort_keys=True, default=str)
    lasting = _ADDRESS.sub("", settings)  # where an object lies differs from process to process
    return content_id(kind.__module__, kind.__qualname__, name, lasting)


def turns(prompt: Prompt) -> list[Message]:
    """A prompt's conversation, its control tokens escaped."""
    return [replace(one, content=escape_control_tokens(one.content)) for one in prompt.messages]


def has_system_turn(messages: Sequence[Message]) -> bool:
    """Whether a conversation begins with one."""
    return bool(messages) and messages[0].role == "system"


def merge_system_turn(messages: Sequence[Message]) -> list[Message]:
    """A conversation whose system text stands in front of the first user turn."""
    system, *others = messages
    if not others or others[0].role != "user":
        return [Message(role="user", content=system.content), *others]
    first = Message(role="user", content=f"{system.content}\n\n{others[0].content}")
    return [first, *others[1:]]


def plain_text(prompt: Prompt) -> str:
    """A prompt's contents concatenated, control tokens escaped, followed by the prefix."""
    return "".join(turn.content for turn in turns(prompt)) + prompt.prefix


def stops_to_send(prompts: Sequence[Prompt], stop: Sequence[str]) -> list[str]:
    """The stop strings that can be sent to a host along with some prompts.

    A host that cannot continue from the prefix repeats it. If a stop string occurs in the prefix,
    such as a heading or a line end, the reply would end before its first word, so it is not sent.
    All stop strings are searched for in the text that the host returns.
    """
    repeated = [prompt.prefix for prompt in prompts if not prompt.is_plain]
    return [one for one in stop if not any((one.strip() or one) in prefix for prefix in repeated)]


def after_thoughts(text: str) -> str:
    """What a model says after its thoughts, which some servers leave in the reply.

    Templates may open the thoughts in the prompt, so that the reply holds their end alone. Where
    they were cut, nothing is said.
    """
    return _THOUGHTS.sub("", text, count=1)


def read_reply(
    text: str,
    prompt: Prompt,
    stop: Sequence[str] = (),
    facts: Mapping[str, Any] | None = None,
    *,
    continues: bool = False,
) -> Reply:
    """Extract the reply from a host's text: without a repeated prefix and the stop string.

    Args:
        text: The host model's output.
        prompt: Its input.
        stop: The reply ends before the first of these.
        facts: Metadata of the reply, searched for a known reason why it ended.
        continues: Whether the host continued from the prefix, as with plain text.
    """
    text = replace_surrogates(text.replace(_JOINER, ""))
    bare = text.lstrip()
    prefix = prompt.prefix.strip()
    repeats_it = bool(prefix) and bare.startswith(prefix)
    if repeats_it:
        text = bare.removeprefix(prefix).lstrip("\n")
    places = [place for place in (text.find(string) for string in stop) if place >= 0]
    reasons = [str((facts or {}).get(name, "")).lower() for name in _REASONS]
    return Reply(
        text=text[: min(places)] if places else text,
        is_finished=bool(places) or _CUT.isdisjoint(reasons),
        is_anew=not (continues or repeats_it),
    )


def stream_growth(texts: Iterator[str], stop: Sequence[str]) -> Generator[Reply, None, int]:
    """Yield what each version of a growing text adds, until it contains a stop string.

    Args:
        texts: The whole text so far, longer each time.
        stop: Strings that the reply ends before.

    Returns:
        Number of characters yielded; the rest belongs to the last piece.
    """
    sent = 0
    for text in texts:
        if any(string in text for string in stop):
            break
        certain = _certain_part(text, stop)
        if len(certain) > sent:
            yield Reply(text=certain[sent:], is_finished=False, is_piece=True)
            sent = len(certain)
    return sent


def _certain_part(text: str, stop: Sequence[str]) -> str:
    """The part that no continuation can change: without incomplete characters or stop strings."""
    text = text.rstrip("\ufffd")
    begun = (n for string in stop for n in range(1, len(string)) if text.endswith(string[:n]))
    return text[: len(text) - max(begun, default=0)]


async def in_threads(pieces: Iterator[T]) -> AsyncIterator[T]:
    """Compute each piece in a thread, so that the host's event loop keeps running."""
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        yield piece
