"""Settings of the rows that the parts are trained and evaluated on."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from aloft.config.base import Count, Settings

FormatName = Literal["aloftrag", "raft", "ralt"]
Contexts = Annotated[int, Field(ge=2, le=10_000)]


class TrainingSetsConfig(Settings):
    """What the parts are trained and evaluated on.

    Attributes:
        held_out_share: Share of documents whose questions are kept for evaluation. In a corpus of
            fewer than 20 documents, sections of long ones stand for documents.
        format: What the generator is trained to reply. "aloftrag": the numbers of the passages that
            hold the answer, then the answer; "raft": verbatim quotes before that; "ralt": the
            answer alone.
        abstaining_share: Share of the generator's rows that lack their right passages, so that the
            generator learns to say that no passage holds the answer. Their questions also occur
            with the right passages, so that nothing but the passages tells the two apart. The
            evaluation then repeats every question without its right passages.
        contexts: Passages in a generator prompt; the paper's 10.
        min_contexts: Passages in the smallest generator prompt; each number from there to
            `contexts` is equally frequent. None: `contexts` in all of them, as in the paper.
        embedder_negatives: Hard negatives per embedder row, in addition to those in the batch.
        cloze_rows: Embedder rows at most, beside those of the pairs, in which a sentence of a
            passage that no pair is about stands for a question. They need no teacher, and show the
            embedder documents that nothing was asked about. 0: none.
        reranker_negatives: Hard negatives per reranker question.
        max_generator_rows: Generator rows, drawn with the run's seed. None: one per pair, plus
            those of `abstaining_share`.
        log_repeat: How often each question of the user's log occurs among the rows; 0: never.
        replay_ratio: With `earlier`, how many pairs of the earlier run are trained on again for
            each new pair; where no pair is new, all are.
    """

    held_out_share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    format: FormatName = "aloftrag"
    abstaining_share: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    contexts: Contexts = 10
    min_contexts: Contexts | None = None
    embedder_negatives: Annotated[int, Field(ge=0, le=10_000)] = 1
    cloze_rows: Annotated[int, Field(ge=0, le=100_000_000)] = 1000
    reranker_negatives: Annotated[int, Field(ge=1, le=10_000)] = 4
    max_generator_rows: Count | None = None
    log_repeat: Annotated[int, Field(ge=0, le=1000)] = 2
    replay_ratio: Annotated[float, Field(ge=0, le=1_000_000)] = 1.0

    @property
    def abstains(self) -> bool:
        """Whether the generator may say that no passage holds the answer."""
        return self.abstaining_share > 0

    def contradictions(self) -> Iterator[str]:
        """A smallest prompt that is larger than the largest."""
        if self.min_contexts is not None and self.min_contexts > self.contexts:
            yield (
                f"min_contexts is {self.min_contexts}, but contexts is {self.contexts}. "
                "Lower the first or raise the second."
            )
