"""A whole Aloft run behind the interface of LlamaIndex's fine-tune engines."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, overload

from llama_index.core.llms import LLM
from llama_index.core.schema import BaseNode

from aloft.config import RunConfig, load_config
from aloft.pipeline import Aloft, read_report
from llama_index_aloft.convert import to_documents
from llama_index_aloft.embedding import AloftEmbedding
from llama_index_aloft.llm import AloftLLM
from llama_index_aloft.rerank import AloftRerank
from llama_index_aloft.teacher import LlamaIndexTeacher


class AloftFinetuneEngine:
    """Tunes embedder, reranker and generator on nodes, and keeps what measurably gains.

    It has the two methods of the engines in LlamaIndex's retired finetuning package.

    Args:
        nodes_or_documents: What to tune on; nodes of one document become one document again.
        out: The run folder; an engine on the same folder goes on where an earlier one stopped.
        config: What to do; None: the preset's.
        preset: One of `aloft.config.PRESETS`; not looked at where there is a `config`.
        llm: The teacher that writes questions and answers; None: the configuration's.
        questions: A file of the user's own labelled questions, which then decide what is kept.
    """

    def __init__(
        self,
        nodes_or_documents: Sequence[BaseNode],
        out: str | Path,
        *,
        config: RunConfig | None = None,
        preset: str = "cpu",
        llm: LLM | None = None,
        questions: str | Path | None = None,
    ) -> None:
        self._documents = to_documents(nodes_or_documents)
        self._out = Path(out)
        self._config = config or load_config(preset)
        self._teacher = LlamaIndexTeacher(llm) if llm else None
        self._questions = Path(questions) if questions else None

    def finetune(self) -> None:
        """Do the whole run, or what is missing of it.

        Raises:
            AloftError: something that the user can put right, in one line.
        """
        run = Aloft(self._config, teacher=self._teacher)
        run.run(self._documents, self._out, questions=self._questions)

    @property
    def report(self) -> dict[str, Any]:
        """The finished run's figures: the content of report.json.

        Raises:
            DataError: `finetune` has not finished.
        """
        return read_report(self._out)

    @property
    def verdicts(self) -> list[dict[str, Any]]:
        """Per part whether it is kept and why.

        Raises:
            DataError: `finetune` has not finished.
        """
        found: list[dict[str, Any]] = self.report["verdicts"]
        return found

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
            return AloftEmbedding.from_run(self._out, **fields)
        if part == "reranker":
            return AloftRerank.from_run(self._out, **fields)
        return AloftLLM.from_run(self._out, **fields)
