"""Settings of the evaluation."""

from typing import Annotated

from pydantic import Field

from aloft.config.base import Count, Settings


class EvaluationConfig(Settings):
    """What is measured, on how many questions.

    Attributes:
        rerank_depth: Passages that the reranker reorders.
        read_depth: Passages that a configured reranker reads, where it reads questions and passages
            together: the first of those that the embedder's body has reordered before.
        max_answer_questions: Questions per set that both generators answer from shuffled passages,
            as the paper does. None: all.
        max_stack_questions: Questions per set that they answer from what is retrieved, in its
            order; by these a generator is judged. Retrieval uses all questions. None: all.
        max_new_tokens: Longest answer; the paper's 2048 for large models.
        answered_share: Share of the questions with their passage among those shown that a generator
            which may abstain must still answer. Those are declined that, likelier than a
            threshold, nothing answers; it is the least that keeps this share on held-out
            questions. 1: none is.
        resamples: Bootstrap resamples behind each 95 % interval.
        min_human_questions: From this many of the user's own questions on, they decide which parts
            are kept; with fewer the synthetic ones do.
        probes: Whether both generators also answer with the right passage at each position, with 2
            to 20 passages, and with none (`aloft evaluate RUN --probes`).
        learning_curve: Whether the embedder is also trained with a quarter and with half of the
            pairs, to see whether more documents would help (`aloft evaluate RUN --learning-curve`).
    """

    rerank_depth: Count = 30
    read_depth: Count = 10
    max_answer_questions: Count | None = 100
    max_stack_questions: Count | None = 200
    max_new_tokens: Annotated[int, Field(ge=8, le=10_000_000)] = 256
    answered_share: Annotated[float, Field(gt=0, le=1)] = 0.95
    resamples: Annotated[int, Field(ge=100, le=10_000_000)] = 10_000
    min_human_questions: Count = 50
    probes: bool = False
    learning_curve: bool = False

    @property
    def decisive(self) -> "EvaluationConfig":
        """What verdicts and what ships depend on."""
        return self.model_copy(update={"learning_curve": False})
