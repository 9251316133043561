"""Fits the probability that a passage answers to the held-out questions of a run.

Of synthetic questions the half takes part that is most like people's.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aloft.evaluation.retrieval import RetrievalEvaluator
from aloft.evaluation.retrieval_metrics import DEPTH
from aloft.evaluation.splits import Fold, least_covered
from aloft.evaluation.systems import System
from aloft.protocols import Floats
from aloft.retrieval.relevance import EMBEDDED, Relevance, fit, overlap, standardise

_PRIOR = 5.0  # right pairs that the default counts for
_UNKNOWN = Relevance(constant=-2.0, similarity=0.0, overlap=0.0)  # one of eight answers


def fit_relevance(
    evaluator: RetrievalEvaluator,
    system: System,
    fold: Fold | None = None,
    unanswerable: Sequence[str] = (),
    *,
    has_vectors: bool = True,
) -> Relevance | None:
    """Fit the probability that a retrieved passage answers.

    It is fitted to the first passages of the questions that decide, and drawn towards the default.

    Args:
        evaluator: Of these questions.
        system: What retrieves, and whose features of a pair count.
        fold: Fit it for this fold; None: on all questions.
        unanswerable: Questions that no passage answers, which take part as well.
        has_vectors: Whether similarity counts beside words and reranker.

    Returns:
        None without an embedder.
    """
    if evaluator.unrelated is None or system.embedder == "none":
        return None
    rows, columns, is_right = _first(evaluator, system, fold)
    how = {"has_vectors": has_vectors}
    features = [features_of_set(evaluator, system, evaluator.deciding, rows, columns, **how)]
    if unanswerable:
        found = evaluator.retriever(system).rank(unanswerable).top(DEPTH).columns.tolist()
        vectors = evaluator.encode(system.embedder, unanswerable) if has_vectors else None
        features.append(features_of(evaluator, system, unanswerable, vectors, found))
        is_right = np.concatenate([is_right, np.zeros(features[1].shape[:2], bool)])
    pairs = np.concatenate([one.reshape(-1, 3) for one in features])
    return fit(pairs, is_right.ravel(), EMBEDDED, _PRIOR)


def fit_reranker(evaluator: RetrievalEvaluator, system: System) -> Relevance | None:
    """Fit the probability that a passage answers by the score of the reranker that ships alone.

    It rises with the score, so that it keeps the reranker's order.

    Returns:
        None without a reranker, or with one whose scores tell nothing.
    """
    if evaluator.unrelated is None or system.reranker == "none":
        return None
    rows, columns, is_right = _first(evaluator, system, None)
    name = evaluator.deciding
    features = features_of_set(evaluator, system, name, rows, columns, has_vectors=False)
    features[:, :, 1] = 0.0  # of words
    fitted = fit(features.reshape(-1, 3), is_right.ravel(), _UNKNOWN, _PRIOR)
    return fitted if fitted.reranker > 0 else None


def _first(
    evaluator: RetrievalEvaluator, system: System, fold: Fold | None
) -> tuple[list[int], list[list[int]], NDArray[np.bool_]]:
    """The questions that decide, columns of their first passages, and whether each is right."""
    name = evaluator.deciding
    rows, gold, _ = evaluator.choosing(fold)
    if name == "synthetic":
        kept = np.flatnonzero(least_covered(evaluator.coverage(name)[rows]))
        rows, gold = [rows[i] for i in kept], [gold[i] for i in kept]
    columns = evaluator.rank(name, system).of(rows).top(DEPTH).columns.tolist()
    are_right = [
        [column in right for column in some] for some, right in zip(columns, gold, strict=True)
    ]
    return rows, columns, np.array(are_right, bool)


def features_of_set(
    evaluator: RetrievalEvaluator,
    system: System,
    name: str,
    rows: Sequence[int],
    columns: Sequence[Sequence[int]],
    *,
    has_vectors: bool = True,
) -> NDArray[np.float64]:
    """See `features_of`; of questions of a set, whose vectors are known already."""
    asked = [question.question for question in evaluator.questions[name]]
    vectors = evaluator.encode(system.embedder, asked)[list(rows)] if has_vectors else None
    return features_of(evaluator, system, [asked[row] for row in rows], vectors, columns)


def features_of(
    evaluator: RetrievalEvaluator,
    system: System,
    questions: Sequence[str],
    vectors: Floats | None,
    columns: Sequence[Sequence[int]],
) -> NDArray[np.float64]:
    """Similarity, overlap and the reranker's score of questions with passages of each.

    Args:
        evaluator: Of these passages.
        system: What embeds and reranks.
        questions: One text each.
        vectors: Of these questions, by the system's embedder; (questions, dimensions). None:
            similarity is 0.
        columns: Of the passages; (questions, at most so many).

    Returns:
        (questions, most passages of one, 3), NaN where a question has fewer.
    """
    found = np.full((len(questions), max(map(len, columns), default=0), 3), np.nan)
    pairs = []
    for row, (question, some) in enumerate(zip(questions, columns, strict=True)):
        texts = [evaluator.passages[column].embedded for column in some]
        found[row, : len(some)] = 0.0
        found[row, : len(some), 1] = overlap(question, texts)
        pairs += [(question, text) for text in texts]
    if vectors is not None and evaluator.unrelated is not None:
        index, unrelated = evaluator.index(system.embedder), evaluator.unrelated(system.embedder)
        for row, (vector, some) in enumerate(zip(vectors, columns, strict=True)):
            found[row, : len(some), 0] = standardise(index.score(vector, some), unrelated @ vector)
    if system.reranker != "none":
        found[~np.isnan(found[:, :, 2]), 2] = evaluator.rerank_scores(system, pairs)
    return found
