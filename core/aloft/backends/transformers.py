"""Turns a local causal language model into a teacher or a generator (`LanguageModel`)."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
)

from aloft.backends.device import best_device, has_bf16, quiet_libraries
from aloft.backends.embedded import resolve_model
from aloft.backends.fingerprint import fingerprint_folder
from aloft.errors import ModelError
from aloft.models import Floats, Prompt, Reply

_BATCH_TOKENS = 16_384  # padded tokens computed at once: bounds memory, long prompts go in few rows
_BATCH_ROWS = 32  # measured: decoding gains nothing beyond, on 2 cores
_SAMPLED_FROM = 50  # most likely tokens
_SHORTEST_SHARED = 32  # tokens; a shorter common start is not worth a cache


class TransformersLanguageModel:
    """A causal language model in this process, with an adapter where one was trained.

    Replies are greedy where a prompt has no seed, else drawn by it. Prompts are grouped by
    length, padded on the left, and a start that all prompts of a call share (instructions, worked
    examples) is computed once and kept.

    Raises:
        ModelError: the model is not on this machine, or its tokenizer has no chat template
            although a conversation is to be rendered.
    """

    def __init__(self, model: str, adapter: Path | None = None) -> None:
        quiet_libraries()
        folder = Path(resolve_model(model))
        self.device = best_device()
        dtype = torch.bfloat16 if has_bf16(self.device) else torch.float32
        self.tokenizer = load_tokenizer(folder)
        self._model: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
        )
        if adapter is not None:
            from peft import PeftModel

            self._model = PeftModel.from_pretrained(
                self._model, str(adapter), autocast_adapter_dtype=False
            ).to(dtype)
        self._model.to(self.device).eval()
        self._fingerprint = fingerprint_folder(*([folder, adapter] if adapter else [folder]))
        self._shared: tuple[list[int], Any] = ([], None)
        self.tokens_scored = 0  # read by score_choices, which tells of no tokens itself

    @property
    def fingerprint(self) -> str:
        """Names base weights and adapter."""
        return self._fingerprint

    def complete(
        self, prompts: Sequence[Prompt], *, max_new_tokens: int, stop: Sequence[str] = ()
    ) -> list[Reply]:
        """Reply to each prompt; a reply ends before a stop string or at the turn's end."""
        encoded = [encode_prompt(self.tokenizer, prompt) for prompt in prompts]
        replies: list[Reply | None] = [None] * len(prompts)
        shared = self._share(encoded)
        for batch in _batches([len(ids) for ids in encoded], max_new_tokens):
            rows = [encoded[i] for i in batch]
            draw = _Draw([prompts[i] for i in batch])
            written = self._generate(rows, shared, max_new_tokens, stop, draw)
            for i, ids in zip(batch, written, strict=True):
                replies[i] = self._reply(ids, len(encoded[i]), max_new_tokens, stop)
        return [reply for reply in replies if reply is not None]

    def score_choices(self, prompts: Sequence[Prompt], choices: Sequence[str]) -> Floats:
        """Probability of each choice's first token after each prompt; (prompts, choices)."""
        first = [self.tokenizer(c, add_special_tokens=False)["input_ids"][0] for c in choices]
        if len(set(first)) != len(choices):
            raise ModelError(f"The choices {list(choices)} do not begin with tokens of their own.")
        encoded = [encode_prompt(self.tokenizer, prompt) for prompt in prompts]
        self.tokens_scored += sum(map(len, encoded))
        scores = np.zeros((len(prompts), len(choices)), np.float32)
        shared = self._share(encoded)
        for batch in _batches([len(ids) for ids in encoded], 0):
            inputs = self._pad([encoded[i] for i in batch], len(shared))
            past = len(shared)
            mask = inputs["attention_mask"]
            with torch.inference_mode():
                logits = self._model(
                    input_ids=inputs["input_ids"][:, past:],
                    attention_mask=mask,
                    position_ids=(mask.cumsum(1) - 1).clamp(min=0)[:, past:],
                    past_key_values=self._cache(len(batch)) if past else None,
                    logits_to_keep=1,
                ).logits[:, -1]
            scores[batch] = logits[:, first].float().softmax(-1).cpu().numpy()
        return scores

    def _share(self, encoded: Sequence[list[int]]) -> list[int]:
        """The common start of all prompts, with its keys and values computed once."""
        if len(encoded) < 2:
            return []
        low, high = min(encoded), max(encoded)
        length = next((i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), None)
        length = min(len(low), len(high)) - 1 if length is None else length
        known = self._shared[0]
        if known and len(known) <= length and low[: len(known)] == known:
            return known
        if length < _SHORTEST_SHARED:
            return []
        start = low[:length]
        with torch.inference_mode():
            outputs = self._model(
                input_ids=torch.tensor([start], device=self.device),
                use_cache=True,
                logits_to_keep=1,
            )
        self._shared = (start, outputs.past_key_values)
        return start

    def _cache(self, rows: int) -> Any:
        cache = copy.deepcopy(self._shared[1])
        cache.batch_repeat_interleave(rows)
        return cache

    def _pad(self, rows: Sequence[list[int]], past: int) -> dict[str, torch.Tensor]:
        """Padding stands behind the shared start and before the rest, where the mask hides it."""
        width = max(map(len, rows))
        pad = self.tokenizer.pad_token_id
        ids = [row[:past] + [pad] * (width - len(row)) + row[past:] for row in rows]
        mask = [[1] * past + [0] * (width - len(row)) + [1] * (len(row) - past) for row in rows]
        return {
            "input_ids": torch.tensor(ids, device=self.device),
            "attention_mask": torch.tensor(mask, device=self.device),
        }

    def _generate(
        self,
        rows: list[list[int]],
        shared: list[int],
        max_new_tokens: int,
        stop: Sequence[str],
        draw: "_Draw",
    ) -> list[list[int]]:
        inputs = self._pad(rows, len(shared))
        width = inputs["input_ids"].shape[1]
        criteria = [_StopAt(self.tokenizer, stop, width)] if stop else None
        with torch.inference_mode():
            output = self._model.generate(
                **inputs,
                past_key_values=self._cache(len(rows)) if shared else None,
                max_new_tokens=max_new_tokens,
                do_sample=False,
                num_beams=1,
                repetition_penalty=1.0,
                temperature=None,
                top_p=None,
                top_k=None,
                pad_token_id=self.tokenizer.pad_token_id,
                eos_token_id=self.tokenizer.eos_token_id,
                stopping_criteria=criteria,
                logits_processor=LogitsProcessorList([draw] if draw.is_needed else []),
            )
        written: list[list[int]] = output[:, width:].tolist()
        return written

    def _reply(self, ids: list[int], read: int, limit: int, stop: Sequence[str]) -> Reply:
        ends = self.tokenizer.eos_token_id
        has_ended = ends in ids
        ids = ids[: ids.index(ends)] if has_ended else ids
        text: str = self.tokenizer.decode(ids, skip_special_tokens=True)
        places = [place for place in (text.find(string) for string in stop) if place >= 0]
        return Reply(
            text=text[: min(places)] if places else text,
            is_finished=has_ended or bool(places) or len(ids) < limit,
            prompt_tokens=read,
            new_tokens=len(ids),
        )


class _Draw(LogitsProcessor):
    """Draws the next token of each row that has a seed; greedy decoding then takes what is left.

    The largest of logits with Gumbel noise added is a sample of their softmax; with the noise of
    a row made from its own seed and step no other row of the batch changes it.
    """

    def __init__(self, prompts: Sequence[Prompt]) -> None:
        self._prompts = prompts
        self._step = 0
        self.is_needed = any(prompt.seed is not None for prompt in prompts)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        values, tokens = scores.float().topk(min(_SAMPLED_FROM, scores.shape[1]), dim=-1)
        for row, prompt in enumerate(self._prompts):
            if prompt.seed is None:
                continue
            noise = np.random.default_rng((prompt.seed, self._step)).gumbel(size=values.shape[1])
            noised = values[row] / prompt.temperature + torch.from_numpy(noise).to(values)
            drawn = tokens[row, noised.argmax()].clone()
            scores[row] = float("-inf")
            scores[row, drawn] = 0.0
        self._step += 1
        return scores


class _StopAt(StoppingCriteria):
    """Ends a row once its newest tokens hold a stop string; reads only the row's tail."""

    def __init__(self, tokenizer: Any, stop: Sequence[str], start: int) -> None:
        self._tokenizer = tokenizer
        self._stop = tuple(stop)
        self._start = start
        self._tail = max(map(len, stop)) + 1

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        begin = max(self._start, input_ids.shape[1] - self._tail)
        tails = self._tokenizer.batch_decode(input_ids[:, begin:])
        ended = [any(string in tail for string in self._stop) for tail in tails]
        return torch.tensor(ended, device=input_ids.device)


def load_tokenizer(folder: Path) -> Any:
    """A model's tokenizer, padding with a token of its own or, failing that, the end token."""
    tokenizer = AutoTokenizer.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def encode_prompt(tokenizer: Any, prompt: Prompt) -> list[int]:
    """Token ids of a prompt; control tokens inside contents are ordinary text.

    Raises:
        ModelError: a conversation is to be rendered, but the tokenizer has no chat template.
    """
    if prompt.is_plain:
        text = "".join(message.content for message in prompt.messages) + prompt.prefix
        start = (
            []
            if tokenizer.bos_token_id is None or not _opens(tokenizer)
            else [tokenizer.bos_token_id]
        )
        return start + list(encode_text(tokenizer, text))
    if tokenizer.chat_template is None:
        raise ModelError(
            f"{tokenizer.name_or_path} has no chat template, so it can not be given instructions. "
            'Choose an instruct model, or set pairs.form to "examples".'
        )
    ids: list[int] = tokenizer.apply_chat_template(
        [{"role": message.role, "content": message.content} for message in prompt.messages],
        add_generation_prompt=True,
        sanitize_control_tokens=True,
        return_dict=False,
    )
    return ids + (encode_text(tokenizer, prompt.prefix) if prompt.prefix else [])


def encode_text(tokenizer: Any, text: str) -> list[int]:
    """Token ids of plain text: nothing in it is read as a control token."""
    ids: list[int] = tokenizer(text, add_special_tokens=False, split_special_tokens=True)[
        "input_ids"
    ]
    return ids


def _opens(tokenizer: Any) -> bool:
    """Whether the tokenizer puts a start token before plain text."""
    ids = tokenizer("a")["input_ids"]
    return bool(ids and ids[0] == tokenizer.bos_token_id)


def _batches(lengths: Sequence[int], new_tokens: int) -> list[list[int]]:
    """Row numbers in batches of like length, longest first, within the token budget."""
    batches: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        longest = lengths[batches[-1][0]] + new_tokens if batches else 0
        if (
            batches
            and len(batches[-1]) < _BATCH_ROWS
            and longest * (len(batches[-1]) + 1) <= _BATCH_TOKENS
        ):
            batches[-1].append(i)
        else:
            batches.append([i])
    return batches
