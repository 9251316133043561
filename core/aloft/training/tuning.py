"""Restricts training of an encoder to some weights, and makes it whole again afterwards."""

from pathlib import Path
from typing import Any

import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.base.modules import Dense, Router
from torch import nn

from aloft.backends.sentence_transformers import Encoder, load_encoder, modules_of
from aloft.config import EmbedderTrainingConfig
from aloft.errors import ModelError


def add_updates(model: Encoder, r: int) -> None:
    """Freeze a model and add low-rank updates to all its layers; a head is fully trained.

    Source: LoRA (arXiv:2106.09685).
    """
    from peft import LoraConfig, TaskType

    ranks = isinstance(model, CrossEncoder)
    model.add_adapter(
        LoraConfig(
            task_type=TaskType.SEQ_CLS if ranks else TaskType.FEATURE_EXTRACTION,
            r=r,
            lora_alpha=2 * r,
            target_modules="all-linear",
        )
    )


def prepare(encoder: SentenceTransformer, config: EmbedderTrainingConfig) -> SentenceTransformer:
    """Freeze and add weights for the configured method, without changing the vectors.

    Raises:
        ModelError: it has two encoders, and the method trains one for both.
    """
    if config.keeps_index:
        encoder = _asking(encoder)
    elif isinstance(encoder[0], Router):
        raise ModelError(
            "The embedder has an encoder for questions and one for passages. Set "
            'embedder_training.method to "query_lora", or name an embedder with one for both.'
        )
    if config.method in ("lora", "query_lora"):
        add_updates(encoder, config.r)
    elif config.method == "query_adapter":
        encoder.requires_grad_(requires_grad=False)
        for module in encoder.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0  # the map must fit the vectors of inference
        size = encoder.get_embedding_dimension() or 0
        device = encoder.device
        linear = Dense(
            size, size, bias=False, activation_function=nn.Identity(), init_weight=torch.eye(size)
        )
        encoder.append(linear.to(device))
    return encoder


def finish(
    encoder: SentenceTransformer, source: Path, config: EmbedderTrainingConfig
) -> SentenceTransformer:
    """The model to save: averaged, and for a kept index with the untuned route for passages.

    Args:
        encoder: The prepared and trained model.
        source: Folder of the untuned model.
        config: The settings.
    """
    if config.method in ("lora", "query_lora"):
        merge_updates(encoder)
    base = load_encoder(source)
    if not config.keeps_index:
        average_weights(encoder, base, config.tuned_share)
        return encoder
    average_weights(encoder, _asking(base), config.tuned_share)
    asks: list[Any] = list(encoder.children())
    holds = modules_of(base, "document")
    if config.method == "query_adapter" and len(holds) == len(list(base.children())):
        holds = asks[: len(holds)]  # questions go on from where passages end
    return _like(base, [Router.for_query_document(asks, holds)])


def _asking(encoder: SentenceTransformer) -> SentenceTransformer:
    """The encoder of questions, by itself."""
    if not isinstance(encoder[0], Router):
        return encoder
    return _like(encoder, modules_of(encoder, "query"))


def _like(encoder: SentenceTransformer, modules: list[Any]) -> SentenceTransformer:
    """An embedder with an encoder's prompts and other settings."""
    prompts: Any = encoder.prompts
    return SentenceTransformer(
        modules=modules,
        prompts=prompts,
        default_prompt_name=encoder.default_prompt_name,
        similarity_fn_name=encoder.similarity_fn_name,
        device=str(encoder.device),
    )


def cut_texts(model: Encoder, length: int) -> None:
    """Limit the tokens read per text, during training only, where they are expensive."""
    model.max_seq_length = min(length, model.max_seq_length or length)


def average_weights(model: Encoder, base: Encoder, share: float) -> None:
    """Draw a tuned model's weights towards those that it was tuned from, in place.

    A linear map that tuning has added began as the identity.

    Args:
        model: The tuned model, without adapters.
        base: The same model before.
        share: Of the tuned weights; 1 changes nothing.

    Source: WiSE-FT (arXiv:2109.01903); for embedders, LM-Cocktail (arXiv:2311.13534).
    """
    before = base.state_dict()
    with torch.no_grad():
        for name, weight in model.state_dict().items():
            if weight.is_floating_point():
                start = before.get(name)
                start = torch.eye(len(weight)) if start is None else start
                weight.copy_(torch.lerp(start.to(weight), weight, share))


def merge_updates(model: Encoder) -> None:
    """Merge low-rank updates into their weights and remove their layers."""
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils import ModulesToSaveWrapper

    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, BaseTunerLayer):
                child.merge()
                setattr(parent, name, child.get_base_layer())
            elif isinstance(child, ModulesToSaveWrapper):
                setattr(parent, name, child.modules_to_save[child.active_adapters[0]])
    body: Any = model.transformers_model
    body._hf_peft_config_loaded = False  # otherwise it is saved as an adapter
    del body.peft_config
