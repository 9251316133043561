"""A causal language model as a `Reranker`: how likely a question is after a passage."""

from collections.abc import Sequence

from aloft.protocols import Floats, Prompt, ReadingModel
from aloft.records import Message

_SHOWN = "Passage: {passage}\nQuestion:"


class LikelihoodReranker:
    """Scores a passage by the question's mean log-likelihood after it, in nats per token.

    Nothing is trained for it, and small models need no instruction to be good at it.

    Args:
        model: The language model.

    Source: Sachan et al. 2022 (UPR, arXiv:2204.07496), without an instruction.
    """

    def __init__(self, model: ReadingModel) -> None:
        self.model = model

    @property
    def fingerprint(self) -> str:
        """Identifies the model and the way in which it scores."""
        return f"likelihood by {self.model.fingerprint}"

    def score(self, pairs: Sequence[tuple[str, str]]) -> Floats:
        """At most 0, higher is better; (pairs,)."""
        prompts = [
            Prompt(
                messages=(Message(role="user", content=_SHOWN.format(passage=passage)),),
                is_plain=True,
            )
            for _, passage in pairs
        ]
        return self.model.score_replies(prompts, [f" {query}" for query, _ in pairs])
