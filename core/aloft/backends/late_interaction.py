"""Late interaction as a `Reranker`: a vector for each token, from an encoder's own body."""

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import MultiVectorEncoder
from sentence_transformers.base.modules import Dense, Normalize, Router, Transformer
from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

from aloft.backends.checking import is_multi_vector, reported_loading
from aloft.backends.device import best_device
from aloft.backends.fingerprint import fingerprint_folder
from aloft.backends.host_state import contained_loading, quiet_libraries
from aloft.backends.packaged import resolve_model
from aloft.backends.sentence_transformers import (
    limit_input,
    load_encoder,
    local_options,
    locate_tokens,
    modules_of,
    passage_prompt,
    passage_room,
)
from aloft.corpus.windows import stretches
from aloft.errors import ModelError
from aloft.protocols import Floats
from aloft.text.surrogates import replace_surrogates

_BATCH = 32
_BLOCK = 256  # passages whose token vectors are made and scored at once
_KEPT = 1 << 29  # bytes of token vectors that are kept for the next call
TOKENS = "token_embeddings"


class LateInteractionReranker:
    """Each token of a question is matched with the nearest one of a passage.

    The score is the mean cosine similarity of these pairs, in [-1, 1]. A passage that is longer
    than the model's input is read in parts, of which each token finds its best match. Token vectors
    of the passages scored last are kept in memory, in half precision.

    Args:
        model: A multi-vector model, or an embedder, whose body serves as one without training.

    Raises:
        ModelError: the model is not on this machine, or has no vectors of tokens.

    Source: MaxSim, Khattab and Zaharia 2020 (ColBERT, arXiv:2004.12832), over the number of the
    question's tokens.
    """

    def __init__(self, model: str) -> None:
        folder = Path(resolve_model(model))
        with contained_loading():
            self.model = load_late_interaction(folder)
        self._fingerprint = fingerprint_folder(folder)
        self._kept: OrderedDict[str, torch.Tensor] = OrderedDict()
        self._bytes = 0

    @property
    def fingerprint(self) -> str:
        """Identifies the model, and that it matches tokens."""
        return f"{self._fingerprint}-tokens"

    def score(self, pairs: Sequence[tuple[str, str]]) -> Floats:
        """Mean similarity of the best matches, higher is better; (pairs,)."""
        asked = list(dict.fromkeys(query for query, _ in pairs))
        questions = dict(zip(asked, self._encode(asked, is_query=True), strict=True))
        places: dict[str, list[int]] = {}
        for place, (_, text) in enumerate(pairs):
            places.setdefault(text, []).append(place)
        scores = np.empty(len(pairs), np.float32)
        texts = list(places)
        for start in range(0, len(texts), _BLOCK):
            block = texts[start : start + _BLOCK]
            for text, tokens in zip(block, self._passages(block), strict=True):
                for place in places[text]:
                    question = questions[pairs[place][0]]
                    matches = question @ tokens.to(question.dtype).T
                    scores[place] = float(matches.max(1).values.mean())
        return scores

    def _passages(self, texts: Sequence[str]) -> list[torch.Tensor]:
        """Vectors of the tokens of each passage; those kept are not made again."""
        missing = [text for text in texts if text not in self._kept]
        made = dict(zip(missing, self._read(missing), strict=True))
        found = [made[text] if text in made else self._kept[text] for text in texts]
        for text, tokens in zip(texts, found, strict=True):
            if text not in self._kept:
                self._kept[text] = tokens
                self._bytes += tokens.nbytes
            self._kept.move_to_end(text)
        while self._bytes > _KEPT:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= oldest.nbytes
        return found

    def _read(self, passages: Sequence[str]) -> list[torch.Tensor]:
        """Vectors of the tokens of each passage, of a long one in parts."""
        cut = self._parts([replace_surrogates(text) for text in passages])
        tokens = iter(self._encode([part for parts in cut for part in parts], is_query=False))
        return [torch.cat([next(tokens) for _ in parts]) for parts in cut]

    def _parts(self, texts: Sequence[str]) -> list[list[str]]:
        """Each text, or the parts of one that is longer than the model's input.

        A tokenizer that is written in Python does not tell where tokens stand, as those of some
        Japanese models: what it cuts stays unread.
        """
        room = passage_room(self.model)
        if room is None or not self.model.tokenizer.is_fast:
            return [[text] for text in texts]
        return [
            [text[start:end] for start, end in stretches(spans, room)]
            if len(spans) > room
            else [text]
            for text, spans in zip(texts, locate_tokens(self.model, texts), strict=True)
        ]

    def _encode(self, texts: Sequence[str], *, is_query: bool) -> list[torch.Tensor]:
        if not texts:
            return []
        encode = self.model.encode_query if is_query else self.model.encode_document
        clean = [replace_surrogates(text) for text in texts]
        tokens = encode(clean, batch_size=_BATCH, show_progress_bar=False)
        return [one.float() if is_query else one.half() for one in tokens]


def load_late_interaction(folder: Path) -> MultiVectorEncoder:
    """Load a multi-vector model, or an embedder as one, from safetensors only.

    Of an embedder the pooling is left out; a projection behind it is applied to every token.

    Raises:
        ModelError: it cannot be loaded, or has no vectors of tokens.
    """
    if is_multi_vector(folder):
        with quiet_libraries(), reported_loading(f'The model "{folder}"'):
            model: MultiVectorEncoder = MultiVectorEncoder(
                str(folder), device=best_device(), **local_options()
            )
            limit_input(model, folder)
        model.tokenizer.split_special_tokens = True
        return model
    embedder = load_encoder(folder)
    tokens = _of_tokens(modules_of(embedder, "query"), folder)
    if isinstance(embedder[0], Router):
        holds = _of_tokens(modules_of(embedder, "document"), folder)
        tokens = [Router.for_query_document(tokens, holds)]
    prompts = {"query": embedder.prompts.get("query") or "", "document": passage_prompt(embedder)}
    return MultiVectorEncoder(
        modules=[*tokens, MultiVectorMask(), Normalize(module_input_name=TOKENS)],
        device=best_device(),
        prompts={name: prompt or "" for name, prompt in prompts.items()},
        similarity_fn_name="meanmaxsim",
    )


def _of_tokens(modules: Sequence[Any], folder: Path) -> list[Any]:
    """The modules of an embedder that give each token a vector."""
    body, *further = modules
    if not isinstance(body, Transformer):
        raise ModelError(
            f'The model "{folder}" has no vectors of tokens, only of whole texts. Set reranker to '
            "a cross-encoder or to an embedder that is a transformer."
        )
    heads = [module for module in further if isinstance(module, Dense)]
    for head in heads:
        head.module_input_name = head.module_output_name = TOKENS
    return [body, *heads]
