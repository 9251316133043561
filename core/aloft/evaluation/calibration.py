"""Fits the scores of retrieved passages to the held-out questions of a run."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aloft.evaluation.evaluator import Evaluator
from aloft.evaluation.retrieval_metrics import DEPTH
from aloft.evaluation.systems import System
from aloft.retrieval.ranking import Ranking, pairs_of
from aloft.retrieval.relevance import EMBEDDED, Relevance, fit, overlap, standardise

_PRIOR = 5.0  # right pairs that the default counts for
_UNKNOWN = Relevance(constant=-2.0, similarity=0.0, overlap=0.0)  # one of eight answers


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
    features = [_features(evaluator, system, questions, ranking)]
    is_right = [_labels(evaluator.gold(name), ranking)]
    unanswerable = list(evaluator.unanswerable)
    if unanswerable:
        found = evaluator.retriever(system).rank(unanswerable).top(DEPTH)
        features.append(_features(evaluator, system, unanswerable, found))
        is_right.append(np.zeros(found.columns.size, bool))
    return fit(np.concatenate(features), np.concatenate(is_right), EMBEDDED, _PRIOR)


def fit_reranker(evaluator: Evaluator, system: System) -> Relevance | None:
    """Fit the probability that a passage answers by the score of the reranker that ships alone.

    It rises with the score, so that it keeps the reranker's order.

    Returns:
        None without a reranker, or with one whose scores tell nothing.
    """
    if evaluator.unrelated is None or system.reranker == "none":
        return None
    name = evaluator.deciding
    questions = [one.question for one in evaluator.questions[name]]
    ranking = evaluator.rank(name, system).top(DEPTH)
    features = np.zeros((ranking.columns.size, 3))
    pairs = pairs_of(ranking, questions, evaluator.passages)
    features[:, 2] = evaluator.rerank_scores(system, pairs)
    fitted = fit(features, _labels(evaluator.gold(name), ranking), _UNKNOWN, _PRIOR)
    return fitted if fitted.reranker > 0 else None


def _labels(gold: Sequence[frozenset[int]], ranking: Ranking) -> NDArray[np.bool_]:
    """Whether each passage of a ranking is right; (questions x ranks,)."""
    rows = zip(gold, ranking.columns.tolist(), strict=True)
    return np.array([column in right for right, columns in rows for column in columns], bool)


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
        features[:, 2] = evaluator.rerank_scores(system, pairs)
    return features
