"""A whole Aloft run behind the interface of LlamaIndex's fine-tune engines."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, overload

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.llms import LLM
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import BaseNode
from llama_index_instrumentation import get_dispatcher

from aloft.api import ConfigError, HostedRun, ModelError, Progress, resolve_model
from aloft.config import RunConfig, check_config, load_config
from llama_index_aloft.convert import to_documents
from llama_index_aloft.embedding import AloftEmbedding
from llama_index_aloft.llm import AloftLLM
from llama_index_aloft.rerank import AloftRerank
from llama_index_aloft.teacher import teacher_of

_dispatcher = get_dispatcher(__name__)


class AloftProgressEvent(BaseEvent):
    """So much of something is done.

    Attributes:
        stage: What.
        done, total: How much of it, and of how much.
    """

    stage: str
    done: int
    total: int

    @classmethod
    def class_name(cls) -> str:
        """The name in LlamaIndex's serialised form."""
        return "AloftProgressEvent"


def tell_handlers(stage: str, done: int, total: int) -> None:
    """Pass progress on to LlamaIndex's event handlers."""
    _dispatcher.event(AloftProgressEvent(stage=stage, done=done, total=total))


class AloftFinetuneEngine(HostedRun):
    """Tunes embedder, reranker and generator on nodes, and keeps what measurably gains.

    It has the two methods of the engines in LlamaIndex's retired finetuning package.

    Args:
        nodes_or_documents: What to tune on; nodes of one document become one document again.
        out: The run folder; an engine on the same folder goes on where an earlier one stopped.
        config: What to do; None: the preset's.
        preset: One of `aloft.config.PRESETS`; not looked at where there is a `config`.
        llm: The teacher that writes questions and answers, such as `Settings.llm`; None: the
            configuration's.
        embed_model: What is trained to embed, such as `Settings.embed_model`: an embedding model of
            this machine, or its name; None: the configuration's.
        reranker: The same of what is trained to rerank.
        questions: A file of the user's own labelled questions, which then decide what is kept.

    While it works it tells what is done by `AloftProgressEvent`s, which any of LlamaIndex's event
    handlers sees.

    Raises:
        ConfigError: the embedding model or reranker has no weights on this machine.
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
        questions: str | Path | None = None,
    ) -> None:
        named = {"embedder": embed_model, "reranker": reranker}
        models = {part: _name_of(part, one) for part, one in named.items() if one is not None}
        whole = check_config((config or load_config(preset)).model_dump() | models)
        teacher = teacher_of(llm) if llm else None
        super().__init__(to_documents(nodes_or_documents), out, whole, teacher, questions)

    def finetune(self, progress: Progress = tell_handlers) -> None:
        """Do the whole run, or what is missing of it.

        Args:
            progress: Told what is done; by default the event handlers are.

        Raises:
            AloftError: something that the user can put right, in one line.
        """
        super().finetune(progress)

    @overload
    def get_finetuned_model(
        self, part: Literal["embedding"] = "embedding", **fields: Any
    ) -> AloftEmbedding: ...
    @overload
    def get_finetuned_model(self, part: Literal["reranker"], **fields: Any) -> AloftRerank: ...
    @overload
    def get_finetuned_model(self, part: Literal["llm"], **fields: Any) -> AloftLLM: ...
    def get_finetuned_model(
        self, part: Literal["embedding", "reranker", "llm"] = "embedding", **fields: Any
    ) -> AloftEmbedding | AloftRerank | AloftLLM:
        """What the run ships for one part: the base model where its tuning did not gain.

        Args:
            part: Which.
            **fields: Of the class that is returned, such as `top_n` or `embed_batch_size`.

        Raises:
            DataError: `finetune` has not finished, or no reranker ships.
        """
        if part == "embedding":
            return AloftEmbedding.from_run(self.out, **fields)
        if part == "reranker":
            return AloftRerank.from_run(self.out, **fields)
        return AloftLLM.from_run(self.out, **fields)


def _name_of(part: str, model: Any) -> str:
    """A model's name, of which the weights are on this machine."""
    known = (getattr(model, field, None) for field in ("model_name", "model"))
    names = [model] if isinstance(model, str) else [one for one in known if isinstance(one, str)]
    with suppress(ModelError):
        for name in filter(None, names):
            resolve_model(name)
            return name
    shown = names[0] if names else type(model).__name__
    raise ConfigError(
        f"The {part} is {shown}, whose weights are not on this machine, and they are what is "
        "trained. Name a model that is. For questions alone, EmbeddingAdapterFinetuneEngine trains "
        "a map on top of any embedding model."
    )
