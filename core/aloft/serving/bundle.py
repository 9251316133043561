"""Turns what a run decided to ship into a folder, and that folder into answers with citations."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aloft.backends.loading import Models, is_adapter
from aloft.backends.shared import SharedModels
from aloft.config import PARTS, FormatName, RunConfig, in_place, plain_name
from aloft.errors import DataError
from aloft.evaluation.evaluator import SystemVariant
from aloft.files import link, write_folder
from aloft.jsonl import RecordFile
from aloft.records import Passage
from aloft.retrieval.retriever import DenseRanker, RetrievalSettings, Retriever, RetrieverName
from aloft.retrieval.vectors import VectorStore

_FILE = "aloft.json"
CARRIED = "earlier"  # where a run folder holds what it went on from


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """What ships, and how it was measured: every integration rebuilds exactly this.

    Attributes:
        embedder, generator, reranker: Model names, or paths inside the folder; None: no reranker.
        adapter: Path of the LoRA adapter inside the folder, if one ships; a generator of which all
            weights were trained is itself such a path.
        retriever: "dense" or "hybrid".
        dense_weight: Share of the dense score in a hybrid.
        format, abstains: What the generator is asked for; see `aloft.prompts.formats`.
        contexts: Passages in a prompt.
        rerank_depth: Passages that the reranker reorders.
        max_new_tokens: Longest answer.
        window_tokens: Longest stretch of a passage that is embedded as one.
    """

    embedder: str
    generator: str
    reranker: str | None
    adapter: str | None
    retriever: RetrieverName
    dense_weight: float
    contexts: int
    rerank_depth: int
    max_new_tokens: int
    format: FormatName = "aloftrag"
    abstains: bool = False
    window_tokens: int | None = None

    @property
    def retrieval(self) -> RetrievalSettings:
        """How passages are retrieved."""
        return RetrievalSettings(
            retriever=self.retriever,
            dense_weight=self.dense_weight,
            rerank_depth=self.rerank_depth,
            count=self.contexts,
        )


def write_bundle(run: Path, config: RunConfig, stack: SystemVariant) -> Bundle:
    """Put the best combination's parts and its contract into the run's `models` folder."""
    carried = run / CARRIED / "models"
    sources = {part: carried / part for part in PARTS if config.earlier}
    sources |= {part: run / part for part in stack.parts}
    if stack.system.reranker == "none":
        sources.pop("reranker", None)
    shipped = {part: folder for part, folder in sources.items() if folder.is_dir()}
    generator, adapter = config.generator_model, None
    if "generator" in shipped and is_adapter(shipped["generator"]):
        adapter = "generator"
    elif "generator" in shipped:
        generator = in_place(generator, "generator")
    own_reranker = None if stack.system.reranker == "none" else config.reranker
    contract = Bundle(
        embedder="embedder" if "embedder" in shipped else config.embedder,
        generator=generator,
        reranker="reranker" if "reranker" in shipped else own_reranker,
        adapter=adapter,
        retriever=stack.system.retriever,
        dense_weight=stack.weight,
        contexts=config.training_sets.contexts,
        rerank_depth=config.evaluation.rerank_depth,
        max_new_tokens=config.evaluation.max_new_tokens,
        format=config.training_sets.format,
        abstains=config.training_sets.abstains,
        window_tokens=config.passages.window_tokens,
    )

    def write(folder: Path) -> None:
        for part, source in shipped.items():
            shutil.copytree(source, folder / part, copy_function=link)
        fields = {name: getattr(contract, name) for name in Bundle.__slots__}
        (folder / _FILE).write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")

    write_folder(run / "models", write)
    return contract


def read_bundle(folder: Path, generator: str | None = None) -> Bundle:
    """The contract in a `models` folder, with paths made whole.

    Args:
        folder: Where it is.
        generator: What else serves the generator that ships, such as `openai:URL#NAME`; the adapter
            is loaded there.

    Raises:
        DataError: the folder holds no finished run's models.
    """
    path = folder / _FILE
    if not path.exists():
        raise DataError(f"{folder} holds no {_FILE}. Finish a run first: aloft run DOCS --out RUN.")
    fields: dict[str, Any] = json.loads(path.read_bytes())
    for name in ("embedder", "generator", "reranker", "adapter"):
        inside = folder / plain_name(fields[name] or _FILE)
        if inside.is_dir():
            fields[name] = in_place(fields[name], inside)
    contract = Bundle(**fields)
    return replace(contract, generator=generator, adapter=None) if generator else contract


def generator_fields(run: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """What a host's language model is made of, for it to be the generator that a run ships.

    Args:
        run: A finished run.
        given: Fields that are set otherwise; a "model" is what else serves the generator.

    Raises:
        DataError: the folder holds no finished run.
    """
    contract = read_bundle(run / "models", given.get("model"))
    shipped = {
        "model": contract.generator,
        "adapter": contract.adapter,
        "max_tokens": contract.max_new_tokens,
    }
    return {**shipped, **given}


def reranker_of(run: Path) -> str:
    """The reranker that a run ships.

    Raises:
        DataError: the run is not finished, or ships none.
    """
    contract = read_bundle(run / "models")
    if contract.reranker is None:
        raise DataError(
            f"{run} ships no reranker, because it was not trained or did not gain. "
            f"Retrieve without one; {run / 'report.md'} has the figures."
        )
    return contract.reranker


def open_retriever(
    bundle: Bundle,
    passages: Sequence[Passage],
    models: Models | None = None,
    vectors: VectorStore | None = None,
) -> Retriever:
    """The retriever that ships, over passages; models are loaded when the first question comes.

    Args:
        bundle: What to retrieve with.
        passages: The corpus; it is embedded once, when the first question comes.
        models: Where models are loaded from; pass one to share them.
        vectors: Where the passages' vectors are kept; None: in memory.
    """
    loads = models if isinstance(models, SharedModels) else SharedModels(models)
    embedder = loads.embedder(bundle.embedder)
    reranker = loads.reranker(bundle.reranker) if bundle.reranker else None
    dense = DenseRanker(passages, embedder, bundle.window_tokens, vectors)
    return Retriever(bundle.retrieval, passages, dense, reranker)


def open_run_retriever(run: Path, models: Models | None = None) -> Retriever:
    """The retriever that a finished run ships, over the run's own passages.

    Vectors that the run folder does not hold are added to it where it can be written.

    Raises:
        DataError: the folder holds no finished run.
    """
    bundle = read_bundle(run / "models")
    passages = RecordFile(run / "passages.jsonl", Passage)
    return open_retriever(bundle, passages, models, VectorStore(run / "work"))
