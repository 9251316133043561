"""Settings of linking logged questions and of mining hard negatives."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from aloft.config.base import Count, Settings, Share

Retriever = Literal["dense", "bm25", "hybrid"]
Guard = Literal["copy", "answer", "margin", "reranker", "reading"]


class LinksConfig(Settings):
    """Which questions of the user's log are linked to a passage.

    Attributes:
        min_confidence: Lowest confidence kept, from 0 to 1.
    """

    min_confidence: Annotated[float, Field(ge=0, le=1)] = 0.9


class NegativesConfig(Settings):
    """How hard negatives are chosen for each question (step 4 of ALoFTRAG).

    Attributes:
        count: Negatives kept per question; the paper's 9 fill 10 contexts.
        depth: Ranks searched for them.
        skip: First ranks that are left out.
        retriever: The ranking that is searched; scores and margins are always the embedder's.
        guards: Which checks keep a passage that may answer the question from being a negative:
            "copy" (it shares most of its text with the right passage, and becomes a further
            positive), "answer" (it contains the answer), "margin" (it scores about as well as the
            right passage), "reranker" (a reranker ranks it as high), "reading" (the answer is as
            likely to the teacher from this passage). The paper has none.
        copy_threshold: Share of runs of four words from which a passage counts as a copy.
        margin: Share of the positive's score by which a negative must stay below it, in [0, 1): a
            passage that scores about as well may contain the answer too. Default of NV-Retriever
            (arXiv:2407.15831).
    """

    count: Count = 9
    depth: Count = 100
    skip: Annotated[int, Field(ge=0, le=10**9)] = 0
    retriever: Retriever = "dense"
    guards: tuple[Guard, ...] = ("copy", "answer", "margin")
    copy_threshold: Share = 0.8
    margin: Annotated[float, Field(ge=0, lt=1)] = 0.05

    def contradictions(self) -> Iterator[str]:
        """More negatives than ranks to take them from, or a guard that is listed twice."""
        if self.count > self.depth:
            yield (
                f"count is {self.count}, but it must lie between 1 and depth ({self.depth}). "
                "Lower count or raise depth."
            )
        if len(set(self.guards)) < len(self.guards):
            yield f"guards lists a guard twice: {', '.join(self.guards)}. List each once."
