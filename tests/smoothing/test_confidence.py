"""Confidence bounds: their coverage, computed exactly, and known values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from certify.smoothing.confidence import BOUNDS, betting, clopper_pearson, rank_test, upper


def failure_probability(bound: str, n: int, alpha: float, p: float) -> float:
    """P(lower bound > p), summed over all outcomes."""
    failing = [k for k in range(n + 1) if BOUNDS[bound](k, n, alpha) > p]
    return float(binom.pmf(failing, n, p).sum()) if failing else 0.0


@pytest.mark.parametrize("bound", BOUNDS)
@given(p=st.floats(0.001, 0.999), alpha=st.sampled_from([0.1, 0.01, 0.001]), n=st.sampled_from([1, 7, 40]))
def test_a_lower_bound_fails_with_probability_at_most_alpha(bound: str, p: float, alpha: float, n: int) -> None:
    assert failure_probability(bound, n, alpha, p) <= alpha * (1 + 1e-9)


def test_clopper_pearson_is_not_idle() -> None:
    """Just below a value of the bound itself, the failure rate is alpha."""
    p = math.nextafter(clopper_pearson(70, 100, 0.05), 0.0)
    assert failure_probability("cp", 100, 0.05, p) > 0.0499


@pytest.mark.parametrize(("n", "alpha"), [(100, 0.001), (100_000, 0.001), (10**7, 0.01)])
def test_a_unanimous_sample_gives_the_nth_root_of_alpha(n: int, alpha: float) -> None:
    assert clopper_pearson(n, n, alpha) == pytest.approx(alpha ** (1 / n), rel=1e-12)


@given(st.integers(1, 2000), st.data())
def test_bounds_grow_with_hits_and_lie_below_their_share(n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, n - 1))
    for bound in BOUNDS.values():
        assert bound(k, n, 0.01) <= bound(k + 1, n, 0.01)
        assert bound(k, n, 0.01) <= k / n


@given(st.integers(0, 50))
def test_the_upper_bound_mirrors_the_lower_one(k: int) -> None:
    assert upper(clopper_pearson, k, 50, 0.01) >= 1 - clopper_pearson(50 - k, 50, 0.01)
    assert upper(clopper_pearson, k, 50, 0.01) == pytest.approx(1 - clopper_pearson(50 - k, 50, 0.01))


def test_the_betting_bound_holds_at_all_times_at_once() -> None:
    """The probability of ever exceeding p within 300 samples, by recursion over (time, hits)."""
    p, alpha, horizon = 0.8, 0.05, 300
    alive, failed = np.array([1.0]), 0.0
    for n in range(1, horizon + 1):
        alive = np.append(alive * (1 - p), 0.0) + np.append(0.0, alive * p)
        failing = np.array([betting(k, n, alpha) > p for k in range(n + 1)])
        failed += float(alive[failing].sum())
        alive[failing] = 0.0
    assert alpha / 20 < failed <= alpha


def test_peeking_at_a_bound_for_fixed_n_does_exceed_alpha() -> None:
    """Why the betting bound exists."""
    p, alpha = 0.8, 0.05
    alive, failed = np.array([1.0]), 0.0
    for n in range(1, 101):
        alive = np.append(alive * (1 - p), 0.0) + np.append(0.0, alive * p)
        failing = np.array([clopper_pearson(k, n, alpha) > p for k in range(n + 1)])
        failed += float(alive[failing].sum())
        alive[failing] = 0.0
    assert failed > 2 * alpha


def test_eleven_unanimous_votes_are_needed_at_one_in_a_thousand() -> None:
    assert rank_test(11, 0) <= 0.001 < rank_test(10, 0)
    assert rank_test(5, 5) == 1.0


@pytest.mark.parametrize(("k", "n", "alpha"), [(-1, 10, 0.1), (11, 10, 0.1), (0, 0, 0.1), (5, 10, 0.0), (5, 10, 1.0)])
def test_impossible_counts_and_levels_are_refused(k: int, n: int, alpha: float) -> None:
    for bound in BOUNDS.values():
        with pytest.raises(ValueError, match=r"impossible|alpha"):
            bound(k, n, alpha)
