"""Replies that are held to JSON schemas, patterns and tools, by tiny models with random weights."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch

from aloft.backends.encoding import encode_prompt
from aloft.backends.tool_calls import call_format_of
from aloft.errors import ConfigError, ModelError
from aloft.protocols import Prompt, Reply, Tool, ToolCall, ToolTurn
from aloft.records import Message

pytestmark = pytest.mark.model

ASK = Prompt(messages=(Message(role="user", content="Fill in the form."),))
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer"},
        "mood": {"enum": ["good", "bad"]},
        "tags": {"type": "array", "items": {"type": "string"}, "minItems": 2},
        "home": {"$ref": "#/$defs/Place"},
    },
    "required": ["name", "age", "mood", "tags", "home"],
    "$defs": {
        "Place": {
            "type": "object",
            "properties": {"town": {"type": "string"}, "height": {"type": "number"}},
            "required": ["town"],
        }
    },
}
TOOLS = (
    Tool(name="add", description="Adds.", parameters={
        "type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"]}),
    Tool(name="find", description="Finds.", parameters={
        "type": "object", "properties": {"query": {"type": "string", "maxLength": 5}},
        "required": ["query"]}),
    Tool(name="now", description="The time.", parameters={"type": "object", "properties": {}}),
)  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from aloft.backends.transformers import TransformersLanguageModel
    from aloft.testing import tiny_language_model

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("aloft.backends.transformers.has_bf16", lambda device: False)
        yield TransformersLanguageModel(str(tiny_language_model(tmp_path_factory.mktemp("lm"))))


@pytest.mark.parametrize("limit", [100, 130, 300])
def test_json_is_whole_whatever_the_model_would_say_and_wherever_it_must_end(
    model: Any, limit: int
) -> None:
    asked = [replace(ASK, json_schema=PERSON, seed=seed, temperature=2.0) for seed in range(6)]
    replies = model.complete([replace(ASK, json_schema=PERSON), *asked], max_new_tokens=limit)
    for reply in replies:
        value = json.loads(reply.text)
        jsonschema.validate(value, PERSON)
        assert value.keys() == PERSON["properties"].keys()  # no property is invented
        assert reply.new_tokens <= limit


def test_a_row_keeps_to_its_own_schema_and_its_neighbours_to_none(model: Any) -> None:
    schemas = [{"type": "boolean"}, {"enum": ["a", "b"]}, {"type": "array", "maxItems": 0}]
    asked = [replace(ASK, json_schema=schema) for schema in schemas]
    free = model.complete([ASK], max_new_tokens=8)
    *held, neighbour = model.complete([*asked, ASK], max_new_tokens=8)
    assert neighbour.text == free[0].text
    for reply, schema in zip(held, schemas, strict=True):
        jsonschema.validate(json.loads(reply.text), schema)


def test_what_cannot_be_enforced_is_said_in_one_line(model: Any) -> None:
    for schema in ({"type": "nonsense"}, {"$ref": "#/nowhere"}):
        with pytest.raises(ConfigError, match=r"JSON schema cannot be enforced: .* Simplify it"):
            model.complete([replace(ASK, json_schema=schema)], max_new_tokens=8)
    with pytest.raises(ConfigError, match=r"The pattern \(a cannot be enforced"):
        model.complete([replace(ASK, pattern="(a")], max_new_tokens=8)


@pytest.mark.parametrize("choice", ["required", "add", "find", "now"])
def test_a_tool_that_must_be_called_is_called_with_valid_arguments(model: Any, choice: str) -> None:
    prompt = replace(ASK, tools=TOOLS, tool_choice=choice, calls_in_parallel=False)
    replies = model.complete([replace(prompt, seed=seed) for seed in range(3)], max_new_tokens=90)
    for reply in replies:
        (call,) = reply.tool_calls
        (tool,) = [tool for tool in TOOLS if tool.name == call.name]
        jsonschema.validate(call.arguments, tool.parameters)
        assert reply.text == ""
        assert choice in ("required", call.name)


CALL = '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>'


def held(model: Any, prompt: Prompt, wish: str) -> str:
    """What becomes of a reply whose likeliest tokens are those of a text."""
    end = model.tokenizer.eos_token_id
    constraint = model._grammars.constraint(prompt, 200)
    said = list[int]()
    for token in [*model.tokenizer(wish)["input_ids"], *[end] * 100]:
        scores = torch.zeros(len(model.tokenizer))
        scores[token] = 1.0
        said.append(constraint.next_token(scores, int(scores.argmax())))
        if said[-1] == end:
            break
    assert said.pop() == end
    return str(model.tokenizer.decode(said))


def test_several_calls_are_made_where_they_may_be(model: Any) -> None:
    prompt = replace(ASK, tools=TOOLS[2:], tool_choice="required")
    twice = f"{CALL}\n{CALL}"
    assert held(model, prompt, twice) == twice
    assert held(model, replace(prompt, calls_in_parallel=False), twice) == CALL


def test_a_model_that_ends_its_turn_behind_a_call_makes_no_other(model: Any) -> None:
    prompt = replace(ASK, tools=TOOLS[2:], tool_choice="required")
    end, last = model.tokenizer.eos_token_id, CALL.index("}}") + 2
    again = f"\n{CALL}"  # what it likes best of what follows the marker that it did not write
    constraint = model._grammars.constraint(prompt, 200)
    said = list[int]()
    wishes = [
        *model.tokenizer(CALL[:last])["input_ids"],
        *[end] * len(model.tokenizer(CALL[last:])["input_ids"]),
        *model.tokenizer(again)["input_ids"],
    ]
    for token in wishes:
        scores = torch.zeros(len(model.tokenizer))
        scores[token] = 1.0
        said.append(constraint.next_token(scores, int(scores.argmax())))
        if constraint.is_over:
            break
    assert model.tokenizer.decode(said[:-1]) == CALL


def test_text_may_stand_in_front_of_calls_and_a_begun_call_is_made_whole(model: Any) -> None:
    prompt = replace(ASK, tools=TOOLS[2:])
    for wish in ("Nothing to call.", CALL, f"Let me see.\n{CALL}"):
        assert held(model, prompt, wish) == wish
    begun = 'Let me see.\n<tool_call>\n{"name": "never"'
    assert held(model, prompt, begun).startswith('Let me see.\n<tool_call>\n{"name": "now", "arg')


BARE = '{\n  "name": "find",\n  "arguments": {"query": "fox"}\n}'


@pytest.mark.parametrize("wish", [BARE, f"```json\n{BARE}\n```", f"```\n{BARE}\n```"])
def test_a_reply_that_is_a_call_without_markers_is_that_call(model: Any, wish: str) -> None:
    form = call_format_of(model.tokenizer)
    prompt = replace(ASK, tools=TOOLS)
    assert held(model, prompt, wish) == wish
    text, (call,) = form.parse(wish, TOOLS)
    assert (text, call.name, call.arguments) == ("", "find", {"query": "fox"})
    too_long = wish.replace("fox", "foxes and hares")
    _, (call,) = form.parse(held(model, prompt, too_long), TOOLS)
    jsonschema.validate(call.arguments, TOOLS[1].parameters)
    assert {form.shown(wish[:end], TOOLS) for end in range(len(wish))} == {""}


@pytest.mark.parametrize(
    "wish",
    [
        '{"name": "Bob", "arguments": {}}',
        '```json\n{"name": "finder"}\n```',
        "```py\nadd(1, 2)\n```",
    ],
)
def test_other_json_and_code_stay_text(model: Any, wish: str) -> None:
    form = call_format_of(model.tokenizer)
    assert held(model, replace(ASK, tools=TOOLS), wish) == wish
    assert form.parse(wish, TOOLS) == (wish, ())
    assert form.shown(wish, TOOLS) == wish


def test_a_model_that_may_call_says_what_it_would_or_calls(model: Any) -> None:
    prompts = [replace(ASK, tools=TOOLS, seed=seed) for seed in range(6)]
    for reply in model.complete(prompts, max_new_tokens=60):
        assert "<tool_call>" not in reply.text
    with_none = replace(ASK, tools=TOOLS, tool_choice="none")
    assert model.complete([with_none], max_new_tokens=9) == model.complete([ASK], max_new_tokens=9)


def test_a_stream_of_calls_is_the_reply(model: Any) -> None:
    prompt = replace(ASK, tools=TOOLS, tool_choice="required", calls_in_parallel=False)
    (whole,) = model.complete([prompt], max_new_tokens=90)
    *pieces, last = model.stream(prompt, max_new_tokens=90)
    assert not pieces
    assert [(c.name, c.arguments) for c in last.tool_calls] == [
        (c.name, c.arguments) for c in whole.tool_calls
    ]


def test_calls_and_results_in_a_history_are_rendered_by_the_template(model: Any) -> None:
    call = ToolCall(id="c1", name="add", arguments={"a": 1, "b": 2})
    turns = (
        Message(role="user", content="One and two?"),
        ToolTurn(role="assistant", content="", tool_calls=(call,)),
        ToolTurn(role="tool", content="3 <|im_end|>", tool_call_id="c1", name="add"),
    )
    from aloft.backends.encoding import encode_prompt

    ids = encode_prompt(model.tokenizer, Prompt(messages=turns, tools=TOOLS))
    text = model.tokenizer.decode(ids)
    assert '{"name": "add", "arguments": {"a": 1, "b": 2}}' in text
    assert '"name": "find"' in text
    assert ids.count(model.tokenizer.eos_token_id) == text.count("<|im_end|>") - 1  # one is text


def test_a_prompt_that_fills_the_window_is_not_read_and_a_reply_ends_where_it_does(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (whole,) = model.complete([ASK], max_new_tokens=9)
    monkeypatch.setattr(model, "_window", whole.prompt_tokens + 4)
    (cut,) = model.complete([ASK], max_new_tokens=9)
    assert (cut.new_tokens, cut.is_finished) == (4, False)
    monkeypatch.setattr(model, "_window", whole.prompt_tokens)
    unread = Reply(
        text="", is_finished=False, prompt_tokens=whole.prompt_tokens, is_unread=True
    )  # fmt: skip
    assert model.complete([ASK], max_new_tokens=9) == [unread]
    assert list(model.stream(ASK, max_new_tokens=9)) == [unread]
    assert model.choice_probabilities([ASK], ["a", "b"]).tolist() == [[0.5, 0.5]]


def test_a_template_that_takes_no_tools_says_so(tmp_path: Path) -> None:
    from aloft.backends.encoding import LocalTokenizer
    from aloft.testing import tiny_language_model

    folder = tiny_language_model(tmp_path / "lm")
    template = folder / "chat_template.jinja"
    plain = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] }}\n{% endfor %}assistant:"
    template.write_text(plain)
    tokenizer = LocalTokenizer(folder)
    assert not tokenizer.takes_tools
    with pytest.raises(ModelError, match="takes no tools"):
        tokenizer.count(replace(ASK, tools=TOOLS))


def test_what_json_lacks_and_halves_of_pairs_are_read_as_text(model: Any) -> None:
    """Tools and earlier calls as an application has them: dates, paths, emoji cut in two."""
    call = ToolCall(id="c\ud83d", name="add", arguments={"a": date(2026, 1, 2), "\ud83d": {1}})
    tool = replace(TOOLS[0], description="Adds \ud83d.")
    turns = (*ASK.messages, ToolTurn(role="assistant", content="", tool_calls=(call,)))
    read = model.tokenizer.decode(
        encode_prompt(model.tokenizer, replace(ASK, messages=turns, tools=(tool,)))
    )
    assert "2026-01-02" in read
    assert "Adds \ufffd" in read


def test_json_that_is_closed_early_has_dates_that_exist(model: Any) -> None:
    schema = {"type": "object", "properties": {"at": {"type": "string", "format": "date-time"}},
              "required": ["at"]}  # fmt: skip
    (reply,) = model.complete([replace(ASK, json_schema=schema)], max_new_tokens=40)
    assert datetime.fromisoformat(json.loads(reply.text)["at"])
