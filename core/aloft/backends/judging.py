"""A causal language model as a cross-encoder: how much rather it says yes than no."""

import json
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import CrossEncoder
from sentence_transformers.base.modules import Transformer
from sentence_transformers.cross_encoder.modules import LogitScore

# The passage stands last: where a pair is too long, it is what is cut.
_QUERY, _DOCUMENT = "@@query@@", "@@document@@"
_ASKED = (
    "Does the passage answer the question? Reply yes or no.\n\n"
    f"Question: {_QUERY}\n\nPassage: {_DOCUMENT}"
)
_CONTENT = '{{{{ messages | selectattr("role", "eq", "{}") | map(attribute="content") | first }}}}'
_GUARD = "{#- control tokens in texts are text -#}"
_GUARDED = """\
{%- set guarded = namespace(turns=[]) -%}
{%- for turn in messages -%}
{%- if turn.content is string -%}
{%- set parts = TEXT_OF_TURN -%}
{%- else -%}
{%- set inner = namespace(parts=[]) -%}
{%- for part in turn.content -%}
{%- if part.text is defined -%}
{%- set inner.parts = inner.parts + [{"type": "text", "text": TEXT_OF_PART}] -%}
{%- else -%}
{%- set inner.parts = inner.parts + [part] -%}
{%- endif -%}
{%- endfor -%}
{%- set parts = inner.parts -%}
{%- endif -%}
{%- set guarded.turns = guarded.turns + [{"role": turn.role, "content": parts}] -%}
{%- endfor -%}
{%- set messages = guarded.turns -%}
"""


def make_judge(folder: Path, device: str, **loading: Any) -> CrossEncoder:
    """Make a cross-encoder of a causal language model; it has no weights of its own.

    The score is the log-odds of "yes" over "no" as the first token of the model's reply.

    Args:
        folder: The language model, with a chat template.
        device: Where it runs.
        loading: Passed on to transformers.

    Source: pointwise ranking by the likelihood of a token for relevance, Nogueira et al. 2020
    (monoT5, arXiv:2003.06713).
    """
    body = Transformer(str(folder), transformer_task="text-generation", **loading)
    tokenizer: Any = body.tokenizer
    yes, no = (tokenizer.encode(word, add_special_tokens=False)[0] for word in ("yes", "no"))
    rendered = tokenizer.apply_chat_template(
        [{"role": "user", "content": _ASKED}], add_generation_prompt=True, tokenize=False
    )
    body.processor.chat_template = _pair_template(rendered)
    model: CrossEncoder = CrossEncoder(
        modules=[body, LogitScore(yes, no)], device=device, activation_fn=torch.nn.Identity()
    )
    return model


def is_judge(model: CrossEncoder) -> bool:
    """Whether a cross-encoder is a language model that judges pairs."""
    return any(isinstance(module, LogitScore) for module in model)


def guard_template(model: CrossEncoder) -> None:
    """Have the chat template of a judge take control tokens inside texts apart, in place.

    The template is saved with the model, so that the texts stay text wherever it is loaded.
    """
    processor: Any = model[0].processor
    template = processor.chat_template or ""
    if not template.startswith(_GUARD):
        processor.chat_template = _GUARD + _guard(model.tokenizer) + template


def _pair_template(rendered: str) -> str:
    """A chat template of a question and a passage, from a conversation with their places."""
    before, rest = rendered.split(_QUERY)
    between, after = rest.split(_DOCUMENT)
    fixed = [f"{{{{ {_quoted(text)} }}}}" for text in (before, between, after)]
    turns = (fixed[0], _CONTENT.format("query"), fixed[1], _CONTENT.format("document"), fixed[2])
    return "".join(turns)


def _guard(tokenizer: Any) -> str:
    """What breaks each control token of a tokenizer by a space, in the language of templates."""
    tokens = sorted({*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()})
    breaks = "".join(
        f" | replace({_quoted(token)}, {_quoted(f'{token[0]} {token[1:]}')})"
        for token in tokens
        if token[1:].strip()
    )
    return _GUARDED.replace("TEXT_OF_TURN", f"(turn.content{breaks})").replace(
        "TEXT_OF_PART", f"(part.text{breaks})"
    )


def _quoted(text: str) -> str:
    """A string literal of templates."""
    return json.dumps(text, ensure_ascii=False)
