"""Converts LlamaIndex messages and tools to Aloft's prompts, and replies to responses."""

import json
from collections.abc import Sequence
from typing import Any

from llama_index.core.base.llms.types import (
    CachePoint,
    ChatMessage,
    ChatResponse,
    CitableBlock,
    CitationBlock,
    CompletionResponse,
    ContentBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.tools import BaseTool

from aloft.api import (
    DataError,
    Message,
    Reply,
    Role,
    ToolCall,
    ToolTurn,
    replace_surrogates,
    schema_of,
)

_ROLES: dict[MessageRole, Role] = {
    MessageRole.SYSTEM: "system",
    MessageRole.DEVELOPER: "system",
    MessageRole.USER: "user",
    MessageRole.FUNCTION: "tool",
    MessageRole.TOOL: "tool",
    MessageRole.ASSISTANT: "assistant",
    MessageRole.CHATBOT: "assistant",
    MessageRole.MODEL: "assistant",
}

_TEXTLESS = (ThinkingBlock, ToolCallBlock, CachePoint)


def to_messages(messages: Sequence[ChatMessage]) -> tuple[Message, ...]:
    """Convert a conversation; what a model thought is not shown to it again.

    Raises:
        DataError: there is no message, or one holds anything other than text and calls.
    """
    messages = list(messages)
    if not messages:
        raise DataError("The conversation has no messages. Pass at least one user message.")
    wrong = [one for one in messages if not isinstance(one, ChatMessage)]
    if wrong:
        raise DataError(
            f"A conversation is a list of ChatMessage, but {type(wrong[0]).__name__} was given."
        )
    return tuple(_to_turn(message) for message in messages)


def calls_of(message: ChatMessage) -> list[ToolSelection]:
    """The calls that a message makes, in its blocks or as OpenAI's models have them."""
    blocks = [block for block in message.blocks if isinstance(block, ToolCallBlock)]
    if blocks:
        return [
            ToolSelection(
                tool_id=block.tool_call_id or "",
                tool_name=block.tool_name,
                tool_kwargs=_arguments(block.tool_kwargs),
            )
            for block in blocks
        ]
    return [_selection(call) for call in message.additional_kwargs.get("tool_calls") or ()]


def to_openai_tool(tool: BaseTool) -> dict[str, Any]:
    """A tool in OpenAI's form, with decimals as `schema_of` has them."""
    made: dict[str, Any] = tool.metadata.to_openai_tool(skip_length_check=True)
    model, function = tool.metadata.fn_schema, made["function"]
    if model is not None and (whole := schema_of(model)) != model.model_json_schema():
        known = function["parameters"]
        function["parameters"] = {name: whole.get(name, one) for name, one in known.items()}
    return made


def as_completion(reply: Reply, delta: str | None = None) -> CompletionResponse:
    """A reply, or a piece of one, to a text."""
    facts = _facts_of(reply)
    raw = {"usage": facts} if facts else None
    return CompletionResponse(text=reply.text, delta=delta, additional_kwargs=facts, raw=raw)


def as_chat(reply: Reply, delta: str | None = None) -> ChatResponse:
    """A reply, or a piece of one, to a conversation."""
    blocks: list[ContentBlock] = [TextBlock(text=reply.text)]
    blocks += [
        ToolCallBlock(tool_call_id=call.id, tool_name=call.name, tool_kwargs=dict(call.arguments))
        for call in reply.tool_calls
    ]
    # where LlamaIndex' function programs look while a reply is streamed, and its summaries of chats
    further = {"tool_calls": [_openai_call(one) for one in reply.tool_calls]}
    facts = _facts_of(reply)
    return ChatResponse(
        message=ChatMessage(
            role=MessageRole.ASSISTANT,
            blocks=blocks,
            additional_kwargs=further if reply.tool_calls else {},
        ),
        delta=delta,
        additional_kwargs=facts,
        raw={"usage": facts} if facts else None,
    )


def _to_turn(message: ChatMessage) -> Message:
    role = _ROLES[message.role]
    content = replace_surrogates(_text_of(message.blocks))
    if role == "tool":
        call_id = str(message.additional_kwargs.get("tool_call_id") or "")
        name = str(message.additional_kwargs.get("name") or "")
        return ToolTurn(role=role, content=content, tool_call_id=call_id, name=name)
    calls = calls_of(message) if role == "assistant" else []
    if calls:
        made = tuple(
            ToolCall(id=one.tool_id, name=one.tool_name, arguments=one.tool_kwargs) for one in calls
        )
        return ToolTurn(role=role, content=content, tool_calls=made)
    return Message(role=role, content=content)


def _text_of(blocks: Sequence[ContentBlock]) -> str:
    """The text of blocks, where texts in succession are lines, as in `ChatMessage.content`."""
    text, is_after_text = "", False
    for block in blocks:
        if isinstance(block, _TEXTLESS):
            continue
        is_text = isinstance(block, TextBlock)
        text += ("\n" if is_text and is_after_text else "") + _text_in(block)
        is_after_text = is_text
    return text


def _text_in(block: ContentBlock) -> str:
    if isinstance(block, TextBlock):
        return block.text
    if isinstance(block, CitableBlock):
        return _text_of(block.content)
    if isinstance(block, CitationBlock):
        return _text_in(block.cited_content)
    raise DataError(f"A message holds a block of type {block.block_type}, but only text is read.")


def _openai_call(call: ToolCall) -> dict[str, Any]:
    arguments = json.dumps(dict(call.arguments), ensure_ascii=False)
    function = {"name": call.name, "arguments": arguments}
    return {"id": call.id, "type": "function", "function": function}


def _selection(call: Any) -> ToolSelection:
    """A call in OpenAI's form, as a dictionary or an object."""
    call = call if isinstance(call, dict) else call.model_dump()
    function = call.get("function") or call
    return ToolSelection(
        tool_id=call.get("id") or "",
        tool_name=function["name"],
        tool_kwargs=_arguments(function.get("arguments") or {}),
    )


def _arguments(given: dict[str, Any] | str) -> dict[str, Any]:
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except ValueError:
            return {}
    return given if isinstance(given, dict) else {}


def _facts_of(reply: Reply) -> dict[str, Any]:
    if reply.is_piece:
        return {}
    return {
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.new_tokens,
        "total_tokens": reply.prompt_tokens + reply.new_tokens,
        "finish_reason": reply.finish_reason,
    }
