"""The accounting of a site's privacy, by values known from elsewhere."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aloft.errors import DataError
from aloft.training.privacy_budget import PrivacyBudget, noise_multiplier, spent_epsilon


def test_one_update_spends_what_the_analytic_gaussian_mechanism_does() -> None:
    # Balle and Wang 2018: with noise 1 by sensitivity and delta 0.12693673750664397, which is
    # Phi(1/2 - 1) - e Phi(-1/2 - 1) of the normal distribution, epsilon is 1
    assert spent_epsilon([1.0], 0.12693673750664397) == pytest.approx(1.0, abs=1e-9)


def test_updates_compose_as_one_with_less_noise() -> None:
    assert spent_epsilon([2.0] * 4, 1e-5) == pytest.approx(spent_epsilon([1.0], 1e-5), rel=1e-9)
    assert spent_epsilon([3.0, 4.0], 1e-5) == pytest.approx(spent_epsilon([2.4], 1e-5), rel=1e-9)
    assert spent_epsilon([], 1e-5) == 0.0


@settings(deadline=None)
@given(st.floats(0.01, 1000), st.floats(1e-9, 0.1), st.integers(1, 50))
def test_the_noise_for_a_budget_spends_it(epsilon: float, delta: float, updates: int) -> None:
    multiplier = noise_multiplier(epsilon, delta, updates)
    assert spent_epsilon([multiplier] * updates, delta) == pytest.approx(epsilon, rel=1e-4)


def test_what_was_spent_is_kept_and_a_damaged_note_is_not_taken_for_nothing(
    tmp_path: Path,
) -> None:
    budget = PrivacyBudget(file=tmp_path / "federation" / "spent.json", epsilon=1.0, delta=1e-5)
    multiplier = noise_multiplier(1.0, 1e-5, 2)
    assert budget.allows(multiplier)
    budget.spend(multiplier)
    assert budget.allows(multiplier)
    budget.spend(multiplier)
    assert budget.spent == pytest.approx(1.0, rel=1e-4)
    assert not budget.allows(multiplier)
    budget.file.write_text("{")
    with pytest.raises(DataError, match="not known"):
        budget.allows(multiplier)
