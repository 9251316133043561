"""Converts LangChain messages and tools to Aloft's prompts, and replies to messages."""

import json
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    ToolMessage,
)
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call, tool_call_chunk

from aloft.api import DataError, Message, Reply, Role, ToolCall, ToolTurn, replace_surrogates

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "human": "user",
    "user": "user",
    "tool": "tool",
    "function": "user",
    "ai": "assistant",
    "assistant": "assistant",
}
_TEXTS = frozenset({"text", "text-plain", "input_text", "output_text"})
# calls stand in a message beside its text; those that a server made and answered itself are over
_CALLS = frozenset(
    {
        *("tool_call", "tool_call_chunk", "invalid_tool_call", "tool_use", "function_call"),
        *("server_tool_call", "server_tool_call_chunk", "server_tool_use", "server_tool_result"),
        *("web_search_call", "web_search_result", "web_search_tool_result", "file_search_call"),
        *("code_interpreter_call", "code_interpreter_result", "mcp_call", "refusal"),
    }
)
# what a model thought is not shown to it again, as chat templates have it
_UNSEEN = _CALLS | {"reasoning", "reasoning_content", "thinking", "redacted_thinking", "signature"}


def to_messages(messages: Sequence[BaseMessage]) -> tuple[Message, ...]:
    """Convert a conversation.

    Raises:
        DataError: there is no message, or one holds anything other than text, or has an unknown
            role.
    """
    if not messages:
        raise DataError("The conversation has no messages. Pass at least one user message.")
    return tuple(_to_turn(message) for message in messages)


def to_message(reply: Reply, facts: dict[str, Any]) -> AIMessage:
    """A whole reply."""
    return AIMessage(
        content=reply.text,
        tool_calls=[
            tool_call(name=call.name, args=dict(call.arguments), id=call.id)
            for call in reply.tool_calls
        ],
        usage_metadata=usage_of(reply),
        response_metadata=facts,
    )


def to_chunk(piece: Reply, facts: dict[str, Any]) -> AIMessageChunk:
    """A piece of a streamed reply; the last has calls, counts and facts."""
    if piece.is_piece:
        return AIMessageChunk(content=piece.text)
    return AIMessageChunk(
        content=piece.text,
        tool_call_chunks=[
            tool_call_chunk(
                name=call.name,
                args=json.dumps(dict(call.arguments), ensure_ascii=False),
                id=call.id,
                index=place,
            )
            for place, call in enumerate(piece.tool_calls)
        ],
        usage_metadata=usage_of(piece),
        response_metadata=facts,
        chunk_position="last",
    )


def usage_of(reply: Reply) -> UsageMetadata:
    """Token counts in LangChain's form."""
    return UsageMetadata(
        input_tokens=reply.prompt_tokens,
        output_tokens=reply.new_tokens,
        total_tokens=reply.prompt_tokens + reply.new_tokens,
    )


def _to_turn(message: BaseMessage) -> Message:
    role, content = _role_of(message), _text_of(message)
    if isinstance(message, AIMessage) and message.tool_calls:
        calls = tuple(
            ToolCall(id=call["id"] or "", name=call["name"], arguments=call["args"])
            for call in message.tool_calls
        )
        return ToolTurn(role=role, content=content, tool_calls=calls)
    if isinstance(message, ToolMessage):
        name = message.name or ""
        return ToolTurn(role=role, content=content, tool_call_id=message.tool_call_id, name=name)
    return Message(role="user" if role == "tool" else role, content=content)


def _role_of(message: BaseMessage) -> Role:
    name = message.role if isinstance(message, ChatMessage) else message.type
    name = name.removesuffix("MessageChunk").lower()
    if name not in _ROLES:
        raise DataError(f'A message has the role "{name}". It may be one of: {", ".join(_ROLES)}.')
    return _ROLES[name]


def _text_of(message: BaseMessage) -> str:
    """The texts of a message's blocks; what was thought, and calls, are no text.

    Results of tools may be JSON. Blocks are lines, but for those of a reply: services divide these
    within a sentence, where they cite.
    """
    blocks = [message.content] if isinstance(message.content, str) else message.content
    return replace_surrogates(_joined(blocks, "" if isinstance(message, AIMessage) else "\n"))


def _joined(blocks: Sequence[str | dict[Any, Any]], between: str) -> str:
    return between.join(text for text in map(_text_in, blocks) if text)


def _text_in(block: str | dict[Any, Any]) -> str:
    if isinstance(block, str):
        return block
    kind = block.get("type")
    if kind in _TEXTS:
        return str(block.get("text") or "")
    if kind in _UNSEEN:
        return ""
    if kind == "tool_result":
        inner = block.get("content") or ""
        return inner if isinstance(inner, str) else _joined(inner, "\n")
    if kind in ("json", None):
        return json.dumps(block.get("json", block), ensure_ascii=False, default=str)
    if kind == "non_standard" and isinstance(block.get("value"), dict):
        return _text_in(block["value"])
    raise DataError(f"A message holds a block of type {kind}, but only text is read.")
