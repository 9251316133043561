"""JSON schemas of what LangChain applications give in place of one."""

from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from inspect import isroutine
from typing import Any

from langchain_core.tools import BaseTool
from langchain_core.tools.base import create_schema_from_function
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from langchain_core.utils.pydantic import is_basemodel_subclass
from pydantic import BaseModel
from typing_extensions import is_typeddict

from aloft.api import ConfigError, schema_of

Schema = dict[str, Any]
Tool = Schema | type | Callable[..., Any] | BaseTool

_OF_SCHEMAS = ("type", "properties", "items", "enum", "const", "anyOf", "oneOf", "allOf", "$ref")
_OF_TOOLS = frozenset({"function", "parameters", "input_schema", "toolSpec"})


def json_schema_of(given: Schema | type) -> Schema:
    """The JSON schema of a pydantic model, a TypedDict, a JSON schema or one in OpenAI's forms.

    A JSON schema is taken as it is. Of one without properties, such as a list's, LangChain keeps
    the title alone, which allows anything.

    Raises:
        ConfigError: it is none of these; a dictionary is neither a JSON schema nor a tool.
    """
    _check("A schema", given)
    if isinstance(given, dict) and _OF_TOOLS.isdisjoint(given):
        return _schema_in(given)
    whole = _whole_schema(given)
    return convert_to_json_schema(given) if whole is None else whole


def openai_tool_of(given: Tool, *, strict: bool | None = None) -> Schema:
    """A tool in OpenAI's form.

    Raises:
        ConfigError: it has no schema, or its arguments are to be something else than an object.
    """
    _check("A tool", given)
    made = convert_to_openai_tool(given, strict=strict)
    is_schema = isinstance(given, dict) and "title" in given and "properties" not in given
    whole = given if is_schema else _whole_schema(given)
    if whole is not None:
        made["function"]["parameters"] = whole
    parameters = made.get("function", {}).get("parameters") or {}
    kind = parameters.get("type", "object")
    if kind != "object":
        raise ConfigError(
            f"The arguments of a tool are an object, but those of {made['function']['name']} are "
            f'of type {kind}. For such output use with_structured_output(method="json_schema").'
        )
    return made


def _check(what: str, given: Any) -> None:
    """Refuse what has no schema: LangChain makes one up, or fails in various ways."""
    is_class = isinstance(given, type) and (
        is_basemodel_subclass(given) or is_typeddict(given) or is_dataclass(given)
    )
    if not (is_class or isroutine(given) or isinstance(given, dict | BaseTool)):
        raise ConfigError(
            f"{what} is {str(given)[:100]}, but may be a pydantic model, TypedDict, dataclass, "
            "function, tool or JSON schema. For a list or a choice, pass a model with such a field."
        )


def _schema_in(given: Schema) -> Schema:
    """A JSON schema, which may stand in OpenAI's `response_format` or be named there."""
    named = given.get("json_schema", given)
    found = named.get("schema", given) if isinstance(named, dict) else given
    if not isinstance(found, dict) or not any(name in found for name in _OF_SCHEMAS):
        raise ConfigError(
            f"The schema {str(given)[:100]} is no JSON schema: it has none of "
            f"{', '.join(_OF_SCHEMAS)}. Pass a pydantic model, TypedDict or JSON schema."
        )
    return found


def _whole_schema(given: Any) -> Schema | None:
    """The schema of what LangChain's own would allow too much for; None of anything else.

    That is what holds itself, such as a tree: LangChain writes each reference out, and where that
    would never end it leaves `{}`. And what has decimals; see `schema_of`.
    """
    if isinstance(given, BaseTool):
        given = given.tool_call_schema
    elif callable(given) and not isinstance(given, type):
        given = create_schema_from_function(getattr(given, "__name__", "tool"), given)
    is_model = isinstance(given, type) and issubclass(given, BaseModel)
    schema = schema_of(given) if is_model else given
    if not isinstance(schema, dict):
        return None
    parts = schema.get("$defs", {})
    is_whole = any(_reaches(name, name, parts) for name in parts)
    is_whole |= is_model and schema != given.model_json_schema()
    return schema if is_whole else None


def _reaches(name: str, wanted: str, parts: Mapping[str, Any]) -> bool:
    """Whether a part of a schema refers to another one, or to one that does."""
    seen, todo = set[str](), list(_references(parts[name]))
    while todo:
        one = todo.pop()
        if one == wanted:
            return True
        if one not in seen:
            seen.add(one)
            todo += _references(parts.get(one, {}))
    return False


def _references(schema: Any) -> list[str]:
    if isinstance(schema, list):
        return [name for one in schema for name in _references(one)]
    if not isinstance(schema, Mapping):
        return []
    own = schema.get("$ref")
    found = [own.removeprefix("#/$defs/")] if isinstance(own, str) else []
    return found + [name for one in schema.values() for name in _references(one)]
