"""A local causal language model as a teacher or a generator (`LanguageModel`)."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, DynamicCache, GenerationConfig

from aloft.backends.checking import refuse_missing, reported_loading
from aloft.backends.decoding import choosers, stop_at
from aloft.backends.device import best_device, has_bf16, memory_of, without_cudnn_attention
from aloft.backends.encoding import encode_prompt, encode_text, first_tokens, load_tokenizer
from aloft.backends.fingerprint import fingerprint_folder
from aloft.backends.grammar import Grammars
from aloft.backends.host_models import stream_growth
from aloft.backends.host_state import contained_loading, quiet_libraries
from aloft.backends.packaged import resolve_model
from aloft.backends.prefix_cache import (
    SHORTEST_START,
    Ids,
    PrefixCache,
    bytes_per_token,
    can_be_kept,
    shared_starts,
)
from aloft.backends.tool_calls import CallFormat, call_format_of, callable_tools
from aloft.protocols import Floats, Prompt, Reply

# padded tokens per batch, and for every 32 GiB of a GPU; bounds memory, as long prompts form small
# batches
_BATCH_TOKENS = 16_384
_BATCH_MEMORY = 1 << 35
# padded prompt tokens per batch on a CPU: on 2 cores 1.8 times as fast as 16,384, whose
# intermediate results do not fit the cache
_BATCH_TOKENS_CPU = 1024
_BATCH_ROWS_CPU = 32  # decoding on 2 cores gains nothing beyond
# what was read may take this part of the memory: all questions are read for what they cite before
# the first is answered. A part of 24 GiB holds 130,000 tokens of 0.5B parameters in bfloat16
_KEPT_SHARE = 16
_MOST_KEPT = 1 << 18  # tokens; finding free places takes longer the more there are
_BATCH_ROWS = 256  # a step of decoding takes a GPU as long for one row as for these


class TransformersLanguageModel:
    """A causal language model in this process, optionally with an adapter.

    Replies are greedy where a prompt has no seed and sampled with its seed otherwise; they match
    the prompt's pattern, JSON schema or tools. A prompt that fills the context window is not read,
    and a reply ends where the window does. Prompts are batched by length and padded on the left.
    Common beginnings of prompts are computed once and kept for later calls; like the other prompts
    of a batch, this changes a reply by no more than rounding.

    Raises:
        ModelError: the model is not on this machine or cannot be loaded, or a conversation is given
            to a tokenizer without a chat template.
    """

    def __init__(self, model: str, adapter: Path | None = None) -> None:
        folder = Path(resolve_model(model))
        self.device = best_device()
        is_slow = self.device == "cpu"
        self._most_rows = _BATCH_ROWS_CPU if is_slow else _BATCH_ROWS
        shares = 1 if is_slow else max(1, memory_of(self.device) // _BATCH_MEMORY)
        self._most_tokens = _BATCH_TOKENS * shares
        self._most_read = _BATCH_TOKENS_CPU if is_slow else self._most_tokens
        with contained_loading():
            self.tokenizer = load_tokenizer(folder)
            self._model = _load_model(folder, adapter).to(self.device).eval()
        self._ends = _end_tokens(self.tokenizer, self._model.generation_config)
        self._model.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]
        self._fingerprint = fingerprint_folder(*([folder, adapter] if adapter else [folder]))
        facts = self._model.config.get_text_config()
        self._window: int | None = getattr(facts, "max_position_embeddings", None)
        self._grammars = Grammars(self.tokenizer, facts.vocab_size)
        token = torch.tensor([[self.tokenizer.pad_token_id]], device=self.device)
        with torch.inference_mode():
            cache = getattr(self._model(input_ids=token), "past_key_values", None)
        self._kept = None
        if can_be_kept(cache):
            room = memory_of(self.device) // _KEPT_SHARE // bytes_per_token(cache)
            self._kept = PrefixCache(max(2 * self._most_tokens, min(room, _MOST_KEPT)))
        self.tokens_scored = 0  # scores carry no token counts themselves

    @property
    def fingerprint(self) -> str:
        """Identifies the base model and its adapter."""
        return self._fingerprint

    def complete(
        self, prompts: Sequence[Prompt], *, max_new_tokens: int, stop: Sequence[str] = ()
    ) -> list[Reply]:
        """Reply to each prompt; a reply ends before a stop string or at the end of the turn."""
        rows = self._encode(prompts)
        replies: dict[int, Reply] = {}
        by_limit: dict[int, list[int]] = {}
        for i, row in enumerate(rows):
            by_limit.setdefault(self._limit(row, max_new_tokens), []).append(i)
        replies.update((i, _unread(rows[i])) for i in by_limit.pop(0, ()))
        for limit, members in by_limit.items():
            for batch in self._batches([rows[i] for i in members], limit, self._most_tokens):
                chosen = [members[place] for place in batch]
                read, asked = [rows[i] for i in chosen], [prompts[i] for i in chosen]
                if self._kept is not None:
                    self._read_starts(self._kept, read)
                written = self._generate(read, asked, limit, stop)
                for i, ids in zip(chosen, written, strict=True):
                    replies[i] = self._reply(ids, prompts[i], len(rows[i]), limit, stop)
        return [replies[i] for i in range(len(prompts))]

    def stream(
        self, prompt: Prompt, *, max_new_tokens: int, stop: Sequence[str] = ()
    ) -> Iterator[Reply]:
        """The reply of `complete` in pieces, generated only as they are requested."""
        (row,) = self._encode([prompt])
        limit = self._limit(row, max_new_tokens)
        if not limit:
            yield _unread(row)
            return
        form = self._call_format(prompt)
        ids: list[int] = []

        def grow() -> Iterator[str]:
            for token in self._write(row, prompt, limit):
                ids.append(token)
                text = self._decode(ids, form)
                yield form.shown(text, callable_tools(prompt)) if form else text

        sent = yield from stream_growth(grow(), stop)
        reply = self._reply(ids, prompt, len(row), limit, stop)
        yield replace(reply, text=reply.text[sent:])

    def choice_probabilities(self, prompts: Sequence[Prompt], choices: Sequence[str]) -> Floats:
        """Probability of each choice's first token after each prompt; (prompts, choices)."""
        first = first_tokens(self.tokenizer, choices)
        rows = self._encode(prompts)
        self.tokens_scored += sum(map(len, rows))
        scores = np.zeros((len(prompts), len(choices)), np.float32)
        scores += 1 / len(choices)  # of a prompt that exceeds the context window all are equal
        fits = [i for i, row in enumerate(rows) if self._limit(row, 1)]
        for places in self._batches([rows[i] for i in fits], 0, self._most_read):
            batch = [fits[place] for place in places]
            logits = self._read([rows[i] for i in batch])[:, -1]
            scores[batch] = logits[:, first].float().softmax(-1).cpu().numpy()
        return scores

    def score_replies(self, prompts: Sequence[Prompt], replies: Sequence[str]) -> Floats:
        """Mean log-probability of each reply's tokens after its prompt; (prompts,)."""
        read = self.token_logprobs(prompts, replies)
        return np.array([np.mean(logs) for logs in read], np.float32)

    def token_logprobs(
        self, prompts: Sequence[Prompt], replies: Sequence[str]
    ) -> list[list[float]]:
        """Log-probabilities of each reply's tokens after its prompt."""
        ends = [encode_text(self.tokenizer, reply) for reply in replies]
        rows = [(*row, *end) for row, end in zip(self._encode(prompts), ends, strict=True)]
        self.tokens_scored += sum(map(len, rows))
        read: list[list[float]] = [[] for _ in rows]
        for batch in self._batches(rows, 0, self._most_read):
            longest = max(len(ends[i]) for i in batch)
            logits = self._read([rows[i] for i in batch], longest + 1)
            for row, i in zip(logits, batch, strict=True):
                wanted = torch.tensor(ends[i], device=self.device)
                logprobs = row[-1 - len(wanted) : -1].float().log_softmax(-1)
                read[i] = logprobs.gather(1, wanted[:, None])[:, 0].tolist()
        return read

    def _limit(self, row: Ids, max_new_tokens: int) -> int:
        """Longest reply to a prompt; 0 where it fills the context window."""
        if self._window is None:
            return max_new_tokens
        return min(max_new_tokens, max(0, self._window - len(row)))

    def _call_format(self, prompt: Prompt) -> CallFormat | None:
        """How the reply writes calls; None where it makes none."""
        return call_format_of(self.tokenizer) if callable_tools(prompt) else None

    def _decode(self, ids: Sequence[int], form: CallFormat | None) -> str:
        """The text of a reply, in which markers of calls may be control tokens."""
        text: str = self.tokenizer.decode(ids, skip_special_tokens=form is None)
        return text.removesuffix(self.tokenizer.eos_token)

    def _encode(self, prompts: Sequence[Prompt]) -> list[Ids]:
        return [tuple(encode_prompt(self.tokenizer, prompt)) for prompt in prompts]

    def _reading_groups(self, kept: PrefixCache, rows: Sequence[Ids]) -> list[list[int]]:
        known = [len(kept.find(row)) for row in rows]
        return _batches([len(row) for row in rows], known, 0, (self._most_read, self._most_rows))

    def _batches(
        self, rows: Sequence[Ids], new_tokens: int, most_tokens: int
    ) -> Iterator[list[int]]:
        """Row numbers of each batch; beginnings that rows of the call share are read first."""
        lengths = [len(row) for row in rows]
        most = (most_tokens, self._most_rows)
        if self._kept is None:
            yield from _batches(lengths, [0] * len(rows), new_tokens, most)
            return
        starts = shared_starts(rows)
        known = [max(len(self._kept.find(r)), len(s)) for r, s in zip(rows, starts, strict=True)]
        for batch in _batches(lengths, known, new_tokens, most):
            self._read_starts(self._kept, [starts[i] for i in batch])
            yield batch

    def _read_starts(self, kept: PrefixCache, starts: Iterable[Ids]) -> None:
        """Read beginnings that are not cached yet, after those that they share in turn."""

        def unread(candidates: Iterable[Ids]) -> list[Ids]:
            return [s for s in candidates if len(s) >= len(kept.find(s)) + SHORTEST_START]

        missing = unread(sorted(set(starts)))
        if len(missing) > 1:
            self._read_starts(kept, shared_starts(missing))
            missing = unread(missing)
        for group in self._reading_groups(kept, missing):
            self._read([missing[i] for i in group])

    def _read(self, rows: Sequence[Ids], last: int = 1) -> torch.Tensor:
        """Next-token logits at the last columns; (rows, last, vocabulary)."""
        ids, mask = self._pad(rows)
        with self._reading(), self._cache(rows, last) as cache:
            past = 0 if cache is None else cache.get_seq_length()
            logits: torch.Tensor = self._model(
                input_ids=ids[:, past:],
                attention_mask=mask,
                position_ids=(mask.cumsum(1) - 1).clamp(min=0)[:, past:],
                past_key_values=cache,
                logits_to_keep=last,
            ).logits
        return logits

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with torch.inference_mode(), without_cudnn_attention():
            yield

    @contextmanager
    def _cache(self, rows: Sequence[Ids], fresh: int = 1) -> Iterator[DynamicCache | None]:
        """A cache with known first columns of the rows; what the model adds is kept afterwards.

        The last `fresh` columns are always left to the model.
        """
        if self._kept is None:
            yield None
            return
        cache = self._kept.open(rows, fresh)
        yield cache
        self._kept.keep(rows, cache)

    def _pad(self, rows: Sequence[Ids]) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids and their mask, padded on the left; both (rows, columns)."""
        width = max(map(len, rows))
        pad = self.tokenizer.pad_token_id
        ids = [[pad] * (width - len(row)) + list(row) for row in rows]
        mask = [[0] * (width - len(row)) + [1] * len(row) for row in rows]
        return torch.tensor(ids, device=self.device), torch.tensor(mask, device=self.device)

    def _generate(
        self,
        rows: Sequence[Ids],
        prompts: Sequence[Prompt],
        max_new_tokens: int,
        stop: Sequence[str],
    ) -> list[list[int]]:
        ids, mask = self._pad(rows)
        width = ids.shape[1]
        with self._reading(), self._cache(rows) as cache:
            output = self._model.generate(
                input_ids=ids,
                attention_mask=mask,
                past_key_values=cache,
                max_new_tokens=max_new_tokens,
                do_sample=False,
                num_beams=1,
                pad_token_id=self.tokenizer.pad_token_id,
                eos_token_id=self._ends,
                stopping_criteria=stop_at(self.tokenizer, stop, width),
                logits_processor=choosers(self._grammars, prompts, max_new_tokens),
            )
        written: list[list[int]] = output[:, width:].tolist()
        return written

    def _write(self, row: Ids, prompt: Prompt, limit: int) -> Iterator[int]:
        """Generate token by token as `_generate` does, up to the end of the turn."""
        choose: Any = choosers(self._grammars, [prompt], limit)
        cache: Any = None
        if self._kept is not None:
            self._read_starts(self._kept, [row])
            cache = self._kept.open([row])
        ids = torch.tensor([row], device=self.device)
        fresh = ids[:, 0 if cache is None else cache.get_seq_length() :]
        for _ in range(limit):
            with self._reading():  # for a step only: the caller's code runs between them
                output = self._model(
                    input_ids=fresh, past_key_values=cache, use_cache=True, logits_to_keep=1
                )
                cache = getattr(output, "past_key_values", None)
                chosen = choose(ids, output.logits[:, -1].float()).argmax(-1, keepdim=True)
                ids = torch.cat([ids, chosen], 1)
                fresh = ids if cache is None else chosen  # Mamba's state is not handed back here
            token = int(chosen)
            yield token
            if token in self._ends:
                return

    def _reply(
        self, ids: list[int], prompt: Prompt, read: int, limit: int, stop: Sequence[str]
    ) -> Reply:
        end = next((place for place, token in enumerate(ids) if token in self._ends), None)
        has_ended = end is not None
        ids = ids[:end]
        form = self._call_format(prompt)
        text = self._decode(ids, form)
        places = [place for place in (text.find(string) for string in stop) if place >= 0]
        text = text[: min(places)] if places else text
        text, calls = form.parse(text, callable_tools(prompt)) if form else (text, ())
        return Reply(
            text=text,
            is_finished=has_ended or bool(places) or len(ids) < limit,
            prompt_tokens=read,
            new_tokens=len(ids),
            tool_calls=calls,
        )


def _end_tokens(tokenizer: Any, stated: GenerationConfig) -> list[int]:
    """Tokens that end a reply: the tokenizer's end token, and the model's own such as Gemma's."""
    given = stated.eos_token_id
    named = given if isinstance(given, list) else [given]
    added = tokenizer.added_tokens_decoder  # a character ends nothing, whatever files say
    return [
        tokenizer.eos_token_id,
        *(one for one in named if isinstance(one, int) and one in added),
    ]


def _unread(row: Ids) -> Reply:
    return Reply(text="", is_finished=False, prompt_tokens=len(row), is_unread=True)


def _load_model(folder: Path, adapter: Path | None) -> Any:
    dtype = torch.bfloat16 if has_bf16(best_device()) else torch.float32
    title = f'The model "{folder}"'
    with quiet_libraries(), reported_loading(title):
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
        model, found = loaded
        refuse_missing(found["missing_keys"], title)
        if adapter is None:
            return model
        from peft import PeftModel

        adapted: Any = PeftModel.from_pretrained(model, str(adapter), autocast_adapter_dtype=False)
        return adapted.to(dtype)


def _batches(
    lengths: Sequence[int], known: Sequence[int], new_tokens: int, most: tuple[int, int]
) -> list[list[int]]:
    """Batch row numbers by similar length, within the most tokens and rows of a batch.

    Rows that are mostly cached come first: later rows may evict their beginnings, and one uncached
    row makes its whole batch compute as much as itself. Then the longest come first.
    """
    most_tokens, most_rows = most
    order = sorted(range(len(lengths)), key=lambda i: (2 * known[i] < lengths[i], -lengths[i]))
    batches: list[list[int]] = []
    for i in order:
        batch = batches[-1] if batches else []
        longest = max(lengths[j] for j in [*batch, i]) + new_tokens
        if batch and len(batch) < most_rows and longest * (len(batch) + 1) <= most_tokens:
            batch.append(i)
        else:
            batches.append([i])
    return batches
