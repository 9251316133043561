"""Losses of RAG systems from scores of passages and log-probabilities of answers.

The softmax of scores over the k passages of a question is p(passage | question). A log-probability
is that of an answer's token given question, passage and the preceding tokens; it is 0 where there
is no token, which adds nothing.
"""

from torch import Tensor


def rag_sequence_loss(scores: Tensor, logs: Tensor) -> Tensor:
    """Negative log-likelihood of the whole answer, marginalized over passages, in nats.

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
    """Negative log-likelihood of the answer, marginalized over passages per token, in nats.

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
    """Divergence of the retriever from preferring passages that make the answer likely, in nats.

    Args:
        scores: (questions, k).
        likelihoods: Mean log-probability of the answer's tokens given each passage, without
            gradient; (questions, k).
        temperature: Of the likelihoods' softmax; the lower, the more the best passage counts.

    Returns:
        KL(p(passage | question) || softmax of likelihoods / temperature); (questions,).

    Source: LM-supervised retrieval in REPLUG (arXiv:2301.12652, section 4) and RA-DIT
    (arXiv:2310.01352), with the same direction of the divergence. As the likelihood of a long
    answer is vanishingly small, the mean log-probability of its tokens is used instead.
    """
    retrieved = scores.log_softmax(-1)
    wanted = (likelihoods.detach() / temperature).log_softmax(-1)
    return (retrieved.exp() * (retrieved - wanted)).sum(-1)
