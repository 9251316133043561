"""Engines that train one model on a dataset, with the retired package's names and arguments."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import numpy as np
from llama_index.core.base.embeddings.base import BaseEmbedding
from tqdm.auto import tqdm

from aloft.api import (
    DEPTH,
    Comparison,
    ConfigError,
    DataError,
    DenseIndex,
    EmbedderRow,
    Floats,
    Models,
    Progress,
    RerankerRow,
    Values,
    compare,
    local_only,
    measure_ranking,
    no_progress,
    replace_surrogates,
    write_folder,
)
from aloft.config import EmbedderTrainingConfig, RerankerTrainingConfig, absolute_name
from llama_index_aloft.embedding import AloftEmbedding
from llama_index_aloft.finetuning.adapter import MAP, AdapterEmbedding, read_map
from llama_index_aloft.finetuning.dataset import EmbeddingQAFinetuneDataset
from llama_index_aloft.finetuning.types import (
    BaseCrossEncoderFinetuningEngine,
    BaseEmbeddingFinetuneEngine,
)
from llama_index_aloft.rerank import AloftRerank

_SEED = 0
_RESAMPLES = 10_000


@dataclass
class CrossEncoderFinetuningDatasetSample:
    """A question, a text, and whether it answers the question: 1 or 0."""

    query: str
    context: str
    score: float


class SentenceTransformersFinetuneEngine(BaseEmbeddingFinetuneEngine):
    """Trains an embedder on questions and the texts that answer them.

    A batch holds no text twice, and the loss is that of `aloft.config.EmbedderTrainingConfig`. With
    a `val_dataset`, the model is measured on it before and after.

    Args:
        dataset: The training data.
        model_id: A folder, an `embedded:` name, or a Hugging Face id that is on this machine.
        model_output_path: Folder of the trained model.
        batch_size, epochs: Of the training.
        val_dataset: The data to measure on.
        loss: "contrastive", or another of Aloft's losses that needs no grades; None: "contrastive".
        show_progress_bar: Whether to draw progress bars.
        use_all_docs: Whether to train a question with all its texts, not with the first alone.
        trust_remote_code: Must be False: a model's own code is never run.
        unused: Other arguments of the retired engine; ignored.

    Attributes:
        gains: After `finetune` with a `val_dataset`: each metric before and after, with the 95 %
            interval of its gain.

    Raises:
        ConfigError: `trust_remote_code` is set, or the loss is an object.
        DataError: the dataset is empty, or a question's text is missing.
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
        **unused: Any,
    ) -> None:
        if trust_remote_code:
            raise ConfigError("trust_remote_code is set, but a model's own code is never run here.")
        self._rows = _rows_of(dataset, all_docs=use_all_docs)
        self._config = EmbedderTrainingConfig(
            loss=_named(loss, "contrastive"),
            num_train_epochs=epochs,
            per_device_train_batch_size=max(2, batch_size),
            tuned_share=1.0,
        )
        self._model_id = absolute_name(model_id)
        self._out = Path(model_output_path).absolute()
        self._val = val_dataset
        self._show_progress = show_progress_bar
        self.gains: list[Comparison] = []

    def finetune(self, **train_kwargs: Any) -> None:
        """Train, or resume an interrupted training.

        Raises:
            ModelError: the model is not on this machine.
        """
        from aloft.api import train_embedder

        with _local_work(self._show_progress) as progress:
            given = (self._rows, self._model_id, self._out, self._config)
            checkpoints = _checkpoints_of(self._out)
            train_embedder(*given, seed=_SEED, checkpoints=checkpoints, progress=progress)
            if self._val is not None:
                texts = [(self._val.relevant_docs[key] or [key])[0] for key in self._val.queries]
                models = self._model_id, self._out
                self.gains = _gains(partial(_measure, self._val), *models, texts)

    def get_finetuned_model(self, **model_kwargs: Any) -> AloftEmbedding:
        """The trained model.

        Raises:
            DataError: `finetune` has not finished.
        """
        return AloftEmbedding(str(_finished(self._out)), **model_kwargs)


class EmbeddingAdapterFinetuneEngine(BaseEmbeddingFinetuneEngine):
    """Trains a linear map of questions on top of any embedding model; indexes stay valid.

    Each text is embedded once, in batches.

    Args:
        dataset: The training data.
        embed_model: Any embedding model.
        batch_size, epochs: Of the training.
        adapter_model: Must be None: the map is linear and has no bias.
        dim: Ignored: the model's dimension is used.
        model_output_path: Folder of the trained model.
        verbose: Whether to draw progress bars.
        unused: Other arguments of the retired engine; ignored.

    Raises:
        ConfigError: `adapter_model` or `bias` is set.
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
        model_output_path: str = "model_output",
        verbose: bool = False,
        bias: bool = False,
        learning_rate: float = 1e-3,
        **unused: Any,
    ) -> None:
        if adapter_model is not None or bias:
            raise ConfigError(
                "Only a linear map without a bias can be trained. Leave out adapter_model and "
                "bias, or train the model itself with SentenceTransformersFinetuneEngine."
            )
        self._rows = _rows_of(dataset, all_docs=False)
        self._base = embed_model
        self._out = Path(model_output_path).absolute()
        self._show_progress = verbose
        self._start: Floats | None = None
        self._how: dict[str, Any] = {
            "epochs": epochs,
            "batch_size": max(2, batch_size),
            "learning_rate": learning_rate,
        }

    @classmethod
    def from_model_path(
        cls,
        dataset: EmbeddingQAFinetuneDataset,
        embed_model: BaseEmbedding,
        model_path: str,
        **fields: Any,
    ) -> Self:
        """Continue to train a map.

        Raises:
            DataError: the folder holds no map.
        """
        engine = cls(dataset, embed_model, **fields)
        engine._start = read_map(Path(model_path))
        return engine

    def finetune(self, **train_kwargs: Any) -> None:
        """Embed the texts and questions, and train the map."""
        from aloft.api import train_query_map

        texts = {row.positive: None for row in self._rows}
        places = {text: place for place, text in enumerate(texts)}
        passages = self._base.get_text_embedding_batch(list(texts), self._show_progress)
        asked = [self._base.get_query_embedding(row.anchor) for row in self._rows]
        with _local_work(self._show_progress) as progress:
            matrix, losses = train_query_map(
                np.array(asked, np.float32),
                np.array(passages, np.float32),
                [places[row.positive] for row in self._rows],
                start=self._start,
                seed=_SEED,
                progress=progress,
                **self._how,
            )

        def write(folder: Path) -> None:
            np.save(folder / MAP, matrix, allow_pickle=False)
            facts = {"base": self._base.model_name, "losses": losses}
            (folder / "query_map.json").write_text(json.dumps(facts), encoding="utf-8")

        write_folder(self._out, write)

    def get_finetuned_model(self, **model_kwargs: Any) -> AdapterEmbedding:
        """The embedding model with the trained map.

        Raises:
            DataError: `finetune` has not finished.
        """
        return AdapterEmbedding(self._base, str(_finished(self._out)), **model_kwargs)


class CrossEncoderFinetuneEngine(BaseCrossEncoderFinetuningEngine):
    """Trains a cross-encoder on questions with texts that answer them or do not.

    Args:
        dataset: The training data.
        model_id: A folder, an `embedded:` name, or a Hugging Face id that is on this machine; an
            encoder gets a new classification head.
        model_output_path: Folder of the trained model.
        batch_size, epochs: Of the training.
        val_dataset: The data to measure on.
        loss: "binary" or "listwise"; None: "binary".
        show_progress_bar: Whether to draw progress bars.
        unused: Other arguments of the retired engine; ignored.

    Attributes:
        gains: After `finetune` with a `val_dataset`: the accuracy on its samples before and after,
            with the 95 % interval of the gain.
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
        **unused: Any,
    ) -> None:
        self._rows = [_reranker_row(s) for s in dataset]
        if not self._rows:
            raise DataError("The dataset is empty. Pass samples with query, context and score.")
        self._config = RerankerTrainingConfig(
            loss=_named(loss, "binary"),
            num_train_epochs=epochs,
            per_device_train_batch_size=batch_size,
            tuned_share=1.0,
        )
        self._model_id = absolute_name(model_id)
        self._out = Path(model_output_path).absolute()
        self._val = list(val_dataset or ())
        self._show_progress = show_progress_bar
        self.gains: list[Comparison] = []

    def finetune(self, **train_kwargs: Any) -> None:
        """Train, or resume an interrupted training.

        Raises:
            ModelError: the model is not on this machine.
        """
        from aloft.api import start_cross_encoder, train_reranker

        with _local_work(self._show_progress) as progress, TemporaryDirectory() as headed:
            base = start_cross_encoder(self._model_id, Path(headed), seed=_SEED)
            given = (self._rows, base, self._out, self._config)
            checkpoints = _checkpoints_of(self._out)
            train_reranker(*given, seed=_SEED, checkpoints=checkpoints, progress=progress)
            if self._val:
                queries = [sample.query for sample in self._val]
                self.gains = _gains(self._accuracy, base, self._out, queries)

    def _accuracy(self, model: str) -> Values:
        """Per sample 1 if its score is on the right side of 0.5, else 0."""
        rows = [_reranker_row(sample) for sample in self._val]
        pairs = [(row.query, row.passage) for row in rows]
        scores = Models().reranker(model).score(pairs)
        right = (scores > 0.5) == np.array([sample.score > 0.5 for sample in self._val])
        return {"accuracy": right.astype(float)}

    def get_finetuned_model(self, model_name: str | None = None, top_n: int = 3) -> AloftRerank:
        """The trained model, or the named one, as a reranker.

        Raises:
            DataError: `finetune` has not finished.
        """
        return AloftRerank(model_name or str(_finished(self._out)), top_n=top_n)


@contextmanager
def _local_work(show_progress: bool) -> Iterator[Progress]:
    """Refuse connections to other machines, and yield a callback that draws progress if asked."""
    with local_only():
        if not show_progress:
            yield no_progress
            return
        with progress_bars() as progress:
            yield progress


@contextmanager
def progress_bars() -> Iterator[Progress]:
    """Yield a callback that draws a tqdm bar for each step, as LlamaIndex itself does."""
    bars: dict[str, Any] = {}

    def show(step: str, done: int, total: int) -> None:
        if step not in bars:
            bars[step] = tqdm(desc=step, total=total)
        bars[step].update(done - bars[step].n)

    try:
        yield show
    finally:
        for bar in bars.values():
            bar.close()


def _rows_of(dataset: EmbeddingQAFinetuneDataset, *, all_docs: bool) -> list[EmbedderRow]:
    rows = []
    for key, query in dataset.queries.items():
        keys = dataset.relevant_docs.get(key, [])
        missing = [text_id for text_id in keys if text_id not in dataset.corpus]
        if missing or not keys:
            what = f'text "{missing[0]}"' if missing else "text"
            raise DataError(f'Question "{key}" has no {what} in the corpus. Correct the dataset.')
        for text_id in keys if all_docs else keys[:1]:
            anchor = replace_surrogates(query)
            positive = replace_surrogates(dataset.corpus[text_id])
            rows.append(EmbedderRow(pair_id=key, anchor=anchor, positive=positive, negatives=()))
    if not rows:
        raise DataError("The dataset holds no questions. Generate some, or check its file.")
    return rows


def _reranker_row(sample: CrossEncoderFinetuningDatasetSample) -> RerankerRow:
    query, passage = replace_surrogates(sample.query), replace_surrogates(sample.context)
    return RerankerRow(pair_id=query, query=query, passage=passage, label=float(sample.score))


def _named(loss: Any, usual: str) -> Any:
    if loss is None or isinstance(loss, str):
        return loss or usual
    raise ConfigError(f'loss is a {type(loss).__name__}. Name it, as in loss="{usual}".')


def _measure(dataset: EmbeddingQAFinetuneDataset, name: str) -> Values:
    """Values of each retrieval metric on a dataset; (questions,)."""
    model = AloftEmbedding(name)
    columns = {key: column for column, key in enumerate(dataset.corpus)}
    passages = np.array(model.get_text_embedding_batch(list(dataset.corpus.values())), np.float32)
    asked = [model.get_query_embedding(query) for query in dataset.queries.values()]
    ranking = DenseIndex(passages).rank(np.array(asked, np.float32), DEPTH)
    right = [dataset.relevant_docs[key] for key in dataset.queries]
    gold = [frozenset(columns[i] for i in ids if i in columns) for ids in right]
    return measure_ranking(ranking, gold)


def _gains(
    measure: Callable[[str], Values], model: str, tuned: Path, clusters: Sequence[str]
) -> list[Comparison]:
    """Compare a model before and after training; questions of a cluster are resampled together."""
    before, after = measure(model), measure(str(tuned))
    return [
        compare(metric, column, after[metric], clusters, resamples=_RESAMPLES, seed=_SEED)
        for metric, column in before.items()
    ]


def _checkpoints_of(folder: Path) -> Path:
    return folder.parent / "work" / f"{folder.name}-checkpoints"


def _finished(folder: Path) -> Path:
    if not folder.is_dir():
        raise DataError(f"{folder} does not exist yet. Call finetune() first.")
    return folder
