"""OpenAI's protocol as local servers speak it: what is sent, and what comes back."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import httpx
import numpy as np

from aloft.backends.host_models import escape_control_tokens, stops_to_send, turns
from aloft.backends.tool_calls import described, new_call_id, rendered_turn
from aloft.protocols import Prompt, Reply, ToolCall
from aloft.records import Message


def request_settings(prompt: Prompt, max_new_tokens: int, stop: Sequence[str]) -> dict[str, Any]:
    """What a request asks of the reply: its length, sampling, form and tools."""
    asked: dict[str, Any] = {"max_tokens": max_new_tokens, "temperature": 0.0}
    if prompt.seed is not None:
        asked |= {"temperature": prompt.temperature, "seed": prompt.seed % 2**31}
        asked |= {"top_p": prompt.top_p} if prompt.top_p < 1 else {}
    if sent := stops_to_send([prompt], stop):
        asked["stop"] = sent[:4]  # the API's limit; the others are searched for in the text
    if prompt.json_schema is not None:
        form = {"name": "reply", "schema": dict(prompt.json_schema), "strict": True}
        asked["response_format"] = {"type": "json_schema", "json_schema": form}
    if prompt.tools:
        named = {"type": "function", "function": {"name": prompt.tool_choice}}
        is_named = prompt.tool_choice not in ("auto", "none", "required")
        asked["tools"] = described(prompt.tools)
        asked["tool_choice"] = named if is_named else prompt.tool_choice
        asked |= {} if prompt.calls_in_parallel else {"parallel_tool_calls": False}
    return asked


def request_messages(conversation: Sequence[Message]) -> list[dict[str, Any]]:
    """Turns as a request has them; arguments of calls are data, as contents are."""
    messages = [rendered_turn(turn, is_text=True) for turn in conversation]
    for message in messages:
        for call in message.get("tool_calls", ()):
            call["function"]["arguments"] = escape_control_tokens(call["function"]["arguments"])
    return messages


def conversation_of(prompt: Prompt) -> list[dict[str, Any]]:
    """A prompt's turns as a request has them."""
    return request_messages(turns(prompt))


def tool_calls_of(parts: dict[int, dict[str, str]]) -> tuple[ToolCall, ...]:
    """Calls from their collected parts; one whose arguments are not a JSON object is left out."""
    calls = []
    for part in parts.values():
        try:
            arguments = json.loads(part["arguments"] or "{}")
        except ValueError:
            continue
        if isinstance(arguments, dict):
            call_id = part["id"] or new_call_id()
            calls.append(ToolCall(id=call_id, name=part["name"], arguments=arguments))
    return tuple(calls)


def collect_calls(parts: dict[int, dict[str, str]], choice: dict[str, Any]) -> None:
    """Add the calls of a choice, or of a piece of a stream, to the parts that came before."""
    message = choice.get("delta") or choice.get("message") or {}
    for place, call in enumerate(message.get("tool_calls") or ()):
        empty = {"id": "", "name": "", "arguments": ""}
        part = parts.setdefault(int(call.get("index", place)), empty)
        function = call.get("function") or {}
        part["id"] = call.get("id") or part["id"]
        part["name"] += function.get("name") or ""
        given = function.get("arguments") or ""
        part["arguments"] += given if isinstance(given, str) else json.dumps(given)


def token_counts(usage: Any) -> tuple[int, int]:
    """Tokens read and written, as the server reports them; 0 where it does not."""
    counts = usage if isinstance(usage, dict) else {}
    read, written = counts.get("prompt_tokens"), counts.get("completion_tokens")
    return (
        read if isinstance(read, int) else 0,
        written if isinstance(written, int) else 0,
    )


def with_usage(reply: Reply, usage: Any) -> Reply:
    """A reply with the token counts that the server reports."""
    read, written = token_counts(usage)
    return replace(reply, prompt_tokens=read, new_tokens=written)


def stream_events(response: httpx.Response) -> Iterator[dict[str, Any]]:
    """Events of a streamed response; of one that is not streamed, the whole."""
    if "event-stream" not in response.headers.get("Content-Type", ""):
        yield json.loads(response.read())  # the server does not stream
        return
    for line in response.iter_lines():
        data = line.removeprefix("data:").strip()
        if line.startswith("data:") and data != "[DONE]":
            event = json.loads(data)
            if "error" in event:
                raise ValueError(str(event["error"])[:200])
            yield event


def unread_response(response: httpx.Response) -> httpx.Response:
    """A response whose content is still to come."""
    return response


def listed_models(response: httpx.Response) -> dict[str, dict[str, Any]]:
    """What a server says of its models, by their names."""
    return {str(card["id"]): card for card in response.json()["data"]}


def first_choice(response: httpx.Response) -> tuple[dict[str, Any], Any]:
    """First choice and what is said of its tokens; raises where the response is not a reply."""
    answer = response.json()
    choice = answer["choices"][0]
    text_of(choice)
    collect_calls({}, choice)
    return choice, answer.get("usage")


def first_alternatives(response: httpx.Response) -> tuple[dict[str, float], Any]:
    """Alternatives of the first choice's first token, else as `first_choice`."""
    choice, usage = first_choice(response)
    return alternatives(choice), usage


def whole_choice(choice: dict[str, Any]) -> dict[str, Any]:
    """A streamed choice in the form of a complete one; the first and last have no content."""
    return {"message": {"content": None, **choice["delta"]}} if "delta" in choice else choice


def text_of(choice: dict[str, Any]) -> str:
    """The text of a choice of either endpoint; one that calls tools needs none."""
    message = choice.get("message") or {}
    if message.get("tool_calls"):
        text = message.get("content")
    else:
        text = choice["text"] if "text" in choice else choice["message"]["content"]
    if not isinstance(text, str | None):
        raise TypeError("a reply must be text")
    return text or ""


def alternatives(choice: dict[str, Any]) -> dict[str, float]:
    """Probabilities of the first token's alternatives, in either endpoint's format."""
    logprobs = choice.get("logprobs") or {}
    if logprobs.get("content"):
        first = logprobs["content"][0]["top_logprobs"]
        pairs = [(entry["token"], entry["logprob"]) for entry in first]
    else:
        pairs = list(((logprobs.get("top_logprobs") or [{}])[0] or {}).items())
    return {token: float(np.exp(logprob)) for token, logprob in pairs if logprob is not None}


def shortened(response: httpx.Response) -> str:
    """The beginning of what a server says, in one line."""
    return " ".join(response.text.split())[:200]
