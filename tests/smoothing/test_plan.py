"""Budgets: what n samples can show, and what a radius needs."""

from __future__ import annotations

from fractions import Fraction

import pytest

from certify.smoothing.plan import largest_radius, samples_needed, samples_to_predict

ALPHA = Fraction(1, 1000)


@pytest.mark.parametrize("variant", ["pa", "dual", "pa-pb"])
def test_the_samples_needed_are_the_least(variant: str) -> None:
    n = samples_needed(0.6, ALPHA, 0.25, variant)
    assert largest_radius(n, ALPHA, 0.25, variant) >= 0.6 > largest_radius(n - 1, ALPHA, 0.25, variant)


def test_a_radius_out_of_reach_is_said_to_be() -> None:
    with pytest.raises(ValueError, match="out of reach"):
        samples_needed(2.0, ALPHA, 0.25)


def test_eleven_samples_are_the_least_that_predict_at_one_in_a_thousand() -> None:
    assert samples_to_predict(ALPHA) == 11
