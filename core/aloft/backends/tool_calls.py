"""Tools under a model's own chat template: how it writes calls, and how they are read again.

Templates describe tools to their models, and write earlier calls into a conversation as the models
were trained to. How a model calls is therefore learnt from its template, by rendering a call.
"""

import json
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from aloft.errors import ModelError
from aloft.protocols import Prompt, Tool, ToolCall, ToolTurn
from aloft.records import Message
from aloft.text.surrogates import replace_surrogates

_PROBES = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": "Probes a template.",
            "parameters": {"type": "object", "properties": {argument: {"type": "string"}}},
        },
    }
    for name, argument in (("probe_one", "first"), ("probe_two", "second"))
]
FENCES = ("```json", "```", "")  # in front of a call that stands alone
_BARE = re.compile(r"\s*(?:```(?:json)?)?\s*(\{.*\})\s*(?:```)?\s*", re.DOTALL)
_ID = "a1b2c3d4e"  # nine letters and digits, the only ids that some templates accept
_formats: "WeakKeyDictionary[Any, tuple[str, CallFormat | None]]" = WeakKeyDictionary()


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFormat:
    """How a model writes calls: JSON objects between markers.

    Attributes:
        opening: Text in front of the first call; "": none.
        between: Text between two calls; "": a reply makes only one.
        closing: Text behind the last call.
        arguments: Key of a call's arguments; the key of its name is "name".
    """

    opening: str
    between: str
    closing: str
    arguments: str

    def parse(self, reply: str, tools: Sequence[Tool] = ()) -> tuple[str, tuple[ToolCall, ...]]:
        """Split a reply into its text and its calls; what is no call stays text.

        Args:
            reply: Of the model.
            tools: Those that a reply calls where it is a call alone, without the markers; models
                that were trained on code write that in a code block.
        """
        bare = self._bare_call(reply, tools)
        if bare is not None:
            return "", (bare,)
        marker = self.opening.strip()
        start = reply.find(marker) if marker else -1 + reply.lstrip().startswith("{")
        calls: list[ToolCall] = []
        place = start
        while place >= 0 and (begin := reply.find("{", place)) >= 0:
            try:
                value, place = json.JSONDecoder().raw_decode(reply, begin)
            except ValueError:
                break
            call = self._call_of(value)
            if call is None:
                break
            calls.append(call)
        return (reply[:start].rstrip() if calls else reply), tuple(calls)

    def shown(self, reply: str, tools: Sequence[Tool] = ()) -> str:
        """The part of a growing reply that is text, whatever follows."""
        marker = self.opening.strip()
        compact = re.sub(r"\s", "", reply)
        bare = [f'{fence}{{"name":"{tool.name}"' for fence in FENCES for tool in tools]
        if any(one.startswith(compact) or compact.startswith(one) for one in bare):
            return ""
        if not marker:
            return "" if reply.lstrip()[:1] in ("", "{") else reply
        text = reply.partition(marker)[0]
        begun = (n for n in range(1, len(marker)) if text.endswith(marker[:n]))
        return text[: len(text) - max(begun, default=0)].rstrip()

    def schema(self, tools: Sequence[Tool]) -> dict[str, Any]:
        """The JSON schema of one call of any of the tools."""
        calls = [
            {
                "type": "object",
                "properties": {"name": {"const": tool.name}, self.arguments: dict(tool.parameters)},
                "required": ["name", self.arguments],
                "additionalProperties": False,
            }
            for tool in tools
        ]
        shared = {k: v for tool in tools for k, v in tool.parameters.get("$defs", {}).items()}
        whole: dict[str, Any] = calls[0] if len(calls) == 1 else {"anyOf": calls}
        return {**whole, "$defs": shared} if shared else whole

    def _bare_call(self, reply: str, tools: Sequence[Tool]) -> ToolCall | None:
        found = _BARE.fullmatch(reply)
        try:
            call = self._call_of(json.loads(found[1])) if found else None
        except ValueError:
            return None
        return call if call and call.name in {tool.name for tool in tools} else None

    def _call_of(self, value: Any) -> ToolCall | None:
        arguments = value.get(self.arguments) if isinstance(value, dict) else None
        if not isinstance(arguments, dict) or not isinstance(value.get("name"), str):
            return None
        return ToolCall(id=new_call_id(), name=value["name"], arguments=arguments)


def new_call_id() -> str:
    """An id that no other call has."""
    return "call_" + secrets.token_hex(12)


def call_format_of(tokenizer: Any) -> CallFormat:
    """How a model writes calls, by its chat template.

    Raises:
        ModelError: the template takes no tools, or its calls are not JSON objects.
    """
    template = str(tokenizer.chat_template)
    known = _formats.get(tokenizer)
    if known is None or known[0] != template:
        known = _formats[tokenizer] = (template, _read_format(tokenizer))
    if known[1] is None:
        raise ModelError(
            f'The chat template of "{tokenizer.name_or_path}" takes no tools, or writes calls in a '
            "form other than JSON, so that this model cannot call them here. Choose an instruct "
            "model whose template takes tools, or serve the model and name it openai:URL#MODEL."
        )
    return known[1]


def takes_tools(tokenizer: Any) -> bool:
    """Whether a model can call tools here."""
    try:
        call_format_of(tokenizer)
    except ModelError:
        return False
    return True


def described(tools: Sequence[Tool]) -> list[dict[str, Any]]:
    """Tools in OpenAI's form, which templates and servers take."""
    return [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": replace_surrogates(tool.description),
                "parameters": _as_json(tool.parameters),
            },
        }
        for tool in tools
    ]


def shown_tools(prompt: Prompt) -> tuple[Tool, ...]:
    """The tools that stand in a model's prompt."""
    return () if prompt.tool_choice == "none" else prompt.tools


def callable_tools(prompt: Prompt) -> tuple[Tool, ...]:
    """The tools that a reply may call, by the prompt's choice."""
    if prompt.tool_choice in ("auto", "required"):
        return prompt.tools
    return tuple(tool for tool in shown_tools(prompt) if tool.name == prompt.tool_choice)


def rendered_turn(turn: Message, *, is_text: bool = False) -> dict[str, Any]:
    """A turn in OpenAI's form.

    Args:
        turn: Of a conversation.
        is_text: Whether the arguments of calls are JSON text, as servers take them.
    """
    shown: dict[str, Any] = {"role": turn.role, "content": replace_surrogates(turn.content)}
    if not isinstance(turn, ToolTurn):
        return shown
    if turn.tool_calls:
        shown["tool_calls"] = [
            {
                "id": replace_surrogates(call.id),
                "type": "function",
                "function": {
                    "name": replace_surrogates(call.name),
                    "arguments": _as_text(call.arguments) if is_text else _as_json(call.arguments),
                },
            }
            for call in turn.tool_calls
        ]
    if turn.role == "tool":
        shown |= {"tool_call_id": turn.tool_call_id} | ({"name": turn.name} if turn.name else {})
    return shown


def plain_turns(messages: Sequence[Message]) -> list[Message]:
    """A conversation for templates without tools: calls and results as the text of turns."""
    return [_plain_turn(turn) for turn in messages]


def _plain_turn(turn: Message) -> Message:
    if turn.role == "tool":
        return Message(role="user", content=turn.content)
    if isinstance(turn, ToolTurn) and turn.tool_calls:
        calls = [_as_text({"name": c.name, "arguments": c.arguments}) for c in turn.tool_calls]
        return Message(role=turn.role, content="\n".join(filter(None, [turn.content, *calls])))
    return turn


def _as_text(value: Mapping[str, Any]) -> str:
    return json.dumps(_as_json(value), ensure_ascii=False)


def _as_json(value: Any) -> Any:
    """A value of JSON that can be encoded; what JSON does not have, such as a date, is its text."""
    if isinstance(value, Mapping):
        return {replace_surrogates(str(name)): _as_json(one) for name, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_as_json(one) for one in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return replace_surrogates(str(value))


def _read_format(tokenizer: Any) -> CallFormat | None:
    """Render one call and two, and find the JSON objects in the text; None where there are none."""
    try:
        start, one = _rendered(tokenizer, 0), _rendered(tokenizer, 1)
    except Exception:  # what templates raise is theirs to choose
        return None
    if "Probes a template." not in start:
        return None
    found = _objects(one)
    if len(found) != 1:
        return None
    begin, end, arguments = found[0]
    closing = one[end:].split(tokenizer.eos_token)[0].rstrip()
    try:
        two = _rendered(tokenizer, 2)
        both = _objects(two)
        between = two[both[0][1] : both[1][0]] if len(both) == 2 else ""
    except Exception:  # some models make one call at a time
        between = ""
    opening = one[_begin_of_reply(start, one) : begin]
    return CallFormat(opening=opening, between=between, closing=closing, arguments=arguments)


def _rendered(tokenizer: Any, calls: int) -> str:
    """A conversation with some calls as the last turn, or one that asks for a reply."""
    turns: list[dict[str, Any]] = [{"role": "user", "content": "Probe."}]
    made = [
        {"id": _ID, "type": "function", "function": {"name": name, "arguments": {argument: "it"}}}
        for name, argument in (("probe_one", "first"), ("probe_two", "second"))[:calls]
    ]
    if made:
        turns.append({"role": "assistant", "content": "", "tool_calls": made})
    text: str = tokenizer.apply_chat_template(
        turns, tools=_PROBES, tokenize=False, add_generation_prompt=not calls
    )
    return text


def _begin_of_reply(start: str, whole: str) -> int:
    """Where the reply begins: behind what a prompt for one has in common with it."""
    pairs = zip(start, whole, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(start), len(whole)))


def _objects(text: str) -> list[tuple[int, int, str]]:
    """Begin, end and key of the arguments of each probe call in a text."""
    found = []
    place = 0
    while (place := text.find("{", place)) >= 0:
        try:
            value, end = json.JSONDecoder().raw_decode(text, place)
        except ValueError:
            place += 1
            continue
        keys = [key for key, one in value.items() if one in ({"first": "it"}, {"second": "it"})]
        is_call = str(value.get("name")).startswith("probe_") and len(keys) == 1
        found += [(place, end, keys[0])] if is_call else []
        place = end if is_call else place + 1
    return found
