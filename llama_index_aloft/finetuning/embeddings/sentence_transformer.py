"""Trains an embedding model on questions and the texts that answer them."""

from functools import partial
from typing import Any

import numpy as np

from aloft.api import (
    DEPTH,
    Comparison,
    ConfigError,
    DenseIndex,
    Models,
    Values,
    measure_ranking,
)
from aloft.config import GRADED, EmbedderTrainingConfig, absolute_name
from llama_index_aloft.embedding import AloftEmbedding
from llama_index_aloft.finetuning.embeddings.common import (
    EmbeddingQAFinetuneDataset,
    check_dataset,
    rows_of,
)
from llama_index_aloft.finetuning.training import (
    SEED,
    Output,
    check_batch,
    check_device,
    check_loss,
    check_no_settings,
    check_settings,
    local_work,
    measure_gains,
    warn_of_overlap,
)
from llama_index_aloft.finetuning.types import BaseEmbeddingFinetuneEngine


class SentenceTransformersFinetuneEngine(BaseEmbeddingFinetuneEngine):
    """Trains an embedder on questions and the texts that answer them.

    A batch holds no text twice, and the loss is that of `aloft.config.EmbedderTrainingConfig`. With
    a `val_dataset`, the model is measured on it before and after. An interrupted training resumes
    from its last checkpoint; there are five in a training.

    Args:
        dataset: The training data.
        model_id: A folder, an `embedded:` name, or a Hugging Face id that is on this machine.
        model_output_path: Folder of the trained model.
        batch_size, epochs: Of the training.
        val_dataset: The data to measure on; checked before the training.
        loss: "contrastive", or another of Aloft's losses that needs no grades; None: "contrastive".
        show_progress_bar: Whether to show progress.
        evaluation_steps: No effect: the model is measured before and after the training.
        use_all_docs: Whether to train a question with all its texts, not with the first alone.
        trust_remote_code: Must be False: a model's own code is never run.
        device: None, or the device that is used anyway: the accelerator, else the CPU.
        save_checkpoints, resume_from_checkpoint: No effect: trainings always save checkpoints,
            resume from them, and delete them in the end.
        checkpoint_save_steps, checkpoint_save_total_limit: No effect.
        overwrite: Whether to replace whatever `model_output_path` holds. Otherwise only a model of
            such an engine is replaced, if half of its texts are in the dataset.

    Attributes:
        gains: After `finetune` with a `val_dataset`: each metric before and after, with the 95 %
            interval of its gain.

    Raises:
        ConfigError: an argument is out of range, or asks for what is not done here.
        DataError: a dataset is empty, or a question's text is missing.
    """

    def __init__(  # noqa: PLR0913 - the retired engine's signature
        self,
        dataset: EmbeddingQAFinetuneDataset,
        model_id: str = "BAAI/bge-small-en",
        model_output_path: str = "exp_finetune",
        batch_size: int = 10,
        val_dataset: EmbeddingQAFinetuneDataset | None = None,
        loss: str | None = None,
        epochs: int = 2,
        show_progress_bar: bool = True,
        evaluation_steps: int = 50,
        use_all_docs: bool = False,
        trust_remote_code: bool = False,
        device: Any | None = None,
        save_checkpoints: bool = False,
        resume_from_checkpoint: bool = False,
        checkpoint_save_steps: int = 500,
        checkpoint_save_total_limit: int = 0,
        *,
        overwrite: bool = False,
    ) -> None:
        if trust_remote_code:
            raise ConfigError("trust_remote_code is set, but a model's own code is never run here.")
        check_device(device)
        self._rows = rows_of(check_dataset("dataset", dataset), all_docs=use_all_docs)
        self._val = None if val_dataset is None else check_dataset("val_dataset", val_dataset)
        self._config = check_settings(
            EmbedderTrainingConfig,
            loss=check_loss(loss, "contrastive"),
            num_train_epochs=epochs,
            per_device_train_batch_size=check_batch(batch_size),
            tuned_share=1.0,
        )
        if self._config.loss in GRADED:
            raise ConfigError(f'The loss "{loss}" needs grades, and a dataset holds none.')
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
        texts = [row.positive for row in self._rows]
        self._output.claim(texts)
        from aloft.api import train_embedder  # seconds: after the refusals

        asked = [row.anchor for row in self._rows]
        if self._val is not None:
            warn_of_overlap(asked, self._val.queries.values())
        base = Models().fingerprint(self._model_id)
        key = (base, self._config.model_dump_json(), *texts, *asked)
        with local_work(self._show_progress) as progress:
            given = (self._rows, self._model_id, self._output.folder, self._config)
            checkpoints = self._output.checkpoints(*key)
            train_embedder(*given, seed=SEED, checkpoints=checkpoints, progress=progress)
            self._output.note(texts)
            if self._val is not None:
                right = [self._val.relevant_docs[key][0] for key in self._val.queries]
                models = self._model_id, self._output.folder
                self.gains = measure_gains(partial(_measure, self._val), *models, right)

    def get_finetuned_model(self, **model_kwargs: Any) -> AloftEmbedding:
        """The trained model.

        Raises:
            DataError: `finetune` has not finished.
        """
        return AloftEmbedding(str(self._output.finished), **model_kwargs)


def _measure(dataset: EmbeddingQAFinetuneDataset, name: str) -> Values:
    """Values of each retrieval metric on a dataset; (questions,)."""
    model = AloftEmbedding(name)
    columns = {key: column for column, key in enumerate(dataset.corpus)}
    passages = np.array(model.get_text_embedding_batch(list(dataset.corpus.values())), np.float32)
    asked = [model.get_query_embedding(query) for query in dataset.queries.values()]
    ranking = DenseIndex(passages).rank(np.array(asked, np.float32), DEPTH)
    right = [dataset.relevant_docs[key] for key in dataset.queries]
    gold = [frozenset(columns[text_id] for text_id in ids) for ids in right]
    return measure_ranking(ranking, gold)
