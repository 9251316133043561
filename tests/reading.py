"""Reads files that a test writes, and keys what came out."""

from pathlib import Path

from scripted import split_rejections

from aloft.config import DocumentsConfig
from aloft.corpus.readers import read_documents
from aloft.protocols import Progress, no_progress
from aloft.records import Document, Rejection

CONFIG = DocumentsConfig()


def read_all(
    path: Path, config: DocumentsConfig = CONFIG, progress: Progress = no_progress
) -> tuple[list[Document], list[Rejection]]:
    """All documents and rejections of a folder or file."""
    return split_rejections(read_documents(path, config, progress))


def read(folder: Path, **files: bytes | str) -> tuple[dict[str, Document], dict[str, Rejection]]:
    """Write files named `name__suffix`, read their folder, and key what came out by id."""
    for name, content in files.items():
        raw = content.encode() if isinstance(content, str) else content
        (folder / name.replace("__", ".")).write_bytes(raw)
    documents, rejections = read_all(folder)
    return {one.id: one for one in documents}, {one.subject_id: one for one in rejections}
