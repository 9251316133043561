"""Answers with the nodes that they cite, sync, async and streamed, over scripted models."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.base.response.schema import AsyncStreamingResponse, StreamingResponse
from llama_index.core.bridge.pydantic import Field
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.instrumentation.events.llm import LLMChatEndEvent, LLMChatStartEvent
from llama_index.core.postprocessor import SimilarityPostprocessor
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from scripted import (
    CONTRACT,
    OpenWords,
    ScriptedModels,
    SlowWords,
    WordByWord,
    count_beats,
    retrieving,
    shared,
    write_records,
    write_run,
)

from aloft.backends.shared import SharedModels
from aloft.errors import ConfigError, DataError
from aloft.prompts.formats import format_of
from aloft.protocols import Prompt
from aloft.records import Passage
from llama_index_aloft import AloftCitationQueryEngine, AloftRerank, AloftRetriever

NODES = [
    TextNode(id_="whale", text="The blue whale sings.", metadata={"title": "Whales"}),
    TextNode(id_="runs", text="A red fox runs."),
    TextNode(id_="sleeps", text="The red fox sleeps all day."),
]
RAFT = replace(retrieving(CONTRACT, count=2), format="raft")
QUOTING = (
    '[1] "The red fox sleeps"\n[2] "no such words"\n\n### Reference\n1\n\n### Answer\nAll day.'
)


def writing(reply: str) -> SharedModels:
    """Models whose language model writes a reply word by word."""
    source = ScriptedModels()
    source.teacher_model = WordByWord(lambda _: reply)
    return SharedModels(source)


def engine(reply: str, contract: Any = CONTRACT, **fields: Any) -> AloftCitationQueryEngine:
    models = writing(reply)
    retriever = AloftRetriever(NODES, contract, models=models)
    return AloftCitationQueryEngine(retriever, contract, models=models, **fields)


def test_what_is_cited_are_the_source_nodes() -> None:
    asked = engine("2\n\n### Answer\nA fox runs.")
    shown = asked.retriever.retrieve("red fox day")
    response = asked.query("red fox day")
    assert str(response) == "A fox runs."
    assert [one.node_id for one in response.source_nodes] == [shown[1].node_id]
    assert response.metadata == {
        "shown": [one.node_id for one in shown],
        "quotes": [],
        "unverified_quotes": 0,
        "is_abstaining": False,
    }


def test_quotes_are_placed_in_the_nodes_text() -> None:
    response = engine(QUOTING, RAFT).query("red fox day")
    assert response.metadata is not None
    (quote,) = response.metadata["quotes"]
    text = NODES[2].text
    assert text[quote["start"] : quote["end"]] == quote["text"] == "The red fox sleeps"
    assert (quote["node_id"], response.metadata["unverified_quotes"]) == ("sleeps", 1)
    # a title stands before the text that is shown, but not in the node's text
    reply = QUOTING.replace("The red fox sleeps", "blue whale")
    told = engine(reply, RAFT).query("Which blue whale sings?").metadata
    assert told is not None
    (quote,) = told["quotes"]
    assert NODES[0].text[quote["start"] : quote["end"]] == "blue whale"


@pytest.mark.parametrize("template", ["{metadata_str}\n\n{content}", "{content}\n{metadata_str}"])
def test_quotes_are_placed_in_a_text_that_begins_with_an_empty_line(template: str) -> None:
    text = "\n\n  The red fox sleeps all day.\n"
    node = TextNode(id_="a", text=text, metadata={"page": 1}, text_template=template)
    asked = engine(QUOTING, RAFT)
    asked.retriever = AloftRetriever([node], RAFT, models=asked.models)
    told = asked.query("red fox day").metadata
    assert told is not None
    (quote,) = told["quotes"]
    assert text[quote["start"] : quote["end"]] == quote["text"]


def test_all_ways_to_ask_give_one_text_and_one_source() -> None:
    async def stream() -> tuple[str, list[str], dict[str, Any]]:
        told = await engine(QUOTING, RAFT, streaming=True).aquery("red fox day")
        assert isinstance(told, AsyncStreamingResponse)
        pieces = [piece async for piece in told.async_response_gen()]
        assert len(pieces) > 1
        return "".join(pieces), [n.node_id for n in told.source_nodes], told.metadata or {}

    whole = engine(QUOTING, RAFT).query("red fox day")
    expected = (str(whole), [one.node_id for one in whole.source_nodes], whole.metadata)
    later = asyncio.run(engine(QUOTING, RAFT).aquery("red fox day"))
    assert (str(later), [one.node_id for one in later.source_nodes], later.metadata) == expected
    told = engine(QUOTING, RAFT, streaming=True).query("red fox day")
    assert isinstance(told, StreamingResponse)
    sources = [one.node_id for one in told.source_nodes]  # known before the answer is written
    pieces = list(told.response_gen)
    assert len(pieces) > 1
    assert ("".join(pieces), sources, told.metadata) == expected
    assert asyncio.run(stream()) == expected


def test_who_abstains_cites_nothing() -> None:
    contract = replace(CONTRACT, abstains=True)
    told = engine("none\n\n### Answer\nThe documents do not hold the answer.", contract)
    response = told.query("Who?")
    assert response.source_nodes == []
    assert response.metadata is not None
    assert response.metadata["is_abstaining"]


def test_nodes_are_shown_in_the_order_of_the_postprocessors_and_no_more_than_the_contract_has() -> (
    None
):
    models = writing("1\n\n### Answer\nyes")
    contract = retrieving(CONTRACT, count=1)
    retriever = AloftRetriever(NODES, contract, similarity_top_k=3, models=models)
    steps: list[BaseNodePostprocessor] = [
        SimilarityPostprocessor(similarity_cutoff=0.01),
        AloftRerank("any", top_n=3, models=models),
    ]
    asked = AloftCitationQueryEngine(retriever, contract, node_postprocessors=steps, models=models)
    assert [one.node_id for one in asked.retrieve(QueryBundle("red fox day"))] == ["sleeps"]
    assert asked.query("red fox day").metadata["shown"] == ["sleeps"]  # type: ignore[index]
    assert asyncio.run(asked.aquery("red fox day")).source_nodes[0].node_id == "sleeps"


def test_both_steps_take_a_text_and_show_what_the_prompt_holds() -> None:
    contract = retrieving(CONTRACT, count=2)
    asked = engine(
        "1\n\n### Answer\nyes", contract, node_postprocessors=[AloftRerank("any", models=shared())]
    )
    empty = NodeWithScore(node=TextNode(id_="empty", text=""))
    given = [empty, *(NodeWithScore(node=node) for node in NODES)]

    async def ask() -> tuple[list[NodeWithScore], Any]:
        return await asked.aretrieve("red fox"), await asked.asynthesize("red fox", given)

    for found, response in (
        (asked.retrieve("red fox"), asked.synthesize("red fox", given)),
        asyncio.run(ask()),
    ):
        assert [one.node_id for one in found] == ["runs", "sleeps"]
        assert response.metadata["shown"] == ["whale", "runs"]
        assert [one.node_id for one in response.source_nodes] == ["whale"]
    with pytest.raises(DataError, match="a text or a QueryBundle, but int was given"):
        asked.synthesize(3, given)  # type: ignore[arg-type]


def test_what_a_run_ships_answers_from_its_passages_or_from_other_nodes(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    passage = Passage(document_id="a.txt", text="A green newt.", start=7, title="Newts")
    write_records(run / "passages.jsonl", [passage])
    asked: list[Prompt] = []
    source = ScriptedModels(lambda prompt: asked.append(prompt) or "1\n\n### Answer\nIt is green.")  # type: ignore[func-returns-value]
    models = SharedModels(source)

    (own,) = AloftCitationQueryEngine.from_run(run, models=models).query("newt?").source_nodes
    assert own.node_id == passage.id
    form = format_of("aloftrag", abstains=False)
    assert asked[-1].messages == form.render("newt?", ["Newts\nA green newt."]).messages
    (other,) = (
        AloftCitationQueryEngine.from_run(run, NODES, models=models).query("whale").source_nodes
    )
    assert other.node_id == "whale"
    given = [NodeWithScore(node=NODES[1], score=0.5)]
    synthesized = AloftCitationQueryEngine.from_run(run, models=models).synthesize(
        QueryBundle("fox?"), given, additional_source_nodes=[NodeWithScore(node=NODES[0])]
    )
    assert [one.node_id for one in synthesized.source_nodes] == ["runs", "whale"]


def test_another_server_of_the_generator_loads_its_adapter_itself(tmp_path: Path) -> None:
    source = ScriptedModels(lambda _: "1\n\n### Answer\nIt is green.")
    run = write_run(tmp_path / "run", adapter="generator")
    served = "openai:http://localhost:8000/v1#aloft"
    models, retriever = SharedModels(source), AloftRetriever(NODES, CONTRACT, models=SharedModels())
    engine = AloftCitationQueryEngine.from_run(
        run, retriever=retriever, generator=served, models=models
    )
    engine.synthesize(QueryBundle("fox?"), [NodeWithScore(node=NODES[0], score=0.5)])
    assert (source.loaded[-1], source.adapters) == (("language model", served), [None])


@pytest.mark.parametrize("given", [None, 3, {"query": "fox"}, ["fox"]])
def test_a_query_that_is_none_is_refused_in_one_line(tmp_path: Path, given: Any) -> None:
    engine = AloftCitationQueryEngine.from_run(write_run(tmp_path / "run"), [], models=shared())
    with pytest.raises(DataError, match="A query is a text or a QueryBundle"):
        engine.query(given)
    with pytest.raises(DataError, match="A query is a text or a QueryBundle"):
        asyncio.run(engine.aquery(given))


def test_nodes_beside_a_retriever_are_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    retriever = AloftRetriever([], CONTRACT, models=shared())
    with pytest.raises(ConfigError, match="Nodes and a retriever are given"):
        AloftCitationQueryEngine.from_run(run, [], retriever=retriever)
    with pytest.raises(ConfigError, match="retriever is of type list"):  # and not the run's own
        AloftCitationQueryEngine.from_run(run, retriever=[], models=shared())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"retriever": "index"}, "retriever is of type str, but must be a BaseRetriever. Of an"),
        ({"contract": "runs/a"}, "contract is of type str, but must be a Bundle. Open a run's"),
        ({"node_postprocessors": SimilarityPostprocessor()}, "Put it into a list"),
        ({"models": "any"}, "models is of type str, but must be a SharedModels"),
        ({"callback_manager": []}, r"callback_manager is of type list.*CallbackManager\(\[handler"),
    ],
)
def test_other_kinds_of_parts_are_refused_when_they_are_given(
    given: dict[str, Any], message: str
) -> None:
    retriever = AloftRetriever([], CONTRACT, models=shared())
    with pytest.raises((ConfigError, DataError), match=message):
        AloftCitationQueryEngine(**{"retriever": retriever, "contract": CONTRACT, **given})
    if given.keys() & {"contract", "models", "callback_manager"}:
        with pytest.raises(ConfigError, match=message):
            AloftRetriever(**{"nodes": [], "contract": CONTRACT, **given})


@pytest.mark.parametrize("given", ["", " ", 3])
def test_a_generator_without_a_name_is_refused(tmp_path: Path, given: Any) -> None:
    run = write_run(tmp_path / "run")
    with pytest.raises(ConfigError, match=r"name of the generator is empty|named by a text"):
        AloftCitationQueryEngine.from_run(run, [], generator=given, models=shared())


def test_nothing_to_show_is_said(tmp_path: Path) -> None:
    models = writing("none\n\n### Answer\nThe documents do not hold the answer.")
    empty = AloftRetriever([], CONTRACT, models=models)
    assert AloftCitationQueryEngine(empty, CONTRACT, models=models).query("Who?").source_nodes == []


@pytest.mark.parametrize("streaming", [False, True])
def test_callers_see_the_query_in_their_callbacks(streaming: bool) -> None:
    manager = CallbackManager()
    seen: list[str | None] = []
    manager.start_trace = lambda trace_id=None: seen.append(trace_id)  # type: ignore[method-assign]
    asked = engine(QUOTING, RAFT, streaming=streaming, callback_manager=manager)
    str(asked.query("fox"))
    assert seen == ["query", "chat"]


class Seen(BaseEventHandler):
    """Remembers events."""

    events: list[BaseEvent] = Field(default_factory=list)

    def handle(self, event: BaseEvent, **_: Any) -> None:
        self.events.append(event)


@pytest.fixture
def seen() -> Iterator[Seen]:
    handler = Seen()
    get_dispatcher().add_event_handler(handler)
    yield handler
    get_dispatcher().event_handlers.remove(handler)


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("is_async", [False, True])
def test_instrumentation_and_callbacks_see_each_step_and_the_tokens(
    seen: Seen, streaming: bool, is_async: bool
) -> None:
    counter = TokenCountingHandler(tokenizer=str.split)
    manager = CallbackManager([counter])
    steps: list[BaseNodePostprocessor] = [
        AloftRerank("any", models=writing(""), callback_manager=manager)
    ]
    asked = engine(
        QUOTING, RAFT, streaming=streaming, callback_manager=manager, node_postprocessors=steps
    )

    async def ask() -> str:
        told = await asked.aquery("red fox day")
        return str(await told.get_response() if streaming else told)  # type: ignore[union-attr]

    assert (asyncio.run(ask()) if is_async else str(asked.query("red fox day"))) == "All day."

    names = [event.class_name() for event in seen.events]
    for name in ("Query", "Retrieval", "ReRank", "Synthesize", "LLMChat"):
        assert names.index(f"{name}StartEvent") < names.index(f"{name}EndEvent"), name
    (start,) = [event for event in seen.events if isinstance(event, LLMChatStartEvent)]
    assert "The red fox sleeps all day." in str(start.messages[-1].content)
    (end,) = [event for event in seen.events if isinstance(event, LLMChatEndEvent)]
    assert end.response is not None
    assert end.response.message.content == "All day."
    assert counter.completion_llm_token_count == len(QUOTING.split(" "))


def test_without_nodes_no_model_is_asked_and_nothing_is_made_up(seen: Seen) -> None:
    models = writing("1\n\n### Answer\nno")
    empty = AloftRetriever([], CONTRACT, models=models)
    told = AloftCitationQueryEngine(empty, CONTRACT, models=models).query("Who sings?")
    assert told.metadata is not None
    assert (told.metadata["is_abstaining"], told.source_nodes) == (True, [])
    assert str(told).startswith("The documents do not")
    assert not [event for event in seen.events if isinstance(event, LLMChatStartEvent)]
    streamed = AloftCitationQueryEngine(empty, CONTRACT, models=models, streaming=True)
    assert "".join(streamed.query("Who sings?").response_gen) == str(told)  # type: ignore[union-attr]


def test_a_stream_that_nobody_reads_on_ends_at_once() -> None:
    source = ScriptedModels()
    source.teacher_model = words = OpenWords(lambda _: "1\n\n### Answer\nAll day long.")
    models = SharedModels(source)
    retriever = AloftRetriever(NODES, CONTRACT, models=models)
    engine = AloftCitationQueryEngine(retriever, CONTRACT, models=models, streaming=True)

    told: Any = engine.query("red fox day").response_gen  # type: ignore[union-attr]
    assert (next(told), words.is_open) == ("All", True)
    told.close()
    assert not words.is_open

    async def leave() -> None:
        answer: Any = await engine.aquery("red fox day")
        told = answer.async_response_gen()
        assert (await anext(told), words.is_open) == ("All", True)
        await told.aclose()
        del answer, told
        await asyncio.sleep(0.1)

    asyncio.run(leave())
    assert not words.is_open


def test_many_calls_at_once_leave_the_loop_free_and_each_model_loaded_once() -> None:
    source = ScriptedModels()
    source.teacher_model = SlowWords(lambda _: "1\n\n### Answer\nA fox.")
    models = SharedModels(source)
    retriever = AloftRetriever(NODES, CONTRACT, models=models)
    asked = AloftCitationQueryEngine(retriever, CONTRACT, models=models)

    async def ask() -> list[str]:
        told = await asyncio.gather(*(asked.aquery("red fox day") for _ in range(32)))
        found = await asyncio.gather(*(retriever.aretrieve("red fox day") for _ in range(32)))
        assert len({tuple(one.node_id for one in some) for some in found}) == 1
        return [str(one) for one in told]

    told, beats = asyncio.run(count_beats(ask()))
    assert told == ["A fox."] * 32
    assert beats > 10  # a loop that waited for a model would have stood still
    assert {kind for kind, _ in source.loaded} == {"embedder", "language model"}
