"""What a host's call may ask for, in the forms that hosts have."""

from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel, Field

from aloft.backends.call_options import check_read, read_call_options
from aloft.errors import ConfigError, PromptTooLongError
from aloft.protocols import Reply, Tool

DEFAULTS = {"max_tokens": 9, "temperature": 0.0, "stop": ["#"]}
FIND = {"name": "find", "description": "Finds.", "parameters": {"type": "object"}}
TOOLS = [{"type": "function", "function": FIND}, {"type": "function", "function": {"name": "now"}}]


class City(BaseModel):
    name: str


def read(**options: Any) -> Any:
    return read_call_options(options, DEFAULTS)


def test_a_call_has_its_own_limits_or_else_the_defaults() -> None:
    assert read().limits == {"max_new_tokens": 9, "stop": ["#"]}
    assert read(max_tokens=3, stop="end").limits == {"max_new_tokens": 3, "stop": ["end"]}
    assert read(max_new_tokens=3, max_tokens=3, stop=["a", "b"]).limits["stop"] == ["a", "b"]
    assert read(max_tokens=None, stop=None, temperature=None).limits == read().limits


def test_a_temperature_samples_with_the_seed_or_with_another_each_time() -> None:
    assert read(seed=3, temperature=0).prompt == {}
    sampled = {"seed": 3, "temperature": 0.5, "top_p": 0.9}
    assert read(temperature=0.5, seed=3, top_p=0.9).prompt == sampled
    assert len({read(temperature=1).prompt["seed"] for _ in range(9)}) > 1


def test_numbers_may_be_numpys_and_are_pythons_afterwards() -> None:
    sweep = {"temperature": np.float32(0.5), "top_p": np.float32(0.5), "seed": np.int64(3)}
    asked = read(max_tokens=np.int64(3), **sweep)
    assert asked.prompt == {"temperature": 0.5, "top_p": 0.5, "seed": 3}
    assert asked.limits["max_new_tokens"] == 3
    numbers = (*asked.prompt.values(), asked.limits["max_new_tokens"])
    assert {type(number) for number in numbers} == {int, float}


@pytest.mark.parametrize(
    "given",
    [
        {"json_schema": City},
        {"json_schema": City.model_json_schema()},
        {"json_schema": '{"title": "City", "type": "object", "properties": {"name": '
         '{"title": "Name", "type": "string"}}, "required": ["name"]}'},
        {"response_format": City},
        {"response_format": {"type": "json_schema",
                             "json_schema": {"name": "c", "schema": City.model_json_schema()}}},
    ],
)  # fmt: skip
def test_a_schema_comes_in_the_forms_that_hosts_have(given: dict[str, Any]) -> None:
    assert read(**given).prompt == {"json_schema": City.model_json_schema()}


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        (r"\d{4}-\d{2}", "[0-9]{4}-[0-9]{2}"),
        (r"[\d.]+[^\d]\d", "[0-9.]+[^0-9][0-9]"),
        (r"\\d\[\d\D", r"\\d\[[0-9]\D"),
    ],
)
def test_a_digit_of_a_pattern_is_0_to_9(given: str, asked: str) -> None:
    assert read(regex=given).prompt == {"pattern": asked}


def test_a_decimal_is_written_as_a_number() -> None:
    class Price(BaseModel):
        amount: Decimal = Field(ge=0)
        discount: Decimal | None = None

    (amount, discount) = read(json_schema=Price).prompt["json_schema"]["properties"].values()
    assert (amount["type"], amount["minimum"]) == ("number", 0)
    assert discount["anyOf"] == [{"type": "number"}, {"type": "null"}]


def test_other_forms_of_a_reply() -> None:
    assert read(response_format={"type": "json_object"}).prompt["json_schema"] == {"type": "object"}
    assert read(response_format={"type": "text"}).prompt == {}
    assert read(regex="[0-9]+").prompt == {"pattern": "[0-9]+"}


def test_tools_and_the_choice_of_them() -> None:
    found = read(tools=TOOLS).prompt
    empty = {"type": "object", "properties": {}}
    now = Tool(name="now", description="", parameters=empty)
    assert found["tools"] == (Tool(**FIND), now)  # type: ignore[arg-type]
    assert (found["tool_choice"], found["calls_in_parallel"]) == ("auto", True)
    assert read(tools=TOOLS, parallel_tool_calls=False).prompt["calls_in_parallel"] is False
    named = {"type": "function", "function": {"name": "now"}}
    choices = ["any", True, "required", "none", False, "now", named, {"type": "any"}]
    read_as = [read(tools=TOOLS, tool_choice=choice).prompt["tool_choice"] for choice in choices]
    assert read_as == [*["required"] * 3, "none", "none", "now", "now", "required"]
    assert read(tools=[], tool_choice="any").prompt == {}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"top_k": 3, "n": 2}, r"A call has no n, top_k\. It may be given max_tokens, "),
        ({"max_tokens": 0}, "max_tokens is 0, but must be a whole number of at least 1"),
        ({"max_new_tokens": "3"}, "max_new_tokens is '3'"),
        ({"max_tokens": 3, "max_new_tokens": 4}, "They are one option"),
        ({"temperature": -1}, "temperature is -1"),
        ({"temperature": 1, "top_p": 0}, "top_p is 0, but must lie above 0"),
        ({"seed": -1}, "seed is -1"),
        ({"json_schema": 3}, "json_schema is of type int, but may be a dictionary"),
        ({"json_schema": "{"}, "json_schema is a text that is not JSON"),
        ({"response_format": {"type": "xml"}}, "response_format is .* but may be"),
        ({"regex": "a", "json_schema": {}}, "several of json_schema, response_format and regex"),
        ({"regex": "a", "tools": TOOLS}, "a regex and tools"),
        ({"tools": [{"name": "find"}]}, "A tool is .* but must be"),
        ({"tools": TOOLS, "tool_choice": "fly"}, "tool_choice is 'fly', .* tool: find, now"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        read(**given)
    assert "\n" not in str(caught.value)


def test_a_prompt_that_was_not_read_is_an_error() -> None:
    reply = Reply(text="a", is_finished=True)
    assert check_read(reply, "m", 8) is reply
    unread = Reply(text="", is_finished=False, prompt_tokens=60, is_unread=True)
    with pytest.raises(PromptTooLongError, match="The prompt has 60 tokens, but m reads at most 8"):
        check_read(unread, "m", 8)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"stop": [""]}, "stop holds '', but each string"),
        ({"stop": ["a", None]}, "stop holds None"),
        ({"stop": [1]}, "stop holds 1"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"temperature": float("inf")}, "temperature is inf"),
        ({"max_tokens": True}, "max_tokens is True"),
        ({"temperature": 1.0, "seed": True}, "seed is True"),
    ],
)
def test_what_would_end_or_draw_nothing_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(**given)
    with pytest.raises(ConfigError, match="max_tokens is 0, but must be"):
        read_call_options({}, {**DEFAULTS, "max_tokens": 0})


def test_half_of_a_pair_is_replaced_in_patterns_and_stop_strings() -> None:
    assert read(regex="a|\ud83d").prompt == {"pattern": "a|\ufffd"}
    assert read(stop=["\ud83d"]).limits["stop"] == ["\ufffd"]
