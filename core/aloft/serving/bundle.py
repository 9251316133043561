"""Writes what a run ships into a folder, the bundle, and opens it wherever it lies.

A bundle needs nothing of its run but, to answer from the run's own documents, the passages.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from aloft.backends.loading import Models, is_adapter
from aloft.backends.shared import SharedModels
from aloft.config import (
    PARTS,
    FormatName,
    Part,
    RunConfig,
    absolute_name,
    in_place,
    plain_name,
)
from aloft.errors import ConfigError, DataError
from aloft.evaluation.gate import BLENDED
from aloft.evaluation.systems import SystemVariant
from aloft.files import is_there, link, write_folder
from aloft.jsonl import RecordFile
from aloft.records import Passage
from aloft.retrieval.fusion import WHOLE, CoverageShare
from aloft.retrieval.index_store import IndexStore
from aloft.retrieval.relevance import Relevance
from aloft.retrieval.retriever import Bm25Ranker, DenseRanker, RetrievalSettings, Retriever
from aloft.serving.bundle_file import (
    FILE,
    AnsweringRecord,
    BundleFile,
    ModelReference,
    RelevanceRecord,
    RetrievalRecord,
    ShareRecord,
    read_bundle_file,
)

FOLDER = "models"  # of a run folder: its bundle
CARRIED = "earlier"  # of a run folder: what it took over from the run that it continues


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """What ships, ready to be loaded on this machine.

    Attributes:
        embedder, generator, reranker: Names to load the models by, with absolute paths where they
            are folders; no reranker: None.
        adapter: Absolute path of the generator's LoRA adapter, if one ships.
        retrieval: How passages are retrieved.
        max_new_tokens: Longest answer.
        format, abstains: The prompt that the generator was trained with; see
            `aloft.prompts.formats`.
        order_weight: What the order of passages counts for in the choice of the one that is cited;
            see `aloft.retrieval.citing`. None: the generator cites by itself.
        abstention_threshold: Of `aloft.retrieval.citing.doubts`, above which a question is
            declined, where the generator abstains and a citation is chosen. None: it is where no
            passage is likelier.
        abstention_relevance: What tells beside the generator whether a passage answers; None:
            nothing does.
        window_tokens: Longest stretch of a passage that is embedded as one.
        reranker_relevance: What the probability that a passage answers is computed by from the
            reranker's score alone; None: it is not known.
    """

    embedder: str
    generator: str
    reranker: str | None
    adapter: str | None
    retrieval: RetrievalSettings
    max_new_tokens: int
    format: FormatName = "aloftrag"
    abstains: bool = False
    order_weight: float | None = None
    abstention_threshold: float | None = None
    abstention_relevance: Relevance | None = None
    window_tokens: int | None = None
    reranker_relevance: Relevance | None = None

    @property
    def contexts(self) -> int:
        """Passages in a prompt."""
        return self.retrieval.count


def write_bundle(run: Path, config: RunConfig, stack: SystemVariant) -> BundleFile:
    """Write the parts of the best system, and how it retrieves and answers, to the run's bundle."""
    bundle = run / FOLDER
    folders = _shipped_folders(run, config, stack)
    names: dict[Part, str | None] = {
        "embedder": config.embedder,
        "generator": config.generator_model,
        "reranker": _base_reranker(config, stack),
    }
    references = {
        part: _reference(run, part, names[part] or config.embedder, folders)
        for part in PARTS
        if names[part] or part in folders
    }
    if _ships_body(config, stack):
        references["reranker"] = references["embedder"]
    content = BundleFile(
        embedder=references["embedder"],
        generator=references["generator"],
        reranker=references.get("reranker"),
        retrieval=RetrievalRecord(
            retriever=stack.system.retriever,
            dense_share=ShareRecord(**asdict(stack.dense_share)),
            **_reranking(config, stack),
            window_tokens=config.passages.window_tokens,
            relevance=_relevance_record(stack.relevance),
            reranker_relevance=_relevance_record(stack.reranker_relevance),
        ),
        answering=AnsweringRecord(
            format=config.training_sets.format,
            abstains=config.training_sets.abstains,
            contexts=config.training_sets.contexts,
            max_new_tokens=config.evaluation.max_new_tokens,
            order_weight=stack.order_weight,
            abstention_threshold=stack.abstention_threshold,
            abstention_relevance=_relevance_record(stack.abstention_relevance),
        ),
        blend_weights={
            part: getattr(config, f"{part}_training").tuned_share
            for part in stack.parts
            if part in BLENDED
        },
    )

    def write(folder: Path) -> None:
        for part, source in folders.items():
            shutil.copytree(source, folder / part, copy_function=link)
        text = json.dumps(content.to_json(), indent=2, ensure_ascii=False) + "\n"
        (folder / FILE).write_text(text, encoding="utf-8")

    write_folder(bundle, write)
    return content


def _base_reranker(config: RunConfig, stack: SystemVariant) -> str | None:
    """Name of the model that what reranks is, or was tuned from."""
    if stack.system.reranker == "none":
        return None
    return config.embedder if stack.system.reranker == "body" else config.base_model("reranker")


def _reranking(config: RunConfig, stack: SystemVariant) -> dict[str, Any]:
    """The fields of `RetrievalRecord` that say how passages are reordered."""
    share, depth = ShareRecord(**asdict(stack.rerank_share)), config.evaluation.rerank_depth
    if stack.late_share is None:
        return {"rerank_depth": depth, "rerank_share": share}
    return {
        "rerank_depth": config.evaluation.read_depth,
        "rerank_share": share,
        "late_depth": depth,
        "late_share": ShareRecord(**asdict(stack.late_share)),
    }


def _ships_body(config: RunConfig, stack: SystemVariant) -> bool:
    """Whether one model both embeds and reranks, so that it is held once."""
    is_one = config.takes_body and {"embedder", "reranker"} <= set(stack.parts)
    return is_one or stack.system.reranker == "body"


def _shipped_folders(run: Path, config: RunConfig, stack: SystemVariant) -> dict[Part, Path]:
    """The weights that ship: those of the kept parts, and those of an earlier run."""
    carried = run / CARRIED / FOLDER
    sources = {part: carried / part for part in PARTS if config.earlier}
    sources |= {part: run / part for part in stack.parts}
    if stack.system.reranker == "none" or _ships_body(config, stack):
        sources.pop("reranker", None)
    return {part: folder for part, folder in sources.items() if folder.is_dir()}


def _reference(run: Path, part: Part, name: str, folders: Mapping[Part, Path]) -> ModelReference:
    """The model of a part, by the base model's name even where an earlier run tuned it."""
    inside = {}
    if part in folders:
        is_lora = part == "generator" and is_adapter(folders[part])
        inside = {"adapter" if is_lora else "weights": str(part)}
    carried = run / CARRIED / FOLDER
    if (carried / FILE).exists():
        earlier: ModelReference | None = getattr(read_bundle_file(carried), part)
        if earlier and earlier.weights and name == earlier.locate(carried.absolute()):
            name = in_place(earlier.name, earlier.path or plain_name(earlier.name))
    return ModelReference.of(name, run / FOLDER, **inside)


def ships(folder: Path) -> bool:
    """Whether a folder holds what a run ships: a finished run, or its `models` folder alone."""
    return any(is_there(one / FILE) for one in (folder, folder / FOLDER))


def read_bundle(folder: Path, generator: str | None = None) -> Bundle:
    """Open a bundle: the models that are folders get absolute paths.

    Args:
        folder: A finished run, or its `models` folder alone, wherever it was moved or copied.
        generator: What serves the generator instead, such as `openai:URL#NAME`; the adapter is
            loaded there.

    Raises:
        ConfigError: `generator` is no name, or an empty one.
        DataError: the folder holds no bundle, a damaged one, or one of a newer format.
        ModelError: a base model is not the one that the bundle was made with.
    """
    if generator is not None:
        generator = absolute_name(generator)
        if not generator.strip():
            raise ConfigError(
                "The name of the generator is empty. Name what serves it, such as openai:URL#NAME, "
                "or leave it out."
            )
    bundle = folder.absolute()
    if not is_there(bundle / FILE) and is_there(bundle / FOLDER / FILE):
        bundle = bundle / FOLDER
    content = read_bundle_file(bundle)
    retrieval, answering = content.retrieval, content.answering
    adapter = content.generator.adapter
    late = retrieval.late_share
    return Bundle(
        embedder=content.embedder.locate(bundle),
        generator=generator or content.generator.locate(bundle),
        reranker=content.reranker.locate(bundle) if content.reranker else None,
        adapter=str(bundle / adapter) if adapter and not generator else None,
        retrieval=RetrievalSettings(
            retriever=retrieval.retriever,
            dense_share=CoverageShare(**retrieval.dense_share.model_dump()),
            rerank_depth=retrieval.rerank_depth,
            rerank_share=CoverageShare(**retrieval.rerank_share.model_dump()),
            late_depth=(retrieval.late_depth or 0) if late else 0,
            late_share=CoverageShare(**late.model_dump()) if late else WHOLE,
            count=answering.contexts,
            relevance=_read_relevance(retrieval.relevance),
        ),
        max_new_tokens=answering.max_new_tokens,
        format=answering.format,
        abstains=answering.abstains,
        order_weight=answering.order_weight,
        abstention_threshold=answering.abstention_threshold,
        abstention_relevance=_read_relevance(answering.abstention_relevance),
        window_tokens=retrieval.window_tokens,
        reranker_relevance=_read_relevance(retrieval.reranker_relevance),
    )


def _relevance_record(fitted: Relevance | None) -> RelevanceRecord | None:
    return RelevanceRecord(**asdict(fitted)) if fitted else None


def _read_relevance(record: RelevanceRecord | None) -> Relevance | None:
    return Relevance(**record.model_dump()) if record else None


def generator_fields(run: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """Constructor fields with which a host's language model is the generator that a run ships.

    Args:
        run: A finished run, or its bundle alone.
        given: Fields that are set otherwise; a "model" is what else serves the generator.

    Raises:
        DataError: the folder holds no bundle.
    """
    bundle = read_bundle(run, given.get("model"))
    shipped: dict[str, Any] = {"model": bundle.generator, "adapter": bundle.adapter}
    if "max_new_tokens" not in given:  # as which the hosts accept the same field
        shipped["max_tokens"] = bundle.max_new_tokens
    return {**shipped, **given}


def reranker_of(run: Path) -> str:
    """The reranker that a run ships.

    Args:
        run: A finished run, or its bundle alone.

    Raises:
        DataError: the folder holds no bundle, or the bundle has no reranker.
    """
    bundle = read_bundle(run)
    if bundle.reranker is None:
        raise DataError(
            f"{run} ships no reranker, because none was trained or it did not gain. "
            "Retrieve without one; the run's report.md has the figures."
        )
    return bundle.reranker


def open_retriever(
    bundle: Bundle,
    passages: Sequence[Passage],
    models: Models | None = None,
    indexes: IndexStore | None = None,
    earlier: Retriever | None = None,
) -> Retriever:
    """The retriever that ships, over passages; models are loaded when the first question comes.

    Args:
        bundle: What to retrieve with.
        passages: The corpus; it is embedded once, when the first question comes.
        models: Where models are loaded from; pass one to share them.
        indexes: Where what the passages are searched by is kept; None: in memory.
        earlier: A retriever that this one replaces; passages of both are not embedded again.
    """
    loads = models if isinstance(models, SharedModels) else SharedModels(models)
    embedder = loads.embedder(bundle.embedder)
    reranker = loads.reranker(bundle.reranker) if bundle.reranker else None
    dense = DenseRanker(passages, embedder, bundle.window_tokens, indexes, earlier)
    late = loads.reranker(bundle.embedder) if bundle.retrieval.late_depth else None
    lexical = Bm25Ranker(passages, indexes)
    return Retriever(bundle.retrieval, passages, dense, reranker, lexical, late)


def rate_passages(
    bundle: Bundle, question: str, passages: Sequence[Passage], models: Models
) -> float | None:
    """The highest probability that a passage answers, by what counts for abstaining.

    Returns:
        None where that does not count.
    """
    relevance = bundle.abstention_relevance
    if bundle.abstention_threshold is None or relevance is None:
        return None
    is_late = bundle.retrieval.late_depth > 0  # late interaction tells, not what reads after it
    reranker, count = bundle.embedder if is_late else bundle.reranker, len(passages)
    every = RetrievalSettings(
        retriever="dense" if reranker is None else "bm25",  # beside which similarity adds nothing
        rerank_depth=count,
        count=count,
        relevance=relevance,
    )
    bundle = replace(bundle, retrieval=every, reranker=reranker)
    (found,) = open_retriever(bundle, passages, models).retrieve([question])
    return max(one.score for one in found)


def open_run_retriever(run: Path, models: Models | None = None) -> Retriever:
    """The retriever that a finished run ships, over the run's own passages.

    Vectors and indexes that the run folder does not hold are added to it where it can be written.

    Raises:
        DataError: the folder holds no bundle, or a bundle without its run's passages.
    """
    run = run.absolute()  # its files are read later, wherever the process is then
    bundle = read_bundle(run)
    if not (run / "passages.jsonl").exists():
        raise DataError(
            f"{run} holds no passages.jsonl: it is a bundle without the run it came from. Give the "
            "documents to retrieve from, or name the run folder."
        )
    passages = RecordFile(run / "passages.jsonl", Passage)
    return open_retriever(bundle, passages, models, IndexStore(run / "work"))
