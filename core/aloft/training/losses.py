"""Losses of embedders, and the rows that each of them reads.

Sources: contrastive, MultipleNegativesRankingLoss (arXiv:1705.00652) with cached gradients
(GradCache, arXiv:2101.06983); guided, GISTEmbed (arXiv:2402.16829); triplet, FaceNet
(arXiv:1503.03832), cosine distances a margin of 0.2 apart; graded, CoSENT; distilled, MarginMSE
(arXiv:2010.02666) as GPL uses it (arXiv:2112.07577); shorter vectors, Matryoshka representation
learning (arXiv:2205.13147).
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import losses
from sentence_transformers.util import pairwise_cos_sim
from torch import Tensor, nn

from aloft.backends.sentence_transformers import load_encoder
from aloft.config import EmbedderTrainingConfig
from aloft.protocols import Floats
from aloft.records import EmbedderRow
from aloft.training.distributed import process_count
from aloft.training.tuning import cut_texts

SCALES = (20.0, 50.0, 100.0)  # of cosines before the softmax: temperatures of 0.05, 0.02, 0.01
_MARGIN = 0.2  # between cosine distances of positive and negative


def natural_scale(cosines: Floats, right: Sequence[int]) -> float:
    """The one of `SCALES` that a model was made at, by how far it spreads unlike texts.

    Models are made at unlike temperatures, which their files do not tell. A loss at another one
    first pulls all texts apart or together, and what the model knew is lost. The cosines of a
    question and wrong passages have a standard deviation of about twice the temperature, however
    hard the questions are: 0.09 to 0.11 of all-MiniLM-L6-v2, which was made at 0.05, and 0.015 to
    0.023 of multilingual-e5-small, made at 0.01, over seven corpora.

    Args:
        cosines: Similarities of some questions and passages; (questions, passages).
        right: Column of each question's passage.
    """
    wrong = [np.delete(row, column) for row, column in zip(cosines, right, strict=True)]
    spread = float(np.median([some.std() for some in wrong if some.size] or [0.0]))
    if spread == 0:  # there is no more than one wrong passage
        return SCALES[0]
    return min(SCALES, key=lambda scale: abs(math.log(scale * spread / 2)))


def datasets_for(rows: Sequence[EmbedderRow], config: EmbedderTrainingConfig) -> dict[str, Dataset]:
    """One dataset per number of hard negatives, as short lists are never padded."""
    lay_out = _laid_out_index if config.keeps_index else _LAID_OUT[config.loss]
    return by_columns(
        columns for number, row in enumerate(rows) for columns in lay_out(number, row)
    )


def by_columns(laid_out: Iterable[Mapping[str, Any]]) -> dict[str, Dataset]:
    """One dataset per number of columns."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for columns in laid_out:
        found.setdefault(f"columns_{len(columns)}", []).append(columns)
    return {name: Dataset.from_list(found[name]) for name in sorted(found)}


def contrasted(anchor: str, positive: str, negatives: Sequence[str]) -> dict[str, Any]:
    """The columns of a question with its right passage and wrong ones."""
    wrong = {f"negative_{i}": text for i, text in enumerate(negatives, start=1)}
    return {"anchor": anchor, "positive": positive, **wrong}


def _texts(row: EmbedderRow) -> dict[str, Any]:
    return contrasted(row.anchor, row.positive, row.negatives)


def _laid_out_contrast(_number: int, row: EmbedderRow) -> Iterator[dict[str, Any]]:
    yield _texts(row)


def _laid_out_triplets(_number: int, row: EmbedderRow) -> Iterator[dict[str, Any]]:
    for text in row.negatives:
        yield {"anchor": row.anchor, "positive": row.positive, "negative": text}


def _laid_out_graded(_number: int, row: EmbedderRow) -> Iterator[dict[str, Any]]:
    for text, grade in zip((row.positive, *row.negatives), row.grades, strict=True):
        yield {"anchor": row.anchor, "passage": text, "label": grade}


def _laid_out_distilled(_number: int, row: EmbedderRow) -> Iterator[dict[str, Any]]:
    if row.negatives:
        right, *wrong = row.grades
        yield {**_texts(row), "label": [right - grade for grade in wrong]}


def _laid_out_index(number: int, row: EmbedderRow) -> Iterator[dict[str, Any]]:
    yield {"anchor": row.anchor, "label": number}


_LAID_OUT: Mapping[str, Callable[[int, EmbedderRow], Iterator[dict[str, Any]]]] = {
    "contrastive": _laid_out_contrast,
    "guided": _laid_out_contrast,
    "triplet": _laid_out_triplets,
    "graded": _laid_out_graded,
    "distilled": _laid_out_distilled,
}


def loss_for(
    encoder: SentenceTransformer,
    rows: Sequence[EmbedderRow],
    source: Path,
    config: EmbedderTrainingConfig,
    *,
    scale: float,
    at_once: int,
) -> nn.Module:
    """Create the configured loss.

    Args:
        encoder: The model to train.
        rows: The training rows.
        source: Folder of the untuned model, which guides or embeds fixed passages.
        config: The settings.
        scale: Of cosines before a softmax; see `natural_scale`.
        at_once: Texts per forward pass where gradients are cached.
    """
    if config.keeps_index:
        return IndexLoss(encoder, load_encoder(source), rows, scale)
    loss: nn.Module
    is_shared = process_count() > 1
    if config.loss == "contrastive":
        loss = losses.CachedMultipleNegativesRankingLoss(
            encoder, scale=scale, mini_batch_size=at_once, gather_across_devices=is_shared
        )
    elif config.loss == "guided":
        guide = load_encoder(source)
        cut_texts(guide, config.max_seq_length)
        loss = losses.CachedGISTEmbedLoss(
            encoder,
            guide,
            temperature=1 / scale,
            mini_batch_size=at_once,
            gather_across_devices=is_shared,
        )
    elif config.loss == "triplet":
        metric = losses.TripletDistanceMetric.COSINE
        loss = losses.TripletLoss(encoder, distance_metric=metric, triplet_margin=_MARGIN)
    elif config.loss == "graded":
        loss = losses.CoSENTLoss(encoder, scale=scale)
    else:
        loss = losses.MarginMSELoss(encoder, similarity_fct=pairwise_cos_sim)
    if not config.matryoshka:
        return loss
    whole = encoder.get_embedding_dimension() or 0
    dimensions = sorted({whole, *config.matryoshka}, reverse=True)
    return losses.MatryoshkaLoss(encoder, loss, matryoshka_dims=dimensions)


class IndexLoss(nn.Module):
    """Contrastive loss of questions against passages with fixed vectors.

    The vectors are computed once, so a step encodes only its questions. The passages of all rows,
    right ones and hard negatives, are candidates for each question; duplicates count once.
    """

    def __init__(
        self,
        encoder: SentenceTransformer,
        base: SentenceTransformer,
        rows: Sequence[EmbedderRow],
        scale: float,
    ) -> None:
        super().__init__()
        self._scale = scale
        self.model = encoder  # by this name the trainer puts its wrapper in its place
        texts = {text: None for row in rows for text in (row.positive, *row.negatives)}
        places = {text: place for place, text in enumerate(texts)}
        self._right = torch.tensor([places[row.positive] for row in rows])
        vectors = base.encode_document(
            list(texts), convert_to_tensor=True, normalize_embeddings=True, show_progress_bar=False
        )
        self._vectors = vectors.float().clone()  # tensors from `encode` allow no autograd

    def forward(self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor) -> Tensor:
        """Loss of a batch.

        Args:
            sentence_features: Tokenized questions.
            labels: Row number of each question; (questions,).
        """
        (features,) = sentence_features
        questions = nn.functional.normalize(self.model(features)["sentence_embedding"], dim=1)
        passages = self._vectors.to(questions.device, questions.dtype)
        targets = self._right[labels.cpu()].to(questions.device)
        return nn.functional.cross_entropy(self._scale * questions @ passages.T, targets)
