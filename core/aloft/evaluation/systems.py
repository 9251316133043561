"""What is measured: systems of a retriever and parts, their values, and variants of what ships."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aloft.config import Part
from aloft.evaluation.abstention import AbstentionCurve
from aloft.records import LabelledQuestion
from aloft.retrieval.fusion import CoverageShare
from aloft.retrieval.relevance import Relevance
from aloft.retrieval.retriever import RetrieverName

Values = Mapping[str, NDArray[np.float64]]
Questions = Mapping[str, Sequence[LabelledQuestion]]


def means_of(values: Values) -> dict[str, float]:
    """Mean of each metric over the questions it applies to; a metric without any is left out."""
    defined = {metric: column[~np.isnan(column)] for metric, column in values.items()}
    return {metric: float(column.mean()) for metric, column in defined.items() if len(column)}


@dataclass(frozen=True, slots=True)
class System:
    """A retriever with "none", "base" or "tuned" parts.

    A base reranker is the configured one or, where none is, late interaction by the untuned
    embedder's body; a tuned one may be the tuned embedder's. Where a configured one reads what the
    system's embedder has ordered by late interaction, "body" is late interaction alone.
    """

    retriever: RetrieverName
    embedder: str
    reranker: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Values of one system on questions of one set.

    Attributes:
        values: (questions,) per metric; NaN where a metric does not apply.
        documents: (questions,), the document that each question is about.
        abstention: Of a generator that may abstain, answering from what was retrieved.
    """

    question_set: str
    values: Values
    documents: Sequence[str]
    abstention: AbstentionCurve | None = None

    @property
    def n(self) -> int:
        """Number of questions."""
        return len(self.documents)

    def among(self, mask: NDArray[np.bool_]) -> "Measured":
        """The values of some of the questions."""
        return Measured(
            question_set=self.question_set,
            values={metric: column[mask] for metric, column in self.values.items()},
            documents=[d for d, is_in in zip(self.documents, mask, strict=True) if is_in],
        )

    def only(self, metric: str) -> "Measured":
        """The same questions with one metric alone."""
        return replace(self, values={metric: self.values[metric]})

    def with_values(self, values: Values) -> "Measured":
        """The same questions with further metrics."""
        return replace(self, values={**self.values, **values})


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemVariant:
    """One on/off combination of the trained parts, end to end.

    Attributes:
        dense_share: Of its hybrid, chosen on all questions.
        rerank_share: Of its reranker, where there is one; likewise.
        late_share: Of late interaction before its reranker; None: there is none.
        order_weight: What the order of passages counts for in what its generator cites; see
            `aloft.retrieval.citing`. None: it has none, or one that cites by itself.
        abstention_threshold: Of `aloft.retrieval.citing.doubts`, above which its generator
            declines; None: it does not abstain, or does so where no passage is likelier.
        abstention_relevance: What tells beside its generator whether a passage answers; None:
            nothing does.
        relevance: What the scores of its passages are computed by; None: the default.
        reranker_relevance: What those of its reranker alone are computed by; None: they are not.
        metrics: Each question with what is chosen without its fold.
        n: Questions.
    """

    parts: tuple[Part, ...]
    system: System
    dense_share: CoverageShare
    rerank_share: CoverageShare
    question_set: str
    order_weight: float | None = None
    abstention_threshold: float | None = None
    abstention_relevance: Relevance | None = None
    late_share: CoverageShare | None = None
    relevance: Relevance | None = None
    reranker_relevance: Relevance | None = None
    metrics: Mapping[str, float]
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareCurve:
    """What a share is worth on a question set, were it the same for all questions.

    Attributes:
        share: "dense", of a hybrid's embedder, "late", of late interaction before a reranker, or
            "reranking", of a reranker.
        system: The share's.
        shares: Those tried.
        values: nDCG@10 at each.
        chosen: nDCG@10 with the shares that depend on the question.
    """

    question_set: str
    share: str
    system: System
    shares: Sequence[float]
    values: Sequence[float]
    chosen: float
