"""The retriever takes queries and filters as LlamaIndex' applications send them."""

import asyncio
import math
from dataclasses import replace
from datetime import date, datetime
from enum import Enum
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.postprocessor import SimilarityPostprocessor
from llama_index.core.schema import (
    Document as TextDocument,
)
from llama_index.core.schema import (
    ImageNode,
    MetadataMode,
    NodeRelationship,
    NodeWithScore,
    QueryBundle,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.vector_stores import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)
from llama_index.core.vector_stores.utils import build_metadata_filter_fn
from scripted import CONTRACT, ScriptedModels, retrieving, shared, write_records, write_run

from aloft.api import ConfigError, DataError, Relevance, SharedModels
from aloft.records import Passage
from aloft.serving.host_corpus import write_chunks
from llama_index_aloft import AloftRerank, AloftRetriever, to_documents
from llama_index_aloft.convert import to_nodes, to_passage

ROWS: dict[str, dict[str, Any]] = {
    "a": {"page": 1, "tags": ["red", "blue"], "author": "Ada King"},
    "b": {"page": 2, "tags": ["red"], "author": "Bo"},
    "c": {"page": 3, "tags": [], "author": ""},
    "d": {},
}
NODES = [TextNode(id_=name, text="A fox.", metadata=row) for name, row in ROWS.items()]
Op = FilterOperator


def on(key: str, value: Any, operator: FilterOperator = Op.EQ) -> MetadataFilter:
    return MetadataFilter(key=key, value=value, operator=operator)


def found(filters: MetadataFilters) -> str:
    ours = AloftRetriever(NODES, CONTRACT, filters=filters, similarity_top_k=9, models=shared())
    names = sorted(one.node_id for one in ours.retrieve("fox"))
    assert sorted(one.node_id for one in asyncio.run(ours.aretrieve("fox"))) == names
    return "".join(names)


OPERATORS = [
    (on("page", 2), "b"),
    (on("page", 2, Op.NE), "acd"),
    (on("page", 1, Op.GT), "bc"),
    (on("page", 2, Op.GTE), "bc"),
    (on("page", 2, Op.LT), "a"),
    (on("page", 2, Op.LTE), "ab"),
    (on("page", [1, 3], Op.IN), "ac"),
    (on("page", [1, 3], Op.NIN), "bd"),
    (on("tags", ["blue", "green"], Op.ANY), "a"),
    (on("tags", ["red", "blue"], Op.ALL), "a"),
    (on("tags", "red", Op.CONTAINS), "ab"),
    (on("author", "King", Op.TEXT_MATCH), "a"),
    (on("author", "king", Op.TEXT_MATCH), ""),
    (on("author", "king", Op.TEXT_MATCH_INSENSITIVE), "a"),
    (on("author", None, Op.IS_EMPTY), "cd"),
    (on("tags", None, Op.IS_EMPTY), "cd"),
]


@pytest.mark.parametrize(("one", "expected"), OPERATORS)
def test_every_operator_admits_what_it_says(one: MetadataFilter, expected: str) -> None:
    assert found(MetadataFilters(filters=[one])) == expected


@pytest.mark.skipif(
    tuple(map(int, version("llama-index-core").split(".")[:3])) < (0, 14, 25),
    reason="before, LlamaIndex read missing metadata and the case of texts otherwise",
)
@pytest.mark.parametrize(("one", "expected"), OPERATORS)
def test_every_operator_admits_what_llama_index_admits(one: MetadataFilter, expected: str) -> None:
    filters = MetadataFilters(filters=[one])
    theirs = build_metadata_filter_fn(lambda name: ROWS[name], filters)
    assert "".join(name for name in ROWS if theirs(name)) == expected


def test_every_operator_is_known() -> None:
    assert {one.operator for one, _ in OPERATORS} == set(FilterOperator)


def test_conditions_combine_to_any_depth() -> None:
    first, second, red = on("page", 1), on("page", 2), on("tags", "red", Op.CONTAINS)
    either = MetadataFilters(filters=[first, second], condition=FilterCondition.OR)
    neither = MetadataFilters(filters=[first, second], condition=FilterCondition.NOT)
    assert (found(either), found(neither)) == ("ab", "cd")
    assert found(MetadataFilters(filters=[either, on("author", "Bo")])) == "b"
    assert found(MetadataFilters(filters=[neither], condition=FilterCondition.NOT)) == "ab"
    deep = MetadataFilters(filters=[MetadataFilters(filters=[either, neither]), red])
    assert found(deep) == ""
    assert found(MetadataFilters(filters=[])) == "abcd"


@pytest.mark.parametrize("key", ["doc_id", "document_id", "ref_doc_id"])
def test_the_document_of_a_node_is_filtered_by_as_in_a_store(key: str) -> None:
    source = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id="laws")}
    nodes = [TextNode(id_=one, text=f"A fox {one}.", relationships=source) for one in "ab"]
    nodes += [TextNode(id_="c", text="A fox."), TextNode(id_="d", text="A fox.", metadata={key: 3})]
    for wanted, names in {"laws": ["a", "b"], "c": ["c"], 3: ["d"]}.items():
        filters = MetadataFilters(filters=[on(key, wanted)])
        ours = AloftRetriever(nodes, CONTRACT, filters=filters, models=shared())
        assert sorted(one.node_id for one in ours.retrieve("fox")) == names


class Kind(Enum):
    NOTE = "note"


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (datetime(2026, 3, 2, 9), "2026-03-02T08:30:00"),
        (date(2026, 3, 2), "2026-03-01"),
        (Path("b/notes.md"), "b/notes.md"),
        (UUID(int=1), str(UUID(int=1))),
        (Kind.NOTE, "note"),
    ],
)
def test_what_json_has_as_text_is_filtered_by_as_in_a_store(
    tmp_path: Path, value: Any, wanted: str
) -> None:
    node = TextNode(id_="a", text="A fox.", metadata={"key": value})
    run = write_run(tmp_path / "run")
    write_chunks(run, to_documents([node]))
    write_records(run / "passages.jsonl", [to_passage(node)])
    for operator, is_found in {Op.GTE: True, Op.LT: False}.items():
        filters = MetadataFilters(filters=[on("key", wanted, operator)])
        ours = AloftRetriever([node], CONTRACT, filters=filters, models=shared())
        assert [one.metadata["key"] for one in ours.retrieve("fox")] == [value] * is_found
        own = AloftRetriever.from_run(run, filters=filters, models=shared())
        assert len(own.retrieve("fox")) == is_found


@pytest.mark.parametrize(
    "given", [{"page": 1}, [on("page", 1)], on("page", 1), "page == 1", lambda node: True]
)
def test_filters_of_another_form_are_refused(given: Any) -> None:
    with pytest.raises(ConfigError, match=r"filters is of type .*, but must be a MetadataFilters"):
        AloftRetriever(NODES, CONTRACT, filters=given)


@pytest.mark.parametrize(
    "one",
    [
        on("page", 1, Op.IN),
        on("author", 1, Op.TEXT_MATCH),
        on("page", None),
        on("tags", "red", Op.ALL),
    ],
)
def test_a_filter_with_a_value_of_the_wrong_kind_is_refused(one: MetadataFilter) -> None:
    with pytest.raises(ConfigError, match=f'The filter on "{one.key}" by "{one.operator.value}"'):
        AloftRetriever(NODES, CONTRACT, filters=MetadataFilters(filters=[one]))


def test_metadata_that_cannot_be_compared_is_not_admitted() -> None:
    nodes = [*NODES, TextNode(id_="e", text="A fox.", metadata={"page": "iv", "author": 3})]
    for one in (on("page", 2, Op.GTE), on("author", "o", Op.TEXT_MATCH)):
        filters = MetadataFilters(filters=[one])
        ours = AloftRetriever(nodes, CONTRACT, filters=filters, models=shared())
        assert "e" not in {node.node_id for node in ours.retrieve("fox")}


@pytest.mark.parametrize("count", [0, -1, 2.5, "2", True])
def test_a_number_of_nodes_is_whole_and_at_least_one(count: Any) -> None:
    with pytest.raises(ConfigError, match=r"similarity_top_k is .*, but must be at least 1"):
        AloftRetriever(NODES, CONTRACT, similarity_top_k=count)


def test_a_number_of_nodes_may_be_numpys() -> None:
    ours = AloftRetriever(NODES, CONTRACT, similarity_top_k=np.int64(2), models=shared())  # type: ignore[arg-type]
    assert len(ours.retrieve("red fox")) == 2


TEXTS = ("red fox", "blue whale", "grey wolf")
THREE = [TextNode(id_=text.split()[1], text=text) for text in TEXTS]
HYBRID = retrieving(CONTRACT, retriever="hybrid")


def best(query: Any, contract: Any = CONTRACT, **models: Any) -> str:
    ours = AloftRetriever(
        THREE, contract, similarity_top_k=1, models=models.get("models", shared())
    )
    (one,) = ours.retrieve(query)
    (again,) = asyncio.run(ours.aretrieve(query))
    assert again.node_id == one.node_id
    return one.node_id


def test_custom_strings_are_embedded_in_place_of_the_text() -> None:
    assert best(QueryBundle("red fox", custom_embedding_strs=["blue whale", "whale"])) == "whale"
    assert best(QueryBundle("", custom_embedding_strs=["grey wolf"])) == "wolf"
    assert best(QueryBundle("red fox", custom_embedding_strs=[])) == "fox"


def test_an_embedding_is_used_as_it_is() -> None:
    source = ScriptedModels()
    (vector,) = source.embedder("any").encode_queries(["blue whale"]).tolist()
    longer = [3 * value for value in vector]
    query = QueryBundle("red fox", embedding=longer)
    assert best(query, models=SharedModels(source)) == "whale"
    assert query == QueryBundle("red fox", embedding=longer)
    # BM25 reads the text: of equal shares its passage is as good, and stands first
    assert best(query, HYBRID, models=SharedModels(source)) == "fox"
    assert best(
        QueryBundle("grey wolf", embedding=vector), HYBRID, models=SharedModels(source)
    ) in {
        "whale",
        "wolf",
    }


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (None, "A query is a text or a QueryBundle, but NoneType was given"),
        ({"query_str": "fox"}, "A query is a text or a QueryBundle, but dict was given"),
        (QueryBundle("fox", image_path="a.png"), "The query has an image, but only text"),
        (QueryBundle({"a": 1}), "A question is a text, but dict was given"),  # type: ignore[arg-type]
        (QueryBundle("fox", custom_embedding_strs=[3]), "A question is a text, but int"),  # type: ignore[list-item]
        ("", "The query has no text"),
        (QueryBundle(" ", embedding=[1.0]), "The query has no text"),
        (QueryBundle("fox", embedding=[1.0, 2.0]), "a vector of 2 dimensions, but passages have"),
        (QueryBundle("fox", embedding=[0.0, 0.0]), "embedding must be a list of numbers"),
        (QueryBundle("fox", embedding=["a"]), "embedding must be a list of numbers"),  # type: ignore[list-item]
        (QueryBundle("fox", embedding=[[1.0]]), "embedding must be a list of numbers"),  # type: ignore[list-item]
    ],
)  # fmt: skip
def test_what_cannot_be_searched_for_is_refused_in_one_line(query: Any, message: str) -> None:
    ours = AloftRetriever(THREE, CONTRACT, models=shared())
    for ask in (ours.retrieve, lambda given: asyncio.run(ours.aretrieve(given))):
        with pytest.raises(DataError, match=message) as refused:
            ask(query)
        assert "\n" not in str(refused.value)


def test_bm25_alone_takes_no_vector() -> None:
    ours = AloftRetriever(THREE, retrieving(CONTRACT, retriever="bm25"), models=shared())
    with pytest.raises(DataError, match="ships BM25 alone, which reads text"):
        ours.retrieve(QueryBundle("fox", embedding=np.ones(8).tolist()))
    with pytest.raises(DataError, match="Pass query_str alone"):
        ours.retrieve(QueryBundle("fox", custom_embedding_strs=["wolf"]))
    assert ours.retrieve("fox")


def test_a_reranker_reads_text_alone() -> None:
    given = [NodeWithScore(node=node) for node in THREE]
    rerank = AloftRerank("any", top_n=1, models=shared())
    hyde = QueryBundle("blue whale", custom_embedding_strs=["grey wolf"])
    assert rerank.postprocess_nodes(given, hyde)[0].node_id == "whale"
    with pytest.raises(DataError, match="The query has an image"):
        rerank.postprocess_nodes(given, QueryBundle("fox", image_path="a.png"))


def test_retrievers_of_the_same_nodes_share_vectors() -> None:
    source = ScriptedModels()
    models = SharedModels(source)
    nodes = [
        TextNode(text=f"A shared fox {i}.", metadata=row) for i, row in enumerate(ROWS.values())
    ]
    first = AloftRetriever(nodes, HYBRID, models=models)
    first.retrieve("fox")
    embedded = source.embedded
    for page in (1, 2, 3):
        filters = MetadataFilters(filters=[on("page", page)])
        filtered = AloftRetriever(list(nodes), HYBRID, filters=filters, models=models)
        assert [one.node.metadata["page"] for one in filtered.retrieve("fox")] == [page]
    assert source.embedded == embedded > 0


def test_of_a_corpus_that_changes_the_new_nodes_alone_are_embedded() -> None:
    source = ScriptedModels()
    grows = AloftRetriever(
        [TextNode(text=f"Growing owl {i}.") for i in range(3)], HYBRID, models=SharedModels(source)
    )
    grows.retrieve("owl")
    embedded = source.embedded
    grows.nodes.insert(0, TextNode(text="A new owl hoots."))
    assert grows.retrieve("A new owl hoots.")[0].text == "A new owl hoots."
    assert source.embedded == embedded + 1


def test_a_run_keeps_metadata_templates_and_exclusions_of_its_nodes(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    given = [
        TextNode(
            text="Rooms are booked by phone.",
            metadata={"tenant": tenant, "secret": "x"},
            excluded_embed_metadata_keys=["secret"],
            excluded_llm_metadata_keys=["tenant", "secret"],
            metadata_template="{key}={value}",
            relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=f"{tenant}.md")},
        )
        for tenant in ("north", "south")
    ]
    documents = to_documents(given)
    write_chunks(run, documents)
    framed = [to_passage(node) for node in given]
    write_records(run / "passages.jsonl", framed)

    filters = MetadataFilters(filters=[on("tenant", "south")])
    (own,) = AloftRetriever.from_run(run, filters=filters, models=shared()).retrieve("rooms")

    for mode in MetadataMode:
        assert own.node.get_content(mode) == given[1].get_content(mode)
    assert own.node.metadata == given[1].metadata
    assert own.node.ref_doc_id == "south.md"
    assert to_passage(own.node) == framed[1]


def test_what_is_embedded_is_what_llama_index_embeds() -> None:
    source = ScriptedModels()
    text = "The minutes record decisions on travel."
    nodes = [
        TextNode(id_="lopez", text=text, metadata={"author": "Maria Lopez"}),
        TextNode(id_="kim", text=text, metadata={"author": "Joon Kim"}),
        TextNode(
            id_="hidden",
            text=text,
            metadata={"title": "Joon Kim"},
            excluded_embed_metadata_keys=["title"],
        ),
    ]
    contract = replace(HYBRID, reranker="any")
    ours = AloftRetriever(nodes, contract, models=SharedModels(source), similarity_top_k=3)
    assert ours.retrieve("Joon Kim")[0].node_id == "kim"
    expected = {node.get_content(MetadataMode.EMBED) for node in nodes}
    assert set(source.texts) - {"Joon Kim"} == expected
    rerank = AloftRerank("any", top_n=1, models=SharedModels(source))
    given = [NodeWithScore(node=one) for one in nodes]
    assert rerank.postprocess_nodes(given, query_str="Joon")[0].node_id == "kim"
    assert set(source.texts) - {"Joon Kim", "Joon"} == expected


def test_a_node_has_the_same_score_in_any_company() -> None:
    question = "Which whale is blue?"
    whole = AloftRetriever(THREE, HYBRID, models=shared(), similarity_top_k=3)
    scores = {one.node_id: one.score for one in whole.retrieve(question)}
    for node in THREE:
        (alone,) = AloftRetriever([node], HYBRID, models=shared()).retrieve(question)
        assert alone.score == pytest.approx(scores[node.node_id], abs=1e-6)
    cut = SimilarityPostprocessor(similarity_cutoff=scores["whale"])
    assert [one.node_id for one in cut.postprocess_nodes(whole.retrieve(question))] == ["whale"]


def test_a_reranker_scores_by_what_a_run_has_fitted() -> None:
    given = [NodeWithScore(node=node) for node in THREE]
    plain = AloftRerank("any", top_n=3, models=shared()).postprocess_nodes(given, query_str="blue")
    relevance = Relevance(constant=-2.0, similarity=0.0, overlap=0.0, reranker=3.0)
    fitted = AloftRerank("any", top_n=3, relevance=relevance, models=shared())
    found = fitted.postprocess_nodes(given, query_str="blue")
    assert [one.node_id for one in found] == [one.node_id for one in plain]
    for one, before in zip(found, plain, strict=True):
        odds = -2.0 + 3.0 * (before.score or 0)
        assert one.score == pytest.approx(1 / (1 + math.exp(-odds)))
    again = AloftRerank.from_dict(fitted.to_dict())
    assert again.relevance == relevance


def test_the_query_that_is_embedded_is_counted_and_seen() -> None:
    counter = TokenCountingHandler(tokenizer=str.split)
    manager = CallbackManager([counter])
    ours = AloftRetriever(THREE, CONTRACT, models=shared(), callback_manager=manager)
    ours.retrieve("Which blue whale sings?")
    assert counter.total_embedding_token_count == 4
    ours.retrieve(QueryBundle("whale", custom_embedding_strs=["one two", "three"]))
    assert counter.total_embedding_token_count == 4 + 3


def test_nodes_without_text_are_left_out_whatever_their_metadata() -> None:
    """Blank pages of a PDF, and images with a caption."""
    blank = [
        TextDocument(text=" \n ", metadata={"page_label": "2"}),
        TextNode(text="", metadata={"page": 1}),
        ImageNode(image="aGk=", metadata={"caption": "A green newt."}),
    ]
    assert [one.text for one in to_documents([*blank, THREE[0]])] == [THREE[0].text]
    assert to_documents(blank) == []
    given = [NodeWithScore(node=node) for node in (*THREE, *blank)]
    best = AloftRerank("any", top_n=1, models=shared()).postprocess_nodes(given, query_str="newt")
    assert best[0].node is blank[2]  # its caption is what of it is embedded


def test_offsets_of_nodes_count_in_the_page_that_the_metadata_name() -> None:
    pages = [f"Page {n} has the rooms {n}. They are open on day {n}." for n in (1, 2)]
    source = RelatedNodeInfo(node_id="a.pdf")
    given = [
        TextNode(
            text=page[s : s + 30], start_char_idx=s, end_char_idx=s + 30, metadata={"page": n},
            relationships={NodeRelationship.SOURCE: source},
        )
        for n, page in enumerate(pages)
        for s in (0, 20)
    ]  # fmt: skip
    (document,) = to_documents(given)
    passages = [
        Passage(document_id=document.id, text=text, start=document.text.index(text))
        for text in ("Page 1 has the rooms 1.", "They are open on day 2.")
    ]
    for found in to_nodes(passages, given):
        page = pages[found.metadata["page"]]
        assert page[found.start_char_idx : found.end_char_idx] == found.text
