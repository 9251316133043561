"""Turns a finished run into what the next one goes on from: its parts, its split, its replies.

All of it is copied into the new run's folder, by links where the disk can, so that the earlier one
may be thrown away.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aloft.backends.fingerprint import fingerprint_folder
from aloft.backends.packaged import resolve_model
from aloft.config import RunConfig, read_run_config
from aloft.errors import DataError
from aloft.files import link, write_folder, write_text
from aloft.protocols import Floats
from aloft.randomness import rng_for
from aloft.records import LabelledQuestion, Passage, QAPair, content_id
from aloft.serving.bundle import CARRIED, read_bundle
from aloft.storage import RunFolder

_STATE = "state.json"
_REPLIES = ("ratings", "pairs", "pair_ratings", "readings")  # journals that a new corpus shares
_VECTORS, _TEXTS = "passages.npy", "passages.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviousRun:
    """What a run that was gone on from had read and trained on.

    Attributes:
        passages: Ids of its passages.
        pairs: Ids of the pairs that it trained on.
        trained: Ids of the documents that it, or one that it went on from itself, trained on.
        held_out: Ids of the documents that it held out.
    """

    passages: frozenset[str] = frozenset()
    pairs: frozenset[str] = frozenset()
    trained: frozenset[str] = frozenset()
    held_out: frozenset[str] = frozenset()

    @property
    def split(self) -> dict[str, bool]:
        """By document whether it was held out."""
        return dict.fromkeys(self.held_out, True) | dict.fromkeys(self.trained, False)

    @property
    def recipe(self) -> list[str]:
        """What depends on it adds this to its recipe; nothing where there was no run before."""
        ids = [*self.trained, *self.held_out, *self.pairs]
        return [content_id(*sorted(ids))] if ids else []

    def replayed(self, train: Sequence[QAPair], share: float, seed: int) -> list[QAPair]:
        """New pairs and `share` times as many old ones, drawn at random; all, if none is new.

        Source: experience replay against forgetting (arXiv:1811.11682).
        """
        old = [pair for pair in train if pair.id in self.pairs]
        new = len(train) - len(old)
        count = min(len(old), round(share * new)) if new else len(old)
        drawn = {pair.id for pair in rng_for(seed, "replayed pairs").sample(old, count)}
        return [pair for pair in train if pair.id not in self.pairs or pair.id in drawn]


def take_over(config: RunConfig, folder: RunFolder) -> RunConfig:
    """Bring what an earlier run ships and knows into a run's folder, once.

    Args:
        config: Of the new run; its `earlier` names the finished one, or nothing.
        folder: Of the new run.

    Returns:
        The configuration with the earlier run's parts in place of untuned ones.

    Raises:
        DataError: the earlier run is not finished, or is this very one.
    """
    if config.earlier is None:
        return config
    source, carried = Path(config.earlier), folder.path / CARRIED
    if not (carried / _STATE).exists():
        if source.resolve() == folder.path.resolve():
            raise DataError(f"{source} can not go on from itself. Choose another --out.")
        read_bundle(source / "models")
        _copy_replies(source, folder.path)
        write_folder(carried, lambda path: _carry(source, path))
    contract = read_bundle(carried / "models")
    models: dict[str, Any] = {"embedder": contract.embedder, "generator": contract.generator}
    if contract.reranker:
        models["reranker"] = contract.reranker
    generator = config.generator_training.model_copy(update={"init_adapter": contract.adapter})
    return config.model_copy(update={**models, "generator_training": generator})


def read_previous_run(config: RunConfig, folder: RunFolder) -> PreviousRun:
    """What the run before had read and trained on; nothing where there is none."""
    if config.earlier is None:
        return PreviousRun()
    values = json.loads((folder.path / CARRIED / _STATE).read_bytes())
    return PreviousRun(**{name: frozenset(ids) for name, ids in values.items()})


def known_vectors(
    config: RunConfig, folder: RunFolder, model: str, texts: Sequence[str]
) -> tuple[Floats, NDArray[np.intp]] | None:
    """Vectors of an earlier run's windows and, per text, the row that is its own or -1.

    None where they are another model's, or none were kept.
    """
    carried = folder.path / CARRIED
    if config.earlier is None or model != config.embedder or not (carried / _VECTORS).exists():
        return None
    known = json.loads((carried / _TEXTS).read_bytes())["texts"]
    rows = {text: row for row, text in enumerate(known)}
    vectors: Floats = np.load(carried / _VECTORS, mmap_mode="r", allow_pickle=False)
    return vectors, np.array([rows.get(content_id(text), -1) for text in texts])


def _carry(source: Path, target: Path) -> None:
    """The parts that ship, the passages with their vectors, and what was trained on."""
    run = RunFolder(source)
    config = read_run_config(source)
    passages = run.read_records("passages.jsonl", Passage)
    place = {passage.id: passage.document_id for passage in passages}
    asked = run.read_records("sets/train.jsonl", QAPair)
    held_out = run.read_records("sets/held_out.jsonl", LabelledQuestion)
    before = read_previous_run(config, run)
    state = PreviousRun(
        passages=frozenset(place),
        pairs=before.pairs | {pair.id for pair in asked},
        trained=before.trained | {place[i] for pair in asked for i in pair.passage_ids},
        held_out=frozenset(place[i] for question in held_out for i in question.passage_ids),
    )
    values = {name: sorted(ids) for name, ids in asdict(state).items()}
    (target / _STATE).write_text(json.dumps(values), encoding="utf-8")
    shutil.copytree(source / "models", target / "models", copy_function=link)
    embedder = Path(resolve_model(read_bundle(source / "models").embedder))
    weights = fingerprint_folder(embedder)
    for facts in (source / "work").glob("passages-*.json"):
        if json.loads(facts.read_bytes())["model"] == weights:
            link(facts, target / _TEXTS)
            link(facts.with_suffix(".npy"), target / _VECTORS)


def _copy_replies(source: Path, target: Path) -> None:
    """What the teacher said, without what it took: the new run did not spend that."""
    (target / "work").mkdir(exist_ok=True)
    for name in _REPLIES:
        for file in (source / "work").glob(f"{name}-*.jsonl"):
            with file.open(encoding="utf-8") as lines:
                said = [line for line in lines if not line.startswith("[null")]
            if not (target / "work" / file.name).exists():
                write_text(target / "work" / file.name, "".join(said))
