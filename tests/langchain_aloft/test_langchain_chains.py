"""From a question to cited documents in one chain, and a plain LLM, over scripted models."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from copy import copy
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler, UsageMetadataCallbackHandler
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.globals import set_llm_cache
from langchain_core.messages import BaseMessage
from langchain_core.outputs import LLMResult
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langchain_core.vectorstores import InMemoryVectorStore
from scripted import (
    CONTRACT,
    OpenWords,
    ScriptedModels,
    SlowWords,
    WordByWord,
    count_beats,
    shared,
    write_records,
    write_run,
)

from aloft.backends.shared import SharedModels
from aloft.errors import ConfigError, DataError, PromptTooLongError
from aloft.protocols import Prompt, Reply
from aloft.records import Passage
from aloft.serving.bundle import read_bundle
from langchain_aloft import AloftLLM, AloftRetriever, create_citation_chain, to_documents

DOCUMENTS = [
    Document("The blue whale sings.", metadata={"title": "Whales", "page": 3}),
    Document("A red fox runs."),
    Document("The red fox sleeps all day."),
]
QUOTES = '[1] "The red fox sleeps"\n[2] "no such words"'
QUOTING = f"{QUOTES}\n\n### Reference\n1\n\n### Answer\nAll day."
RAFT = {"format": "raft", "contexts": 2}


def chain(tmp_path: Path, reply: str, **contract: Any) -> Any:
    """A chain over a run that ships models which write a reply word by word."""
    source = ScriptedModels()
    source.teacher_model = WordByWord(lambda _: reply)
    models = SharedModels(source)
    run = write_run(tmp_path / "run", **contract)
    retriever = AloftRetriever(documents=DOCUMENTS, contract=read_bundle(run), models=models)
    return create_citation_chain(run, retriever, models=models)


class Seen(BaseCallbackHandler):
    """Remembers the runs, and what the models of them were asked and said."""

    def __init__(self) -> None:
        self.runs: list[tuple[str, tuple[UUID, UUID | None]]] = []
        self.asked: list[list[BaseMessage]] = []
        self.tokens: list[str] = []
        self.replies: list[str] = []

    def on_chain_start(self, *_: Any, run_id: UUID, **given: Any) -> None:
        if given.get("parent_run_id") is None:
            self.runs.append(("chain", (run_id, None)))

    def on_retriever_start(self, *_: Any, run_id: UUID, **given: Any) -> None:
        self.runs.append(("retriever", (run_id, given.get("parent_run_id"))))

    def on_chat_model_start(self, _: Any, messages: Any, *, run_id: UUID, **given: Any) -> None:
        self.runs.append(("model", (run_id, given.get("parent_run_id"))))
        self.asked += messages

    def on_llm_new_token(self, token: Any, **_: Any) -> None:
        self.tokens += [token] if token else []

    def on_llm_end(self, response: LLMResult, **_: Any) -> None:
        self.replies.append(response.generations[0][0].text)


def test_an_answer_comes_with_the_documents_that_it_cites(tmp_path: Path) -> None:
    told = chain(tmp_path, "1\n\n### Answer\nA whale.", contexts=2).invoke("Which whale sings?")
    assert told["question"] == "Which whale sings?"
    assert told["answer"] == "A whale."
    assert len(told["context"]) == 2
    (cited,) = told["citations"]
    assert (cited.page_content, cited.metadata["page"]) == ("The blue whale sings.", 3)
    assert (told["quotes"], told["is_abstaining"]) == ([], False)


def test_another_server_of_the_generator_loads_its_adapter_itself(tmp_path: Path) -> None:
    source = ScriptedModels(lambda _: "1\n\n### Answer\nA whale.")
    run = write_run(tmp_path / "run", adapter="generator")
    served = "openai:http://localhost:8000/v1#aloft"
    found = RunnableLambda(lambda _: DOCUMENTS)
    told = create_citation_chain(run, found, generator=served, models=SharedModels(source))  # type: ignore[arg-type]
    assert told.invoke("Which?")["answer"] == "A whale."
    assert (source.loaded, source.adapters) == ([("language model", served)], [None])


def test_quotes_are_placed_in_their_documents(tmp_path: Path) -> None:
    told = chain(tmp_path, QUOTING, **RAFT).invoke({"question": "red fox day"})
    (quote,) = told["quotes"]
    text = told["context"][quote["context"]].page_content
    assert text[quote["start"] : quote["end"]] == quote["text"] == "The red fox sleeps"
    assert told["unverified_quotes"] == 1


@pytest.mark.parametrize(
    "text_of",
    [
        None,
        lambda document: f"Foxes\n\n{document.page_content}\n(end)",
        lambda document: f"Foxes: {document.page_content.strip()}",
    ],
)
def test_quotes_are_placed_in_the_page_content_whatever_stands_around_it(
    tmp_path: Path, text_of: Any
) -> None:
    run = write_run(tmp_path / "run", **RAFT)
    fox = Document("\n\n  The red fox sleeps all day.\n")
    models = shared(lambda _: QUOTING)
    made = create_citation_chain(
        run,
        AloftRetriever(documents=[fox], contract=read_bundle(run), models=models, text_of=text_of),
        text_of=text_of,
        models=models,
    )
    (quote,) = made.invoke("red fox day")["quotes"]
    assert fox.page_content[quote["start"] : quote["end"]] == "The red fox sleeps"


def test_invoke_stream_and_their_async_forms_give_the_same(tmp_path: Path) -> None:
    made = chain(tmp_path, QUOTING, **RAFT)

    async def ask() -> tuple[Any, list[Any]]:
        pieces = [piece async for piece in made.astream("red fox day")]
        return await made.ainvoke("red fox day"), pieces

    whole = made.invoke("red fox day")
    pieces = list(made.stream("red fox day"))
    later, later_pieces = asyncio.run(ask())
    assert later == whole
    assert pieces == later_pieces
    assert "".join(piece.get("answer", "") for piece in pieces) == whole["answer"] == "All day."
    answers = [place for place, piece in enumerate(pieces) if "answer" in piece]
    assert len(answers) > 1
    assert "citations" in pieces[0]  # before the answer is written
    assert made.batch(["red fox day"] * 2) == [whole, whole]


def test_a_stream_that_nobody_reads_on_ends_at_once(tmp_path: Path) -> None:
    source = ScriptedModels()
    source.teacher_model = words = OpenWords(lambda _: "1\n\n### Answer\nAll day long.")
    run, models = write_run(tmp_path / "run"), SharedModels(source)
    found: Any = RunnableLambda(lambda _: DOCUMENTS)
    made = create_citation_chain(run, found, models=models)

    pieces: Any = made.stream("red fox day")
    assert "citations" in next(pieces)
    assert words.is_open
    pieces.close()
    assert not words.is_open

    async def leave() -> None:
        pieces: Any = made.astream("red fox day")
        assert "citations" in await anext(pieces)
        assert words.is_open
        await pieces.aclose()
        await asyncio.sleep(0.1)

    asyncio.run(leave())
    assert not words.is_open


def test_the_generator_is_seen_by_callbacks_with_its_prompt_tokens_and_usage(
    tmp_path: Path,
) -> None:
    made = chain(tmp_path, QUOTING, **RAFT)
    seen, usage = Seen(), UsageMetadataCallbackHandler()

    whole = made.invoke("red fox day", config={"callbacks": [seen, usage]})

    assert [kind for kind, _ in seen.runs] == ["chain", "retriever", "model"]
    (asked,) = seen.asked
    assert [message.type for message in asked] == ["system", "human"]
    assert "The red fox sleeps all day." in asked[-1].text
    assert seen.tokens == ["All", " day."]  # those of the answer, not of the reply's headings
    assert seen.replies == [whole["answer"]]
    assert usage.usage_metadata["any generator"]["output_tokens"] == len(QUOTING.split(" "))
    model, parent = next(ids for kind, ids in seen.runs if kind == "model")
    assert model != parent
    assert parent is not None  # a child of the chain's


def test_event_streams_have_the_generators_tokens(tmp_path: Path) -> None:
    made = chain(tmp_path, QUOTING, **RAFT)

    async def ask() -> list[Any]:
        return [event async for event in made.astream_events("red fox day", version="v2")]

    events = asyncio.run(ask())
    kinds = {event["event"] for event in events}
    assert kinds >= {"on_retriever_end", "on_chat_model_start", "on_chat_model_end"}
    said = [e["data"]["chunk"].text for e in events if e["event"] == "on_chat_model_stream"]
    assert "".join(said) == "All day."
    (end,) = [event for event in events if event["event"] == "on_chat_model_end"]
    assert end["data"]["output"].usage_metadata["output_tokens"] == len(QUOTING.split(" "))


def test_the_answers_of_a_batch_are_generated_together(tmp_path: Path) -> None:
    class Counted(SlowWords):
        sizes: list[int] = []  # noqa: RUF012 - of one test

        def complete(self, prompts: Sequence[Prompt], **limits: Any) -> list[Reply]:
            self.sizes.append(len(prompts))
            return super().complete(prompts, **limits)

    source = ScriptedModels()
    source.teacher_model = Counted(lambda _: "1\n\n### Answer\nA whale.")
    models = SharedModels(source)
    retriever = AloftRetriever(documents=DOCUMENTS, contract=CONTRACT, models=models)
    made = create_citation_chain(write_run(tmp_path / "run"), retriever, models=models)
    questions = [f"Which whale is number {i}?" for i in range(12)]
    set_llm_cache(InMemoryCache())  # which has no citations
    try:
        for _ in range(2):
            for ask in (made.batch, lambda *given, **how: asyncio.run(made.abatch(*given, **how))):
                source.teacher_model.sizes.clear()
                seen = Seen()
                told = ask([*questions, ""], {"callbacks": [seen]}, return_exceptions=True)
                assert isinstance(told.pop(), DataError)
                assert [one["question"] for one in told] == questions
                assert seen.replies == ["A whale."] * 12
                assert sum(source.teacher_model.sizes) == 12
                assert len(source.teacher_model.sizes) <= 6
    finally:
        set_llm_cache(None)
    assert made.invoke(questions[0]) == told[0]


def test_nothing_retrieved_is_answered_without_a_model(tmp_path: Path) -> None:
    seen = Seen()
    found = RunnableLambda(lambda _: [])
    run = write_run(tmp_path / "run")
    made = create_citation_chain(run, found, models=SharedModels(ScriptedModels()))  # type: ignore[arg-type]

    told = made.invoke("Who?", config={"callbacks": [seen]})

    assert (told["is_abstaining"], told["context"], told["citations"]) == (True, [], [])
    assert told["question"] == "Who?"
    assert seen.asked == []


def test_input_and_output_have_json_schemas(tmp_path: Path) -> None:
    made = chain(tmp_path, QUOTING, **RAFT)

    properties = made.get_output_jsonschema()["$defs"]["CitedAnswer"]["properties"]
    assert properties["answer"]["type"] == "string"
    assert properties["context"]["items"]["$ref"] == "#/$defs/Document"
    assert "question" in str(made.get_input_jsonschema())
    assert made.get_graph().to_json(with_schemas=True)["nodes"]
    assert (made | RunnableLambda(len)).get_graph().draw_mermaid()


def test_a_prompt_beyond_the_window_is_refused_in_one_line(tmp_path: Path) -> None:
    class Small(WordByWord):
        def stream(self, *_: Any, **__: Any) -> Iterator[Reply]:
            yield Reply(text="", is_finished=False, prompt_tokens=900, is_unread=True)

    source = ScriptedModels()
    source.teacher_model = Small(lambda _: "")
    models = SharedModels(source)
    retriever = AloftRetriever(documents=DOCUMENTS, contract=CONTRACT, models=models)
    made = create_citation_chain(write_run(tmp_path / "run"), retriever, models=models)
    with pytest.raises(PromptTooLongError, match="900 tokens, but any generator reads at most 512"):
        made.invoke("Which whale sings?")


def test_a_chain_goes_on_in_other_chains(tmp_path: Path) -> None:
    loud = chain(tmp_path, QUOTING, **RAFT) | RunnableLambda(lambda told: told["answer"].upper())
    assert loud.invoke("red fox day") == "ALL DAY."


def test_a_run_answers_from_its_own_passages(tmp_path: Path) -> None:
    source = ScriptedModels()
    source.teacher_model = WordByWord(lambda _: "1\n\n### Answer\nGreen.")
    run = write_run(tmp_path / "run")
    passage = Passage(document_id="a.txt", text="A green newt.", start=7, title="Newts")
    write_records(run / "passages.jsonl", [passage])
    (cited,) = create_citation_chain(run, models=SharedModels(source)).invoke("newt")["citations"]
    assert (cited.page_content, cited.metadata["source"]) == ("Newts\nA green newt.", "a.txt")
    assert source.teacher_model.asked[-1].messages[-1].content.count("Newts") == 1


@pytest.mark.parametrize("change", ["with_retry", "with_config", "copy"])
def test_the_chain_is_a_tool_of_agents(tmp_path: Path, change: str) -> None:
    made = chain(tmp_path, "3\n\n### Answer\nAll day.")
    made = copy(made) if change == "copy" else getattr(made, change)()

    asking = made.pick("answer").as_tool(name="ask", description="Facts about animals.")

    assert asking.args == {"question": {"title": "Question", "type": "string"}}
    call = {"name": "ask", "args": {"question": "When does the fox sleep?"}, "id": "1"}
    assert asking.invoke({**call, "type": "tool_call"}).content == "All day."
    assert asyncio.run(asking.ainvoke(call["args"])) == "All day."
    assert tool("ask", made, description="Facts.").invoke(call["args"])["answer"] == "All day."
    assert made.invoke(made.get_input_schema()(**call["args"]))["answer"] == "All day."


@pytest.mark.parametrize("given", ["", " ", {}, {"question": 3}, None])
def test_no_question_is_told_in_one_line(tmp_path: Path, given: Any) -> None:
    with pytest.raises(DataError, match="There is no question"):
        chain(tmp_path, "").invoke(given)


@pytest.mark.parametrize("found", [None, "text", ["text"], [(DOCUMENTS[0], 0.5)], {"context": []}])
def test_what_a_retriever_must_return_is_told_in_one_line(tmp_path: Path, found: Any) -> None:
    run, retrieved = write_run(tmp_path / "run"), RunnableLambda(lambda _: found)
    made = create_citation_chain(run, retrieved, models=SharedModels(ScriptedModels()))  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"but \w+ was given\. A retriever returns the documents"):
        made.invoke("Which whale sings?")


@pytest.mark.parametrize(
    "given", [InMemoryVectorStore(DeterministicFakeEmbedding(size=4)), [], "fox"]
)
def test_what_is_no_retriever_is_told_when_the_chain_is_made(tmp_path: Path, given: Any) -> None:
    run, kind = write_run(tmp_path / "run"), type(given).__name__
    with pytest.raises(ConfigError, match=rf"is of type {kind}, .* store\.as_retriever\(\)\.$"):
        create_citation_chain(run, given, models=SharedModels(ScriptedModels()))


def test_what_is_no_function_of_a_document_is_told_in_one_line(tmp_path: Path) -> None:
    run, retrieved = write_run(tmp_path / "run"), RunnableLambda(lambda _: DOCUMENTS)
    name: Any = "page_content"
    for use in (
        lambda: create_citation_chain(run, retrieved, text_of=name),  # type: ignore[arg-type]
        lambda: to_documents(DOCUMENTS, text_of=name),
    ):
        with pytest.raises(ConfigError, match="text_of is of type str, but must be a function"):
            use()
    with pytest.raises(ConfigError, match="models is of type str, but must be a SharedModels"):
        create_citation_chain(run, retrieved, models=name)  # type: ignore[arg-type]


def test_half_of_an_emoji_and_documents_without_text_reach_no_model(tmp_path: Path) -> None:
    source = ScriptedModels(lambda _: "1\n\n### Answer\nYes.")
    found = RunnableLambda(lambda _: [Document(""), Document("The \ud835 is a field.")])
    run = write_run(tmp_path / "run")
    made = create_citation_chain(run, found, models=SharedModels(source))  # type: ignore[arg-type]

    answered = made.invoke("What is it \ud83d")

    assert (answered["question"], len(answered["context"])) == ("What is it \ufffd", 1)
    for text in source.read():
        text.encode()


def test_many_calls_at_once_leave_the_loop_free_and_the_model_loaded_once(tmp_path: Path) -> None:
    source = ScriptedModels()
    source.teacher_model = SlowWords(lambda _: "1\n\n### Answer\nA whale.")
    models = SharedModels(source)
    retriever = AloftRetriever(documents=DOCUMENTS, contract=CONTRACT, models=models)
    made = create_citation_chain(write_run(tmp_path / "run"), retriever, models=models)

    async def ask() -> list[Any]:
        return await asyncio.gather(*(made.ainvoke("Which whale sings?") for _ in range(32)))

    told, beats = asyncio.run(count_beats(ask()))
    assert [one["answer"] for one in told] == ["A whale."] * 32
    assert beats > 10  # a loop that waited for a model would have stood still


@pytest.mark.parametrize("way", ["ainvoke", "abatch"])
def test_the_passages_of_a_run_are_read_beside_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    def read_slowly(_: Path) -> dict[str, Passage]:
        time.sleep(0.2)
        return {}

    monkeypatch.setattr("langchain_aloft.chains.read_passages", read_slowly)
    made = chain(tmp_path, QUOTING, **RAFT)
    question = "Which whale sings?"
    work = getattr(made, way)([question] if way == "abatch" else question)
    _, beats = asyncio.run(count_beats(work))
    assert beats > 10


def test_an_llm_replies_streams_and_stops() -> None:
    source = ScriptedModels()
    source.teacher_model = WordByWord(lambda prompt: f"You said {prompt.messages[-1].content}")
    llm = AloftLLM(model="any", models=SharedModels(source))
    assert llm.invoke("hi there") == "You said hi there"
    assert list(llm.stream("hi there"))[:2] == ["You ", "said "]
    assert asyncio.run(llm.ainvoke("hi there")) == "You said hi there"
    assert llm.bind(stop=["there"]).invoke("hi") == "You said hi"
    assert (llm._llm_type, llm._identifying_params["model"]) == ("aloft", "any")


def test_an_llm_of_a_run_has_its_adapter(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", adapter="generator")
    llm = AloftLLM.from_run(run, max_tokens=9)
    assert (llm.adapter, llm.max_tokens) == (str(run / "models" / "generator"), 9)
