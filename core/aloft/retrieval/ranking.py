"""Rankings of passages: exact cosine search of one block of questions, reordering by a reranker."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aloft.protocols import Floats
from aloft.records import Passage


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """Passages ranked for each question, best first.

    Attributes:
        columns: Indices of the passages in the corpus; (questions, depth).
        scores: Their scores, in the same order; (questions, depth).
    """

    columns: NDArray[np.intp]
    scores: Floats

    def top(self, count: int) -> "Ranking":
        """Return the first `count` ranks of every question."""
        return Ranking(columns=self.columns[:, :count], scores=self.scores[:, :count])

    def below(self, count: int) -> "Ranking":
        """Return what is behind the first `count` ranks of every question."""
        return Ranking(columns=self.columns[:, count:], scores=self.scores[:, count:])

    def of(self, questions: Sequence[int]) -> "Ranking":
        """Return the rankings of some questions, in their order."""
        rows = list(questions)
        return Ranking(columns=self.columns[rows], scores=self.scores[rows])

    def among(self, columns: Collection[int]) -> "Ranking":
        """Return the ranks of some passages; every question must rank all of them."""
        kept, rows = np.isin(self.columns, list(columns)), len(self.columns)
        return Ranking(
            columns=self.columns[kept].reshape(rows, -1), scores=self.scores[kept].reshape(rows, -1)
        )


def stack(*rankings: Ranking) -> Ranking:
    """The rankings of other questions of the same corpus, one after the other."""
    return Ranking(
        columns=np.concatenate([ranking.columns for ranking in rankings]),
        scores=np.concatenate([ranking.scores for ranking in rankings]),
    )


def rank_block(queries: Floats, passages: Floats, depth: int) -> Ranking:
    """Rank passages by cosine similarity, exactly; ties are broken by corpus order.

    The full score matrix is held in memory; `aloft.retrieval.dense` ranks any number of questions.

    Args:
        queries: Unit vectors; (questions, dimensions).
        passages: Unit vectors; (passages, dimensions).
        depth: Ranks to keep, at most the number of passages.
    """
    similarity = queries @ passages.T
    columns = best_columns(similarity, min(depth, len(passages)))
    return Ranking(columns=columns, scores=np.take_along_axis(similarity, columns, axis=1))


def best_columns(scores: Floats, depth: int) -> NDArray[np.intp]:
    """Return the columns of the highest scores of every row, best first, ties in column order.

    Args:
        scores: (questions, passages).
        depth: Columns to keep, at most the number of passages.
    """
    if depth < scores.shape[1]:
        best = np.sort(np.argpartition(-scores, depth - 1, axis=1)[:, :depth], axis=1)
        values = np.take_along_axis(scores, best, axis=1)
        lowest = values.min(axis=1, keepdims=True)
        kept, tied = (values == lowest).sum(axis=1), (scores == lowest).sum(axis=1)
        for row in np.flatnonzero(kept < tied):  # the partition keeps an arbitrary subset of ties
            above = np.flatnonzero(scores[row] > lowest[row])
            equal = np.flatnonzero(scores[row] == lowest[row])
            best[row] = np.sort(np.concatenate([above, equal[: depth - len(above)]]))
    else:
        best = np.broadcast_to(np.arange(depth), scores.shape).copy()
    order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
    return np.take_along_axis(best, order, axis=1)


def pairs_of(
    ranking: Ranking, questions: Sequence[str], passages: Sequence[Passage]
) -> list[tuple[str, str]]:
    """Return the (question, passage) pairs that a reranker scores, question by question."""
    return [
        (question, passages[column].embedded)
        for question, columns in zip(questions, ranking.columns.tolist(), strict=True)
        for column in columns
    ]


def reorder(ranking: Ranking, scores: Floats) -> Ranking:
    """Reorder each question's ranks by a reranker's scores.

    Args:
        ranking: What the pairs were made of.
        scores: Scores of `pairs_of(ranking, ...)`, in its order; (questions x ranks,).
    """
    table = np.asarray(scores, np.float32).reshape(ranking.columns.shape)
    order = np.argsort(-table, axis=1, kind="stable")
    return Ranking(
        columns=np.take_along_axis(ranking.columns, order, axis=1),
        scores=np.take_along_axis(table, order, axis=1),
    )


def followed_by(first: Ranking, others: Ranking) -> Ranking:
    """Reordered first ranks, and behind them the others in their order.

    Args:
        first: (questions, ranks).
        others: Further ranks of the same questions; they get lower scores than the first.
    """
    if not others.columns.shape[1]:
        return first
    lowest = first.scores.min(axis=1, keepdims=True)
    scores = others.scores - others.scores.max(axis=1, keepdims=True) + lowest
    return Ranking(
        columns=np.concatenate([first.columns, others.columns], axis=1),
        scores=np.concatenate([first.scores, scores], axis=1),
    )


def best_first(scores: Floats | Sequence[float], count: int | None = None) -> list[int]:
    """Return indices by descending score, ties in order; all of them or the first `count`."""
    order: list[int] = np.argsort(-np.asarray(scores, np.float32), kind="stable").tolist()
    return order[:count]
