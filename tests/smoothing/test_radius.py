"""Radii: published caps, worst cases attained, brute force, and rounding."""

from __future__ import annotations

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.special import ndtr, ndtri

from certify.smoothing import radius
from certify.smoothing.confidence import clopper_pearson
from certify.smoothing.sum_vote import dual_two_sided

probabilities = st.floats(0.01, 0.999999)
sigmas = st.floats(0.05, 2.0)


def leads(p: list[float], q: list[float], sigma: list[float], norms: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """The worst case of p_A - p_B of the sum vote, when the halves of delta have these norms."""
    a, b = ndtri(p), ndtri(q)
    return sum(ndtr(a[j] - norms[j] / sigma[j]) - ndtr(b[j] + norms[j] / sigma[j]) for j in (0, 1))  # type: ignore[return-value]


def circle(r: float, cells: int = 4001) -> tuple[np.ndarray, np.ndarray]:
    angles = np.linspace(0, math.pi / 2, cells)
    return r * np.cos(angles), r * np.sin(angles)


@pytest.mark.parametrize(
    ("n", "alpha", "cap"),
    [
        *((100, 0.001, 1.5005), (10_000, 0.001, 3.1986), (100_000, 0.001, 3.8115), (10**7, 0.001, 4.8276)),
        *((100, 0.0005, 1.4524), (100_000, 0.0005, 3.7878), (1000, 0.01, 2.6049), (10**6, 0.01, 4.4349)),
    ],
)
def test_the_largest_radius_of_a_sample_size_is_the_published_one(n: int, alpha: float, cap: float) -> None:
    assert radius.gaussian(clopper_pearson(n, n, alpha), 1.0) == pytest.approx(cap, abs=6e-5)


@given(probabilities, sigmas)
def test_the_gaussian_radius_is_rounded_down(p: float, sigma: float) -> None:
    with mpmath.workdps(40):
        true = mpmath.mpf(sigma) * mpmath.sqrt(2) * mpmath.erfinv(2 * mpmath.mpf(p) - 1)
        found = radius.gaussian(p, sigma)
        assert found <= max(true, 0)
        assert found >= true - 1e-9


@given(probabilities, probabilities, sigmas, sigmas)
def test_the_dual_radius_is_that_of_the_worst_direction(p: float, q: float, s: float, t: float) -> None:
    """Half-spaces orthogonal to the halves of delta attain the bound: A leads just inside and not beyond."""
    r = radius.dual(p, q, s, t)
    others = [1 - p, 1 - q]
    if r > 1e-6:
        assert (leads([p, q], others, [s, t], circle(r * (1 - 1e-9))) > -1e-12).all()
    assert leads([p, q], others, [s, t], circle((r + 1e-6) * (1 + 1e-4))).min() < 1e-12


def test_root_of_squares_with_clamped_halves_is_unsound_and_ours_is_not() -> None:
    """The radius of the published code, at which the worst case has lost its lead; examples of either defect."""
    for p, q in [(0.99, 0.5), (0.99, 0.05), (0.9, 0.05), (0.999, 0.6)]:
        published = math.hypot(*(max(0.0, float(ndtri(v))) for v in (p, q)))
        worst = leads([p, q], [1 - p, 1 - q], [1, 1], circle(published * 0.999)).min()
        assert worst < -0.05
        ours = radius.dual(p, q, 1, 1)
        assert ours < published
        assert ours == 0.0 or (leads([p, q], [1 - p, 1 - q], [1, 1], circle(ours * 0.999)) > 0).all()


def test_a_half_below_one_half_lowers_the_radius() -> None:
    assert radius.dual(0.99, 0.05, 1, 1) == pytest.approx(0.48189, abs=1e-5)
    assert radius.dual(0.9, 0.05, 1, 1) == 0.0


@given(probabilities, sigmas)
def test_one_part_of_the_probit_sum_is_the_gaussian_radius(p: float, sigma: float) -> None:
    assert radius.probit_sum([p], [sigma]) == pytest.approx(radius.gaussian(p, sigma), rel=1e-12)
    assert radius.probit_sum_two_sided([p], [1 - p], [sigma]) == pytest.approx(radius.gaussian(p, sigma), rel=1e-6, abs=1e-9)


@given(st.lists(st.tuples(probabilities, sigmas, st.floats(0, 1)), min_size=2, max_size=5))
def test_the_probit_sum_is_safe_in_every_direction(parts: list[tuple[float, float, float]]) -> None:
    ps, ss, direction = (list(values) for values in zip(*parts, strict=True))
    r = radius.probit_sum(ps, ss)
    length = math.sqrt(sum(d * d for d in direction))
    assume(length > 1e-6 and r > 0)
    left = sum(float(ndtri(p)) - r * d / length / s for p, s, d in zip(ps, ss, direction, strict=True))
    assert left >= -1e-8


@pytest.mark.parametrize(
    ("p", "q", "two_class", "summed", "probit"),
    [
        ((0.8, 0.7), (0.1, 0.1), 0.966, 1.391, 1.389),
        ((0.45, 0.5), (0.2, 0.2), 0.0, 0.551, 0.551),
        ((0.9, 0.6), (0.05, 0.2), 1.085, 1.430, 1.422),
    ],
)
def test_runner_up_bounds_enlarge_dual_radii(p: tuple, q: tuple, two_class: float, summed: float, probit: float) -> None:
    assert radius.dual(*p, 1, 1) == pytest.approx(two_class, abs=1e-3)
    assert dual_two_sided(*p, *q, 1, 1) == pytest.approx(summed, abs=1e-3)
    assert radius.probit_sum_two_sided(p, q, [1, 1]) == pytest.approx(probit, abs=1e-3)


@given(probabilities, probabilities, st.floats(0.0, 1.0), sigmas, sigmas)
def test_the_sum_vote_radius_is_sound_and_nearly_exact(p: float, q: float, share: float, s: float, t: float) -> None:
    others = [share * (1 - p) + 1e-6, share * (1 - q) + 1e-6]
    r = dual_two_sided(p, q, *others, s, t)
    if r > 0:
        assert leads([p, q], others, [s, t], circle(r)).min() > 0
    assert leads([p, q], others, [s, t], circle(r * 1.001 + 1e-9)).min() < 1e-9


@given(probabilities, probabilities, sigmas)
def test_radii_never_fall_when_p_grows(p: float, q: float, sigma: float) -> None:
    low, high = sorted((p, q))
    for formula in (radius.gaussian, radius.uniform_l1, radius.laplace_l1):
        assert formula(low, sigma) <= formula(high, sigma)


@given(probabilities, sigmas)
def test_uniform_radii_are_exact_rationals_rounded_down(p: float, width: float) -> None:
    exact = 2 * Fraction(width) * (Fraction(p) - Fraction(1, 2))
    found = radius.uniform_l1(p, width)
    assert Fraction(found) <= max(exact, 0)
    assert math.nextafter(found, math.inf) > exact


@given(probabilities)
def test_laplace_radius_inverts_its_tail(p: float) -> None:
    found = radius.laplace_l1(p, 0.5)
    assert found == pytest.approx(max(0.0, -0.5 * math.log(2 * (1 - p))), abs=1e-12)


def test_derived_norms_lie_inside_the_l2_ball() -> None:
    assert radius.linf_from_l2(1.0, 784) * math.sqrt(784) <= 1.0
    assert radius.l1_from_l2(0.7) == 0.7


def test_certainty_has_no_finite_radius() -> None:
    assert radius.gaussian(1.0, 0.5) == radius.dual(1.0, 0.6, 0.5, 0.5) == math.inf
    assert radius.dual(1.0, 0.0, 0.5, 0.5) == 0.0


@pytest.mark.parametrize(
    ("first", "second", "ties", "hit", "safe"), [(10, 4, False, 3, True), (10, 4, True, 3, False), (5, 5, False, 0, True)]
)
def test_a_patch_moves_two_votes_per_ablation_it_hits(first: int, second: int, ties: bool, hit: int, safe: bool) -> None:
    assert radius.patch(first, second, ties, hit) is safe


@pytest.mark.parametrize("sigma", [0.0, -1.0, math.inf, math.nan])
def test_noise_that_is_not_positive_is_refused(sigma: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        radius.gaussian(0.9, sigma)
    with pytest.raises(ValueError, match="positive"):
        radius.dual(0.9, 0.9, 0.5, sigma)
    with pytest.raises(ValueError, match="positive"):
        dual_two_sided(0.9, 0.9, 0.1, 0.1, 0.5, sigma)
