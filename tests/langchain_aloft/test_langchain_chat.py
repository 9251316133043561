"""Chat models and LLMs as LangChain applications use them: counts, windows, tools, batches."""

import asyncio
import json
import re
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, TypedDict
from uuid import uuid4

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import get_usage_metadata_callback
from langchain_core.documents import Document
from langchain_core.exceptions import ContextOverflowError, OutputParserException
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    trim_messages,
)
from langchain_core.tools import tool
from langchain_core.tracers.context import collect_runs
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from pydantic import BaseModel, RootModel, create_model
from scripted import ScriptedModels, SlowWords, WordByWord, count_beats, shared

from aloft.backends.shared import SharedModels
from aloft.errors import ConfigError, DataError, ModelError, PromptTooLongError
from aloft.protocols import Prompt, Reply, Tool, ToolCall, ToolTurn
from aloft.testing import ScriptedTeacher
from langchain_aloft import AloftEmbeddings, AloftLLM, AloftReranker, ChatAloft
from langchain_aloft.messages import to_messages
from langchain_aloft.schemas import json_schema_of, openai_tool_of


@tool
def find(query: str) -> str:
    """Finds."""
    return query


class City(BaseModel):
    name: str


class Cities(BaseModel):
    names: list[str]


class Town(TypedDict):
    name: str


class Sized(ScriptedTeacher):
    """Remembers how many prompts it was given at once."""

    def __init__(self, reply: Any) -> None:
        super().__init__(reply)
        self.sizes: list[int] = []

    def complete(
        self, prompts: Sequence[Prompt], *, max_new_tokens: int, stop: Sequence[str] = ()
    ) -> list[Reply]:
        self.sizes.append(len(prompts))
        time.sleep(0.1)  # meanwhile the other callers come
        return super().complete(prompts, max_new_tokens=max_new_tokens, stop=stop)


class Calling(ScriptedTeacher):
    """Calls the first tool that it is given."""

    def complete(
        self, prompts: Sequence[Prompt], *, max_new_tokens: int, stop: Sequence[str] = ()
    ) -> list[Reply]:
        self.asked.extend(prompts)
        (prompt,) = prompts
        call = ToolCall(id="c1", name=prompt.tools[0].name, arguments={"query": "漢"})
        return [Reply(text="Let me see.", is_finished=True, tool_calls=(call,))]


class Small(ScriptedTeacher):
    """Reads nothing."""

    def complete(
        self, prompts: Sequence[Prompt], *, max_new_tokens: int, stop: Sequence[str] = ()
    ) -> list[Reply]:
        return [
            Reply(text="", is_finished=False, prompt_tokens=900, is_unread=True) for _ in prompts
        ]


def served(model: ScriptedTeacher) -> SharedModels:
    source = ScriptedModels()
    source.teacher_model = model
    return SharedModels(source)


def test_tokens_are_counted_by_the_models_own_tokenizer() -> None:
    chat, llm = (kind(model="any", models=shared()) for kind in (ChatAloft, AloftLLM))
    assert chat.get_token_ids("a red fox") == llm.get_token_ids("a red fox") == [1, 3, 3]
    assert chat.get_num_tokens("a red fox") == llm.get_num_tokens("a red fox") == 3
    history = [HumanMessage("word " * 30), AIMessage("ok")] * 5 + [HumanMessage("the last")]
    assert chat.get_num_tokens_from_messages(history) == 5 * 31 + 2
    assert chat.get_num_tokens_from_messages([]) == 0
    assert chat.get_num_tokens_from_messages(history, tools=[find]) == 5 * 31 + 2
    kept = trim_messages(history, max_tokens=40, token_counter=chat, strategy="last")
    assert [message.text for message in kept] == ["ok", "word " * 30, "ok", "the last"]


def test_a_counter_of_the_users_own_is_asked_first() -> None:
    chat = ChatAloft(model="any", models=shared(), custom_get_token_ids=lambda text: [7] * 5)
    assert (chat.get_token_ids("a"), chat.get_num_tokens_from_messages([HumanMessage("a")])) == (
        [7] * 5,
        5,
    )


def test_a_prompt_beyond_the_window_is_refused_in_one_line_and_alone() -> None:
    chat, llm = (
        kind(model="any", models=served(Small(lambda _: ""))) for kind in (ChatAloft, AloftLLM)
    )
    for model in (chat, llm):
        for ask in (model.invoke, lambda text, m=model: list(m.stream(text))):
            with pytest.raises(
                PromptTooLongError, match="900 tokens, but any reads at most 512"
            ) as one:
                ask("Hi.")  # type: ignore[operator]
            assert isinstance(one.value, ContextOverflowError)
    with pytest.raises(PromptTooLongError):
        asyncio.run(chat.ainvoke("Hi."))
    told = chat.batch(["a", "b"], return_exceptions=True)
    assert all(isinstance(one, PromptTooLongError) for one in told)


def test_settings_have_the_hosts_name_or_ours() -> None:
    for kind in (ChatAloft, AloftLLM):
        made = kind(model="any", max_new_tokens=3, temperature=0.7, top_p=0.9, seed=1, stop="#")
        assert (made.max_tokens, made.temperature, made.stop) == (3, 0.7, ["#"])
        assert kind(model="any", max_tokens=3, temperature=None).temperature == 0
        with pytest.raises(ValueError, match="max_new_tokens"):
            kind(model="any", max_tokens=3, max_new_tokens=4)


def test_a_call_samples_as_it_asks_or_as_the_model_is_set() -> None:
    source = ScriptedModels()
    chat = ChatAloft(model="any", temperature=0.5, models=SharedModels(source))
    chat.invoke("Hi.", seed=3)
    chat.invoke("Hi.", temperature=0)
    AloftLLM(model="any", models=SharedModels(source)).invoke("Hi.", temperature=2, seed=4)
    drawn = [(one.seed, one.temperature) for one in source.teacher_model.asked]
    assert [drawn[0], drawn[1][0], drawn[2]] == [(3, 0.5), None, (4, 2.0)]


def test_a_batch_is_one_batch_of_the_model() -> None:
    model = Sized(lambda prompt: prompt.messages[-1].content)
    chat, llm = (kind(model="any", models=served(model)) for kind in (ChatAloft, AloftLLM))
    texts = [str(i) for i in range(12)]
    chat.invoke("warm")

    async def ask() -> tuple[list[AIMessage], list[str], list[AIMessage]]:
        alone = await asyncio.gather(*(chat.ainvoke(text) for text in texts))
        return await chat.abatch(texts), await llm.abatch(texts), alone  # type: ignore[return-value]

    ways: dict[str, Any] = {
        "batch": lambda: [one.text for one in chat.batch(texts)],
        "llm": lambda: llm.batch(texts),
        "generate": lambda: [
            one[0].text for one in chat.generate([[HumanMessage(t)] for t in texts]).generations
        ],
        "async": lambda: [
            *(one.text if isinstance(one, AIMessage) else one for one in asyncio.run(ask())[0]),
        ],
    }
    for way, work in ways.items():
        model.sizes.clear()
        assert work() == texts, way
        asked = 3 * len(texts) if way == "async" else len(texts)
        assert sum(model.sizes) == asked, way
        assert len(model.sizes) <= asked / 2, way


def test_a_batch_keeps_to_max_concurrency_and_returns_the_faults_of_its_own() -> None:
    def reply(prompt: Prompt) -> str:
        if prompt.messages[0].content == "bad":
            raise ModelError("bad")
        return "good"

    model = Sized(reply)
    chat = ChatAloft(model="any", models=served(model))
    told = chat.batch(["a", "bad", "b"], return_exceptions=True)
    assert [type(one) for one in told] == [AIMessage, ModelError, AIMessage]
    model.sizes.clear()
    chat.batch(["a"] * 6, config={"max_concurrency": 2})
    assert max(model.sizes) <= 2


@pytest.mark.parametrize("kind", [ChatAloft, AloftLLM])
def test_a_fault_in_a_batch_is_returned_for_its_own_prompt_alone(kind: Any) -> None:
    def reply(prompt: Prompt) -> str:
        if prompt.messages[0].content == "bad":
            raise ModelError("bad")
        return "good"

    inputs = [*"abcdef", "bad"]
    for ask in ("batch", "abatch"):
        scripted = Sized(reply)
        model = kind(model="any", models=served(scripted))
        fallback = kind(model="other", models=shared(lambda _: "instead"))
        for whole, last in ((model, "bad"), (model.with_fallbacks([fallback]), "instead")):
            told = getattr(whole, ask)(inputs, return_exceptions=True)
            told = asyncio.run(told) if ask == "abatch" else told
            texts = [str(getattr(one, "content", one)) for one in told]
            assert texts == ["good"] * 6 + [last]
        assert max(scripted.sizes) > 1  # together


def test_many_tasks_leave_the_loop_free() -> None:
    chat = ChatAloft(model="any", models=served(SlowWords(lambda _: "One two.")))

    async def ask() -> list[AIMessage]:
        return await asyncio.gather(*(chat.ainvoke("Hi.") for _ in range(40)))

    told, beats = asyncio.run(count_beats(ask()))
    assert len(told) == 40
    assert beats > 1


@pytest.mark.parametrize("kind", [ChatAloft, AloftLLM])
def test_the_files_of_a_model_are_read_beside_the_loop(kind: Any) -> None:
    """They take a second a gigabyte when they are read first; then their digests are known."""
    read_by: list[threading.Thread] = []

    class Large(ScriptedModels):
        def fingerprint(self, name: str, adapter: Path | None = None) -> str:
            read_by.append(threading.current_thread())
            return super().fingerprint(name, adapter)

    async def stream() -> str:
        model = kind(model="any", models=SharedModels(Large()))
        return "".join([str(getattr(one, "text", one)) async for one in model.astream("Hi.")])

    assert asyncio.run(stream()) == "You said: Hi."
    assert read_by[0] is not threading.main_thread()
    read_by.clear()
    told = asyncio.run(kind(model="any", models=SharedModels(Large())).ainvoke("Hi."))
    assert str(getattr(told, "text", told)) == "You said: Hi."
    assert read_by[0] is not threading.main_thread()

    async def events() -> list[Any]:
        model = ChatAloft(model="any", models=SharedModels(Large()))
        return [one async for one in await model.astream_events("Hi.", version="v3")]

    if kind is ChatAloft and hasattr(BaseChatModel, "_achat_model_stream_v3"):  # of late versions
        read_by.clear()
        assert asyncio.run(events())[-1]["metadata"]["finish_reason"] == "stop"
        assert read_by[0] is not threading.main_thread()


@pytest.mark.parametrize("schema", [City, Town, City.model_json_schema()])
@pytest.mark.parametrize("method", ["json_schema", "json_mode"])
def test_structured_output_asks_for_the_schema_and_reads_the_reply(
    schema: Any, method: Any
) -> None:
    source = ScriptedModels(lambda _: '{"name": "Lima"}')
    chat = ChatAloft(model="any", models=SharedModels(source))
    filled = chat.with_structured_output(schema, method=method)
    expected = City(name="Lima") if schema is City else {"name": "Lima"}
    assert filled.invoke("A city.") == asyncio.run(filled.ainvoke("A city.")) == expected
    assert list(filled.stream("A city."))[-1] == expected
    raw = chat.with_structured_output(schema, method=method, include_raw=True).invoke("A city.")
    assert (raw["parsed"], raw["parsing_error"]) == (expected, None)
    asked = source.teacher_model.asked[0].json_schema
    assert asked is not None
    assert asked["properties"]["name"]["type"] == "string"
    cut = ChatAloft(model="any", models=shared(lambda _: '{"na'))
    raw = cut.with_structured_output(City, include_raw=True).invoke("A city.")
    assert raw["parsed"] is None
    assert raw["parsing_error"] is not None


class Cut(WordByWord):
    """Has no room for the end of its reply."""

    def complete(self, prompts: Sequence[Prompt], **limits: Any) -> list[Reply]:
        return [replace(one, is_finished=False) for one in super().complete(prompts, **limits)]


CITIES = {"title": "Cities", "type": "object", "properties": {"names": {"type": "array"}}}


@pytest.mark.parametrize(
    ("model", "schema", "reply", "message"),
    [
        (Cut, Cities, '{"names": ["Lima", "Mon', r"cut before its JSON was whole.*max_tokens"),
        (Cut, CITIES, '{"names": ["Lima", "Mon', r"cut before its JSON was whole.*max_tokens"),
        (WordByWord, Cities, '{"names": ["Lima", 3]}', "Failed to parse Cities"),
    ],
)
def test_structured_output_is_whole_or_says_why_not(
    model: type[WordByWord], schema: Any, reply: str, message: str
) -> None:
    chat = ChatAloft(model="any", models=served(model(lambda _: reply)))
    filled = chat.with_structured_output(schema)

    async def stream(what: Any) -> list[Any]:
        return [piece async for piece in what.astream("Cities.")]

    for ask in (
        lambda: filled.invoke("Cities."),
        lambda: asyncio.run(filled.ainvoke("Cities.")),
        lambda: list(filled.stream("Cities.")),
        lambda: asyncio.run(stream(filled)),
    ):
        with pytest.raises(OutputParserException, match=message):
            ask()
    fenced = '```json\n{"names": ["Lima"]}\n```\nThese are'  # of a server that holds no reply
    ended = ChatAloft(model="any", models=served(Cut(lambda _: fenced)))
    assert ended.with_structured_output(CITIES).invoke("Cities.") == {"names": ["Lima"]}
    raw = chat.with_structured_output(schema, include_raw=True)
    for given in (raw.invoke("Cities."), *raw.stream("Cities."), *asyncio.run(stream(raw))):
        assert (given["raw"].text, given["parsed"]) == (reply, None)
        assert re.search(message, str(given["parsing_error"]))


def test_structured_output_by_a_tool_or_in_any_form() -> None:
    calling = Calling(lambda _: "")
    by_tool = ChatAloft(model="any", models=served(calling))

    class Search(BaseModel):
        """Searches."""

        query: str

    filled = by_tool.with_structured_output(Search, method="function_calling")
    assert filled.invoke("Go.") == Search(query="漢")
    for schema in (Search, Search.model_json_schema()):
        options: dict[str, Any] = {"temperature": 0.5, "parallel_tool_calls": False}
        filled = by_tool.with_structured_output(
            schema, method="function_calling", include_raw=True, **options
        )
        told = filled.invoke("Go.")
        assert (dict(told["parsed"]), told["parsing_error"]) == ({"query": "漢"}, None)
        asked = calling.asked[-1]
        assert (asked.temperature, asked.calls_in_parallel) == (0.5, False)
        assert asked.tool_choice == "required"
    source = ScriptedModels(lambda _: '{"a": [1]}')
    chat = ChatAloft(model="any", models=SharedModels(source))
    assert chat.with_structured_output(None, method="json_mode").invoke("Go.") == {"a": [1]}
    assert chat.invoke("Go.", response_format=City).text == '{"a": [1]}'
    assert chat.invoke("Go.", regex="[a-z]+").text
    assert source.teacher_model.asked[-1].pattern == "[a-z]+"
    with pytest.raises(ConfigError, match='method is "magic", but may be json_schema'):
        chat.with_structured_output(City, method="magic")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="There is no schema"):
        chat.with_structured_output(None)


def test_a_call_of_a_tool_is_a_message_with_it_whole_or_streamed() -> None:
    models = served(Calling(lambda _: ""))
    chat = ChatAloft(model="any", models=models).bind_tools([find], tool_choice="any")

    message = chat.invoke("Go.")
    streamed = sum_of(list(chat.stream("Go.")))
    later = asyncio.run(chat.ainvoke("Go."))

    for one in (message, streamed, later):
        assert (one.text, one.response_metadata["finish_reason"]) == ("Let me see.", "tool_calls")
        (call,) = one.tool_calls
        assert (call["name"], call["args"], call["id"]) == ("find", {"query": "漢"}, "c1")
    asked = models._source.language_model("any").asked[0]  # type: ignore[attr-defined]
    assert asked.tool_choice == "required"
    (given,) = asked.tools
    assert isinstance(given, Tool)
    assert (given.name, given.parameters["required"]) == ("find", ["query"])


def sum_of(chunks: list[Any]) -> Any:
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    return whole


def test_a_history_of_calls_results_and_thoughts_reaches_the_model() -> None:
    source = ScriptedModels()
    chat = ChatAloft(model="any", models=SharedModels(source))
    call = {"name": "find", "args": {"query": "a"}, "id": "c1"}
    chat.invoke(
        [
            SystemMessage("Be brief."),
            HumanMessage("Go."),
            AIMessage([{"type": "reasoning", "reasoning": "Hm."}, {"type": "text", "text": "Yes."},
                       {"type": "tool_use", "id": "c1", "name": "find", "input": {"query": "a"}}],
                      tool_calls=[call]),  # type: ignore[list-item]
            ToolMessage([{"type": "json", "json": {"found": 1}}], tool_call_id="c1", name="find"),
        ]
    )  # fmt: skip
    _, _, assistant, result = source.teacher_model.asked[0].messages
    made = ToolCall(id="c1", name="find", arguments={"query": "a"})
    assert assistant == ToolTurn(role="assistant", content="Yes.", tool_calls=(made,))
    told = ToolTurn(role="tool", content='{"found": 1}', tool_call_id="c1", name="find")
    assert result == told


def test_a_model_without_tools_says_so_when_they_are_bound() -> None:
    class Without(ScriptedModels):
        def tokenizer(self, name: str) -> Any:
            tokenizer = super().tokenizer(name)
            tokenizer.takes_tools = False  # type: ignore[attr-defined]
            return tokenizer

    chat = ChatAloft(model="any", models=SharedModels(Without(lambda _: '{"name": "Lima"}')))
    with pytest.raises(ModelError, match=r"any takes no tools.*with_structured_output"):
        chat.bind_tools([find])
    filled = chat.with_structured_output(City, method="function_calling")
    assert filled.invoke("Go.") == City(name="Lima")
    with pytest.raises(ConfigError, match="tool_choice is 'fly'"):
        ChatAloft(model="any", models=shared()).bind_tools([find], tool_choice="fly")
    for single in (None, find, find.args_schema, {"name": "find"}):
        with pytest.raises(ConfigError, match="must be a list of tools"):
            ChatAloft(model="any", models=shared()).bind_tools(single)
    with pytest.raises(ConfigError, match="An LLM calls no tools"):
        AloftLLM(model="any", models=shared()).invoke("Go.", tools=[find])
    served = ChatAloft(model="openai:http://localhost:1/v1#m")
    assert served.bind_tools([find])  # is for the server to say


@pytest.mark.skipif(
    not hasattr(BaseChatModel, "_resolve_model_profile"), reason="LangChain asks since 1.2.21"
)
def test_agents_are_told_what_the_model_reads_and_that_it_keeps_to_schemas() -> None:
    known = {"structured_output": True, "text_inputs": True, "image_inputs": False}
    source = ScriptedModels(lambda _: '{"name": "Lima"}')
    chat = ChatAloft(model="any", models=SharedModels(source))
    assert chat.profile == {**known, "max_input_tokens": 512}
    for elsewhere in ("openai:http://localhost:1/v1#m", "owner/not-here"):
        assert ChatAloft(model=elsewhere).profile == known
    assert ChatAloft(model="any", profile={"name": "Own"}).profile == {"name": "Own"}
    # an agent with a response_format then binds as follows, rather than a tool to answer by
    schema = City.model_json_schema()
    form = {"type": "json_schema", "json_schema": {"name": "City", "schema": schema}}
    chat.bind_tools([find], strict=True, response_format=form).invoke("Go.")
    asked = source.teacher_model.asked[-1]
    assert (asked.json_schema, [one.name for one in asked.tools]) == (schema, ["find"])


def test_many_conversations_keep_the_callers_context_and_a_run_id_each() -> None:
    chat = ChatAloft(model="any", models=shared())
    given = [[HumanMessage("a")], [HumanMessage("b")]]
    first = uuid4()
    with get_usage_metadata_callback() as usage, collect_runs() as seen:
        result = chat.generate(given, run_id=first)
    assert [*usage.usage_metadata] == ["any"]
    assert len(seen.traced_runs) == 2
    ids = [one.run_id for one in result.run or ()]
    assert ids[0] == first
    assert len(set(ids)) == 2


class Tree(BaseModel):
    name: str
    parts: list["Tree"] = []


@tool
def plant(tree: Tree) -> str:
    """Plants."""
    return tree.name


def test_what_holds_itself_is_held_to_its_schema() -> None:
    """LangChain writes references out, and leaves {} where that never ends."""
    taking = ScriptedModels(lambda _: '{"name": "oak"}')
    chat = ChatAloft(model="any", models=SharedModels(taking))
    chat.with_structured_output(Tree).invoke("Draw.")
    asked = taking.teacher_model.asked[-1].json_schema
    assert asked == Tree.model_json_schema()
    parameters = openai_tool_of(plant)["function"]["parameters"]
    assert parameters["$defs"]["Tree"]["properties"]["parts"]["items"] == {"$ref": "#/$defs/Tree"}
    for plain in (find, City, Town):
        assert openai_tool_of(plain) == convert_to_openai_tool(plain)
    assert json_schema_of(Town) == convert_to_json_schema(Town)


def test_a_decimal_is_written_as_a_number() -> None:
    class Price(BaseModel):
        amount: Decimal

    @tool
    def pay(amount: Decimal) -> str:
        """Pays."""
        return str(amount)

    for schema in (
        json_schema_of(Price),
        openai_tool_of(Price)["function"]["parameters"],
        openai_tool_of(pay)["function"]["parameters"],
    ):
        assert schema["properties"]["amount"]["type"] == "number"


NAMES = {"title": "Names", "type": "array", "items": {"enum": ["Lima", "Oslo"]}}


@pytest.mark.parametrize(
    ("given", "asked", "reply"),
    [
        (NAMES, NAMES, ["Oslo"]),
        ({"enum": ["Lima", "Oslo"]}, {"enum": ["Lima", "Oslo"]}, "Lima"),
        ({"name": "Names", "schema": NAMES, "strict": True}, NAMES, []),
        ({"type": "json_schema", "json_schema": {"name": "a", "schema": NAMES}}, NAMES, []),
        (RootModel[list[City]].model_json_schema(), None, [{"name": "Lima"}]),
        ({"title": "Counts", "type": "object", "additionalProperties": {"type": "integer"}}, None,
         {"a": 1}),
        ({"type": "object", "properties": {"name": {"type": "string"}}}, None, {"name": "Lima"}),
    ],
)  # fmt: skip
def test_a_json_schema_reaches_the_model_whole(given: Any, asked: Any, reply: Any) -> None:
    """LangChain keeps nothing but the title of a schema without properties, such as a list's."""
    source = ScriptedModels(lambda _: json.dumps(reply))
    chat = ChatAloft(model="any", models=SharedModels(source))
    assert chat.with_structured_output(given).invoke("Go.") == reply
    assert list(chat.with_structured_output(given).stream("Go."))[-1] == reply
    assert {one.json_schema == (asked or given) for one in source.teacher_model.asked} == {True}


@pytest.mark.parametrize("kind", [ChatAloft, AloftLLM])
@pytest.mark.parametrize("option", ["json_schema", "response_format"])
def test_a_cache_has_no_reply_for_a_class_that_was_changed(kind: Any, option: str) -> None:
    source = ScriptedModels(lambda prompt: " ".join((prompt.json_schema or {})["properties"]))
    model = kind(model="any", models=SharedModels(source), cache=InMemoryCache())
    was = create_model("Changed", name=(str, ...))
    for schema, expected in ((was, "name"), (create_model("Changed", size=(int, ...)), "size")):
        for _ in range(2):
            told = model.invoke("Go.", **{option: schema})
            assert (told if kind is AloftLLM else told.text) == expected
    assert len(source.teacher_model.asked) == 2


def test_what_is_no_schema_and_no_tool_is_refused_in_one_line() -> None:
    chat = ChatAloft(model="any", models=shared())
    for wrong in ({"name": "string", "age": "integer"}, {}, {"name": "a", "schema": "b"}):
        with pytest.raises(ConfigError, match="is no JSON schema: it has none of type, properties"):
            chat.with_structured_output(wrong)
    for other in (list[City], City | Town, str, dict, Enum("Size", "S L"), City(name="a"), "City"):
        with pytest.raises(ConfigError, match=r"A schema is .* but may be a pydantic model"):
            chat.with_structured_output(other)  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match=r"A tool is .* but may be a pydantic model"):
            chat.bind_tools([other])  # type: ignore[list-item]
    with pytest.raises(ConfigError, match="those of Names are of type array"):
        chat.with_structured_output(NAMES, method="function_calling")
    counts = {"title": "Counts", "type": "object", "additionalProperties": {"type": "integer"}}
    assert openai_tool_of(counts)["function"] == {"name": "Counts", "parameters": counts}


@pytest.mark.parametrize(
    "block",
    [
        {"type": "invalid_tool_call", "name": "find", "args": "{", "id": "1", "error": "cut"},
        {"type": "server_tool_call", "name": "search", "args": {}, "id": "1"},
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        {"type": "refusal", "refusal": "No."},
    ],
)
def test_blocks_of_another_provider_that_are_no_text_are_not_shown(block: dict[str, Any]) -> None:
    (turn,) = to_messages([AIMessage([{"type": "text", "text": "Yes."}, block])])
    assert turn.content == "Yes."


def test_what_is_no_text_is_said_in_one_line() -> None:
    embeddings = AloftEmbeddings("any", models=shared())
    for wrong in ([None], [5], "abc", [Document("A fox.")]):
        with pytest.raises(DataError, match="text"):
            embeddings.embed_documents(wrong)  # type: ignore[arg-type]
    reranker = AloftReranker(model="any", models=shared())
    with pytest.raises(DataError, match="A passage is a text, but NoneType was given"):
        reranker.score([("a", None)])  # type: ignore[list-item]
    with pytest.raises(DataError, match="A list of Document objects is expected"):
        reranker.compress_documents(["text"], "a")  # type: ignore[list-item]
