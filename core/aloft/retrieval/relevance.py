"""The probability that a passage answers a question, from the pair alone.

It does not depend on what else is retrieved, on a filter or on the size of a corpus, so that scores
of different questions compare. The order of results is another matter: it is the measured one,
which weighs words by how rare they are in the corpus (`aloft.retrieval.fusion`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aloft.prompts.languages import LANGUAGES
from aloft.text.tokens import split_words

AnyFloats = NDArray[np.floating[Any]]
UNRELATED = tuple(text for language in LANGUAGES.values() for _, text, _, _ in language.examples)
"""Texts about four subjects in many languages, which answer hardly any question."""
_LEAST = 1e-6  # standard deviation
_STEPS = 100  # of Newton's method
_CERTAIN = 30.0  # log-odds; beyond it a probability is 0 or 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Relevance:
    """A logistic regression from features of a pair to a probability.

    The weights of features that a retriever does not have are not used.

    Attributes:
        constant: Log-odds where all features are 0.
        similarity: Of `standardise`; 0: nothing is embedded.
        overlap: Of `overlap`.
        reranker: Of the reranker's own score; 0: there is none, or what it means is not known.
    """

    constant: float
    similarity: float
    overlap: float
    reranker: float = 0.0

    @property
    def weights(self) -> NDArray[np.float64]:
        """The constant, and the weight of each feature; (4,)."""
        return np.array([self.constant, self.similarity, self.overlap, self.reranker])

    @classmethod
    def of(cls, weights: Sequence[float]) -> "Relevance":
        """The regression with these weights, in the order of `weights`."""
        constant, similarity, overlap, reranker = (round(float(weight), 4) for weight in weights)
        return cls(constant=constant, similarity=similarity, overlap=overlap, reranker=reranker)

    def probabilities(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """The probability that each passage answers its question.

        Args:
            features: Similarity, overlap and the reranker's score, 0 for what there is not;
                (pairs, 3).

        Returns:
            (pairs,), in (0, 1).
        """
        return _sigmoid(self.constant + features @ self.weights[1:])

    def of_reranker(self, scores: AnyFloats) -> list[float]:
        """The probabilities of pairs of which only a reranker's scores are known."""
        features = np.zeros((len(scores), 3))
        features[:, 2] = scores
        found: list[float] = self.probabilities(features).tolist()
        return found


# fitted by benchmarks/scores.py over four sets and two embedders; see docs/results/scores.md
EMBEDDED = Relevance(constant=-10.1178, similarity=0.548, overlap=8.1305)
"""Where a passage and a question are embedded, and nothing is known of the corpus."""
LEXICAL = Relevance(constant=-7.4171, similarity=0.0, overlap=9.8168)
"""Where only their words are known."""
DEFAULT_CUTOFF = 0.05
"""Passages with a lower probability hardly ever answer; see docs/results/scores.md."""


def standardise(similarities: AnyFloats, unrelated: AnyFloats) -> NDArray[np.float64]:
    """How far a question's similarity to passages lies above that to unrelated texts.

    It is measured in standard deviations of the latter, so that embedders compare whose
    similarities all lie between 0.7 and 0.9 with those that use the whole range.

    Args:
        similarities: Cosines of one question with passages; (passages,).
        unrelated: Its cosines with `UNRELATED`; (texts,).

    Source: test normalisation of scores by a cohort, Auckenthaler et al. 2000 (Digital Signal
    Processing 10).
    """
    cohort = np.asarray(unrelated, np.float64)
    deviation = max(float(cohort.std()), _LEAST)
    return (np.asarray(similarities, np.float64) - float(cohort.mean())) / deviation


def overlap(question: str, texts: Sequence[str]) -> NDArray[np.float64]:
    """The share of a question's letters that are in words which stand in a text; (texts,).

    Long words count for more, as they tell more: "pump" and "warranty" against "is" and "the".
    """
    words = list(dict.fromkeys(split_words(question)))
    letters = sum(map(len, words))
    found = (set(split_words(text)) for text in texts)
    shares = [sum(len(word) for word in words if word in known) for known in found]
    return np.array(shares, np.float64) / max(letters, 1)


def fit(
    features: NDArray[np.float64], is_right: NDArray[np.bool_], prior: Relevance, weight: float
) -> Relevance:
    """Fit a regression to pairs, drawn towards a prior.

    Args:
        features: See `Relevance.probabilities`; a feature that is the same for all pairs keeps the
            prior's weight. (pairs, 3).
        is_right: Whether each passage answers its question; (pairs,).
        prior: What is known without these pairs.
        weight: Of the prior: how many right pairs it counts for, roughly.
    """
    scales = features.std(axis=0)
    used = np.flatnonzero(scales > _LEAST)
    rows = np.column_stack([np.ones(len(features)), features[:, used] / scales[used]])
    start = prior.weights
    known = np.concatenate([start[:1], start[1:][used] * scales[used]])
    fixed = features @ np.where(scales > _LEAST, 0.0, start[1:])

    def loss(current: NDArray[np.float64]) -> float:
        odds = rows @ current + fixed
        missed = np.logaddexp(0, odds).sum() - odds[is_right].sum()
        return float(missed + weight / 2 * ((current - known) ** 2).sum())

    current = known.copy()
    for _ in range(_STEPS):
        expected = _sigmoid(rows @ current + fixed)
        gradient = rows.T @ (expected - is_right) + weight * (current - known)
        spread = expected * (1 - expected)
        curvature = (rows * spread[:, None]).T @ rows + weight * np.eye(len(current))
        step = np.linalg.solve(curvature, gradient)
        size = 1.0
        while loss(current - size * step) > loss(current) and size > _LEAST:
            size /= 2
        current -= size * step
        if np.abs(size * step).max() < _LEAST:
            break
    fitted = start.copy()
    fitted[0] = current[0]
    fitted[1 + used] = current[1:] / scales[used]
    return Relevance.of(fitted.tolist())


def _sigmoid(log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = 1 / (1 + np.exp(-np.clip(log_odds, -_CERTAIN, _CERTAIN)))
    return found
