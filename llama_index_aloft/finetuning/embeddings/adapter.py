"""Trains a linear map of questions on top of any embedding model."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from llama_index.core.base.embeddings.base import BaseEmbedding, Embedding

from aloft.api import (
    ConfigError,
    Floats,
    Progress,
    check_kind,
    is_number,
    local_only,
    shown_progress,
    write_folder,
)
from aloft.config import read_path
from llama_index_aloft.finetuning.adapter import MAP, AdapterEmbedding, read_map
from llama_index_aloft.finetuning.embeddings.common import (
    EmbeddingQAFinetuneDataset,
    check_dataset,
    rows_of,
)
from llama_index_aloft.finetuning.training import (
    SEED,
    Output,
    check_batch,
    check_no_settings,
)
from llama_index_aloft.finetuning.types import BaseEmbeddingFinetuneEngine

_BLOCK = 256  # texts between two reports of progress


class EmbeddingAdapterFinetuneEngine(BaseEmbeddingFinetuneEngine):
    """Trains a linear map of questions on top of any embedding model; indexes stay valid.

    Each text is embedded once, in batches.

    Args:
        dataset: The training data.
        embed_model: Any embedding model.
        batch_size, epochs: Of the training.
        adapter_model: Must be None: the map is linear and has no bias.
        dim: None, or the dimension of the embedding model's vectors.
        device: No effect: the map is trained on the CPU.
        model_output_path: Folder of the trained map.
        model_checkpoint_path, checkpoint_save_steps: No effect: once texts are embedded, training
            takes seconds.
        verbose: Whether to show progress.
        bias: Must be False.
        learning_rate: Peak of the training.
        overwrite: Whether to replace whatever `model_output_path` holds. Otherwise only a map of
            such an engine is replaced, if half of its texts are in the dataset.

    Raises:
        ConfigError: an argument is out of range, or asks for what is not done here.
        DataError: the dataset is empty, or a question's text is missing.
    """

    def __init__(  # noqa: PLR0913 - the retired engine's signature
        self,
        dataset: EmbeddingQAFinetuneDataset,
        embed_model: BaseEmbedding,
        batch_size: int = 10,
        epochs: int = 1,
        adapter_model: Any | None = None,
        dim: int | None = None,
        device: str | None = None,
        model_output_path: str = "model_output",
        model_checkpoint_path: str | None = None,
        checkpoint_save_steps: int = 100,
        verbose: bool = False,
        bias: bool = False,
        *,
        learning_rate: float = 1e-3,
        overwrite: bool = False,
    ) -> None:
        if adapter_model is not None or bias:
            raise ConfigError(
                "Only a linear map without a bias can be trained. Leave out adapter_model and "
                "bias, or train the model itself with SentenceTransformersFinetuneEngine."
            )
        advice = "A model by its name is loaded by AloftEmbedding(name)."
        check_kind("embed_model", embed_model, BaseEmbedding, advice)
        for name, value in {"epochs": epochs, "learning_rate": learning_rate}.items():
            if not is_number(value) or not value > 0:
                raise ConfigError(f"{name} is {value!r}, but must be a positive number.")
        self._rows = rows_of(check_dataset("dataset", dataset), all_docs=False)
        self._base = embed_model
        self._dimension = dim
        self._output = Output.of(self, model_output_path, overwrite=overwrite)
        self._show_progress = verbose
        self._start: Floats | None = None
        self._how: dict[str, Any] = {
            "epochs": float(epochs),
            "batch_size": check_batch(batch_size),
            "learning_rate": float(learning_rate),
        }

    @classmethod
    def from_model_path(
        cls,
        dataset: EmbeddingQAFinetuneDataset,
        embed_model: BaseEmbedding,
        model_path: str,
        model_cls: type[Any] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Continue to train a map.

        Args:
            dataset: The training data.
            embed_model: The embedding model that the map was trained on.
            model_path: The folder that an engine wrote.
            model_cls: Must be None: the map is linear.
            **kwargs: Further arguments of the engine.

        Raises:
            ConfigError: `model_cls` is set.
            DataError: the folder holds no map.
        """
        if model_cls is not None:
            raise ConfigError("Only a linear map can be trained further. Leave out model_cls.")
        engine = cls(dataset, embed_model, **kwargs)
        engine._start = read_map(read_path("model_path", model_path))
        return engine

    def finetune(self, **train_kwargs: Any) -> None:
        """Embed the texts and questions, and train the map.

        Args:
            **train_kwargs: Must be empty; the retired engine ignored it.

        Raises:
            ConfigError: it is given settings, or `dim` is not the vectors' dimension.
            RunFolderError: `model_output_path` holds something else.
        """
        check_no_settings(train_kwargs)
        texts = {row.positive: None for row in self._rows}
        self._output.claim(texts)
        from aloft.api import train_query_map  # seconds: after the refusals

        places = {text: place for place, text in enumerate(texts)}
        with shown_progress(self._show_progress) as progress:
            passages = self._embed(list(texts), progress)
            queries = self._embed_questions(progress)
            with local_only():
                matrix, losses = train_query_map(
                    queries,
                    passages,
                    [places[row.positive] for row in self._rows],
                    start=self._start,
                    seed=SEED,
                    progress=progress,
                    **self._how,
                )

        def write(folder: Path) -> None:
            np.save(folder / MAP, matrix, allow_pickle=False)
            facts = {"base": self._base.model_name, "losses": losses}
            (folder / "query_map.json").write_text(json.dumps(facts), encoding="utf-8")

        write_folder(self._output.folder, write)
        self._output.note(texts)

    def _embed(self, texts: Sequence[str], progress: Progress) -> Floats:
        vectors: list[Embedding] = []
        for start in range(0, len(texts), _BLOCK):
            vectors += self._base.get_text_embedding_batch(list(texts[start : start + _BLOCK]))
            progress("embedding texts", len(vectors), len(texts))
            if self._dimension not in (None, len(vectors[0])):
                raise ConfigError(
                    f"dim is {self._dimension}, but the vectors have {len(vectors[0])} dimensions. "
                    "Leave out dim."
                )
        return np.array(vectors, np.float32)

    def _embed_questions(self, progress: Progress) -> Floats:
        vectors: list[Embedding] = []
        for row in self._rows:
            vectors.append(self._base.get_query_embedding(row.anchor))
            progress("embedding questions", len(vectors), len(self._rows))
        return np.array(vectors, np.float32)

    def get_finetuned_model(self, **model_kwargs: Any) -> AdapterEmbedding:
        """The embedding model with the trained map.

        Raises:
            DataError: `finetune` has not finished.
        """
        return AdapterEmbedding(self._base, str(self._output.finished), **model_kwargs)
