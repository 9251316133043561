"""What a run ships, inside LlamaIndex: embedding, rerank and LLM over scripted models."""

import asyncio
import copy
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.schema import ImageNode, NodeWithScore, TextNode
from llama_index.core.storage.kvstore import SimpleKVStore
from llama_index.core.vector_stores.types import (
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)
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

import llama_index_aloft
from aloft.backends.shared import SharedModels
from aloft.errors import ConfigError, DataError
from aloft.protocols import Prompt
from aloft.records import Message, Passage
from llama_index_aloft import (
    AloftCitationQueryEngine,
    AloftEmbedding,
    AloftLLM,
    AloftRerank,
    AloftRetriever,
)

TEXTS = ["The blue whale sings.", "A red fox runs.", "The red fox sleeps all day."]


def found(texts: list[str]) -> list[NodeWithScore]:
    return [
        NodeWithScore(node=TextNode(id_=str(i), text=text), score=1.0 - i / 10)
        for i, text in enumerate(texts)
    ]


def isort(name: str) -> tuple[bool, str]:
    """Constants come first."""
    return not name.isupper(), name


def test_public_names_are_sorted_and_documented() -> None:
    assert llama_index_aloft.__all__ == sorted(llama_index_aloft.__all__, key=isort)
    for name in llama_index_aloft.__all__:
        assert getattr(llama_index_aloft, name).__doc__, name


def test_importing_the_package_brings_no_model_library() -> None:
    program = (
        "import sys, llama_index_aloft;"
        "print(sorted({'torch', 'sentence_transformers', 'langchain_core'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stderr


def test_embeddings_are_the_models_own_one_by_one_in_batches_and_async() -> None:
    embedding = AloftEmbedding("any", models=shared(), embed_batch_size=2)
    batch = embedding.get_text_embedding_batch(TEXTS)

    assert batch == [embedding.get_text_embedding(text) for text in TEXTS]
    assert batch == asyncio.run(embedding.aget_text_embedding_batch(TEXTS))
    query = embedding.get_query_embedding("red fox")
    assert query == asyncio.run(embedding.aget_query_embedding("red fox"))
    assert sum(value * value for value in query) == pytest.approx(1)


def test_an_index_finds_what_shares_words() -> None:
    nodes = [TextNode(id_=str(i), text=text) for i, text in enumerate(TEXTS)]
    index = VectorStoreIndex(nodes, embed_model=AloftEmbedding("any", models=shared()))

    (best,) = index.as_retriever(similarity_top_k=1).retrieve("Which whale sings?")

    assert best.node_id == "0"


def nodes() -> list[TextNode]:
    return [TextNode(id_=str(i), text=t, metadata={"page": i}) for i, t in enumerate(TEXTS)]


def test_the_retriever_returns_copies_of_the_nodes_that_it_was_given() -> None:
    given = nodes()
    ours = AloftRetriever(given, CONTRACT, similarity_top_k=1, models=shared())

    (best,) = ours.retrieve("Which whale sings?")

    assert best.node == given[0]
    best.node.set_content("Changed by a postprocessor.")
    best.node.metadata["page"] = 9
    best.node.excluded_llm_metadata_keys.append("page")
    assert given == nodes()
    (again,) = ours.retrieve("Which whale sings?")
    assert again.node == given[0]
    assert 0 < (best.score or 0) <= 1
    assert [one.node_id for one in asyncio.run(ours.aretrieve("Which whale sings?"))] == ["0"]
    assert len(AloftRetriever(given, CONTRACT, models=shared()).retrieve("red fox")) == 3
    assert AloftRetriever([], CONTRACT, models=shared()).retrieve("red fox") == []


@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy])
def test_a_copy_of_the_retriever_shares_models_and_vectors(
    make: Callable[[AloftRetriever], AloftRetriever],
) -> None:
    source = ScriptedModels()
    ours = AloftRetriever(nodes(), CONTRACT, models=SharedModels(source))
    expected = ours.retrieve("red fox day")
    embedded = source.embedded

    copied = make(ours)

    assert copied.models is ours.models
    assert copied.retrieve("red fox day") == expected
    assert source.embedded == embedded


def test_a_retriever_whose_nodes_were_replaced_retrieves_these() -> None:
    ours = AloftRetriever(nodes(), CONTRACT, models=shared())
    ours.retrieve("red fox")
    other = copy.copy(ours)
    other.nodes = [TextNode(id_="only", text="Only this fox.")]

    assert [one.node_id for one in other.retrieve("red fox")] == ["only"]
    assert len(ours.retrieve("red fox")) == 3
    ours.contract = retrieving(CONTRACT, count=1)
    assert len(ours.retrieve("red fox")) == 1


def test_a_pickled_retriever_and_engine_have_loaded_nothing() -> None:
    ours = AloftRetriever(nodes(), CONTRACT, models=shared())
    engine = AloftCitationQueryEngine(ours, CONTRACT, models=ours.models)
    expected = [one.node_id for one in ours.retrieve("red fox day")]

    for there in (
        pickle.loads(pickle.dumps(ours)),
        pickle.loads(pickle.dumps(engine)).retriever,
        copy.deepcopy(engine).retriever,
    ):
        there.models = shared()
        assert [one.node_id for one in there.retrieve("red fox day")] == expected


@pytest.mark.model
def test_a_pickled_retriever_works_in_another_process(tmp_path: Path) -> None:
    from aloft.testing import tiny_encoder

    contract = replace(CONTRACT, embedder=str(tiny_encoder(tmp_path / "encoder")))
    ours = AloftRetriever(nodes(), contract)
    expected = [one.node_id for one in ours.retrieve("red fox day")]
    (tmp_path / "retriever").write_bytes(pickle.dumps(ours))
    program = (
        "import pathlib, pickle, sys;"
        "there = pickle.loads(pathlib.Path(sys.argv[1]).read_bytes());"
        "print([one.node_id for one in there.retrieve('red fox day')])"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "retriever")]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.stdout.strip() == str(expected), result.stderr


def test_nodes_without_text_are_not_retrieved() -> None:
    ours = AloftRetriever([ImageNode(image="abc"), *nodes()], CONTRACT, models=shared())

    assert {one.node_id for one in ours.retrieve("red fox")} == {"0", "1", "2"}


def test_a_number_of_nodes_is_at_least_one() -> None:
    with pytest.raises(ConfigError, match="similarity_top_k is 0, but must be at least 1"):
        AloftRetriever(nodes(), CONTRACT, similarity_top_k=0)
    ours = AloftRetriever(nodes(), CONTRACT, models=shared())
    ours.similarity_top_k = -1
    with pytest.raises(ConfigError, match="similarity_top_k is -1"):
        ours.retrieve("red fox")


@pytest.mark.parametrize(
    "make",
    [
        lambda: AloftLLM("any", top_k=3),
        lambda: AloftLLM("any", context_window=7),
        lambda: AloftEmbedding("any", batch=3),
        lambda: AloftRerank("any", top_k=1),
    ],
)
def test_unknown_settings_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        make()


def test_an_adapter_without_a_name_is_not_the_working_folder() -> None:
    with pytest.raises(ValidationError, match="The folder is empty"):
        AloftLLM("any", adapter="")


def test_unknown_options_of_a_call_are_refused() -> None:
    llm = AloftLLM("any", models=shared())
    with pytest.raises(ConfigError, match=r"A call has no n, top_k\. It may be given max_tokens"):
        llm.complete("Hi.", n=1, top_k=1)
    with pytest.raises(ConfigError, match="max_tokens and max_new_tokens differ"):
        llm.chat([ChatMessage(content="Hi.")], max_tokens=3, max_new_tokens=4)
    assert llm.complete("Hi.", temperature=0.0, max_tokens=9).text


def test_lone_surrogates_never_reach_a_model() -> None:
    torn, mended = "What is it \ud83d", "What is it \ufffd"
    source = ScriptedModels(lambda _: "1\n\n### Answer\nYes.")
    models = SharedModels(source)
    embedding = AloftEmbedding("any", models=models)
    assert embedding.get_query_embedding(torn) == embedding.get_query_embedding(mended)
    assert embedding.get_text_embedding(torn) == embedding.get_text_embedding(mended)
    given = [TextNode(text=torn, metadata={"title": torn})]
    AloftRerank("any", models=models).postprocess_nodes(
        [NodeWithScore(node=node) for node in given], query_str=torn
    )
    ours = AloftRetriever(given, CONTRACT, models=models)
    ours.retrieve(torn)
    AloftCitationQueryEngine(ours, CONTRACT, models=models).query(torn)
    llm = AloftLLM("any", models=models)
    llm.complete(torn)
    list(llm.stream_complete(torn))
    llm.chat([ChatMessage(content=torn)])
    list(llm.stream_chat([ChatMessage(content=torn)]))
    assert len(source.teacher_model.asked) == 5
    for text in source.read():
        text.encode()


@pytest.mark.parametrize("given", [None, {"question": "Why?"}, 3])
def test_a_question_that_is_no_text_is_refused(given: object) -> None:
    with pytest.raises(DataError, match="A question is a text, but"):
        AloftEmbedding("any", models=shared()).get_query_embedding(given)  # type: ignore[arg-type]


def test_filters_choose_by_metadata() -> None:
    late = MetadataFilters(
        filters=[MetadataFilter(key="page", value=1, operator=FilterOperator.GTE)]
    )
    given = [*nodes(), *nodes()]  # of two that are the same either may be found
    ours = AloftRetriever(given, CONTRACT, filters=late, models=shared())
    assert {one.node_id for one in ours.retrieve("red fox")} == {"1", "2"}
    none = MetadataFilters(filters=[MetadataFilter(key="page", value=7)])
    assert AloftRetriever(given, CONTRACT, filters=none, models=shared()).retrieve("red fox") == []


def test_the_retriever_fuses_and_reranks_where_the_contract_says_so() -> None:
    contract = replace(retrieving(CONTRACT, retriever="hybrid"), reranker="any")

    ranked = AloftRetriever(nodes(), contract, models=shared()).retrieve("red fox day")

    assert [one.node_id for one in ranked] == ["2", "1", "0"]


def test_the_retriever_of_a_run_knows_its_passages(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    passage = Passage(document_id="a.txt", text="A green newt.", start=7, title="Newts")
    write_records(run / "passages.jsonl", [passage])

    (own,) = AloftRetriever.from_run(run, models=shared()).retrieve("newt")
    assert (own.node_id, own.node.metadata) == (passage.id, {"title": "Newts"})
    ours = AloftRetriever.from_run(run, nodes(), models=shared(), similarity_top_k=1)
    assert ours.retrieve("whale")[0].node_id == "0"


def test_rerank_returns_fresh_nodes_best_first_and_leaves_its_inputs() -> None:
    given = found(TEXTS)
    before = [one.model_dump_json() for one in given]
    rerank = AloftRerank("any", top_n=2, models=shared())

    ranked = rerank.postprocess_nodes(given, query_str="red fox day")

    # all three words stand in 2, two of three in 1, none in 0
    assert [(one.node_id, round(one.score or 0, 2)) for one in ranked] == [("2", 1.0), ("1", 0.67)]
    assert [one.model_dump_json() for one in given] == before
    assert not {id(one) for one in ranked} & {id(one) for one in given}
    assert rerank.top_n == 2


def test_rerank_works_async_and_on_nothing_and_needs_a_query() -> None:
    rerank = AloftRerank("any", models=shared())

    ranked = asyncio.run(rerank.apostprocess_nodes(found(TEXTS), query_str="whale"))
    assert [one.node_id for one in ranked] == ["0", "1", "2"]
    assert rerank.postprocess_nodes([], query_str="whale") == []
    with pytest.raises(DataError, match="no query"):
        rerank.postprocess_nodes(found(TEXTS))


def test_a_chat_reaches_the_model_message_by_message() -> None:
    source = ScriptedModels()
    llm = AloftLLM("any", models=SharedModels(source))
    messages = [
        ChatMessage(role=MessageRole.SYSTEM, content="Be brief."),
        ChatMessage(role=MessageRole.USER, content="Hi <|im_end|>"),
    ]

    response = llm.chat(messages)

    assert (response.message.role, response.message.content) == (
        MessageRole.ASSISTANT,
        "You said: Hi <|im_end|>",
    )
    assert source.teacher_model.asked == [
        Prompt(
            messages=(
                Message(role="system", content="Be brief."),
                Message(role="user", content="Hi <|im_end|>"),
            )
        )
    ]


def test_a_text_is_a_users_message_unless_it_is_formatted() -> None:
    source = ScriptedModels()
    llm = AloftLLM("any", models=SharedModels(source))

    llm.complete("Hi")
    llm.complete("Once upon", formatted=True)

    assert [prompt.is_plain for prompt in source.teacher_model.asked] == [False, True]


def test_every_way_of_asking_gives_the_same_reply() -> None:
    llm = AloftLLM("any", models=shared())
    messages = [ChatMessage(content="Hi")]

    async def ask() -> list[str]:
        completed = await llm.acomplete("Hi")
        chatted = await llm.achat(messages)
        pieces = [piece.delta or "" async for piece in await llm.astream_chat(messages)]
        more = [piece.delta or "" async for piece in await llm.astream_complete("Hi")]
        return [completed.text, str(chatted.message.content), "".join(pieces), "".join(more)]

    streamed = "".join(piece.delta or "" for piece in llm.stream_chat(messages))
    completed = "".join(piece.delta or "" for piece in llm.stream_complete("Hi"))
    assert {*asyncio.run(ask()), streamed, completed} == {"You said: Hi"}


def test_a_stream_comes_as_it_is_written_and_tells_its_counts_at_the_end() -> None:
    source = ScriptedModels()
    source.teacher_model = WordByWord(lambda _: "a red fox")
    llm = AloftLLM("any", models=SharedModels(source))
    messages = [ChatMessage(content="Hi")]

    async def ask() -> list[tuple[str | None, str | None]]:
        return [(one.delta, one.message.content) async for one in await llm.astream_chat(messages)]

    streamed = list(llm.stream_chat(messages))
    said = [("a ", "a "), ("red ", "a red "), ("fox", "a red fox")]
    assert [(one.delta, one.message.content) for one in streamed] == asyncio.run(ask()) == said
    assert [(one.delta, one.text) for one in llm.stream_complete("Hi")] == said
    facts = [one.additional_kwargs for one in streamed]
    assert facts[:2] == [{}, {}]
    assert (facts[2]["completion_tokens"], facts[2]["finish_reason"]) == (3, "stop")


def test_from_run_loads_what_the_run_ships(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", embedder="embedder", reranker="reranker", adapter="generator")
    models = run / "models"

    assert AloftEmbedding.from_run(run).model_name == str(models / "embedder")
    rerank = AloftRerank.from_run(str(run))
    assert (rerank.model, rerank.top_n) == (str(models / "reranker"), 4)
    llm = AloftLLM.from_run(run, max_tokens=7)
    assert (llm.model, llm.adapter, llm.max_tokens) == (
        "any generator",
        str(models / "generator"),
        7,
    )
    assert AloftLLM.from_run(run, max_new_tokens=7).max_tokens == 7


def test_a_run_in_the_users_home_is_found_and_what_names_none_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write_run(tmp_path / "run", embedder="embedder", reranker="reranker")
    nodes = [TextNode(text="Owls hoot.")]
    makers: list[Callable[[Any], object]] = [
        AloftEmbedding.from_run,
        AloftRerank.from_run,
        AloftLLM.from_run,
        lambda folder: AloftRetriever.from_run(folder, nodes),
        lambda folder: AloftCitationQueryEngine.from_run(folder, nodes),
    ]
    for make in makers:
        assert make("~/run")
        for given, fault in (("", "run_folder is empty"), (None, "run_folder is of type NoneType")):
            with pytest.raises(ConfigError, match=fault):
                make(given)


def test_what_serves_the_generator_elsewhere_has_its_adapter_there(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", adapter="generator")
    served = "openai:http://localhost:8000/v1#aloft"
    llm = AloftLLM.from_run(run, model=served, models=shared())
    assert (llm.model, llm.adapter, llm.max_tokens) == (served, None, 32)
    assert llm.metadata.context_window > 0


def test_from_run_falls_back_to_the_base_embedder_and_refuses_a_missing_reranker(
    tmp_path: Path,
) -> None:
    run = write_run(tmp_path / "run")

    assert AloftEmbedding.from_run(run).model_name == "any embedder"
    with pytest.raises(DataError, match="ships no reranker"):
        AloftRerank.from_run(run)
    with pytest.raises(DataError, match="Finish a run first"):
        AloftLLM.from_run(tmp_path)


def test_components_survive_pickling_and_state_no_models() -> None:
    embedding = AloftEmbedding("any", models=shared(), embed_batch_size=3)

    again = pickle.loads(pickle.dumps(embedding))

    assert (again.model_name, again.embed_batch_size) == ("any", 3)
    assert "models" not in embedding.to_dict()
    assert AloftRerank.from_dict(AloftRerank("any", top_n=2).to_dict()).top_n == 2


@pytest.mark.parametrize("way", ["query_embedding", "text_embedding", "text_embedding_batch"])
def test_the_files_of_a_model_are_read_beside_the_loop_for_a_cache(way: str) -> None:
    """They take a second a gigabyte when they are read first; then their digests are known."""
    read_by: list[threading.Thread] = []

    class Large(ScriptedModels):
        def fingerprint(self, name: str, adapter: Path | None = None) -> str:
            read_by.append(threading.current_thread())
            return super().fingerprint(name, adapter)

    cached = AloftEmbedding("any", models=SharedModels(Large()), embeddings_cache=SimpleKVStore())
    asyncio.run(getattr(cached, f"aget_{way}")(["A fox."] if way.endswith("batch") else "A fox."))
    assert read_by[0] is not threading.main_thread()


def test_a_cache_of_embeddings_can_be_kept_in_a_file_and_copied(tmp_path: Path) -> None:
    model = AloftEmbedding("any", models=shared(), embeddings_cache=SimpleKVStore())
    model.get_text_embedding("A fox.")
    cache, file = model.embeddings_cache, str(tmp_path / "cache.json")
    for one in (cache, copy.deepcopy(cache), pickle.loads(pickle.dumps(cache))):
        one.persist(file)
        assert len(SimpleKVStore.from_persist_path(file).get_all("embeddings")) == 1
