"""A run's own passages come back with what their host knew of them."""

import json
from collections.abc import Sequence
from pathlib import Path
from shutil import rmtree

import pytest
from scripted import ScriptedModels, split_rejections, write_records, write_run
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from aloft.config import PassagesConfig
from aloft.corpus.duplicates import drop_copies
from aloft.corpus.host_chunks import (
    HostChunk,
    merge_chunks,
    metadata_to_json,
    without_metadata,
)
from aloft.corpus.passages import DocumentSplitter
from aloft.records import Passage
from aloft.retrieval.retriever import Retriever
from aloft.serving.host_corpus import (
    open_hosted_retriever,
    read_passages,
    write_chunks,
)

LEAVE = "Leave is asked for three weeks ahead."
CHUNKS = [
    HostChunk(
        source=f"{tenant}.md",
        text=text,
        id=f"{tenant}-{number}",
        embedding_frame=(f"tenant: {tenant}\n\n", ""),
        reading_frame=("", ""),
        metadata=json.dumps({"tenant": tenant, "page": number}),
        form=json.dumps({"excluded_llm_metadata_keys": ["tenant", "page"]}),
    )
    for tenant in ("north", "south")
    for number, text in enumerate([LEAVE, f"The office of the {tenant} has nine rooms."])
]


def cut(folder: Path, chunks: list[HostChunk]) -> Path:
    """A run on some chunks, as its first stages write it."""
    run = write_run(folder)
    documents = [merged.document for merged in merge_chunks(chunks)]
    write_chunks(run, documents)
    splitter = DocumentSplitter(
        Tokenizer(WordLevel({"?": 0}, unk_token="?")), PassagesConfig(min_characters=1)
    )
    passages = [
        passage
        for document in documents
        for passage in splitter.split(without_metadata(document))
        if isinstance(passage, Passage)
    ]
    kept, copies = split_rejections(drop_copies(passages, 0.9))
    write_records(run / "work" / "stages" / "split.jsonl", passages)
    write_records(run / "passages.jsonl", kept)
    write_records(run / "rejections" / "passages.jsonl", copies)
    return run


def test_no_passage_holds_text_of_chunks_that_differ(tmp_path: Path) -> None:
    run = cut(tmp_path, CHUNKS)
    assert [(one.text, one.embedded) for one in read_passages(run).values()] == [
        (text, f"tenant: {tenant}\n\n{text}")
        for tenant, text in (
            ("north", LEAVE),
            ("north", "The office of the north has nine rooms."),
            ("south", "The office of the south has nine rooms."),
        )
    ]


def test_every_passage_has_the_metadata_of_its_chunk_copies_too(tmp_path: Path) -> None:
    models = ScriptedModels()
    retriever, hosted = open_hosted_retriever(cut(tmp_path, CHUNKS), models)

    assert [(one.host_id, one.passage.text == LEAVE) for one in hosted] == [
        ("north-0", True),
        ("north-1", False),
        ("south-1", False),
        ("south-0", True),  # dropped as a copy, but another tenant's
    ]
    assert hosted[3].metadata == {"tenant": "south", "page": 0}
    assert hosted[3].form == {"excluded_llm_metadata_keys": ["tenant", "page"]}
    assert list(retriever.passages) == [one.passage for one in hosted]
    (found,) = retriever.retrieve(["tenant south leave"], 1)
    assert found[0].column == 3
    assert f"tenant: south\n\n{LEAVE}" in models.texts


def test_a_copy_with_the_same_metadata_is_one(tmp_path: Path) -> None:
    north = [chunk for chunk in CHUNKS if chunk.source == "north.md"]
    again = [
        HostChunk(source="other.md", text=one.text, metadata=one.metadata, form=one.form)
        for one in north
    ]
    _, hosted = open_hosted_retriever(cut(tmp_path, [*north, *again]), ScriptedModels())
    assert [one.host_id for one in hosted] == ["north-0", "north-1"]


def test_a_run_on_files_has_no_metadata_and_a_bundle_alone_no_passages(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    passage = Passage(document_id="a.txt", text="A newt.", start=0, title="Newts")
    write_records(run / "passages.jsonl", [passage])
    retriever, (hosted,) = open_hosted_retriever(run, ScriptedModels())
    assert (hosted.passage, hosted.metadata, hosted.form) == (passage, {}, {})
    assert len(retriever.passages) == 1
    assert dict(read_passages(write_run(tmp_path / "bundle"))) == {}


@pytest.mark.parametrize("retriever", ["dense", "hybrid"])
def test_a_retriever_stays_as_it_was_opened(tmp_path: Path, retriever: str) -> None:
    """Its run may be done anew, moved or deleted below a service."""

    def write(folder: Path, texts: Sequence[str]) -> Path:
        cut = [Passage(document_id="a", text=text, start=0) for text in texts]
        write_records(folder / "passages.jsonl", cut)
        return folder

    texts = ["A newt swims.", "A fox runs.", "A whale sings."]
    run = write(write_run(tmp_path / "run", retriever=retriever), texts)
    new, used = (open_hosted_retriever(run, ScriptedModels())[0] for _ in range(2))

    def found(by: Retriever) -> list[str]:
        return [by.retrieve([text], 1)[0][0].passage.text for text in texts]

    assert found(used) == texts
    write(run, ["In March the boiler is serviced by three engineers.", *reversed(texts)])
    assert found(used) == found(new) == texts
    assert open_hosted_retriever(run, ScriptedModels())[0].retrieve(["boiler"], 1)
    rmtree(run)
    assert found(used) == found(new) == texts


def test_offsets_count_as_those_of_the_chunk_do(tmp_path: Path) -> None:
    def page(number: int, text: str, start: int | None) -> HostChunk:
        metadata = json.dumps({"page": number})
        return HostChunk(source="a.pdf", text=text, start=start, metadata=metadata)

    first, second = "The first page has rooms. It has nine.", "The second page has none at all."
    chunks = [page(1, first, None), page(2, second[:20], 0), page(2, second[11:], 11)]
    _, hosted = open_hosted_retriever(cut(tmp_path, chunks), ScriptedModels())

    by_page = {1: first, 2: second}
    assert len(hosted) >= 2
    for one in hosted:
        text = by_page[one.metadata["page"]]
        assert text[one.start :].startswith(one.passage.text)
        assert one.form == {}


def test_what_is_not_utf8_in_ids_and_metadata_is_kept(tmp_path: Path) -> None:
    """As of files whose names are in another encoding."""
    name = "caf\udce9.txt"
    chunk = HostChunk(source=name, text=LEAVE, id=name, metadata=metadata_to_json({"source": name}))
    _, (hosted,) = open_hosted_retriever(cut(tmp_path, [chunk]), ScriptedModels())
    assert (hosted.host_id, hosted.metadata) == (name, {"source": name})
