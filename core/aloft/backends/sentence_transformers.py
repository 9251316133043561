"""Local encoder models as an `Embedder` and a `Reranker`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import CrossEncoder, MultiVectorEncoder, SentenceTransformer
from sentence_transformers.base.modules import Router, Transformer
from transformers import PreTrainedModel

from aloft.backends.batching import ENCODED_AT_ONCE
from aloft.backends.checking import (
    is_cross_encoder,
    is_language_model,
    load_without_weights,
    refuse_missing,
    reported_loading,
)
from aloft.backends.device import best_device
from aloft.backends.fingerprint import fingerprint_folder
from aloft.backends.host_state import contained_loading, quiet_libraries
from aloft.backends.judging import guard_template, is_judge, make_judge
from aloft.backends.packaged import resolve_model
from aloft.errors import ModelError
from aloft.protocols import Floats, Progress, no_progress
from aloft.text.surrogates import replace_surrogates

_BATCH = 32
# No dropout inside attention during training, under either name that configurations use: on a CPU
# torch has no fused attention with dropout, and steps take three times as long. Dropout of the
# layers' outputs stays.
_CONFIG = {"attention_probs_dropout_prob": 0.0, "attention_dropout": 0.0}
Encoder = SentenceTransformer | CrossEncoder | MultiVectorEncoder
_HERE = {"local_files_only": True, "trust_remote_code": False}


def local_options() -> dict[str, Any]:
    """How any encoder is loaded; anew each time, since the library adds to what it is given."""
    weights = {"use_safetensors": True, "dtype": torch.float32}
    return {**_HERE, "model_kwargs": weights, "config_kwargs": {**_CONFIG}}


def _judge_options() -> dict[str, Any]:
    """How the language model of a judge is loaded."""
    weights = local_options()["model_kwargs"]
    given = {"model_kwargs": weights, "config_kwargs": {}, "processor_kwargs": {}}
    return {name: {**options, **_HERE} for name, options in given.items()}


class SentenceTransformersEmbedder:
    """A sentence-transformers model, used with its own query and passage prompts.

    Raises:
        ModelError: the model is not on this machine.
    """

    def __init__(self, model: str, progress: Progress = no_progress) -> None:
        folder = Path(resolve_model(model))
        with contained_loading():
            self.model = load_encoder(folder)
        self._fingerprint = fingerprint_folder(folder)
        self._progress = progress

    @property
    def fingerprint(self) -> str:
        """Identifies the model."""
        return self._fingerprint

    @property
    def reads(self) -> int | None:
        """Maximum tokens of a passage, without prompt and special tokens; None: unlimited."""
        return passage_room(self.model)

    def locate_tokens(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        """Character span of each token, per text."""
        return locate_tokens(self.model, [replace_surrogates(text) for text in texts])

    def encode_queries(self, texts: Sequence[str]) -> Floats:
        """Vectors of questions; (texts, dimensions), rows of unit length."""
        return self._encode(self.model.encode_query, texts, "embedding questions")

    def encode_passages(self, texts: Sequence[str]) -> Floats:
        """Vectors of passages; (texts, dimensions), rows of unit length."""
        return self._encode(self.model.encode_document, texts, "embedding passages")

    def _encode(self, encode: Any, texts: Sequence[str], doing: str) -> Floats:
        vectors = np.empty((len(texts), self.model.get_embedding_dimension() or 0), np.float32)
        if len(texts) > ENCODED_AT_ONCE:
            self._progress(doing, 0, len(texts))
        for start in range(0, len(texts), ENCODED_AT_ONCE):
            block = [replace_surrogates(text) for text in texts[start : start + ENCODED_AT_ONCE]]
            some = np.asarray(encode(block, batch_size=_BATCH, normalize_embeddings=True))
            if start == 0:
                vectors = np.empty((len(texts), some.shape[1]), np.float32)
            vectors[start : start + len(block)] = some
            self._progress(doing, start + len(block), len(texts))
        return vectors


class SentenceTransformersReranker:
    """A cross-encoder with one output.

    Raises:
        ModelError: the model is not on this machine.
    """

    def __init__(self, model: str) -> None:
        folder = Path(resolve_model(model))
        with contained_loading():  # an encoder body gets a new head, drawn at random
            self.model = load_cross_encoder(folder)
        self._fingerprint = fingerprint_folder(folder)

    @property
    def fingerprint(self) -> str:
        """Identifies the model."""
        return self._fingerprint

    def score(self, pairs: Sequence[tuple[str, str]]) -> Floats:
        """Higher is better; (pairs,)."""
        if not pairs:
            return np.empty(0, np.float32)
        clean = [(replace_surrogates(query), replace_surrogates(text)) for query, text in pairs]
        scores = self.model.predict(clean, batch_size=_BATCH, show_progress_bar=False)
        return np.asarray(scores, np.float32).reshape(len(pairs))


def passage_room(model: SentenceTransformer | MultiVectorEncoder) -> int | None:
    """Most tokens of a passage, without prompt and special tokens; None: unlimited."""
    body = modules_of(model, "document")[0]  # ColBERT's have another limit for passages
    limits = model.max_seq_length, getattr(body, "document_length", None)
    limit = min((one for one in limits if one is not None), default=None)
    if limit is None:
        return None
    return limit - len(model.tokenizer(passage_prompt(model) or "")["input_ids"])


def locate_tokens(
    model: SentenceTransformer | MultiVectorEncoder, texts: Sequence[str]
) -> list[list[tuple[int, int]]]:
    """Character span of each token, per text."""
    if not texts:
        return []
    how = {"add_special_tokens": False, "return_offsets_mapping": True, "verbose": False}
    spans: list[list[tuple[int, int]]] = model.tokenizer(list(texts), **how)["offset_mapping"]
    return spans


def passage_prompt(model: Encoder) -> str | None:
    """The model's prompt for passages, as `encode_document` uses it."""
    known = (model.prompts.get(name) for name in ("document", "passage", "corpus"))
    return next((prompt for prompt in known if prompt is not None), None)


def modules_of(encoder: SentenceTransformer | MultiVectorEncoder, task: str) -> list[Any]:
    """What a text passes through.

    Args:
        encoder: One for questions and passages, or one for each.
        task: "query" or "document".
    """
    first, *further = encoder.children()
    if isinstance(first, Router):
        routes: Any = first.sub_modules
        return [*routes[task], *further]
    return [first, *further]


def load_encoder(folder: Path) -> SentenceTransformer:
    """Load a sentence-transformers model from a folder, from safetensors only."""
    with quiet_libraries(), reported_loading(f'The model "{folder}"'):
        model = SentenceTransformer(
            str(folder),
            device=best_device(),
            **local_options(),
        )
        _check_layers(model, folder)
        limit_input(model, folder)
    for module in model.modules():  # questions may have their own tokenizer
        tokenizer = getattr(module, "tokenizer", None)
        if tokenizer is not None:
            tokenizer.split_special_tokens = True  # "[SEP]" in a document is text
    return model


def _check_layers(encoder: SentenceTransformer | CrossEncoder, folder: Path) -> None:
    """Refuse a model whose layers lack weights; an embedder's pooler without any is not used.

    One whose parts lie in folders of their own, such as one for questions, is taken as it is.
    """
    body = next((one for one in encoder.modules() if isinstance(one, PreTrainedModel)), None)
    if body is None or not (folder / "config.json").is_file():
        return
    _, missing = load_without_weights(type(body), folder)
    used = (name for name in missing if not name.startswith("pooler."))
    refuse_missing(used, f'The model "{folder}"')


def limit_input(encoder: Encoder, folder: Path) -> None:
    """Have an encoder read no more tokens than it has positions for, whatever its files say.

    Raises:
        ModelError: by its files it reads no text at all, or what they say is no number.
    """
    for body in encoder.modules():
        if not isinstance(body, Transformer) or body.tokenizer is None:
            continue
        given: Any = body.max_seq_length
        limit = _whole(given)
        body.max_seq_length = min(limit, _positions(body) or limit)
        least = len(body.tokenizer(passage_prompt(encoder) or "")["input_ids"]) + 1
        if limit < least:
            raise ModelError(
                f'The model "{folder}" has a max_seq_length of {given!r}, but must be able to read '
                f"{least} tokens. Correct it in its sentence_bert_config.json."
            )


def _whole(value: Any) -> int:
    """The number that a setting stands for; 0 where it is none."""
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return 0


def _positions(body: Transformer) -> int | None:
    """Tokens that a body has learned positions for; those of RoBERTa begin behind its padding."""
    for module in body.modules():
        table = getattr(module, "position_embeddings", None)
        if isinstance(table, torch.nn.Embedding):
            padding = getattr(module, "padding_idx", None)
            return table.num_embeddings - (padding + 1 if isinstance(padding, int) else 0)
    return None


def load_cross_encoder(folder: Path) -> CrossEncoder:
    """Load a cross-encoder with one output, or make one.

    An encoder body gets a new head, and a causal language model is asked for yes or no.
    """
    with quiet_libraries(), reported_loading(f'The model "{folder}"'):
        if is_language_model(folder):
            model = make_judge(folder, best_device(), **_judge_options())
        else:
            model = CrossEncoder(str(folder), num_labels=1, device=best_device(), **local_options())
            if is_cross_encoder(folder):  # of one that becomes one the head is new
                _check_layers(model, folder)
            limit_input(model, folder)
    if is_judge(model):
        guard_template(model)
    else:
        model.tokenizer.split_special_tokens = True
    return model
