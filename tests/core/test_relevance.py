"""Scores of pairs: their features by hand, and weights that a sample gives back."""

import numpy as np
import pytest

from aloft.retrieval.relevance import Relevance, fit, overlap, standardise

PRIOR = Relevance(constant=-3.0, similarity=0.5, overlap=4.0)


def test_similarity_is_measured_by_that_to_unrelated_texts() -> None:
    cohort = np.array([0.1, 0.3, 0.2, 0.2])  # mean 0.2, standard deviation sqrt(0.005)
    found = standardise(np.array([0.2, 0.3]), cohort)
    assert found.tolist() == pytest.approx([0, 0.1 / 0.005**0.5])
    # the scale of an embedder does not count
    assert standardise(np.array([0.86, 0.88]), 0.82 + cohort / 5).tolist() == pytest.approx(
        found.tolist()
    )
    assert np.isfinite(standardise(np.array([0.4]), np.zeros(3))).all()


def test_overlap_counts_the_letters_of_the_words_that_stand_in_a_text() -> None:
    texts = ["The pump, of steel.", "PUMP warranty", "", "A warrant"]
    # warranty has 8 letters of 17, of 2, the 3, pump 4
    assert overlap("Warranty of the pump? The pump!", texts).tolist() == pytest.approx(
        [9 / 17, 12 / 17, 0, 0]
    )
    assert overlap("", ["any"]).tolist() == [0]


def test_probabilities_are_logistic_in_the_features() -> None:
    weights = Relevance(constant=-1.0, similarity=0.5, overlap=2.0, reranker=1.0)
    features = np.array([[0, 0, 0], [2, 0.5, -1], [1e6, 1, 1]])
    expected = [1 / (1 + np.e), 0.5 / (0.5 + 0.5 * np.exp(0.0)), 1]
    assert weights.probabilities(features).tolist() == pytest.approx(expected)
    assert Relevance.of(weights.weights.tolist()) == weights


def sample(truth: Relevance, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    features = np.column_stack(
        [rng.normal(2, 2, count), rng.random(count), rng.normal(0, 3, count)]
    )
    return features, rng.random(count) < truth.probabilities(features)


def test_weights_of_many_pairs_are_found_again() -> None:
    truth = Relevance(constant=-2.5, similarity=0.8, overlap=3.0, reranker=-0.4)
    features, is_right = sample(truth, 40_000, seed=1)
    found = fit(features, is_right, PRIOR, 5.0)
    assert found.weights.tolist() == pytest.approx(truth.weights.tolist(), abs=0.15)
    assert abs(found.probabilities(features).mean() - is_right.mean()) < 0.002


def test_few_pairs_stay_near_what_is_known() -> None:
    features, is_right = sample(PRIOR, 30, seed=2)
    near, free = (fit(features, is_right, PRIOR, weight) for weight in (5.0, 1e-3))
    distances = [np.abs(found.weights - PRIOR.weights).sum() for found in (near, free)]
    assert distances[0] < 0.5 * distances[1]
    nothing = fit(features, np.zeros(30, bool), PRIOR, 5.0)  # no right one among them
    assert np.isfinite(nothing.weights).all()
    assert nothing.probabilities(features).mean() < PRIOR.probabilities(features).mean()


def test_a_feature_that_there_is_not_keeps_its_weight() -> None:
    truth = Relevance(constant=-1.0, similarity=0.7, overlap=2.0)
    features, is_right = sample(truth, 5_000, seed=3)
    features[:, 2] = 0
    assert fit(features, is_right, PRIOR, 5.0).reranker == 0


def test_a_prior_that_is_far_off_is_left() -> None:
    sure = Relevance(constant=0.0, similarity=0.6, overlap=8.0)
    features, _ = sample(PRIOR, 400, seed=4)
    features[:, 0] += 8
    is_right = np.arange(400) % 40 == 0
    found = fit(features, is_right, sure, 5.0)
    assert sure.probabilities(features).mean() > 0.9
    assert found.probabilities(features).mean() == pytest.approx(0.025, abs=0.02)
