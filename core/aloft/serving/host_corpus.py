"""The passages of a run with what the host that gave its documents knows of them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aloft.backends.loading import Models
from aloft.corpus.duplicates import COPY_REASONS
from aloft.corpus.host_chunks import START, DocumentChunks, host_offset
from aloft.files import write_text
from aloft.jsonl import RecordFile, encode_record
from aloft.records import Chunk, Document, Passage, Rejection
from aloft.retrieval.index_store import IndexStore
from aloft.retrieval.retriever import Retriever
from aloft.serving.bundle import open_retriever, open_run_retriever, read_bundle

CHUNKS = "host_chunks.jsonl"  # of a run folder: the chunks of its documents, as their host had them


@dataclass(frozen=True, slots=True, kw_only=True)
class HostedPassage:
    """A passage of a run.

    Attributes:
        start: Its offset as the host counts it: from where the offsets of the chunk that it was cut
            from do, such as a page, or else from the chunk's own beginning.
        metadata: That of this chunk.
        form: What else the host needs to make an object of its own of it.
        host_id: The id of that chunk.
    """

    passage: Passage
    start: int
    metadata: Mapping[str, Any] = field(default_factory=dict)
    form: Mapping[str, Any] = field(default_factory=dict)
    host_id: str = ""


def write_chunks(run: Path, documents: Sequence[Document]) -> None:
    """Keep in a run folder what the host of its documents knows of their chunks."""
    lines = [encode_record(chunk) for document in documents for chunk in document.chunks]
    write_text(run / CHUNKS, b"".join(lines).decode("utf-8", "surrogatepass"))


def open_hosted_retriever(
    run: Path, models: Models | None = None
) -> tuple[Retriever, list[HostedPassage]]:
    """The retriever that a finished run ships, and the passages that it finds, in its order.

    A text that a run dropped as a copy of another one is found too if its metadata are others, as
    those of another tenant are. The passages are held in memory, as a host's documents are, so that
    the run may be done anew, moved or deleted while they are served.

    Raises:
        DataError: the folder holds no bundle, or a bundle without its run's passages.
    """
    run = run.absolute()  # its vectors are read later, wherever the process is then
    chunks = _read_chunks(run)
    hosted = [_hosted(passage, chunks) for passage in open_run_retriever(run).passages]
    hosted += _copies(run, hosted, chunks) if chunks else []
    passages = [one.passage for one in hosted]
    return open_retriever(read_bundle(run), passages, models, IndexStore(run / "work")), hosted


def read_passages(run: Path) -> Mapping[str, Passage]:
    """The passages of a run by id, held in memory; none where the folder is a bundle alone.

    Those that models read as they stand are left out.
    """
    path = run / "passages.jsonl"
    records = RecordFile(path, Passage) if path.exists() else ()
    return {one.id: one for one in records if one.reading_frame}


def _read_chunks(run: Path) -> dict[str, DocumentChunks[Chunk]]:
    """The chunks of each document."""
    found: dict[str, list[Chunk]] = {}
    if (run / CHUNKS).exists():
        for chunk in RecordFile(run / CHUNKS, Chunk):
            found.setdefault(chunk.document_id, []).append(chunk)
    return {document_id: DocumentChunks(chunks) for document_id, chunks in found.items()}


def _hosted(passage: Passage, chunks: Mapping[str, DocumentChunks[Chunk]]) -> HostedPassage:
    known = chunks.get(passage.document_id)
    best = known.chunk_of(passage) if known else None
    if best is None:
        return HostedPassage(passage=passage, start=passage.start)
    metadata, form = json.loads(best.metadata), json.loads(best.form)
    return HostedPassage(
        passage=passage,
        start=host_offset(passage, best, form.pop(START, 0)),
        metadata=metadata,
        form=form,
        host_id=best.host_id,
    )


def _copies(
    run: Path, hosted: Sequence[HostedPassage], chunks: Mapping[str, DocumentChunks[Chunk]]
) -> list[HostedPassage]:
    """Passages that were dropped as copies, where metadata tell them from what was kept."""
    rejected, cut = run / "rejections" / "passages.jsonl", run / "work" / "stages" / "split.jsonl"
    if not rejected.exists() or not cut.exists():
        return []
    kept_of = {  # of each copy, the id of the passage that was kept
        one.subject_id: one.detail.split()[2].rstrip(",")
        for one in RecordFile(rejected, Rejection)
        if one.reason in COPY_REASONS
    }
    if not kept_of:
        return []
    seen = {one.passage.id: {_written(one.metadata)} for one in hosted}
    found = []
    for passage in RecordFile(cut, Passage):
        known = seen.get(kept_of.get(passage.id, ""))
        if known is not None:
            copy = _hosted(passage, chunks)
            written = _written(copy.metadata)
            if written not in known:
                known.add(written)
                found.append(copy)
    return found


def _written(metadata: Mapping[str, Any]) -> str:
    """Metadata as text, which a set can hold: a footer may have thousands of copies."""
    return json.dumps(metadata, sort_keys=True)
