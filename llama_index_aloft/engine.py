"""A complete Aloft run behind the interface of LlamaIndex's fine-tune engines."""

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, overload

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.llms import LLM
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import BaseNode
from llama_index_instrumentation import get_dispatcher

from aloft.api import (
    ConfigError,
    DataError,
    HostedRun,
    ModelError,
    Progress,
    check_kind,
    resolve_model,
    shown_progress,
    write_text,
)
from aloft.config import RunConfig, check_config, load_config
from llama_index_aloft.convert import to_documents
from llama_index_aloft.embedding import AloftEmbedding
from llama_index_aloft.finetuning.embeddings.common import (
    EmbeddingQAFinetuneDataset,
    check_dataset,
)
from llama_index_aloft.llm import AloftLLM
from llama_index_aloft.rerank import AloftRerank
from llama_index_aloft.teacher import teacher_of

_CLASSES: dict[str, type[AloftEmbedding | AloftRerank | AloftLLM]] = {
    "embedder": AloftEmbedding,
    "reranker": AloftRerank,
    "generator": AloftLLM,
}
_FORMER = {"embedding": "embedder", "llm": "generator"}  # accepted for one version
_dispatcher = get_dispatcher(__name__)
_logger = logging.getLogger(__name__)


class AloftProgressEvent(BaseEvent):
    """Reports the progress of a run.

    Attributes:
        stage: What the run is doing.
        done, total: Steps of it that are done, and all of them.
    """

    stage: str
    done: int
    total: int

    @classmethod
    def class_name(cls) -> str:
        """The class name in LlamaIndex's serialized form."""
        return "AloftProgressEvent"


def dispatch_progress(stage: str, done: int, total: int) -> None:
    """Send an `AloftProgressEvent` to LlamaIndex's event handlers."""
    _dispatcher.event(AloftProgressEvent(stage=stage, done=done, total=total))


class AloftFinetuneEngine(HostedRun):
    """Tunes embedder, reranker and generator on nodes, and ships what measurably gains.

    It has the two methods of the engines in LlamaIndex's retired finetuning package. While it
    works, LlamaIndex's event handlers receive `AloftProgressEvent`s.

    Args:
        nodes_or_documents: The corpus; nodes of one document are merged into it again.
        out: The run folder; an engine on the same folder resumes the run.
        config: The settings; None: those of the preset.
        preset: One of `aloft.config.PRESETS`; ignored if there is a `config`.
        llm: The teacher that writes questions and answers, such as `Settings.llm`; None: the
            configuration's.
        embed_model: The embedding model to train, such as `Settings.embed_model`, or its name. Its
            weights must be on this machine. None: the configuration's.
        reranker: The reranker to train, likewise.
        questions: Your own labelled questions, a file or an `EmbeddingQAFinetuneDataset`, whose
            texts are looked up in the corpus; if given, they decide what ships.
        show_progress: Whether `finetune` shows its progress: bars in a terminal, lines elsewhere.
        overwrite: Whether a run on another corpus in `out` may be replaced. Otherwise `finetune`
            refuses documents among which are fewer than half of that run's.

    Raises:
        ConfigError: the embedding model or reranker has no weights on this machine, or an argument
            has the wrong class.
        DataError: anything other than nodes is given.
    """

    def __init__(  # noqa: PLR0913 - what there is to choose
        self,
        nodes_or_documents: Sequence[BaseNode],
        out: str | Path,
        *,
        config: RunConfig | None = None,
        preset: str = "cpu",
        llm: LLM | None = None,
        embed_model: BaseEmbedding | str | None = None,
        reranker: BaseNodePostprocessor | str | None = None,
        questions: str | Path | EmbeddingQAFinetuneDataset | None = None,
        show_progress: bool = True,
        overwrite: bool = False,
    ) -> None:
        if config is not None:
            check_kind("config", config, RunConfig, "Make it by aloft.load_config(overrides=...).")
        if llm is not None:
            check_kind("llm", llm, LLM, "Pass the LLM itself, such as AloftLLM(model=name).")
        named = {"embedder": embed_model, "reranker": reranker}
        models = {part: _name_of(part, one) for part, one in named.items() if one is not None}
        whole = check_config((config or load_config(preset)).model_dump() | models)
        teacher = teacher_of(llm) if llm else None
        is_dataset = hasattr(questions, "queries")
        self._dataset = check_dataset("questions", questions) if is_dataset else None
        super().__init__(
            to_documents(nodes_or_documents),
            out,
            whole,
            teacher,
            None if is_dataset else questions,  # type: ignore[arg-type] # paths, or refused
            show_progress=show_progress,
            overwrite=overwrite,
        )

    def finetune(self, progress: Progress | None = None) -> None:
        """Run all stages, or resume them.

        Args:
            progress: Called with a stage, steps done and steps in all, in place of what is shown.

        Raises:
            AloftError: a fault that the user can correct, in one line.
        """
        with (
            self._dataset_as_file(),
            shown_progress(self._show_progress and progress is None) as shown,
        ):
            reported = progress or shown

            def tell(stage: str, done: int, total: int) -> None:
                dispatch_progress(stage, done, total)
                reported(stage, done, total)

            super().finetune(tell)

    @contextmanager
    def _dataset_as_file(self) -> Iterator[None]:
        """Give the run a dataset's questions as the file that it reads them from."""
        if self._dataset is None:
            yield
            return
        with TemporaryDirectory() as folder:
            self._questions = Path(folder) / "questions.jsonl"
            write_text(self._questions, _questions_of(self._dataset))
            try:
                yield
            except DataError as error:  # of a file that nobody gave
                raise DataError(str(error).replace(str(self._questions), "questions")) from error

    @overload
    def get_finetuned_model(
        self, part: Literal["embedder"] = "embedder", **fields: Any
    ) -> AloftEmbedding: ...
    @overload
    def get_finetuned_model(self, part: Literal["reranker"], **fields: Any) -> AloftRerank: ...
    @overload
    def get_finetuned_model(self, part: Literal["generator"], **fields: Any) -> AloftLLM: ...
    def get_finetuned_model(
        self, part: str = "embedder", **fields: Any
    ) -> AloftEmbedding | AloftRerank | AloftLLM:
        """The model that the run ships for a part: the base model if tuning it did not gain.

        Args:
            part: "embedder", "reranker" or "generator".
            **fields: Arguments of the returned class, such as `top_n` or `embed_batch_size`.

        Raises:
            ConfigError: there is no such part.
            DataError: `finetune` has not finished, or no reranker ships.
        """
        if part in _FORMER:
            _logger.warning('The part "%s" is now called "%s". Rename it.', part, _FORMER[part])
        name = _FORMER.get(part, part)
        if name not in _CLASSES:
            raise ConfigError(f'There is no part "{part}". It may be: {", ".join(_CLASSES)}.')
        return _CLASSES[name].from_run(self.shipped, **fields)


def _questions_of(dataset: EmbeddingQAFinetuneDataset) -> str:
    """A dataset as labelled questions in JSON Lines, a line for each text that answers one."""
    rows = (
        {"id": key, "question": question, "passage": dataset.corpus[text_id]}
        for key, question in dataset.queries.items()
        for text_id in dataset.relevant_docs[key]
    )
    return "".join(json.dumps(row) + "\n" for row in rows)


def _name_of(part: str, model: Any) -> str:
    """The name of a model whose weights are on this machine."""
    known = (getattr(model, field, None) for field in ("model_name", "model"))
    names = [model] if isinstance(model, str) else [one for one in known if isinstance(one, str)]
    with suppress(ModelError):
        for name in filter(None, names):
            resolve_model(name)
            return name
    shown = names[0] if names else type(model).__name__
    raise ConfigError(
        f"The weights of the {part} {shown} are not on this machine, so it cannot be trained. Name "
        "a model that is here, or train a map on top of any embedding model with "
        "EmbeddingAdapterFinetuneEngine."
    )
