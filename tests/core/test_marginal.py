"""The losses of RAG systems by hand, and their gradients against differences."""

from math import log

import pytest
import torch
from torch import Tensor

from aloft.training.marginal import lsr_loss, rag_sequence_loss, rag_token_loss

pytestmark = pytest.mark.model

SCORES = torch.tensor([[log(3), log(1)]], dtype=torch.double)  # the first passage: 3 in 4
LOGS = torch.tensor([[[0.5, 0.2], [0.1, 0.8]]], dtype=torch.double).log()


def test_a_sequence_comes_from_one_passage() -> None:
    # 3/4 of 0.5 * 0.2 and 1/4 of 0.1 * 0.8
    assert rag_sequence_loss(SCORES, LOGS).tolist() == pytest.approx([-log(0.095)])


def test_each_token_may_come_from_another_passage() -> None:
    # 3/4 of 0.5 and 1/4 of 0.1; 3/4 of 0.2 and 1/4 of 0.8
    assert rag_token_loss(SCORES, LOGS).tolist() == pytest.approx([-log(0.4) - log(0.35)])


@pytest.mark.parametrize("loss", [rag_sequence_loss, rag_token_loss])
def test_with_one_passage_both_are_the_answers_own_loss(loss: object) -> None:
    assert callable(loss)
    told = loss(SCORES[:, :1], LOGS[:, :1])
    assert told.tolist() == pytest.approx([-log(0.5 * 0.2)])


@pytest.mark.parametrize("loss", [rag_sequence_loss, rag_token_loss])
def test_where_there_is_no_token_nothing_counts(loss: object) -> None:
    assert callable(loss)
    padded = torch.cat([torch.zeros(1, 2, 3, dtype=torch.double), LOGS], dim=2)
    assert loss(SCORES, padded).tolist() == pytest.approx(loss(SCORES, LOGS).tolist())


def test_the_retriever_is_held_against_the_answers_likelihood() -> None:
    likelihoods = torch.tensor([[log(1), log(4)]], dtype=torch.double)
    # retrieved 3/4 and 1/4; wanted 1/5 and 4/5
    expected = 3 / 4 * log(3 / 4 / (1 / 5)) + 1 / 4 * log(1 / 4 / (4 / 5))
    assert lsr_loss(SCORES, likelihoods, 1.0).tolist() == pytest.approx([expected])
    # half the temperature squares them: 1/17 and 16/17
    expected = 3 / 4 * log(3 / 4 * 17) + 1 / 4 * log(1 / 4 * 17 / 16)
    assert lsr_loss(SCORES, likelihoods, 0.5).tolist() == pytest.approx([expected])
    assert lsr_loss(SCORES, SCORES, 1.0).tolist() == pytest.approx([0.0])


def test_gradients_are_those_of_small_differences() -> None:
    drawn = torch.Generator().manual_seed(1)

    def some(*shape: int) -> Tensor:
        values = torch.randn(*shape, dtype=torch.double, generator=drawn)
        return values.requires_grad_()

    scores, logs, likelihoods = some(3, 4), some(3, 4, 5), some(3, 4)
    assert torch.autograd.gradcheck(rag_sequence_loss, (scores, logs))
    assert torch.autograd.gradcheck(rag_token_loss, (scores, logs))
    told = likelihoods.detach()
    assert torch.autograd.gradcheck(lambda some: lsr_loss(some, told, 0.3), (scores,))


def test_the_marginal_pulls_towards_what_the_answer_speaks_for() -> None:
    scores = SCORES.clone().requires_grad_()
    rag_sequence_loss(scores, LOGS).sum().backward()
    # before the answer is known 3/4 and 1/4; after it 0.075/0.095 and 0.02/0.095
    expected = [3 / 4 - 0.075 / 0.095, 1 / 4 - 0.02 / 0.095]
    assert scores.grad is not None
    assert scores.grad[0].tolist() == pytest.approx(expected)


def test_no_gradient_flows_into_the_generator_that_is_asked() -> None:
    scores, likelihoods = SCORES.clone().requires_grad_(), LOGS.mean(-1).requires_grad_()
    lsr_loss(scores, likelihoods, 0.1).sum().backward()
    assert scores.grad is not None and likelihoods.grad is None
