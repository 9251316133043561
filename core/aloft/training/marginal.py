"""Turns scores of passages and log-probabilities of answers into the losses of RAG systems.

Scores are before their softmax over the k passages of a question, p(passage | question). A
log-probability is that of an answer's token behind question, passage and the tokens before it; it
is 0 where there is no token, which then counts for nothing.
"""

from torch import Tensor


def rag_sequence_loss(scores: Tensor, logs: Tensor) -> Tensor:
    """How unlikely the whole answer is, over the passages that it may come from, in nats.

    Args:
        scores: (questions, k).
        logs: (questions, k, tokens).

    Returns:
        -log of the sum, over passages, of p(passage | question) times the product of the tokens'
        probabilities; (questions,).

    Source: RAG-Sequence (arXiv:2005.11401, section 2.1).
    """
    return -(scores.log_softmax(-1) + logs.sum(-1)).logsumexp(-1)


def rag_token_loss(scores: Tensor, logs: Tensor) -> Tensor:
    """How unlikely the answer is where each of its tokens may come from another passage, in nats.

    Args:
        scores: (questions, k).
        logs: (questions, k, tokens).

    Returns:
        The sum, over tokens, of -log of the sum, over passages, of p(passage | question) times the
        token's probability; (questions,).

    Source: RAG-Token (arXiv:2005.11401, section 2.1).
    """
    return -(scores.log_softmax(-1)[:, :, None] + logs).logsumexp(1).sum(-1)


def lsr_loss(scores: Tensor, likelihoods: Tensor, temperature: float) -> Tensor:
    """How far the retriever is from preferring what makes the answer likely, in nats.

    Args:
        scores: (questions, k).
        likelihoods: Mean log-probability of the answer's tokens behind each passage, from which no
            gradient flows; (questions, k).
        temperature: Of the likelihoods' softmax: the lower, the more the best passage counts.

    Returns:
        KL(p(passage | question) || softmax of likelihoods / temperature); (questions,).

    Source: LM-supervised retrieval in REPLUG (arXiv:2301.12652, section 4) and RA-DIT
    (arXiv:2310.01352), in the direction that both have. The likelihood of a long answer is a very
    small number, so the mean over its tokens stands for it, and in log.
    """
    retrieved = scores.log_softmax(-1)
    wanted = (likelihoods.detach() / temperature).log_softmax(-1)
    return (retrieved.exp() * (retrieved - wanted)).sum(-1)
