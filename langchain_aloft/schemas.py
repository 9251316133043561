"""JSON schemas of what LangChain applications give in place of one."""

from collections.abc import Callable, Mapping
from typing import Any

from langchain_core.tools import BaseTool
from langchain_core.tools.base import create_schema_from_function
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool

Schema = dict[str, Any]
Tool = Schema | type | Callable[..., Any] | BaseTool


def json_schema_of(given: Schema | type) -> Schema:
    """The JSON schema of a pydantic model, a TypedDict or a JSON schema."""
    recursive = _recursive_schema(given)
    return convert_to_json_schema(given) if recursive is None else recursive


def openai_tool_of(given: Tool, *, strict: bool | None = None) -> Schema:
    """A tool in OpenAI's form."""
    made = convert_to_openai_tool(given, strict=strict)
    recursive = _recursive_schema(given)
    if recursive is not None:
        made["function"]["parameters"] = recursive
    return made


def _recursive_schema(given: Any) -> Schema | None:
    """The schema of what holds itself, such as a tree; None of anything else.

    LangChain writes each reference out. Where that would never end, it leaves `{}`, which allows
    anything.
    """
    if isinstance(given, BaseTool):
        given = given.tool_call_schema
    elif callable(given) and not isinstance(given, type):
        given = create_schema_from_function(getattr(given, "__name__", "tool"), given)
    make = getattr(given, "model_json_schema", None)
    schema = make() if callable(make) else given
    if not isinstance(schema, dict):
        return None
    parts = schema.get("$defs", {})
    return schema if any(_reaches(name, name, parts) for name in parts) else None


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
