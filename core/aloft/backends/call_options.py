"""Reads the options of a host's call: how long, how sampled, in what form, and with what tools."""

import json
import math
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from aloft.errors import ConfigError, PromptTooLongError
from aloft.protocols import Reply, Tool
from aloft.text.surrogates import replace_surrogates

_LENGTHS = ("max_tokens", "max_new_tokens")
_KNOWN = (
    *_LENGTHS,
    *("stop", "temperature", "top_p", "seed"),
    *("json_schema", "response_format", "regex"),
    *("tools", "tool_choice", "parallel_tool_calls"),
)
_ANY_OBJECT = {"type": "object"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOptions:
    """What a call asks of its reply.

    Attributes:
        prompt: Fields of a `Prompt`.
        limits: Arguments of `LanguageModel.complete`.
    """

    prompt: Mapping[str, Any]
    limits: Mapping[str, Any]


def read_call_options(options: Mapping[str, Any], defaults: Mapping[str, Any]) -> CallOptions:
    """Read the options of a host's call.

    Args:
        options: Of the call: `max_tokens` (or `max_new_tokens`), `stop`, `temperature`, `top_p`,
            `seed`; `json_schema` (or OpenAI's `response_format`) or `regex`, which the whole reply
            then satisfies; `tools`, `tool_choice` and `parallel_tool_calls` in OpenAI's form.
        defaults: Options that hold where the call has none, or has None.

    Raises:
        ConfigError: an option is unknown, out of range, or contradicts another.
    """
    unknown = options.keys() - set(_KNOWN)
    if unknown:
        raise ConfigError(
            f"A call has no {', '.join(sorted(unknown))}. It may be given {', '.join(_KNOWN)}."
        )
    given = {name: value for name, value in options.items() if value is not None}
    asked = {**defaults, **given}
    prompt = {**_sampling(asked), **_form(asked), **_tools(asked)}
    if prompt.get("pattern") and prompt.get("tools"):
        raise ConfigError("A call has a regex and tools. Give one of them.")
    limits = {"max_new_tokens": _length(given, defaults), "stop": _stop(asked.get("stop"))}
    return CallOptions(prompt=prompt, limits=limits)


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of what a pydantic model reads.

    A decimal is a number in it. Pydantic's own allows a text, which may be any: "12 euros".
    """
    return model.model_json_schema(schema_generator=_Schemas)


class _Schemas(GenerateJsonSchema):
    def decimal_schema(self, schema: Any) -> dict[str, Any]:
        made = super().decimal_schema(schema)
        return dict(next(iter(made.get("anyOf", ())), made))


def check_read(reply: Reply, model: str, window: int) -> Reply:
    """Return a reply to a prompt that was read.

    Args:
        reply: Of the model.
        model: Its name.
        window: Its context window, in tokens.

    Raises:
        PromptTooLongError: the prompt exceeds the context window.
    """
    if reply.is_unread:
        long = f"{reply.prompt_tokens} tokens" if reply.prompt_tokens else "more tokens than that"
        raise PromptTooLongError(
            f"The prompt has {long}, but {model} reads at most {window}, its reply included. "
            "Shorten the prompt, or retrieve fewer or shorter passages."
        )
    return reply


def _stop(given: Any) -> list[str]:
    """Strings that end a reply."""
    stop = [given] if isinstance(given, str) else list(given or ())
    wrong = [one for one in stop if not isinstance(one, str) or not one]
    if wrong:
        raise ConfigError(
            f"stop holds {wrong[0]!r}, but each string that ends a reply is a text of at least one "
            "character."
        )
    return [replace_surrogates(one) for one in stop]


def _length(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> int:
    lengths = {name: given[name] for name in _LENGTHS if name in given}
    if len(set(lengths.values())) > 1:
        raise ConfigError("max_tokens and max_new_tokens differ. They are one option: give one.")
    for name, length in lengths.items():
        return _checked_length(name, length)
    return _checked_length("max_tokens", defaults["max_tokens"])


def _checked_length(name: str, length: Any) -> int:
    if not is_whole(length) or length < 1:
        raise ConfigError(f"{name} is {length!r}, but must be a whole number of at least 1.")
    return int(length)


def _sampling(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Sampled with the seed, or with another one for each call; greedy at temperature 0."""
    temperature, top_p = asked.get("temperature") or 0.0, asked.get("top_p")
    seed = asked.get("seed")
    if not is_number(temperature) or temperature < 0:
        raise ConfigError(f"temperature is {temperature!r}, but must be a number of at least 0.")
    if top_p is not None and (not is_number(top_p) or not 0 < top_p <= 1):
        raise ConfigError(f"top_p is {top_p!r}, but must lie above 0 and be at most 1.")
    if seed is not None and (not is_whole(seed) or seed < 0):
        raise ConfigError(f"seed is {seed!r}, but must be a whole number of at least 0.")
    if not temperature:
        return {}
    return {
        "seed": secrets.randbits(31) if seed is None else int(seed),
        "temperature": float(temperature),
        "top_p": 1.0 if top_p is None else float(top_p),
    }


def _form(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON schema or pattern of the reply."""
    schemas = [_read_schema(asked["json_schema"])] if "json_schema" in asked else []
    schemas += _schema_in(asked["response_format"]) if "response_format" in asked else []
    pattern = asked.get("regex")
    if len(schemas) + bool(pattern) > 1:
        raise ConfigError("A call has several of json_schema, response_format and regex. Give one.")
    if pattern is not None and not isinstance(pattern, str):
        raise ConfigError(f"regex is {pattern!r}, but must be a text.")
    if schemas:
        return {"json_schema": schemas[0]}
    return {"pattern": _plain_digits(replace_surrogates(pattern))} if pattern else {}


def _plain_digits(pattern: str) -> str:
    r"""A pattern whose `\d` is 0 to 9, as in JSON schemas: engines take any script's digits."""
    in_class = False

    def write(found: re.Match[str]) -> str:
        nonlocal in_class
        part = found[0]
        if part in ("[", "]"):
            in_class = part == "["
        if part != r"\d":
            return part
        return "0-9" if in_class else "[0-9]"

    return re.sub(r"\\.|[\[\]]", write, pattern, flags=re.DOTALL)


def _schema_in(response_format: Any) -> list[Mapping[str, Any]]:
    """The schema in OpenAI's `response_format`; none where it asks for a text."""
    kind = response_format.get("type") if isinstance(response_format, Mapping) else None
    if kind == "text":
        return []
    if kind == "json_object":
        return [_ANY_OBJECT]
    form = response_format.get("json_schema") if kind == "json_schema" else None
    if isinstance(form, Mapping) and "schema" in form:
        return [_read_schema(form["schema"])]
    if isinstance(response_format, type):
        return [_read_schema(response_format)]
    raise ConfigError(
        f"response_format is {str(response_format)[:100]}, but may be "
        '{"type": "json_schema", "json_schema": {"name": …, "schema": …}}, '
        '{"type": "json_object"} or {"type": "text"}.'
    )


def _read_schema(given: Any) -> Mapping[str, Any]:
    """A JSON schema from one, from its text, or from a pydantic model."""
    if isinstance(given, type) and issubclass(given, BaseModel):
        given = schema_of(given)
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except ValueError as error:
            raise ConfigError(f"json_schema is a text that is not JSON ({error}).") from error
    if not isinstance(given, Mapping):
        raise ConfigError(
            f"json_schema is of type {type(given).__name__}, but may be a dictionary with a JSON "
            "schema, its text, or a pydantic model."
        )
    return given


def _tools(asked: Mapping[str, Any]) -> dict[str, Any]:
    tools = {tool.name: tool for tool in map(_read_tool, asked.get("tools") or ())}
    if not tools:
        return {}
    return {
        "tools": tuple(tools.values()),
        "tool_choice": _read_choice(asked.get("tool_choice"), [*tools]),
        "calls_in_parallel": asked.get("parallel_tool_calls") is not False,
    }


def _read_tool(given: Any) -> Tool:
    function = given.get("function") if isinstance(given, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise ConfigError(
            f"A tool is {str(given)[:100]}, but must be "
            '{"type": "function", "function": {"name": …, "description": …, "parameters": …}}.'
        )
    return Tool(
        name=function["name"],
        description=str(function.get("description") or ""),
        parameters=function.get("parameters") or {**_ANY_OBJECT, "properties": {}},
    )


def _read_choice(given: Any, names: Sequence[str]) -> str:
    """The choice in the forms that the common services have."""
    words = {None: "auto", True: "required", False: "none", "any": "required"}
    if isinstance(given, Mapping):
        function = given.get("function")
        named = function.get("name") if isinstance(function, Mapping) else given.get("name")
        given = named or given.get("type")
    choice = words.get(given, given)
    if choice in names or choice in ("auto", "none", "required"):
        return str(choice)
    raise ConfigError(
        f"tool_choice is {given!r}, but may be auto, none, any, required or the name of a tool: "
        f"{', '.join(names)}."
    )


def is_number(value: Any) -> bool:
    """Whether a host gave a finite number, which may be NumPy's; True and False are none."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def is_whole(value: Any) -> bool:
    """Whether a host gave a whole number, which may be NumPy's; True and False are none."""
    return isinstance(value, Integral) and not isinstance(value, bool)
