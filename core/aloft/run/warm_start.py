"""Turns a finished run into what the next one continues from: its parts, its split, its replies.

All of it is copied into the new run's folder, by links where the disk can, so that the previous run
may be deleted.
"""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aloft.backends.fingerprint import fingerprint_folder
from aloft.backends.packaged import resolve_model
from aloft.config import RunConfig
from aloft.corpus.sections import Sections
from aloft.errors import DataError, RunFolderError
from aloft.files import link, read_json, write_folder
from aloft.jsonl import RecordFile
from aloft.protocols import Floats
from aloft.randomness import rng_for
from aloft.records import LabelledQuestion, Passage, QAPair, content_id
from aloft.run.cache import CallCache
from aloft.run.context import read_embedded
from aloft.run.store import RunStore
from aloft.serving.bundle import CARRIED, read_bundle

_STATE, _SOURCE = "state.json", "source.txt"
STATE = f"{CARRIED}/{_STATE}"  # below the run folder
SECTIONS = "sets/sections.json"  # below the run folder
_VECTORS, _TEXTS = "passages.npy", "passages.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviousRun:
    """What the run that this one continues from had read and trained on.

    Attributes:
        passages: Ids of its passages.
        pairs: Ids of the pairs that it trained on.
        trained: Documents, or sections of them, that it, or a run before it, trained on.
        held_out: Those that it, or a run before it, held out.
        sections: Where the sections of its documents begin.
    """

    passages: frozenset[str] = frozenset()
    pairs: frozenset[str] = frozenset()
    trained: frozenset[str] = frozenset()
    held_out: frozenset[str] = frozenset()
    sections: Mapping[str, Sequence[int]] = field(default_factory=dict)

    @property
    def split(self) -> dict[str, bool]:
        """By document or section whether it was held out."""
        return dict.fromkeys(self.held_out, True) | dict.fromkeys(self.trained, False)

    def replayed(self, train: Sequence[QAPair], ratio: float, seed: int) -> list[QAPair]:
        """New pairs and `ratio` times as many old ones, drawn at random; all, if none is new.

        Source: experience replay against forgetting (arXiv:1811.11682).
        """
        old = [pair for pair in train if pair.id in self.pairs]
        new = len(train) - len(old)
        count = min(len(old), round(ratio * new)) if new else len(old)
        drawn = {pair.id for pair in rng_for(seed, "replayed pairs").sample(old, count)}
        return [pair for pair in train if pair.id not in self.pairs or pair.id in drawn]


def check_previous_run(config: RunConfig, store: RunStore, *, overwrite: bool = False) -> None:
    """Check that there is a run to continue from, before anything is written.

    Args:
        config: Of the new run.
        store: Its folder.
        overwrite: Whether the folder may lose what it has taken over.

    Raises:
        DataError: the previous run is not finished, or is this very run.
        RunFolderError: the folder continues from a run, and the new one from none.
    """
    if config.earlier is None:
        if (store.path / STATE).exists() and not overwrite:
            raise RunFolderError(
                f"{store.path} continues from another run, whose models it holds. Name that run "
                "again (--from), choose another run folder, or drop them: --overwrite, in Python "
                "overwrite=True."
            )
    elif not _has_taken_over(config, store):
        if Path(config.earlier).resolve() == store.origin.resolve():
            raise DataError(f"{config.earlier} cannot continue from itself. Choose another --out.")
        read_bundle(Path(config.earlier) / "models")


def take_over(config: RunConfig, store: RunStore) -> RunConfig:
    """Bring what a previous run ships and knows into a run's folder, once.

    What the folder holds of another one, or of one that it no longer continues from, is deleted.

    Args:
        config: Of the new run; its `earlier` names the finished one, or is None.
        store: The new run's folder, held for writing.

    Returns:
        The configuration with the previous run's parts in place of untuned ones.

    Raises:
        DataError: the previous run is not finished, or is this very run.
    """
    carried = store.path / CARRIED
    if config.earlier is None:
        shutil.rmtree(carried, ignore_errors=True)
        return config
    source = Path(config.earlier)
    if not _has_taken_over(config, store):
        check_previous_run(config, store)
        own = CallCache(store.origin / "work" / "calls.sqlite")
        own.take_over(source / "work" / "calls.sqlite")
        write_folder(carried, lambda path: _carry(source, path))
    shipped = read_bundle(carried / "models")
    models: dict[str, Any] = {"embedder": shipped.embedder, "generator": shipped.generator}
    if shipped.reranker not in (None, shipped.embedder):  # whose body reranks by default
        models["reranker"] = shipped.reranker
    generator = config.generator_training.model_copy(update={"init_adapter": shipped.adapter})
    return config.model_copy(update={**models, "generator_training": generator})


def _has_taken_over(config: RunConfig, store: RunStore) -> bool:
    """Whether a run's folder holds what it continues from; which one, earlier versions do not say.

    A previous run that was moved is taken over once more, which changes nothing.
    """
    if not (store.path / STATE).exists():
        return False
    source = store.path / CARRIED / _SOURCE
    return not source.exists() or source.read_bytes() == os.fsencode(str(config.earlier))


def read_previous_run(run: Path) -> PreviousRun:
    """What the previous run had read and trained on; empty where there is none."""
    path = run / STATE
    if not path.exists():
        return PreviousRun()
    repair = "Restore it from a copy, or start again from the earlier run in an empty folder."
    values = read_json(path, PreviousRun, missing="", repair=repair)
    sections = values.pop("sections", {})
    return PreviousRun(**{name: frozenset(of) for name, of in values.items()}, sections=sections)


def known_vectors(
    config: RunConfig, run: Path, model: str, texts: Sequence[str]
) -> tuple[Floats, NDArray[np.intp]] | None:
    """Vectors of a previous run's windows and, per text, the row that is its own or -1.

    None where they are another model's, or none were kept.
    """
    carried = run / CARRIED
    if config.earlier is None or model != config.embedder or not (carried / _VECTORS).exists():
        return None
    known = read_embedded(carried / _TEXTS)["texts"]
    rows = {text: row for row, text in enumerate(known)}
    vectors: Floats = np.load(carried / _VECTORS, mmap_mode="r", allow_pickle=False)
    return vectors, np.array([rows.get(content_id(text), -1) for text in texts])


def _read_sections(run: Path) -> dict[str, list[int]]:
    """Those of a finished run; none of one by a version that did not divide documents."""
    path = run / SECTIONS
    if not path.exists():
        return {}
    repair = "Restore it from a copy, or do the run anew."
    found: dict[str, list[int]] = read_json(path, dict[str, list[int]], missing="", repair=repair)
    return found


def _carry(source: Path, target: Path) -> None:
    """Write what a finished run ships and knows to a folder."""
    sections = Sections(_read_sections(source))
    passages = RecordFile(source / "passages.jsonl", Passage)
    places = {one.id: sections.of(one) for one in passages}
    asked = list(RecordFile(source / "sets" / "train.jsonl", QAPair))
    held_out = RecordFile(source / "sets" / "held_out.jsonl", LabelledQuestion)
    before = read_previous_run(source)
    state = PreviousRun(
        passages=frozenset(places),
        pairs=before.pairs | {pair.id for pair in asked},
        trained=before.trained | {n for pair in asked for i in pair.passage_ids for n in places[i]},
        held_out=before.held_out
        | {n for one in held_out for i in one.passage_ids for n in places[i]},
        sections=sections.starts,
    )
    values = {n: sorted(of) if isinstance(of, frozenset) else of for n, of in asdict(state).items()}
    (target / _STATE).write_text(json.dumps(values), encoding="utf-8")
    (target / _SOURCE).write_bytes(os.fsencode(source))
    shutil.copytree(source / "models", target / "models", copy_function=link)
    embedder = Path(resolve_model(read_bundle(source / "models").embedder))
    weights = fingerprint_folder(embedder)
    for facts in (source / "work").glob("passages-*.json"):
        vectors = facts.with_suffix(".npy")
        if vectors.exists() and read_embedded(facts)["model"] == weights:
            link(facts, target / _TEXTS)
            link(vectors, target / _VECTORS)
