"""A local causal language model as a teacher or a generator (`LanguageModel`)."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import regex
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DynamicCache,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
)

from aloft.backends.checking import reported_loading
from aloft.backends.device import best_device, has_bf16
from aloft.backends.fingerprint import fingerprint_folder
from aloft.backends.host_models import has_system_turn, merge_system_turn, stream_growth
from aloft.backends.host_state import contained_loading, quiet_libraries
from aloft.backends.packaged import resolve_model
from aloft.backends.prefix_cache import SHORTEST_START, Ids, PrefixCache, can_be_kept, shared_starts
from aloft.errors import ModelError, ProbabilitiesError
from aloft.protocols import Floats, Prompt, Reply
from aloft.records import Message
from aloft.text.surrogates import replace_surrogates

_BATCH_TOKENS = 16_384  # padded tokens per batch; bounds memory, as long prompts form small batches
# padded prompt tokens per batch on a CPU: on 2 cores 1.8 times as fast as 16,384, whose
# intermediate results do not fit the cache
_BATCH_TOKENS_CPU = 1024
_BATCH_ROWS = 32  # decoding on 2 cores gains nothing beyond
_SAMPLED_FROM = 50  # most likely tokens
_SYSTEM = Message(role="system", content="Reply in one word.")  # to try templates with
_takes_system: "WeakKeyDictionary[Any, tuple[str, bool]]" = WeakKeyDictionary()


class TransformersLanguageModel:
    """A causal language model in this process, optionally with an adapter.

    Replies are greedy where a prompt has no seed and sampled with its seed otherwise; they match
    the prompt's pattern. Prompts are batched by length and padded on the left. Common beginnings of
    prompts are computed once and kept for later calls; like the other prompts of a batch, this
    changes a reply by no more than rounding.

    Raises:
        ModelError: the model is not on this machine or cannot be loaded, or a conversation is given
            to a tokenizer without a chat template.
    """

    def __init__(self, model: str, adapter: Path | None = None) -> None:
        folder = Path(resolve_model(model))
        self.device = best_device()
        with contained_loading():
            self.tokenizer = load_tokenizer(folder)
            self._model = _load_model(folder, adapter).to(self.device).eval()
        self._fingerprint = fingerprint_folder(*([folder, adapter] if adapter else [folder]))
        token = torch.tensor([[self.tokenizer.pad_token_id]], device=self.device)
        with torch.inference_mode():
            cache = getattr(self._model(input_ids=token), "past_key_values", None)
        self._kept = PrefixCache() if can_be_kept(cache) else None
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
        replies: list[Reply | None] = [None] * len(prompts)
        for batch in self._batches(rows, max_new_tokens):
            if self._kept is not None:
                self._read_starts(self._kept, [rows[i] for i in batch])
            asked = [prompts[i] for i in batch]
            written = self._generate([rows[i] for i in batch], asked, max_new_tokens, stop)
            for i, ids in zip(batch, written, strict=True):
                replies[i] = self._reply(ids, len(rows[i]), max_new_tokens, stop)
        return [reply for reply in replies if reply is not None]

    def stream(
        self, prompt: Prompt, *, max_new_tokens: int, stop: Sequence[str] = ()
    ) -> Iterator[Reply]:
        """The reply of `complete` in pieces, generated only as they are requested."""
        (row,) = self._encode([prompt])
        ids: list[int] = []

        def grow() -> Iterator[str]:
            for token in self._write(row, prompt, max_new_tokens):
                ids.append(token)
                yield self.tokenizer.decode(ids, skip_special_tokens=True)

        sent = yield from stream_growth(grow(), stop)
        reply = self._reply(ids, len(row), max_new_tokens, stop)
        yield replace(reply, text=reply.text[sent:])

    def choice_probabilities(self, prompts: Sequence[Prompt], choices: Sequence[str]) -> Floats:
        """Probability of each choice's first token after each prompt; (prompts, choices)."""
        first = first_tokens(self.tokenizer, choices)
        rows = self._encode(prompts)
        self.tokens_scored += sum(map(len, rows))
        scores = np.zeros((len(prompts), len(choices)), np.float32)
        for batch in self._batches(rows, 0, self._reading_tokens):
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
        for batch in self._batches(rows, 0, self._reading_tokens):
            longest = max(len(ends[i]) for i in batch)
            logits = self._read([rows[i] for i in batch], longest + 1)
            for row, i in zip(logits, batch, strict=True):
                wanted = torch.tensor(ends[i], device=self.device)
                logprobs = row[-1 - len(wanted) : -1].float().log_softmax(-1)
                read[i] = logprobs.gather(1, wanted[:, None])[:, 0].tolist()
        return read

    def _encode(self, prompts: Sequence[Prompt]) -> list[Ids]:
        return [tuple(encode_prompt(self.tokenizer, prompt)) for prompt in prompts]

    @property
    def _reading_tokens(self) -> int:
        return _BATCH_TOKENS_CPU if self.device == "cpu" else _BATCH_TOKENS

    def _reading_groups(self, kept: PrefixCache, rows: Sequence[Ids]) -> list[list[int]]:
        known = [len(kept.find(row)) for row in rows]
        return _batches([len(row) for row in rows], known, 0, self._reading_tokens)

    def _batches(
        self, rows: Sequence[Ids], new_tokens: int, most: int = _BATCH_TOKENS
    ) -> Iterator[list[int]]:
        """Row numbers of each batch; beginnings that rows of the call share are read first."""
        lengths = [len(row) for row in rows]
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
        with torch.inference_mode(), self._cache(rows, last) as cache:
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
        criteria = [_StopAt(self.tokenizer, stop, width)] if stop else None
        with torch.inference_mode(), self._cache(rows) as cache:
            output = self._model.generate(
                input_ids=ids,
                attention_mask=mask,
                past_key_values=cache,
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
                logits_processor=_choosers(self.tokenizer, prompts, width),
            )
        written: list[list[int]] = output[:, width:].tolist()
        return written

    def _write(self, row: Ids, prompt: Prompt, limit: int) -> Iterator[int]:
        """Generate token by token as `_generate` does, up to the end of the turn."""
        choosers: Any = _choosers(self.tokenizer, [prompt], len(row))
        cache: Any = None
        if self._kept is not None:
            self._read_starts(self._kept, [row])
            cache = self._kept.open([row])
        ids = torch.tensor([row], device=self.device)
        fresh = ids[:, 0 if cache is None else cache.get_seq_length() :]
        for _ in range(limit):
            with torch.inference_mode():  # for a step only: the caller's code runs between them
                output = self._model(
                    input_ids=fresh, past_key_values=cache, use_cache=True, logits_to_keep=1
                )
                cache = output.past_key_values
                fresh = choosers(ids, output.logits[:, -1].float()).argmax(-1, keepdim=True)
                ids = torch.cat([ids, fresh], 1)
            token = int(fresh)
            yield token
            if token == self.tokenizer.eos_token_id:
                return

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


def _choosers(tokenizer: Any, prompts: Sequence[Prompt], start: int) -> LogitsProcessorList:
    """Logits processors of prompts that are sampled or must match a pattern."""
    chosen: list[LogitsProcessor] = []
    if any(prompt.seed is not None for prompt in prompts):
        chosen.append(_Draw(prompts))
    if any(prompt.pattern for prompt in prompts):
        chosen.append(_Hold(tokenizer, prompts, start))
    return LogitsProcessorList(chosen)


class _Draw(LogitsProcessor):
    """Samples rows that have a seed by adding Gumbel noise before greedy decoding.

    The argmax of logits with Gumbel noise is a sample of their softmax. As the noise of a row
    depends on its own seed and step alone, the other rows of a batch do not change the sample.
    Tokens outside the top k stay below all others.
    """

    def __init__(self, prompts: Sequence[Prompt]) -> None:
        self._prompts = prompts
        self._step = 0

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        values, tokens = scores.float().topk(min(_SAMPLED_FROM, scores.shape[1]), dim=-1)
        for row, prompt in enumerate(self._prompts):
            if prompt.seed is None:
                continue
            noise = np.random.default_rng((prompt.seed, self._step)).gumbel(size=values.shape[1])
            noised = values[row] / prompt.temperature + torch.from_numpy(noise).to(values)
            scores[row] += noised.min() - values[row, 0] - 1
            scores[row, tokens[row]] = noised
        self._step += 1
        return scores


class _Hold(LogitsProcessor):
    """Restricts rows that have a pattern to the most likely token that can still match it.

    Mostly the first choice matches, so a step costs one check, and a reply that matches by itself
    is unchanged. Otherwise a reply that already matches as a whole ends; for any other the next
    choices are checked.
    """

    def __init__(self, tokenizer: Any, prompts: Sequence[Prompt], start: int) -> None:
        self._tokenizer = tokenizer
        self._patterns = [regex.compile(p.pattern) if p.pattern else None for p in prompts]
        self._start = start
        self._special = frozenset(tokenizer.all_special_ids)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        for row, pattern in enumerate(self._patterns):
            written = input_ids[row, self._start :].tolist()
            if pattern is None or not self._special.isdisjoint(written):
                continue  # without a pattern, or ended and padded
            token = self._choose(pattern, written, scores[row])
            scores[row] = float("-inf")
            scores[row, token] = 0.0
        return scores

    def _choose(self, pattern: Any, written: list[int], scores: torch.Tensor) -> int:
        end: int = self._tokenizer.eos_token_id
        first = int(scores.argmax())
        if self._keeps(pattern, written, first):
            return first
        if pattern.fullmatch(self._tokenizer.decode(written)):
            return end
        return next((t for t in _in_order(scores) if self._keeps(pattern, written, t)), end)

    def _keeps(self, pattern: Any, written: list[int], token: int) -> bool:
        if token in self._special:
            return False  # it adds no text and could repeat forever
        text = self._tokenizer.decode([*written, token])
        return pattern.fullmatch(text, partial=True) is not None


def _in_order(scores: torch.Tensor) -> Iterator[int]:
    """Tokens by falling score; only the first few are sorted unless more are requested."""
    yield from scores.topk(min(_SAMPLED_FROM, len(scores))).indices.tolist()
    yield from scores.argsort(descending=True).tolist()


class _StopAt(StoppingCriteria):
    """Ends a row once its newest tokens contain a stop string; decodes only the row's tail."""

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


def _load_model(folder: Path, adapter: Path | None) -> Any:
    dtype = torch.bfloat16 if has_bf16(best_device()) else torch.float32
    with quiet_libraries(), reported_loading(f'The model "{folder}"'):
        model: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
        )
        if adapter is None:
            return model
        from peft import PeftModel

        adapted: Any = PeftModel.from_pretrained(model, str(adapter), autocast_adapter_dtype=False)
        return adapted.to(dtype)


def load_tokenizer(folder: Path) -> Any:
    """A model's tokenizer, which pads with its pad token or else with its end token."""
    with quiet_libraries():
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def encode_prompt(tokenizer: Any, prompt: Prompt) -> list[int]:
    """Token ids of a prompt; control tokens inside contents are ordinary text.

    Where the chat template has no system turn, its text stands in front of the first user turn.

    Raises:
        ModelError: the prompt is a conversation, but the tokenizer has no chat template.
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
        raise _no_template(f'The model "{tokenizer.name_or_path}"')
    ids: list[int] = tokenizer.apply_chat_template(
        _turns(tokenizer, prompt.messages),
        add_generation_prompt=True,
        sanitize_control_tokens=True,
        return_dict=False,
    )
    return ids + (encode_text(tokenizer, prompt.prefix) if prompt.prefix else [])


def check_template(tokenizer: Any, title: str) -> None:
    """Check that a conversation can be rendered, with a system turn or with its text merged.

    Args:
        tokenizer: Of the model.
        title: What errors call the model.

    Raises:
        ModelError: there is no chat template, or it refuses even a single user turn.
    """
    if tokenizer.chat_template is None:
        raise _no_template(title)
    question = Prompt(messages=(_SYSTEM, Message(role="user", content="What is it?")))
    try:
        encode_prompt(tokenizer, question)
    except Exception as error:
        raise ModelError(
            f"The chat template of {title} cannot be rendered ({type(error).__name__}: {error}). "
            "Choose another instruct model."
        ) from error


def _no_template(title: str) -> ModelError:
    return ModelError(
        f"{title[0].upper()}{title[1:]} has no chat template, so it cannot be given instructions "
        "or trained to follow them. Choose an instruct model."
    )


def _turns(tokenizer: Any, messages: Sequence[Message]) -> list[dict[str, str]]:
    """A conversation as the template takes it: without a system turn where it has none."""
    if has_system_turn(messages) and not takes_system_turn(tokenizer):
        messages = merge_system_turn(messages)
    return [{"role": one.role, "content": replace_surrogates(one.content)} for one in messages]


def takes_system_turn(tokenizer: Any) -> bool:
    """Whether a chat template renders a system turn: some refuse it, others leave it out."""
    template = str(tokenizer.chat_template)
    known: tuple[str, bool] | None = _takes_system.get(tokenizer)
    if known is None or known[0] != template:
        turns = [{"role": "system", "content": _SYSTEM.content}, {"role": "user", "content": "a"}]
        try:
            takes_it = _SYSTEM.content in tokenizer.apply_chat_template(turns, tokenize=False)
        except Exception:  # what templates raise is theirs to choose
            takes_it = False
        known = _takes_system[tokenizer] = (template, takes_it)
    return known[1]


def first_tokens(tokenizer: Any, choices: Sequence[str]) -> list[int]:
    """First token of each choice.

    Some tokenizers begin every text with the same token. With those, each choice is tokenized
    after a line break, and the first token behind the line break is taken.

    Raises:
        ProbabilitiesError: two choices begin with the same token.
    """
    for before in ("", "\n"):
        skipped = len(_tokenize(tokenizer, before)["input_ids"])
        rows = [_tokenize(tokenizer, before + choice)["input_ids"] for choice in choices]
        first = [row[skipped] for row in rows if len(row) > skipped]
        if len(set(first)) == len(choices):
            return first
    raise ProbabilitiesError(f"The choices {list(choices)} do not begin with different tokens.")


def encode_text(tokenizer: Any, text: str) -> list[int]:
    """Token ids of plain text, in which nothing is read as a control token."""
    ids: list[int] = _tokenize(tokenizer, text)["input_ids"]
    return ids


def encode_located(tokenizer: Any, text: str) -> tuple[list[int], list[tuple[int, int]]]:
    """Token ids of `encode_text`, and the character span of each."""
    encoded = _tokenize(tokenizer, text, return_offsets_mapping=True)
    return encoded["input_ids"], encoded["offset_mapping"]


def _tokenize(tokenizer: Any, text: str, **options: Any) -> Any:
    return tokenizer(
        replace_surrogates(text),
        add_special_tokens=False,
        split_special_tokens=True,
        verbose=False,  # long texts are cut or refused elsewhere
        **options,
    )


def _opens(tokenizer: Any) -> bool:
    """Whether the tokenizer begins plain text with a start token."""
    ids = tokenizer("a")["input_ids"]
    return bool(ids and ids[0] == tokenizer.bos_token_id)


def _batches(
    lengths: Sequence[int], known: Sequence[int], new_tokens: int, most: int
) -> list[list[int]]:
    """Batch row numbers by similar length within the token budget.

    Rows that are mostly cached come first: later rows may evict their beginnings, and one uncached
    row makes its whole batch compute as much as itself. Then the longest come first.
    """
    order = sorted(range(len(lengths)), key=lambda i: (2 * known[i] < lengths[i], -lengths[i]))
    batches: list[list[int]] = []
    for i in order:
        batch = batches[-1] if batches else []
        longest = max(lengths[j] for j in [*batch, i]) + new_tokens
        if batch and len(batch) < _BATCH_ROWS and longest * (len(batch) + 1) <= most:
            batch.append(i)
        else:
            batches.append([i])
    return batches
