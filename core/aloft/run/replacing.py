"""Keeps what a run folder holds from being replaced by a run on another corpus."""

from collections.abc import Sequence

from aloft.corpus.likeness import kept_share
from aloft.errors import RunFolderError
from aloft.jsonl import RecordFile
from aloft.records import Document
from aloft.run.store import RunStore
from aloft.serving.bundle import ships

MIN_KEPT = 0.5  # of a corpus that was updated


def refuse_other_corpus(store: RunStore, documents: Sequence[Document]) -> None:
    """Refuse documents of another corpus where a folder holds pairs, a report or what ships.

    They are the folder's own, updated, if at least half of its documents are among them, edited or
    moved.

    Raises:
        RunFolderError: fewer are.
    """
    manifests = [store.path / "manifests" / f"{name}.json" for name in ("pairs", "report")]
    if not (ships(store.path) or any(manifest.exists() for manifest in manifests)):
        return
    path = store.path / "documents.jsonl"
    if not path.exists():
        raise RunFolderError(
            f"{store.path} holds what a run ships, but not the run. Choose another run folder, or "
            "replace what is there: --overwrite, in Python overwrite=True."
        )
    before = RecordFile(path, Document)
    share = kept_share(before, documents)
    if share < MIN_KEPT:
        raise RunFolderError(
            f"{store.path} holds a run on other documents: {share:.0%} of its {len(before):,} are "
            "among these. Choose another run folder, or replace that run: --overwrite, in Python "
            "overwrite=True."
        )
