"""The retriever takes queries and filters as LangChain's applications send them."""

import asyncio
import math
import threading
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.runnables import ConfigurableField, RunnableLambda
from scripted import (
    CONTRACT,
    ScriptedModels,
    WordByWord,
    retrieving,
    shared,
    write_records,
    write_run,
)

from aloft.api import ConfigError, DataError, Relevance, SharedModels
from aloft.records import Passage
from aloft.serving.host_corpus import write_chunks
from langchain_aloft import AloftReranker, AloftRetriever, create_citation_chain, to_documents
from langchain_aloft.convert import from_passages

ROWS: list[dict[str, Any]] = [
    {"source": "a.md", "page": 1, "tags": ["red", "blue"], "day": date(2026, 1, 1)},
    {"source": "b.md", "page": 2, "tags": ["red"], "day": date(2026, 2, 1)},
    {"source": "c.md", "page": "iv", "tags": []},
    {"source": "d.md", "draft": None},
]
DOCUMENTS = [
    Document(f"A fox of number {i}.", id=row["source"][0], metadata=row)
    for i, row in enumerate(ROWS)
]


def retriever(**fields: Any) -> AloftRetriever:
    return AloftRetriever(documents=DOCUMENTS, contract=CONTRACT, models=shared(), **fields)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, "abcd"),
        ({"source": "b.md"}, "b"),
        ({"source": "b.md", "page": 1}, ""),
        ({"page": {"$eq": 2}}, "b"),
        ({"page": {"$ne": 2}}, "acd"),
        ({"source": {"$in": ["a.md", "d.md"]}}, "ad"),
        ({"source": {"$nin": ["a.md", "d.md"]}}, "bc"),
        ({"page": {"$gt": 1}}, "b"),
        ({"page": {"$gte": 1}}, "ab"),
        ({"page": {"$lt": 2}}, "a"),
        ({"page": {"$lte": 2, "$ne": 1}}, "b"),
        ({"day": {"$gte": date(2026, 1, 15)}}, "b"),
        ({"page": {"$exists": False}}, "d"),
        ({"draft": {"$exists": True}}, "d"),
        ({"draft": None}, "d"),
        ({"tags": "red"}, "ab"),
        ({"tags": {"$eq": ["red"]}}, "b"),
        ({"tags": {"$in": ["blue", "green"]}}, "a"),
        ({"tags": {"$ne": "red"}}, "cd"),
        ({"tags": {"$nin": ["blue"]}}, "bcd"),
        ({"page": {"$in": range(1, 3)}}, "ab"),
        ({"source": {"$nin": {"a.md": 1}.keys()}}, "bcd"),
        ({"$and": [{"page": {"$exists": True}}, {"tags": "red"}]}, "ab"),
        ({"$or": [{"page": 1}, {"source": "d.md"}]}, "ad"),
        ({"$not": {"tags": "red"}}, "cd"),
        ({"page": {"$not": {"$gt": 1}}}, "acd"),
        ({"$or": [{"$and": [{"page": 1}, {"tags": "blue"}]}, {"$not": {"source": "d.md"}}]}, "abc"),
        (lambda document: document.metadata["source"] < "c", "ab"),
    ],
)
def test_filters_admit_by_metadata(wanted: Any, expected: str) -> None:
    ours = retriever(search_kwargs={"filter": wanted})
    assert sorted(one.id or "" for one in ours.invoke("fox", k=9)) == list(expected)
    found = asyncio.run(retriever().ainvoke("fox", k=9, filter=wanted))
    assert sorted(one.id or "" for one in found) == list(expected)


async def is_mine(document: Document) -> bool:
    return False


@pytest.mark.parametrize(
    "wanted",
    [
        "page == 1",
        ["page"],
        {"page": [1, 2]},
        {"page": {}},
        {"page": {"$near": 1}},
        {"page": {"nested": 1}},
        {"page": {"$in": 1}},
        {"page": {"$in": map(int, "12")}},
        {"page": {"$nin": (page for page in (1, 2))}},
        {"page": {"$exists": 1}},
        {"$and": {"page": 1}},
        {"$or": []},
        {"$nor": [{"page": 1}]},
        {"$not": 3},
        {1: 2},
        is_mine,
    ],
)
def test_other_filters_are_refused_in_one_line(wanted: Any) -> None:
    with pytest.raises(ConfigError, match=r"The filter .* is not supported.*\$gte") as refused:
        retriever().invoke("fox", filter=wanted)
    assert "\n" not in str(refused.value)
    with pytest.raises(ConfigError, match="is not supported"):  # before anything is embedded
        retriever(search_kwargs={"filter": wanted})


def test_a_filter_that_turns_out_to_be_async_admits_nothing() -> None:
    class Mine:
        async def __call__(self, document: Document) -> bool:
            return False

    for wanted in (Mine(), lambda document: is_mine(document)):
        with pytest.raises(ConfigError, match="It is async, but is called as a plain function"):
            retriever().invoke("fox", filter=wanted)


def test_a_list_of_values_is_pointed_to_its_operator() -> None:
    with pytest.raises(ConfigError, match=r'{"page": {"\$in": \[\.\.\.\]}}'):
        retriever().invoke("fox", filter={"page": [1, 2]})


@pytest.mark.parametrize("k", [0, -1, 2.0, "2", True])
def test_a_number_of_documents_is_whole_and_at_least_one(k: Any) -> None:
    with pytest.raises(ConfigError, match=r"k is .*, but must be a whole number of at least 1"):
        retriever().invoke("fox", k=k)


def test_more_documents_than_are_ranked_at_first_are_returned() -> None:
    many = [Document(f"Fox {i}.") for i in range(130)]
    ours = AloftRetriever(documents=many, contract=CONTRACT, models=shared(), k=120)
    assert len(ours.invoke("fox")) == 120


@pytest.mark.parametrize("question", [None, {"question": "Why?"}, 3, "", " \n"])
def test_a_query_without_text_is_refused(question: Any) -> None:
    with pytest.raises(DataError, match="question"):
        retriever().invoke(question)


def test_scores_stay_out_of_the_metadata_unless_they_are_asked_for() -> None:
    assert retriever().invoke("number 1", k=1) == [DOCUMENTS[1]]
    (found,) = retriever(score_key="how").invoke("number 1", k=1)
    assert found.metadata.keys() == {*ROWS[1], "how"}
    assert isinstance(found.metadata["how"], float)
    assert "how" not in ROWS[1]


def test_numbers_of_a_search_may_be_numpys() -> None:
    ours = retriever(k=9)
    assert len(ours.invoke("fox", k=np.int64(2), score_threshold=np.float32(0))) == 2


def test_what_scores_less_than_the_threshold_is_left_out() -> None:
    ours = retriever(k=9, score_key="score")
    scores = [one.metadata["score"] for one in ours.invoke("A fox of number 1.")]
    assert len(scores) == 4
    assert all(0 < score < 1 for score in scores)
    best = max(scores)
    found = ours.invoke("A fox of number 1.", score_threshold=best)
    assert [one.metadata["score"] for one in found] == [best]
    ours.search_kwargs = {"score_threshold": 1.0}
    assert ours.invoke("A fox of number 1.") == []
    for wrong in (-0.1, 2, "high"):
        with pytest.raises(
            ConfigError, match=r"score_threshold is .*, but must be a number from 0"
        ):
            ours.invoke("fox", score_threshold=wrong)


def test_a_document_has_the_same_score_in_any_company() -> None:
    question = "A fox of number 2."
    ours = retriever(k=9, score_key="score")
    for document in DOCUMENTS:
        alone = AloftRetriever(
            documents=[document], contract=CONTRACT, models=shared(), score_key="score"
        )
        (expected,) = alone.invoke(question)
        filtered = ours.invoke(question, filter={"source": document.metadata["source"]})
        among = [one for one in ours.invoke(question) if one.id == document.id]
        for one in (*filtered, *among):
            assert one.metadata["score"] == pytest.approx(expected.metadata["score"], abs=1e-6)


def test_retrievers_of_the_same_documents_share_vectors() -> None:
    source = ScriptedModels()
    models = SharedModels(source)
    shared_by_these = [Document(f"A shared fox {i}.", metadata=row) for i, row in enumerate(ROWS)]
    first = AloftRetriever(documents=shared_by_these, contract=CONTRACT, models=models)
    first.invoke("fox")
    embedded = source.embedded
    assert embedded > 0
    for row in ROWS:
        filtered = AloftRetriever(
            documents=list(shared_by_these),
            contract=CONTRACT,
            models=models,
            search_kwargs={"filter": {"source": row["source"]}},
        )
        assert [one.metadata for one in filtered.invoke("fox")] == [row]
    assert source.embedded == embedded


def test_of_a_corpus_that_changes_the_new_documents_alone_are_embedded() -> None:
    source = ScriptedModels()
    models = SharedModels(source)
    fields: dict[str, Any] = {"contract": CONTRACT, "models": models, "k": 9}
    first = AloftRetriever(documents=[Document(f"Growing owl {i}.") for i in range(3)], **fields)
    first.invoke("owl")
    embedded = source.embedded

    first.documents.insert(1, Document("A new owl hoots."))
    assert first.invoke("A new owl hoots.")[0].page_content == "A new owl hoots."
    assert source.embedded == embedded + 1
    wider = first.model_copy(update={"documents": [*first.documents, Document("An owl again.")]})
    assert len(wider.invoke("owl")) == 5
    fewer = AloftRetriever(documents=wider.documents[:2], **fields)
    assert [one.page_content for one in fewer.invoke("new owl")] == [
        "A new owl hoots.",
        "Growing owl 0.",
    ]
    assert source.embedded == embedded + 2
    fresh = AloftRetriever(documents=[Document("An owl again.")], **fields)
    del first, wider, fewer
    fresh.invoke("owl")
    assert source.embedded == embedded + 3, "what no retriever holds any more is embedded"


def by_author(document: Document) -> str:
    return f"By {document.metadata['author']}: {document.page_content}"


MINUTES = [
    Document("The minutes.", id=name, metadata={"author": name, "title": "Joon Kim", "page": page})
    for page, name in enumerate(("Maria Lopez", "Joon Kim"))
]


def test_models_read_the_page_content_or_what_the_function_says() -> None:
    source = ScriptedModels()
    contract = replace(retrieving(CONTRACT, retriever="hybrid"), reranker="any")
    fields: dict[str, Any] = {"contract": contract, "models": SharedModels(source)}
    AloftRetriever(documents=MINUTES, **fields).invoke("Joon Kim")
    assert set(source.texts) == {"Joon Kim", "The minutes."}
    source.texts.clear()
    ours = AloftRetriever(documents=MINUTES, text_of=by_author, **fields)
    assert ours.invoke("Joon Kim", k=1) == [MINUTES[1]]
    expected = {"By Maria Lopez: The minutes.", "By Joon Kim: The minutes."}
    assert set(source.texts) == {"Joon Kim", *expected}
    reranker = AloftReranker(model="any", text_of=by_author, models=SharedModels(source))
    assert reranker.compress_documents(MINUTES, "Kim")[0] == MINUTES[1]


def test_a_run_keeps_the_metadata_of_its_documents(tmp_path: Path) -> None:
    source = ScriptedModels()
    source.teacher_model = WordByWord(lambda _: "1\n\n### Answer\nYes.")
    run = write_run(tmp_path / "run")
    (document, other) = to_documents(MINUTES, text_of=by_author, group_by=None)
    write_chunks(run, [document, other])
    frames = {"embedding_frame": ("By Joon Kim: ", ""), "reading_frame": ("By Joon Kim: ", "")}
    passage = Passage(
        document_id=other.id, text="The minutes.", start=0, title="Joon Kim", **frames
    )
    write_records(run / "passages.jsonl", [passage])
    models = SharedModels(source)

    own = AloftRetriever.from_run(run, models=models)
    (found,) = own.invoke("Kim", filter={"page": 1})
    assert own.invoke("Kim", filter={"page": 0}) == []
    assert (found.page_content, found.id) == ("The minutes.", passage.id)
    assert found.metadata.items() >= MINUTES[1].metadata.items()
    assert "By Joon Kim: The minutes." in source.texts

    # the chain reads the run's passages as they were trained on, whatever retrieved them
    answered = create_citation_chain(run, own, models=models).invoke("Kim")
    assert answered["citations"] == [found]
    prompt = source.teacher_model.asked[-1].messages[-1].content
    assert "By Joon Kim: The minutes." in prompt


def test_what_a_call_configures_is_searched_by_the_same_vectors(tmp_path: Path) -> None:
    source = ScriptedModels()
    run = write_run(tmp_path / "run")
    frame = ("By Joon Kim: ", "")
    passages = [
        Passage(document_id=name, text=f"The minutes {name}.", start=0, embedding_frame=frame)
        for name in "ab"
    ]
    write_records(run / "passages.jsonl", passages)
    field = ConfigurableField(id="search_kwargs")
    models = SharedModels(source)
    for ours in (
        AloftRetriever.from_run(run, models=models),
        AloftRetriever(documents=DOCUMENTS, contract=CONTRACT, models=models),
    ):
        ours.invoke("Kim")
        embedded, chosen = source.embedded, ours.configurable_fields(search_kwargs=field)
        for wanted in ({"k": 1}, {"filter": {"source": {"$in": ["b", "b.md"]}}}):
            config: Any = {"configurable": {"search_kwargs": wanted}}
            assert chosen.invoke("Kim", config) == ours.invoke("Kim", **wanted)
            assert asyncio.run(chosen.ainvoke("Kim", config)) == ours.invoke("Kim", **wanted)
        assert source.embedded == embedded
    assert "By Joon Kim: The minutes a." in source.texts
    assert "The minutes a." not in source.texts


def test_a_reranker_scores_by_what_a_run_has_fitted() -> None:
    relevance = Relevance(constant=-2.0, similarity=0.0, overlap=0.0, reranker=3.0)
    fitted = AloftReranker(model="any", relevance=relevance, score_key="score", models=shared())
    (best, *rest) = fitted.compress_documents(DOCUMENTS, "number 1")
    assert best.metadata["score"] == pytest.approx(1 / (1 + math.exp(-1.0)))
    assert all(one.metadata["score"] < best.metadata["score"] for one in rest)
    assert fitted.score([("number 1", DOCUMENTS[1].page_content)]) == [1.0]


def test_the_chain_reads_what_the_retriever_returns_where_it_was_changed(tmp_path: Path) -> None:
    source = ScriptedModels()
    source.teacher_model = WordByWord(lambda _: "1\n\n### Answer\nYes.")
    run = write_run(tmp_path / "run")
    (document,) = to_documents(MINUTES[:1], text_of=by_author, group_by=None)
    write_chunks(run, [document])
    frame = ("By Maria Lopez: ", "")
    passage = Passage(
        document_id=document.id, text="The minutes.", start=0, title="Joon Kim",
        embedding_frame=frame, reading_frame=frame,
    )  # fmt: skip
    write_records(run / "passages.jsonl", [passage])
    models = SharedModels(source)
    own = AloftRetriever.from_run(run, models=models)

    def redact(found: list[Document]) -> list[Document]:
        return [one.model_copy(update={"page_content": "[redacted]"}) for one in found]

    create_citation_chain(run, own | RunnableLambda(redact), models=models).invoke("Kim")  # type: ignore[arg-type]
    prompt = source.teacher_model.asked[-1].messages[-1].content
    assert "[redacted]" in prompt
    assert "The minutes." not in prompt

    served = create_citation_chain(run, own, models=models)
    for _ in "ab":
        served.invoke("Kim")
        asked = source.teacher_model.asked[-1].messages[-1].content
        assert "By Maria Lopez: The minutes." in asked
        write_records(run / "passages.jsonl", [replace(passage, text="Anew.")])  # meanwhile


def test_a_runs_own_passages_are_filtered_by_what_json_lacks(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    given = [
        Document(f"A fox of {year}.", metadata={"source": str(year), "day": date(year, 1, 1),
                                                "path": Path("d") / str(year),
                                                "price": Decimal(year) / 10})
        for year in (2025, 2026)
    ]  # fmt: skip
    documents = to_documents(given)
    write_chunks(run, documents)
    passages = [Passage(document_id=one.id, text=one.text, start=0) for one in documents]
    write_records(run / "passages.jsonl", passages)
    own = AloftRetriever.from_run(run, models=shared())
    ours = AloftRetriever(documents=given, contract=CONTRACT, models=shared())
    for wanted in (
        {"day": {"$gte": date(2026, 1, 1)}},
        {"day": {"$in": [date(2026, 1, 1)]}},
        {"path": Path("d/2026")},
        {"price": {"$gt": 202.5}},
        {"price": Decimal("202.6")},
    ):
        for one in (own, ours):
            (found,) = one.invoke("fox", filter=wanted)
            assert found.metadata["source"] == "2026"


def test_arrays_in_metadata_are_lists_and_a_caller_changes_its_own_copy() -> None:
    lock = threading.Lock()  # which cannot be copied
    rows = [Document("A fox.", metadata={"row": np.arange(2), "tags": ["x"], "lock": lock})]
    ours = AloftRetriever(documents=rows, contract=CONTRACT, models=shared())
    (found,) = ours.invoke("fox", filter={"row": 1})
    assert found.metadata["lock"] is lock
    found.metadata["tags"].append("y")
    assert rows[0].metadata["tags"] == ["x"]
    assert ours.invoke("fox", filter={"tags": "y"}) == []


def test_offsets_of_results_count_in_the_page_that_the_metadata_name() -> None:
    pages = [f"Page {n} has the rooms {n}. They are open on day {n}." for n in (1, 2)]
    whole = [Document(t, metadata={"source": "a", "page": n}) for n, t in enumerate(pages)]
    cut = [
        Document(page[s : s + 30], metadata={"source": "a", "page": n, "start_index": float(s)})
        for n, page in enumerate(pages)
        for s in (0, 20)
    ]
    for given in (whole, cut):
        (document,) = to_documents(given)
        passages = [
            Passage(document_id=document.id, text=text, start=document.text.index(text))
            for text in ("Page 1 has the rooms 1.", "They are open on day 2.")
        ]
        for found in from_passages(passages, given):
            page, start = pages[found.metadata["page"]], found.metadata["start_index"]
            assert page[start:].startswith(found.page_content)
