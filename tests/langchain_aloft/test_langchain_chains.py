"""From a question to cited documents in one chain, and a plain LLM, over scripted models."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.runnables import RunnableLambda
from scripted import (
    CONTRACT,
    ScriptedModels,
    SlowWords,
    WordByWord,
    count_beats,
    write_records,
    write_run,
)

from aloft.backends.shared import SharedModels
from aloft.errors import DataError
from aloft.records import Passage
from aloft.serving.bundle import read_bundle
from langchain_aloft import AloftLLM, AloftRetriever, create_citation_chain

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


@pytest.mark.parametrize("given", ["", " ", {}, {"question": 3}, None])
def test_no_question_is_told_in_one_line(tmp_path: Path, given: Any) -> None:
    with pytest.raises(DataError, match="There is no question"):
        chain(tmp_path, "").invoke(given)


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
