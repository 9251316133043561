"""Trains a cross-encoder on questions with texts that answer them or do not."""

from collections.abc import Iterable, Sequence
from numbers import Real
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

import numpy as np

from aloft.api import (
    Comparison,
    ConfigError,
    DataError,
    Models,
    RerankerRow,
    Values,
    replace_surrogates,
)
from aloft.config import RerankerTrainingConfig, absolute_name
from llama_index_aloft.finetuning.cross_encoders.dataset_gen import (
    CrossEncoderFinetuningDatasetSample,
)
from llama_index_aloft.finetuning.training import (
    SEED,
    Output,
    check_batch,
    check_loss,
    check_no_settings,
    check_settings,
    local_work,
    measure_gains,
    warn_of_overlap,
)
from llama_index_aloft.finetuning.types import BaseCrossEncoderFinetuningEngine
from llama_index_aloft.rerank import AloftRerank


class CrossEncoderFinetuneEngine(BaseCrossEncoderFinetuningEngine):
    """Trains a cross-encoder on questions with texts that answer them or do not.

    An interrupted training resumes from its last checkpoint; there are five in a training.

    Args:
        dataset: The training data.
        model_id: A folder, an `embedded:` name, or a Hugging Face id that is on this machine; an
            encoder gets a new classification head.
        model_output_path: Folder of the trained model.
        batch_size, epochs: Of the training.
        val_dataset: The data to measure on; checked before the training.
        loss: "binary" or "listwise"; None: "binary".
        show_progress_bar: Whether to show progress.
        evaluation_steps: No effect: the model is measured before and after the training.
        overwrite: Whether to replace whatever `model_output_path` holds. Otherwise only a model of
            such an engine is replaced, if half of its texts are in the dataset.

    Attributes:
        gains: After `finetune` with a `val_dataset`: the accuracy on its samples before and after,
            with the 95 % interval of the gain.

    Raises:
        ConfigError: an argument is out of range.
        DataError: a dataset is empty, or holds something other than samples.
    """

    def __init__(  # noqa: PLR0913 - the retired engine's signature
        self,
        dataset: Sequence[CrossEncoderFinetuningDatasetSample],
        model_id: str = "cross-encoder/ms-marco-MiniLM-L-12-v2",
        model_output_path: str = "exp_finetune",
        batch_size: int = 10,
        val_dataset: Sequence[CrossEncoderFinetuningDatasetSample] | None = None,
        loss: str | None = None,
        epochs: int = 2,
        show_progress_bar: bool = True,
        evaluation_steps: int = 50,
        *,
        overwrite: bool = False,
    ) -> None:
        self._rows = _rows_of("dataset", dataset)
        self._val = [] if val_dataset is None else _rows_of("val_dataset", val_dataset)
        check_batch(batch_size)
        self._config = check_settings(
            RerankerTrainingConfig,
            loss=check_loss(loss, "binary"),
            num_train_epochs=epochs,
            per_device_train_batch_size=int(batch_size),
            tuned_share=1.0,
        )
        self._model_id = absolute_name(model_id)
        self._output = Output.of(self, model_output_path, overwrite=overwrite)
        self._show_progress = show_progress_bar
        self.gains: list[Comparison] = []

    def finetune(self, **train_kwargs: Any) -> None:
        """Train, or resume an interrupted training.

        Args:
            **train_kwargs: Must be empty; the retired engine ignored it.

        Raises:
            ConfigError: it is given settings.
            ModelError: the model is not on this machine.
            RunFolderError: `model_output_path` holds something else.
        """
        check_no_settings(train_kwargs)
        texts = [row.passage for row in self._rows]
        self._output.claim(texts)
        from aloft.api import start_cross_encoder, train_reranker  # seconds: after the refusals

        asked = [row.query for row in self._rows]
        warn_of_overlap(asked, {row.query for row in self._val})
        labels = [str(row.label) for row in self._rows]
        settings = self._config.model_dump_json()
        key = (Models().fingerprint(self._model_id), settings, *texts, *asked, *labels)
        with local_work(self._show_progress) as progress, TemporaryDirectory() as headed:
            base = start_cross_encoder(self._model_id, Path(headed), seed=SEED)
            given = (self._rows, base, self._output.folder, self._config)
            checkpoints = self._output.checkpoints(*key)
            train_reranker(*given, seed=SEED, checkpoints=checkpoints, progress=progress)
            self._output.note(texts)
            if self._val:
                queries = [row.query for row in self._val]
                self.gains = measure_gains(self._accuracy, base, self._output.folder, queries)

    def _accuracy(self, model: str) -> Values:
        """Per sample 1 if its score is on the right side of 0.5, else 0."""
        scores = Models().reranker(model).score([(row.query, row.passage) for row in self._val])
        right = (scores > 0.5) == np.array([row.label > 0.5 for row in self._val])
        return {"accuracy": right.astype(float)}

    def get_finetuned_model(self, model_name: str | None = None, top_n: int = 3) -> AloftRerank:
        """The trained model, or the named one, as a reranker.

        Raises:
            DataError: `finetune` has not finished.
        """
        return AloftRerank(model_name or str(self._output.finished), top_n=top_n)

    def push_to_hub(self, repo_id: Any = None) -> NoReturn:
        """Refuse: nothing leaves this machine by Aloft.

        Raises:
            ConfigError: always; the message says how to publish the model.
        """
        raise ConfigError(
            "Nothing is uploaded from here. To publish the model, run: hf upload "
            f"{repo_id or 'REPO'} {self._output.folder}"
        )


def _rows_of(
    name: str, dataset: Sequence[CrossEncoderFinetuningDatasetSample]
) -> list[RerankerRow]:
    """A dataset's samples as they are trained on.

    Raises:
        DataError: there are none, or one is something else; the message names the argument.
    """
    advice = "Make it by generate_ce_fine_tuning_dataset(documents, questions)."
    if isinstance(dataset, str) or not isinstance(dataset, Iterable):
        raise DataError(f"{name} is of type {type(dataset).__name__}, but must be a list. {advice}")
    samples = list(dataset)
    for number, sample in enumerate(samples, 1):
        fields = (getattr(sample, "query", None), getattr(sample, "context", None))
        score = getattr(sample, "score", None)
        if not all(isinstance(field, str) for field in fields) or not _is_label(score):
            raise DataError(
                f"{name}: item {number} is no sample with the texts query and context and a score "
                f"from 0 to 1. {advice}"
            )
    if not samples:
        raise DataError(f"{name} is empty. {advice}")
    return [
        RerankerRow(
            pair_id=replace_surrogates(sample.query),
            query=replace_surrogates(sample.query),
            passage=replace_surrogates(sample.context),
            label=float(sample.score),
        )
        for sample in samples
    ]


def _is_label(score: Any) -> bool:
    return isinstance(score, Real) and 0 <= float(score) <= 1  # NumPy's numbers too
