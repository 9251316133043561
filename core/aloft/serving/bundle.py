"""Turns what a run decided to ship into a folder, and that folder into answers with citations."""

import json
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import RLock
from typing import Any, Self

from aloft.backends.loading import Models, is_adapter
from aloft.config import PARTS, FormatName, RunConfig, in_place, plain_name
from aloft.corpus.windows import cut_windows
from aloft.errors import DataError
from aloft.evaluation.evaluator import SystemVariant
from aloft.files import link, write_folder
from aloft.prompts.citation import CitedAnswer, Quote, begins_answer
from aloft.prompts.formats import format_of
from aloft.protocols import stream_reply
from aloft.records import Passage
from aloft.retrieval.bm25 import BM25Index
from aloft.retrieval.dense import DenseIndex
from aloft.retrieval.fusion import fuse
from aloft.retrieval.ranking import Ranking, pairs_of, reorder
from aloft.storage import RunFolder, vectors_recipe

_DEPTH = 100
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
    retriever: str
    dense_weight: float
    contexts: int
    rerank_depth: int
    max_new_tokens: int
    format: FormatName = "aloftrag"
    abstains: bool = False
    window_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredPassage:
    """A passage that was retrieved, with the score it was ranked by."""

    passage: Passage
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer with the passages it cites, and all that the generator was shown.

    Attributes:
        quotes: What it quotes and stands so in a passage that was shown; ordinals count from 1.
        unverified_quotes: How many quotes stand in none.
        is_abstaining: Whether the generator says that no passage holds the answer.
    """

    text: str
    cited: tuple[ScoredPassage, ...]
    contexts: tuple[ScoredPassage, ...]
    quotes: tuple[Quote, ...] = ()
    unverified_quotes: int = 0
    is_abstaining: bool = False


def place_of(quote: Quote, shown: Sequence[ScoredPassage]) -> tuple[int, int]:
    """Where a quote stands in the text of its passage, before which a title was shown."""
    passage = shown[quote.ordinal - 1].passage
    before = len(passage.content) - len(passage.text)
    return max(0, quote.start - before), max(0, quote.end - before)


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


class Retriever:
    """Retrieves from passages the way a contract says; each part is loaded when first needed.

    Threads may share it: one question set is worked on at a time.

    Args:
        contract: What to retrieve with.
        passages: The corpus; it is embedded once, when the first question comes.
        models: Where models are loaded from; pass one to share them.
        cache: A run folder that keeps the corpus' vectors; None: they are kept in memory alone.
    """

    def __init__(
        self,
        contract: Bundle,
        passages: Sequence[Passage],
        models: Models | None = None,
        cache: RunFolder | None = None,
    ) -> None:
        self.contract = contract
        self.passages = tuple(passages)
        self._models = models or Models()
        self._cache = cache
        self._contents = [passage.content for passage in self.passages]
        self._dense: DenseIndex | None = None
        self._lexical: BM25Index | None = None
        self._reranker: Any = None
        self._lock = RLock()

    @classmethod
    def of_run(cls, run: Path, models: Models) -> Self:
        """Retrieve a finished run's own passages, whose vectors are known, with what it ships.

        Raises:
            DataError: the folder holds no finished run.
        """
        contract = read_bundle(run / "models")
        folder = RunFolder(run)
        return cls(contract, folder.read_records("passages.jsonl", Passage), models, folder)

    def retrieve(
        self,
        questions: Sequence[str],
        count: int | None = None,
        among: Collection[int] | None = None,
    ) -> list[list[ScoredPassage]]:
        """Per question the best passages, best first.

        Args:
            questions: What is asked.
            count: Passages a question; None: the contract's contexts.
            among: PassageLocator of the passages that may be found; None: all.
        """
        if not self.passages or not questions or (among is not None and not among):
            return [[] for _ in questions]
        with self._lock:
            return self._retrieve(questions, count, among)

    def _retrieve(
        self, questions: Sequence[str], count: int | None, among: Collection[int] | None
    ) -> list[list[ScoredPassage]]:
        ranking = self._rank(questions, among)
        if self.contract.reranker is not None:
            ranking = ranking.top(max(self.contract.rerank_depth, count or 0))
            pairs = pairs_of(ranking, questions, self._contents)
            ranking = reorder(ranking, self._load_reranker().score(pairs))
        top = ranking.top(count or self.contract.contexts)
        return [
            [
                ScoredPassage(passage=self.passages[column], score=score)
                for column, score in zip(columns, scores, strict=True)
            ]
            for columns, scores in zip(top.columns.tolist(), top.scores.tolist(), strict=True)
        ]

    def _rank(self, questions: Sequence[str], among: Collection[int] | None) -> Ranking:
        depth = _DEPTH if among is None else len(self.passages)

        def kept(ranking: Ranking) -> Ranking:
            return ranking if among is None else ranking.among(among).top(_DEPTH)

        queries = self._models.embedder(self.contract.embedder).encode_queries(list(questions))
        dense = kept(self._embedded().rank(queries, depth))
        if self.contract.retriever == "dense":
            return dense
        if self._lexical is None:
            self._lexical = BM25Index(self._contents)
        lexical = kept(self._lexical.rank(list(questions), depth))
        return fuse(dense, lexical, _DEPTH, self.contract.dense_weight)

    def _embedded(self) -> DenseIndex:
        if self._dense is None:
            embedder = self._models.embedder(self.contract.embedder)
            windows = cut_windows(self.passages, embedder, self.contract.window_tokens)

            def encode() -> Any:
                return embedder.encode_passages(windows.texts)

            recipe = vectors_recipe("passages", embedder.fingerprint, windows.texts)
            kept = self._cache.vectors("passages", recipe, encode) if self._cache else encode()
            self._dense = DenseIndex(kept, windows.starts)
        return self._dense

    def _load_reranker(self) -> Any:
        if self._reranker is None and self.contract.reranker is not None:
            self._reranker = self._models.reranker(self.contract.reranker)
        return self._reranker


def ask(retriever: Retriever, question: str, models: Models) -> Answer:
    """Retrieve, generate under the trained prompt, and read the citations back to passages."""
    *_, answer = ask_streaming(retriever, question, models)
    return answer


def ask_streaming(retriever: Retriever, question: str, models: Models) -> Iterator[Answer]:
    """The same while it is written: answers that grow, from the answer's heading to its end."""
    (shown,) = retriever.retrieve([question])
    return answer_streaming(retriever.contract, question, shown, models)


def answer_streaming(
    contract: Bundle, question: str, shown: Sequence[ScoredPassage], models: Models
) -> Iterator[Answer]:
    """The same from passages that something else retrieved, shown in their order."""
    adapter = Path(contract.adapter) if contract.adapter else None
    generator = models.language_model(contract.generator, adapter)
    contents = [found.passage.content for found in shown]
    form = format_of(contract.format, abstains=contract.abstains)
    prompt = form.render(question, contents)
    said, limit = "", contract.max_new_tokens
    for piece in stream_reply(generator, prompt, max_new_tokens=limit, stop=form.stop):
        said += piece.text
        if not piece.is_piece or not form.cites or begins_answer(said):
            yield _read_answer(form.parse(said, contents), shown)


def _read_answer(parsed: CitedAnswer, shown: Sequence[ScoredPassage]) -> Answer:
    return Answer(
        text=parsed.answer,
        cited=tuple(shown[ordinal - 1] for ordinal in parsed.ordinals),
        contexts=tuple(shown),
        quotes=parsed.quotes,
        unverified_quotes=parsed.unverified_quotes,
        is_abstaining=parsed.is_abstaining,
    )
