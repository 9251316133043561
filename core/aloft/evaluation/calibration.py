"""Fits the scores of retrieved passages to the held-out questions of a run."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aloft.evaluation.evaluator import Evaluator, System
from aloft.evaluation.retrieval_metrics import DEPTH
from aloft.retrieval.ranking import Ranking, pairs_of
from aloft.retrieval.relevance import EMBEDDED, Relevance, fit, overlap, standardise

_PRIOR = 5.0  # right pairs that the default counts for


def fit_relevance(evaluator: Evaluator, system: System) -> Relevance | None:
    """Fit the probability that a retrieved passage answers, for what ships.

    It is fitted to the first passages of the questions that decide, and of the user's own that
    nothing answers, and drawn towards the default.

    Returns:
        None without an embedder.
    """
    if evaluator.unrelated is None or system.embedder == "none":
        return None
    name = evaluator.deciding
    questions = [one.question for one in evaluator.questions[name]]
    ranking = evaluator.rank(name, system).top(DEPTH)
    gold = evaluator.gold(name)
    features = [_features(evaluator, system, questions, ranking)]
    is_right = [
        column in right
        for right, columns in zip(gold, ranking.columns.tolist(), strict=True)
        for column in columns
    ]
    unanswerable = list(evaluator.unanswerable)
    if unanswerable:
        found = evaluator.retriever(system).rank(unanswerable).top(DEPTH)
        features.append(_features(evaluator, system, unanswerable, found))
        is_right += [False] * found.columns.size
    return fit(np.concatenate(features), np.array(is_right, bool), EMBEDDED, _PRIOR)


def _features(
    evaluator: Evaluator, system: System, questions: Sequence[str], ranking: Ranking
) -> NDArray[np.float64]:
    """Similarity, overlap and the reranker's score of each pair; (questions x ranks, 3)."""
    vectors = evaluator.encode(system.embedder, questions)
    index = evaluator.index(system.embedder)
    unrelated = evaluator.unrelated(system.embedder) if evaluator.unrelated else vectors
    features = np.zeros((ranking.columns.size, 3))
    rows = zip(questions, vectors, ranking.columns.tolist(), strict=True)
    found = features.reshape(*ranking.columns.shape, 3)
    for row, (question, vector, columns) in enumerate(rows):
        found[row, :, 0] = standardise(index.score(vector, columns), unrelated @ vector)
        texts = [evaluator.passages[column].embedded for column in columns]
        found[row, :, 1] = overlap(question, texts)
    if system.reranker != "none":
        pairs = pairs_of(ranking, questions, evaluator.passages)
        features[:, 2] = evaluator.score(system.reranker, pairs)
    return features
