"""LLMs as LlamaIndex applications use them: tokens, windows, structured predictions, agents."""

import asyncio
import pickle
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn

import pytest
from llama_index.core import Settings
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import (
    CacheControl,
    CachePoint,
    ChatMessage,
    ChatResponse,
    CitableBlock,
    CitationBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.extractors import DocumentContextExtractor
from llama_index.core.indices.prompt_helper import PromptHelper
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.program import FunctionCallingProgram
from llama_index.core.prompts import PromptTemplate
from llama_index.core.response_synthesizers import ResponseMode, get_response_synthesizer
from llama_index.core.schema import Document, NodeRelationship, NodeWithScore, TextNode
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.tools import FunctionTool
from openai_server import Serve, chat
from pydantic import BaseModel, Field
from scripted import ScriptedModels, shared

from aloft.backends.shared import SharedModels
from aloft.errors import ConfigError, DataError, PromptTooLongError
from aloft.protocols import Prompt, Reply, ToolCall, ToolTurn
from aloft.testing import ScriptedTeacher
from llama_index_aloft import AloftEmbedding, AloftLLM, AloftRerank


class City(BaseModel):
    name: str
    people: int = 0


def find(query: str) -> str:
    """Finds."""
    return f"found {query}"


FIND = FunctionTool.from_defaults(fn=find)
LIMA = '{"name": "Lima", "people": 10}'


class Replying(ScriptedTeacher):
    """Gives whole replies, in pieces too."""

    def __init__(self, reply: Callable[[Prompt], Reply]) -> None:
        super().__init__(lambda _: "")
        self.whole = reply
        self.sizes: list[int] = []

    def complete(
        self, prompts: Sequence[Prompt], *, max_new_tokens: int, stop: Sequence[str] = ()
    ) -> list[Reply]:
        self.asked.extend(prompts)
        self.sizes.append(len(prompts))
        return [self.whole(prompt) for prompt in prompts]

    def stream(
        self, prompt: Prompt, *, max_new_tokens: int, stop: Sequence[str] = ()
    ) -> Iterator[Reply]:
        (whole,) = self.complete([prompt], max_new_tokens=max_new_tokens)
        half = len(whole.text) // 2
        if half:
            yield Reply(text=whole.text[:half], is_finished=False, is_piece=True)
        yield replace(whole, text=whole.text[half:])


def served(reply: Callable[[Prompt], Reply]) -> tuple[AloftLLM, Replying]:
    source = ScriptedModels()
    model = source.teacher_model = Replying(reply)
    return AloftLLM("any", models=SharedModels(source)), model


def said(text: str, **more: Any) -> Reply:
    return Reply(text=text, is_finished=True, prompt_tokens=7, new_tokens=3, **more)


def calls_once(prompt: Prompt) -> Reply:
    """Calls the tool, and then says what it gave."""
    last = prompt.messages[-1]
    if last.role == "tool":
        return said(f"It {last.content}.")
    call = ToolCall(id="c1", name=prompt.tools[0].name, arguments={"query": "漢"})
    return said("", tool_calls=(call,))


def test_tokens_are_counted_by_the_models_own_tokenizer() -> None:
    llm, _ = served(lambda _: said("A red fox."))
    counter = TokenCountingHandler(tokenizer=llm.tokenizer)
    llm.callback_manager = CallbackManager([counter])
    messages = [ChatMessage(content="a red fox"), ChatMessage(content="runs")]

    assert llm.tokenizer("a red fox") == [1, 3, 3]
    assert llm.count_tokens(messages, tools=[FIND]) == 4
    llm.chat(messages)
    assert (counter.prompt_llm_token_count, counter.completion_llm_token_count) == (7, 3)
    list(llm.stream_complete("a red fox"))
    assert (counter.prompt_llm_token_count, counter.completion_llm_token_count) == (14, 6)
    Settings.tokenizer = llm.tokenizer
    try:
        assert Settings.tokenizer("a red") == [1, 3]
    finally:
        Settings._tokenizer = None


@pytest.mark.model
def test_what_counts_tokens_by_a_model_copies_and_pickles(encoder: Path) -> None:
    llm = AloftLLM(str(encoder))
    counter = TokenCountingHandler(tokenizer=llm.tokenizer)
    memory = ChatMemoryBuffer.from_defaults(token_limit=9, tokenizer_fn=llm.tokenizer)
    llm.callback_manager = CallbackManager([counter])
    for again in (deepcopy, lambda whole: pickle.loads(pickle.dumps(whole))):
        (counting,) = again(llm).callback_manager.handlers
        assert counting.tokenizer("a red fox") == [0, 0, 0]
        assert again(memory).tokenizer_fn("a red fox") == [0, 0, 0]


def test_a_prompt_beyond_the_window_is_refused_in_one_line() -> None:
    llm, _ = served(lambda _: Reply(text="", is_finished=False, prompt_tokens=900, is_unread=True))
    chat = [ChatMessage(content="Hi.")]
    asks: list[Callable[[], object]] = [
        lambda: llm.chat(chat),
        lambda: llm.complete("Hi."),
        lambda: list(llm.stream_chat(chat)),
        lambda: asyncio.run(llm.achat(chat)),  # type: ignore[arg-type]
    ]
    # which takes a ValueError for a reply that cannot be parsed, and goes on without a word
    found = [NodeWithScore(node=TextNode(text="A red fox."))]
    counted = PromptHelper(context_window=4096)
    for mode in (ResponseMode.REFINE, ResponseMode.COMPACT, ResponseMode.TREE_SUMMARIZE):
        synthesizer = get_response_synthesizer(llm, counted, response_mode=mode)
        asks.append(lambda one=synthesizer: one.synthesize("Hi?", found))  # type: ignore[misc]
    for ask in asks:
        with pytest.raises(PromptTooLongError, match="has 900 tokens, but any reads at most 512"):
            ask()


def test_settings_have_the_hosts_name_or_ours_and_sample() -> None:
    llm = AloftLLM("any", max_new_tokens=3, temperature=0.7, top_p=0.9, seed=1, stop="#")
    assert (llm.max_tokens, llm.stop) == (3, ["#"])
    source = ScriptedModels()
    llm = AloftLLM("any", temperature=0.5, models=SharedModels(source))
    llm.complete("Hi.", seed=3)
    llm.complete("Hi.", temperature=0)
    first, second = source.teacher_model.asked
    assert ((first.seed, first.temperature), second.seed) == ((3, 0.5), None)


def test_many_calls_at_once_are_one_batch_of_the_model() -> None:
    llm, model = served(lambda prompt: said(prompt.messages[0].content))
    texts = [str(i) for i in range(20)]

    async def ask() -> list[Any]:
        chats = (llm.achat([ChatMessage(content=text)]) for text in texts)
        return await asyncio.gather(*chats, *(llm.acomplete(text) for text in texts))

    told = asyncio.run(ask())
    assert [str(one.message.content) for one in told[:20]] == texts
    assert [one.text for one in told[20:]] == texts
    assert (len(model.sizes) < 20, sum(model.sizes)) == (True, 40)


class Seen(BaseEventHandler):
    """Remembers the names of events."""

    names: list[str] = Field(default_factory=list)

    def handle(self, event: BaseEvent, **_: Any) -> None:
        self.names.append(event.class_name())


def test_structured_predictions_are_held_to_the_schema_in_every_way_of_asking() -> None:
    llm, model = served(lambda _: said(LIMA))
    prompt = PromptTemplate("A city in {country}.")
    seen = Seen()
    get_dispatcher().add_event_handler(seen)

    async def ask() -> list[Any]:
        whole = await llm.astructured_predict(City, prompt, country="Peru")
        pieces = await llm.astream_structured_predict(City, prompt, country="Peru")
        return [whole, [piece async for piece in pieces][-1]]

    try:
        filled = [
            llm.structured_predict(City, prompt, country="Peru"),
            list(llm.stream_structured_predict(City, prompt, country="Peru"))[-1],
            llm.as_structured_llm(City).complete("A city.").raw,
            *asyncio.run(ask()),
        ]
    finally:
        get_dispatcher().event_handlers.remove(seen)

    assert filled == [City(name="Lima", people=10)] * 5
    assert {asked.messages[0].content for asked in model.asked} == {"A city in Peru.", "A city."}
    for asked in model.asked:
        assert asked.json_schema == City.model_json_schema()
        assert not asked.tools
    assert {"LLMStructuredPredictStartEvent", "LLMStructuredPredictEndEvent"} <= {*seen.names}


def test_a_decimal_is_written_as_a_number() -> None:
    class Price(BaseModel):
        amount: Decimal

    llm, model = served(lambda _: said('{"amount": 12.5}'))
    assert llm.structured_predict(Price, PromptTemplate("A price.")).amount == Decimal("12.5")
    assert model.asked[0].json_schema["properties"]["amount"]["type"] == "number"  # type: ignore[index]

    def pay(amount: Decimal) -> None:
        """Pays."""

    llm.chat_with_tools([FIND, FunctionTool.from_defaults(fn=pay)], "Pay.")
    finding, paying = model.asked[-1].tools
    assert paying.parameters["properties"]["amount"]["type"] == "number"
    known = FIND.metadata.to_openai_tool()["function"]["parameters"]
    assert finding.parameters == known


@pytest.mark.parametrize("given", [list[City], City(name="Lima"), {"type": "object"}, None])
def test_what_is_no_model_cannot_be_predicted(given: Any) -> None:
    llm, prompt = AloftLLM("any", models=shared()), PromptTemplate("A city.")
    for ask in (llm.structured_predict, llm.stream_structured_predict):
        with pytest.raises(ConfigError, match="but must be a pydantic model"):
            list(ask(given, prompt))


def test_a_prediction_that_was_cut_or_is_refused_says_so() -> None:
    cut, _ = served(lambda _: Reply(text='{"name": "L', is_finished=False))
    with pytest.raises(DataError, match=r"cut before its JSON was whole.*Raise max_tokens"):
        cut.structured_predict(City, PromptTemplate("A city."))
    wrong, _ = served(lambda _: said('{"name": 3}'))
    with pytest.raises(DataError, match="City refuses the reply"):
        wrong.structured_predict(City, PromptTemplate("A city."))


def test_a_stream_of_predictions_ends_with_the_whole_or_says_why_not() -> None:
    async def collect(llm: AloftLLM) -> list[Any]:
        pieces = await llm.astream_structured_predict(City, PromptTemplate("A city."))
        return [piece async for piece in pieces]

    asks: list[Callable[[AloftLLM], list[Any]]] = [
        lambda llm: list(llm.stream_structured_predict(City, PromptTemplate("A city."))),
        lambda llm: asyncio.run(collect(llm)),
    ]
    cut, _ = served(lambda _: Reply(text='{"name": "Li', is_finished=False))
    wrong, _ = served(lambda _: said('{"name": 3}'))
    whole, _ = served(lambda _: said(LIMA))
    for ask in asks:
        assert ask(whole)[-1] == City(name="Lima", people=10)
        with pytest.raises(DataError, match=r"cut before its JSON was whole.*Raise max_tokens"):
            ask(cut)
        with pytest.raises(DataError, match="City refuses the reply"):
            ask(wrong)


def test_schemas_and_patterns_are_options_of_a_call() -> None:
    llm, model = served(lambda _: said(LIMA))
    llm.complete("A city.", json_schema=City)
    llm.chat([ChatMessage(content="A city.")], response_format={"type": "json_object"})
    llm.complete("A city.", regex="[A-Z][a-z]+")
    first, second, third = model.asked
    assert first.json_schema == City.model_json_schema()
    assert (second.json_schema, third.pattern) == ({"type": "object"}, "[A-Z][a-z]+")
    with pytest.raises(ConfigError, match="json_schema is of type int"):
        llm.complete("A city.", json_schema=3)


def test_a_chat_with_tools_gives_their_calls() -> None:
    llm, model = served(calls_once)

    async def ask() -> list[ChatResponse]:
        whole = await llm.achat_with_tools([FIND], user_msg="Go.")
        pieces = await llm.astream_chat_with_tools([FIND], user_msg="Go.")
        return [whole, [piece async for piece in pieces][-1]]

    responses = [
        llm.chat_with_tools([FIND], user_msg="Go.", tool_required=True),
        list(llm.stream_chat_with_tools([FIND], user_msg="Go."))[-1],
        *asyncio.run(ask()),
    ]
    for response in responses:
        (call,) = llm.get_tool_calls_from_response(response)
        assert (call.tool_id, call.tool_name, call.tool_kwargs) == ("c1", "find", {"query": "漢"})
        assert response.additional_kwargs["finish_reason"] == "tool_calls"
    asked = model.asked[0]
    assert (asked.tool_choice, asked.calls_in_parallel) == ("required", False)
    assert asked.tools[0].parameters["required"] == ["query"]
    assert llm.predict_and_call([FIND], user_msg="Go.").response == "found 漢"
    silent, _ = served(lambda _: said("No."))
    response = silent.chat_with_tools([FIND], user_msg="Go.")
    assert silent.get_tool_calls_from_response(response, error_on_no_tool_call=False) == []
    with pytest.raises(DataError, match=r"The reply calls no tool: .No\.."):
        silent.get_tool_calls_from_response(response)


def test_a_function_program_gives_the_whole_object_streamed_too() -> None:
    call = ToolCall(id="c1", name="City", arguments={"name": "Lima", "people": 10})
    llm, _ = served(lambda _: said("", tool_calls=(call,)))
    program = FunctionCallingProgram.from_defaults(City, prompt_template_str="A city.", llm=llm)

    async def stream() -> list[Any]:
        return [one async for one in await program.astream_call()]

    whole = City(name="Lima", people=10)
    assert program() == whole
    assert list(program.stream_call())[-1] == whole
    assert asyncio.run(stream())[-1] == whole


@pytest.mark.parametrize("streaming", [False, True])
def test_an_agent_calls_a_tool_and_answers_with_what_it_gave(streaming: bool) -> None:
    llm, model = served(calls_once)
    agent = FunctionAgent(tools=[FIND], llm=llm, streaming=streaming)

    async def ask() -> str:
        return str(await agent.run(user_msg="Go."))

    assert asyncio.run(ask()) == "It found 漢."
    call, result = model.asked[-1].messages[-2:]
    assert isinstance(call, ToolTurn)
    assert call.tool_calls[0].arguments == {"query": "漢"}
    assert isinstance(result, ToolTurn)
    assert (result.tool_call_id, result.content) == ("c1", "found 漢")


def test_a_history_of_calls_results_and_thoughts_reaches_the_model() -> None:
    llm, model = served(lambda _: said("Yes."))
    openai_call = {"id": "c2", "function": {"name": "find", "arguments": '{"query": "b"}'}}
    block = ToolCallBlock(tool_call_id="c1", tool_name="find", tool_kwargs={"query": "a"})
    llm.chat(
        [
            ChatMessage(role=MessageRole.USER, content="Go."),
            ChatMessage(
                role=MessageRole.ASSISTANT,
                blocks=[ThinkingBlock(content="Hm."), TextBlock(text="Yes."), block],
            ),
            ChatMessage(
                role=MessageRole.TOOL, content="found", additional_kwargs={"tool_call_id": "c1"}
            ),
            ChatMessage(
                role=MessageRole.ASSISTANT,
                content="",
                additional_kwargs={"tool_calls": [openai_call]},
            ),
        ]
    )
    _, first, result, second = model.asked[0].messages
    assert first == ToolTurn(
        role="assistant",
        content="Yes.",
        tool_calls=(ToolCall(id="c1", name="find", arguments={"query": "a"}),),
    )
    assert result == ToolTurn(role="tool", content="found", tool_call_id="c1")
    assert isinstance(second, ToolTurn)
    assert second.tool_calls[0].arguments == {"query": "b"}


def test_llama_indexs_own_extractor_of_contexts_can_ask_it() -> None:
    llm, model = served(lambda _: said("On foxes."))
    document = Document(id_="d", text="A red fox. It runs.")
    source = {NodeRelationship.SOURCE: document.as_related_node_info()}
    node = TextNode(text="It runs.", relationships=source)
    store = SimpleDocumentStore()
    store.add_documents([document])
    extractor = DocumentContextExtractor(docstore=store, llm=llm, show_progress=False)
    assert asyncio.run(extractor.aextract([node])) == [{"context": "On foxes."}]
    assert "<chunk>It runs.</chunk>" in model.asked[0].messages[-1].content


def test_texts_of_a_message_are_lines_as_in_its_content() -> None:
    llm, model = served(lambda _: said("Yes."))
    mark = CachePoint(cache_control=CacheControl(type="ephemeral"))
    message = ChatMessage(blocks=[TextBlock(text="A fox"), mark, TextBlock(text="runs.")])
    result = ChatMessage(role=MessageRole.TOOL, blocks=[TextBlock(text="1"), TextBlock(text="2")])
    llm.chat([message, result])
    told = [turn.content for turn in model.asked[0].messages]
    assert told == [message.content, result.content] == ["A fox\nruns.", "1\n2"]


def test_whether_agents_can_give_tools_is_told_by_the_models_template() -> None:
    assert AloftLLM("any", models=shared()).metadata.is_function_calling_model


def test_a_call_that_was_cut_and_settings_without_effect_say_what_to_do() -> None:
    llm, _ = served(lambda _: said('{"name": "find", "argu'))
    cut = llm.chat([ChatMessage(content="Go.")])
    cut.additional_kwargs["finish_reason"] = "length"
    with pytest.raises(DataError, match=r"calls no tool: .* It was cut: raise max_tokens"):
        llm.get_tool_calls_from_response(cut)
    with pytest.raises(ConfigError, match="completion_to_prompt has no effect here"):
        AloftLLM("any", completion_to_prompt=str, models=shared())


def test_a_history_may_hold_citations_and_marks_of_caches_and_messages_alone() -> None:
    llm, model = served(lambda _: said("Yes."))
    text = TextBlock(text="A fox.")
    cited = CitationBlock(cited_content=text, source="a", title="b", additional_location_info={})
    blocks = [CachePoint(cache_control=CacheControl(type="ephemeral")),
              CitableBlock(title="b", source="a", content=[text]), cited]  # fmt: skip
    llm.chat([ChatMessage(blocks=blocks)])
    assert model.asked[0].messages[0].content == "A fox.A fox."
    with pytest.raises(DataError, match="a list of ChatMessage, but dict was given"):
        llm.chat([{"role": "user", "content": "Go."}])  # type: ignore[list-item]
    with pytest.raises(DataError, match="A prompt is a text, but NoneType was given"):
        llm.complete(None)  # type: ignore[arg-type]


def test_what_pydantic_writes_down_makes_the_same_part() -> None:
    parts = [
        AloftLLM("any", max_tokens=3, models=shared()),
        AloftEmbedding("any", embed_batch_size=3, models=shared()),
        AloftRerank("any", top_n=3, models=shared()),
    ]
    for one in parts:
        written = one.model_dump()
        for again in (type(one).model_validate(written), type(one)(**written)):
            assert again.model_dump(exclude={"fingerprint"}) == one.model_dump(
                exclude={"fingerprint"}
            )


def test_a_call_looks_nothing_up_where_the_loop_would_wait() -> None:
    class Unready(ScriptedModels):
        def tokenizer(self, name: str) -> NoReturn:  # which takes seconds at first
            raise AssertionError("of no use to a call")

        context_window = tokenizer

    for way in ("acomplete", "achat", "astream_complete", "astream_chat"):
        asked: Any = [ChatMessage(content="Hi.")] if "chat" in way else "Hi."
        llm = AloftLLM("any", models=SharedModels(Unready()))
        asyncio.run(getattr(llm, way)(asked))
        assert llm.to_payload()["model_name"] == "any"


def test_a_server_that_is_not_ready_yet_is_asked_again(serve: Serve) -> None:
    server = serve(lambda *_: (503, {}) if len(server.calls) < 2 else chat("Hello."))
    server.list_status = 503
    llm = AloftLLM(f"openai:{server.url}#small", max_retries=1)
    assert llm.complete("Go.").text == "Hello."
