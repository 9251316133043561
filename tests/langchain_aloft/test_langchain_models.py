"""What a run ships, inside LangChain: embeddings, reranker, retriever and chat over fakes."""

import asyncio
import copy
import pickle
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from langchain_core.cross_encoders import BaseCrossEncoder
from langchain_core.documents import Document
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from pydantic import ValidationError
from scripted import (
    CONTRACT,
    ScriptedModels,
    WordByWord,
    retrieving,
    shared,
    write_records,
    write_run,
)

import langchain_aloft
from aloft.backends.shared import SharedModels
from aloft.errors import ConfigError, DataError
from aloft.protocols import Floats, LanguageModel, Prompt, ScoringModel
from aloft.records import Message, Passage
from aloft.serving.bundle import Bundle
from aloft.testing import HashingEmbedder
from langchain_aloft import (
    AloftEmbeddings,
    AloftLLM,
    AloftReranker,
    AloftRetriever,
    ChatAloft,
    LangChainTeacher,
    create_citation_chain,
)
from langchain_aloft.teacher import teacher_of

TEXTS = ["The blue whale sings.", "A red fox runs.", "The red fox sleeps all day."]


def documents() -> list[Document]:
    return [Document(text, id=str(i), metadata={"page": i}) for i, text in enumerate(TEXTS)]


def isort(name: str) -> tuple[bool, str]:
    """Constants come first."""
    return not name.isupper(), name


def test_public_names_are_sorted_and_documented() -> None:
    assert langchain_aloft.__all__ == sorted(langchain_aloft.__all__, key=isort)
    for name in langchain_aloft.__all__:
        assert getattr(langchain_aloft, name).__doc__, name


def test_importing_the_package_brings_no_model_library() -> None:
    program = (
        "import sys, langchain_aloft;"
        "print(sorted({'torch', 'sentence_transformers', 'llama_index'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stderr


def test_embeddings_are_lists_of_floats_and_async_gives_the_same() -> None:
    embeddings = AloftEmbeddings("any", models=shared())
    vectors = embeddings.embed_documents(TEXTS)

    assert vectors == asyncio.run(embeddings.aembed_documents(TEXTS))
    assert embeddings.embed_query(TEXTS[0]) == pytest.approx(vectors[0])
    assert embeddings.embed_documents([]) == []


def test_a_question_waits_for_a_part_of_a_corpus_that_is_embedded() -> None:
    sizes: list[int] = []

    class Sized(HashingEmbedder):
        def encode_passages(self, texts: Sequence[str]) -> Floats:
            sizes.append(len(texts))
            return super().encode_passages(texts)

    class Source(ScriptedModels):
        def embedder(self, name: str) -> Sized:
            return Sized()

    embeddings = AloftEmbeddings("any", models=SharedModels(Source()))
    texts = [f"A fox {number}." for number in range(1200)]
    vectors = embeddings.embed_documents(texts)
    assert sizes == [512, 512, 176]
    assert vectors == [embeddings.embed_documents([text])[0] for text in texts]


def test_the_reranker_returns_scored_copies_best_first() -> None:
    given = documents()
    reranker = AloftReranker(model="any", top_n=2, score_key="score", models=shared())

    ranked = reranker.compress_documents(given, "red fox day")

    # all three words stand in 2, two of three in 1, none in 0
    assert [document.id for document in ranked] == ["2", "1"]
    assert ranked[0].metadata == {"page": 2, "score": 1.0}
    assert given == documents()
    assert ranked == asyncio.run(reranker.acompress_documents(given, "red fox day"))
    assert reranker.compress_documents([], "red fox") == []
    plain = AloftReranker(model="any", top_n=2, models=shared())
    assert plain.compress_documents(given, "red fox day") == [given[2], given[1]]


def test_the_reranker_is_a_cross_encoder() -> None:
    reranker = AloftReranker(model="any", models=shared())

    assert isinstance(reranker, BaseCrossEncoder)
    assert reranker.score([("red fox", "A red fox."), ("red fox", "A whale.")]) == [1.0, 0.0]


def retriever(contract: Bundle = CONTRACT, k: int | None = None) -> AloftRetriever:
    return AloftRetriever(documents=documents(), contract=contract, k=k, models=shared())


def test_the_retriever_returns_copies_with_metadata_and_leaves_the_documents() -> None:
    ours = retriever(k=1)

    (found,) = ours.invoke("Which whale sings?")

    assert found == documents()[0]
    found.metadata["page"] = 9
    assert ours.documents == documents()
    assert [one.id for one in asyncio.run(ours.ainvoke("Which whale sings?"))] == ["0"]
    assert len(ours.invoke("red fox", k=2)) == 2


def copies() -> list[Callable[[AloftRetriever], AloftRetriever]]:
    return [
        copy.copy,
        copy.deepcopy,
        lambda ours: ours.model_copy(),
        lambda ours: ours.model_copy(deep=True),
    ]


@pytest.mark.parametrize("make", copies())
def test_a_copy_of_the_retriever_shares_models_and_vectors(
    make: Callable[[AloftRetriever], AloftRetriever],
) -> None:
    source = ScriptedModels()
    ours = AloftRetriever(documents=documents(), contract=CONTRACT, models=SharedModels(source))
    found = ours.invoke("red fox day")
    loaded, embedded = list(source.loaded), source.embedded

    copied = make(ours)

    assert copied.models is ours.models
    assert copied.invoke("red fox day") == found
    assert (source.loaded[: len(loaded)], source.embedded) == (loaded, embedded)


def test_a_copy_with_other_documents_retrieves_these() -> None:
    ours = retriever()
    ours.invoke("red fox")

    other = ours.model_copy(update={"documents": [Document("Only this fox.", id="only")]})

    assert [one.id for one in other.invoke("red fox")] == ["only"]
    assert len(ours.invoke("red fox")) == 3
    ours.documents.append(Document("A red fox, a red fox.", id="new"))
    assert "new" in [one.id for one in ours.invoke("red fox")]
    one = ours.model_copy(update={"contract": retrieving(CONTRACT, count=1)})
    assert len(one.invoke("red fox")) == 1


def test_a_pickled_retriever_has_loaded_nothing() -> None:
    ours = retriever()
    expected = ours.invoke("red fox day")

    there = pickle.loads(pickle.dumps(ours))

    assert there.models is not ours.models
    assert there.documents == ours.documents
    there.models = shared()
    assert there.invoke("red fox day") == expected


@pytest.mark.model
def test_a_pickled_retriever_works_in_another_process(tmp_path: Path) -> None:
    from aloft.testing import tiny_encoder

    contract = replace(CONTRACT, embedder=str(tiny_encoder(tmp_path / "encoder")))
    ours = AloftRetriever(documents=documents(), contract=contract)
    expected = [one.id for one in ours.invoke("red fox day")]
    (tmp_path / "retriever").write_bytes(pickle.dumps(ours))
    program = (
        "import pathlib, pickle, sys;"
        "there = pickle.loads(pathlib.Path(sys.argv[1]).read_bytes());"
        "print([one.id for one in there.invoke('red fox day')])"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "retriever")]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.stdout.strip() == str(expected), result.stderr


def test_documents_without_text_are_not_retrieved() -> None:
    given = [Document("", id="image"), *documents()]
    ours = AloftRetriever(documents=given, contract=CONTRACT, models=shared())

    assert {one.id for one in ours.invoke("red fox")} == {"0", "1", "2"}


@pytest.mark.parametrize("k", [0, -1, "2"])
def test_a_number_of_documents_is_at_least_one(k: object) -> None:
    with pytest.raises(ConfigError, match=r"k is .* at least 1"):
        retriever().invoke("red fox", k=k)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ChatAloft(model="any", max_length=3),
        lambda: AloftLLM(model="any", top_k=5),
        lambda: AloftReranker(model="any", top_k=1),
        lambda: AloftRetriever(documents=[], contract=CONTRACT, top_k=1),
    ],
)
def test_unknown_settings_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        make()


def test_unknown_options_of_a_call_are_refused() -> None:
    for model in (ChatAloft(model="any", models=shared()), AloftLLM(model="any", models=shared())):
        with pytest.raises(ConfigError, match=r"A call has no n, top_k\. It may be given max_tok"):
            model.invoke("Hi.", n=1, top_k=1)
        with pytest.raises(ConfigError, match="temperature is -1, but must be a number"):
            model.invoke("Hi.", temperature=-1)
        assert str(model.invoke("Hi.", temperature=0.0, max_tokens=9))


def test_a_stop_may_be_one_text() -> None:
    source = ScriptedModels()
    seen: list[object] = []
    source.teacher_model = WordByWord(lambda _: "One two.")
    whole = source.teacher_model.complete
    source.teacher_model.complete = lambda *a, **k: seen.append(k["stop"]) or whole(*a, **k)  # type: ignore

    ChatAloft(model="any", models=SharedModels(source)).invoke("Hi.", stop="two")  # type: ignore[arg-type]

    assert seen == [("two",)]


def test_lone_surrogates_never_reach_a_model() -> None:
    torn, mended = "What is it \ud83d", "What is it \ufffd"
    source = ScriptedModels()
    models = SharedModels(source)
    embeddings = AloftEmbeddings("any", models=models)
    assert embeddings.embed_query(torn) == embeddings.embed_query(mended)
    assert embeddings.embed_documents([torn]) == embeddings.embed_documents([mended])
    AloftReranker(model="any", models=models).compress_documents([Document(torn)], torn)
    AloftReranker(model="any", models=models).score([(torn, torn)])
    AloftRetriever(documents=[Document(torn)], contract=CONTRACT, models=models).invoke(torn)
    ChatAloft(model="any", models=models).invoke(torn)
    list(ChatAloft(model="any", models=models).stream(torn))
    AloftLLM(model="any", models=models).invoke(torn)
    list(AloftLLM(model="any", models=models).stream(torn))
    assert len(source.teacher_model.asked) == 4
    for text in source.read():
        text.encode()


@pytest.mark.parametrize("given", [None, {"question": "Why?"}, 3])
def test_a_question_that_is_no_text_is_refused(given: object) -> None:
    with pytest.raises(DataError, match="A question is a text, but"):
        AloftEmbeddings("any", models=shared()).embed_query(given)  # type: ignore[arg-type]


def test_what_is_searched_for_is_set_once_or_by_the_call() -> None:
    ours = AloftRetriever(
        documents=documents(),
        contract=CONTRACT,
        search_kwargs={"k": 2, "filter": {"page": 2}},
        models=shared(),
    )
    assert [one.id for one in ours.invoke("red fox")] == ["2"]
    assert [one.id for one in ours.invoke("red fox", filter=None)] == ["1", "2"]
    by_hand = ours.invoke("red fox", k=1, filter=lambda document: document.metadata["page"] < 1)
    assert [one.id for one in by_hand] == ["0"]
    assert ours.invoke("red fox", filter={"page": 7}) == []
    assert [one.id for one in asyncio.run(ours.ainvoke("red fox", filter={"page": 1}))] == ["1"]
    with pytest.raises(ConfigError, match="A search has no fetch_k"):
        ours.invoke("red fox", fetch_k=5)


def test_the_retriever_reranks_where_the_contract_says_so() -> None:
    contract = replace(retrieving(CONTRACT, retriever="hybrid"), reranker="any")

    ranked = retriever(contract).invoke("red fox day")

    assert [one.id for one in ranked] == ["2", "1", "0"]


def test_from_run_retrieves_the_runs_passages_or_the_documents_given(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    passages = [Passage(document_id="0", text="A green newt.", start=0, title="Newts")]
    write_records(run / "passages.jsonl", passages)

    (own,) = AloftRetriever.from_run(run, models=shared()).invoke("newt")
    assert own.id == passages[0].id
    assert own.metadata.items() >= {"source": "0", "title": "Newts", "start_index": 0}.items()
    ours = AloftRetriever.from_run(run, documents(), models=shared(), k=1)
    assert ours.invoke("whale")[0].id == "0"


def test_from_run_loads_what_the_run_ships(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", embedder="embedder", reranker="reranker", adapter="generator")
    models = run / "models"

    assert AloftEmbeddings.from_run(run).model == str(models / "embedder")
    reranker = AloftReranker.from_run(str(run))
    assert (reranker.model, reranker.top_n) == (str(models / "reranker"), 4)
    chat = ChatAloft.from_run(run, max_tokens=7)
    assert (chat.model, chat.adapter, chat.max_tokens) == (
        "any generator",
        str(models / "generator"),
        7,
    )
    for kind in (AloftLLM, ChatAloft):
        assert kind.from_run(run, max_new_tokens=7).max_tokens == 7


def test_what_serves_the_generator_elsewhere_has_its_adapter_there(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", adapter="generator")
    served = "openai:http://localhost:8000/v1#aloft"
    for kind in (AloftLLM, ChatAloft):
        model = kind.from_run(run, model=served)
        assert (model.model, model.adapter, model.max_tokens) == (served, None, 32)


def test_a_run_in_the_users_home_is_found_and_what_names_none_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write_run(tmp_path / "run", embedder="embedder", reranker="reranker")
    corpus = [Document(page_content="Owls hoot.")]
    makers: list[Callable[[Any], object]] = [
        AloftEmbeddings.from_run,
        AloftReranker.from_run,
        ChatAloft.from_run,
        AloftLLM.from_run,
        lambda folder: AloftRetriever.from_run(folder, corpus),
        lambda folder: create_citation_chain(folder, AloftRetriever.from_run(folder, corpus)),
    ]
    for make in makers:
        assert make("~/run")
        for given, fault in (("", "run_folder is empty"), (None, "run_folder is of type NoneType")):
            with pytest.raises(ConfigError, match=fault):
                make(given)


def test_from_run_refuses_a_missing_reranker(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="ships no reranker"):
        AloftReranker.from_run(write_run(tmp_path / "run"))


def test_a_chat_reaches_the_model_message_by_message() -> None:
    source = ScriptedModels()
    chat = ChatAloft(model="any", models=SharedModels(source))

    message = chat.invoke([SystemMessage("Be brief."), HumanMessage("Hi.")])

    assert message.content == "You said: Hi."
    assert message.response_metadata["finish_reason"] == "stop"
    assert source.teacher_model.asked == [
        Prompt(
            messages=(
                Message(role="system", content="Be brief."),
                Message(role="user", content="Hi."),
            )
        )
    ]


def test_a_cut_reply_says_so() -> None:
    chat = ChatAloft(model="any", models=shared(lambda _prompt: None))

    assert chat.invoke("Hi.").response_metadata["finish_reason"] == "length"


def test_a_stream_comes_as_it_is_written_and_tells_its_counts_at_the_end() -> None:
    source = ScriptedModels()
    source.teacher_model = WordByWord(lambda _: "a red fox")
    chat = ChatAloft(model="any", models=SharedModels(source))

    async def ask() -> list[str]:
        return [str(chunk.text) async for chunk in chat.astream("Hi")]

    chunks = list(chat.stream("Hi"))
    assert [str(chunk.text) for chunk in chunks] == asyncio.run(ask()) == ["a ", "red ", "fox"]
    usage = [chunk.usage_metadata and chunk.usage_metadata["output_tokens"] for chunk in chunks]
    assert usage == [None, None, 3]
    assert chunks[-1].response_metadata["finish_reason"] == "stop"


def test_a_chat_model_teaches() -> None:
    replies = [
        AIMessage("### Question\nWhy?"),
        AIMessage("cut", response_metadata={"finish_reason": "length"}),
    ]
    teacher: LanguageModel = LangChainTeacher(GenericFakeChatModel(messages=iter(replies)))
    prompt = Prompt(messages=(Message(role="user", content="Ask."),), prefix="### Question\n")

    whole, cut = teacher.complete([prompt, prompt], max_new_tokens=9)

    assert (whole.text, whole.is_finished) == ("Why?", True)
    assert not cut.is_finished


def test_a_model_of_our_own_teaches_by_itself() -> None:
    source = ScriptedModels(lambda prompt: prompt.messages[-1].content)
    teacher = teacher_of(ChatAloft(model="any", models=SharedModels(source)))
    prompts = [Prompt(messages=(Message(role="user", content=text),)) for text in "ab"]
    assert [reply.text for reply in teacher.complete(prompts, max_new_tokens=9)] == ["a", "b"]
    assert isinstance(teacher, ScoringModel)
    assert teacher.choice_probabilities(prompts, ["yes", "no"]).tolist() == [[0.5, 0.5]] * 2
    other = GenericFakeChatModel(messages=iter([AIMessage("Yes.")]))
    assert isinstance(teacher_of(other), LangChainTeacher)


def test_settings_without_effect_on_a_teacher_are_told(caplog: pytest.LogCaptureFixture) -> None:
    teacher_of(ChatAloft(model="any", models=shared(), max_tokens=9))
    assert not caplog.messages
    teacher_of(ChatAloft(model="any", models=shared(), temperature=0.7, stop=["#"]))
    assert caplog.messages == [
        "Settings of ChatAloft without effect where it teaches: temperature, stop. Leave them out."
    ]


def test_a_plain_prompt_is_one_message_and_stop_strings_reach_the_model() -> None:
    source = ScriptedModels()
    teacher = LangChainTeacher(ChatAloft(model="any", models=SharedModels(source)))
    messages = (Message(role="user", content="One. "), Message(role="user", content="Two. "))

    (reply,) = teacher.complete(
        [Prompt(messages=messages, prefix="Q:", is_plain=True)], max_new_tokens=9, stop=["Two"]
    )

    assert source.teacher_model.asked[0].messages[0].content == "One. Two. Q:"
    assert reply.text == "You said: One. "


def test_a_teacher_that_repeats_the_heading_is_not_ended_by_it() -> None:
    class Cutting(GenericFakeChatModel):
        def _generate(self, messages: Any, stop: Any = None, *args: Any, **kwargs: Any) -> Any:
            found = super()._generate(messages, stop, *args, **kwargs)
            message = found.generations[0].message
            for one in stop or ():
                message.content = str(message.content).partition(one)[0]
            return found

    said = AIMessage("### Question\nWhy?\n\n### Answer\nSo.\n\n### Other")
    teacher = LangChainTeacher(Cutting(messages=iter([said])))
    asked = Prompt(messages=(Message(role="user", content="Ask."),), prefix="### Question\n")
    stop = ("### Question", "### Other")
    (reply,) = teacher.complete([asked], max_new_tokens=9, stop=stop)
    assert reply.text == "Why?\n\n### Answer\nSo.\n\n"


def test_what_a_teacher_thought_is_no_part_of_its_reply() -> None:
    said = AIMessage("<think>\nWhy not?\n</think>\n\nWhy?")
    teacher = LangChainTeacher(GenericFakeChatModel(messages=iter([said])))
    asked = Prompt(messages=(Message(role="user", content="Ask."),))
    assert teacher.complete([asked], max_new_tokens=9)[0].text == "Why?"


def test_a_reply_of_the_host_holds_no_lone_surrogate() -> None:
    teacher = LangChainTeacher(GenericFakeChatModel(messages=iter([AIMessage("Why \ud83d?")])))
    prompt = Prompt(messages=(Message(role="user", content="Ask."),))

    assert teacher.complete([prompt], max_new_tokens=9)[0].text == "Why \ufffd?"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"model": "llama3"}, r"model is of type str.*ChatAloft\(model=name\)"),
        ({"options": ["max_tokens"]}, "options is of type list, but must be a Mapping"),
        ({"concurrency": 0}, "concurrency is 0, but must be a number from 1"),
    ],
)
def test_what_cannot_teach_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LangChainTeacher(**{"model": ChatAloft(model="any", models=shared()), **given})


def test_another_model_has_another_fingerprint() -> None:
    prints = [
        LangChainTeacher(ChatAloft(model=name, models=shared())).fingerprint for name in "aba"
    ]

    assert prints[0] == prints[2] != prints[1]
