"""Chooses tokens: greedily, sampled, or held to a grammar, up to stop strings."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)

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
    """Ends rows at stop strings.

    Args:
        tokenizer: Of the model.
        stop: The strings; none: rows end by themselves.
        start: Column at which the replies begin.
    """
    return StoppingCriteriaList([_StopAt(tokenizer, stop, start)]) if stop else None


class _Draw(LogitsProcessor):
    """Samples rows that have a seed by adding Gumbel noise before greedy decoding.

    The argmax of logits with Gumbel noise is a sample of their softmax. As the noise of a row
    depends on its own seed and step alone, the other rows of a batch do not change the sample.
    Tokens outside the top k stay below all others, and those outside the top p below these.
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
            likely = _nucleus(values[row] / prompt.temperature, prompt.top_p)
            noised = likely + torch.from_numpy(noise).to(values)
            scores[row] += noised.min() - values[row, 0] - 1
            scores[row, tokens[row]] = noised
        self._step += 1
        return scores


def _nucleus(logits: torch.Tensor, top_p: float) -> torch.Tensor:
    """Logits in falling order, those behind the share `top_p` of the probability pushed down.

    Source: Holtzman et al., 2020, arXiv:1904.09751.
    """
    if top_p >= 1:
        return logits
    before = logits.softmax(-1).cumsum(-1) - logits.softmax(-1)
    return torch.where(before < top_p, logits, logits - 1e4)


class _Hold(LogitsProcessor):
    """Restricts rows that have a constraint to the token that it chooses.

    Where the likeliest token is allowed, that costs a check of forced text and one of the token.
    """

    def __init__(self, constraints: Sequence[Constraint | None]) -> None:
        self._open = dict(enumerate(constraints))
        self._last: dict[int, int] = {}

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        newest = input_ids[:, -1].tolist()
        for row, constraint in list(self._open.items()):
            if constraint is None or newest[row] != self._last.get(row, newest[row]):
                del self._open[row]  # without a constraint, or ended and padded
                continue
            token = self._last[row] = constraint.next_token(scores[row])
            if constraint.is_over:
                del self._open[row]
            scores[row] = float("-inf")
            scores[row, token] = 0.0
        return scores


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
