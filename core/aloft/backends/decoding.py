"""Chooses tokens: greedily, sampled, or held to a grammar, up to stop strings."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)

from aloft.backends.batching import given_up
from aloft.backends.grammar import Constraint, Grammars
from aloft.protocols import Prompt

_SAMPLED_FROM = 50  # most likely tokens


def choosers(grammars: Grammars, prompts: Sequence[Prompt], limit: int) -> LogitsProcessorList:
    """Logits processors of prompts that are sampled, or whose replies are held to a grammar.

    Args:
        grammars: Of the model.
        prompts: One for each row.
        limit: Longest reply, in tokens.

    Raises:
        ConfigError: what a prompt asks of its reply cannot be compiled.
    """
    chosen: list[LogitsProcessor] = []
    if any(prompt.seed is not None for prompt in prompts):
        chosen.append(_Draw(prompts))
    constraints = [grammars.constraint(prompt, limit) for prompt in prompts]
    if any(constraints):
        chosen.append(_Hold(constraints))
    return LogitsProcessorList(chosen)


def stop_at(tokenizer: Any, stop: Sequence[str], start: int) -> StoppingCriteriaList | None:
    """Ends rows at stop strings, and all of them once nobody waits for them any more.

    Args:
        tokenizer: Of the model.
        stop: The strings; none: rows end by themselves.
        start: Column at which the replies begin.
    """
    criteria: list[StoppingCriteria] = [_StopAt(tokenizer, stop, start)] if stop else []
    is_given_up = given_up.get()
    if is_given_up is not None:
        criteria.append(_GivenUp(is_given_up))
    return StoppingCriteriaList(criteria) if criteria else None


class _Draw(LogitsProcessor):
    """Samples rows that have a seed by adding Gumbel noise before greedy decoding.

    The argmax of logits with Gumbel noise is a sample of their softmax. As the noise of a row
    depends on its own seed and step alone, the other rows of a batch do not change the sample.
    Tokens outside the top k stay below all others, and those outside the top p below these.
    """

    def __init__(self, prompts: Sequence[Prompt]) -> None:
        self._seeds = {row: p.seed for row, p in enumerate(prompts) if p.seed is not None}
        self._prompts = [prompts[row] for row in self._seeds]
        self._step = 0

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        rows = torch.tensor(list(self._seeds), device=scores.device)
        values, tokens = scores[rows].float().topk(min(_SAMPLED_FROM, scores.shape[1]))
        temperatures, most = (
            values.new_tensor([getattr(prompt, name) for prompt in self._prompts])[:, None]
            for name in ("temperature", "top_p")
        )
        noise = [
            np.random.default_rng((seed, self._step)).gumbel(size=values.shape[1])
            for seed in self._seeds.values()
        ]
        likely = _nucleus(values / temperatures, most)
        noised = likely + torch.from_numpy(np.stack(noise)).to(values)
        scores[rows] += noised.amin(1, keepdim=True) - values[:, :1] - 1
        scores[rows[:, None], tokens] = noised
        self._step += 1
        return scores


def _nucleus(logits: torch.Tensor, top_p: torch.Tensor) -> torch.Tensor:
    """Logits in falling order, those behind the share `top_p` of the probability pushed down.

    Args:
        logits: (rows, tokens).
        top_p: (rows, 1); 1 keeps all.

    Source: Holtzman et al., 2020, arXiv:1904.09751.
    """
    likely = logits.softmax(-1)
    before = likely.cumsum(-1) - likely
    return torch.where((before < top_p) | (top_p >= 1), logits, logits - 1e4)


class _Hold(LogitsProcessor):
    """Restricts rows that have a constraint to the token that it chooses.

    Where the likeliest token is allowed, that costs a check of forced text and one of the token.
    """

    def __init__(self, constraints: Sequence[Constraint | None]) -> None:
        self._open = dict(enumerate(constraints))
        self._last: dict[int, int] = {}

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        newest = input_ids[:, -1].tolist()
        likeliest = scores.argmax(-1).tolist()  # of all rows at once: a GPU is asked once a step
        chosen: dict[int, int] = {}
        for row, constraint in list(self._open.items()):
            if constraint is None or newest[row] != self._last.get(row, newest[row]):
                del self._open[row]  # without a constraint, or ended and padded
                continue
            chosen[row] = self._last[row] = constraint.next_token(scores[row], likeliest[row])
            if constraint.is_over:
                del self._open[row]
        if chosen:
            rows, tokens = torch.tensor([*chosen.items()], device=scores.device).unbind(1)
            scores[rows] = float("-inf")
            scores[rows, tokens] = 0.0
        return scores


class _GivenUp(StoppingCriteria):
    def __init__(self, is_given_up: Callable[[], bool]) -> None:
        self._is_given_up = is_given_up

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        ended = self._is_given_up()
        return torch.full((len(input_ids),), ended, dtype=torch.bool, device=input_ids.device)


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
