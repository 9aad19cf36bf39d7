"""Decimal arithmetic: the stated errors hold."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from fractions import Fraction

import mpmath
import pytest
from hypothesis import given
from hypothesis import strategies as st

from certify.smoothing.exact import CDF_ERROR, binomial_tail, float_down, float_up, normal_cdf
from certify.smoothing.normal import cdf_down, cdf_up, quantile_down, quantile_up

probabilities = st.floats(0.0, 1.0)


def exact_tail(k: int, n: int, p: Fraction) -> Fraction:
    return sum((math.comb(n, j) * p**j * (1 - p) ** (n - j) for j in range(k, n + 1)), Fraction(0))


@given(st.floats(-40, 40))
def test_the_normal_cdf_is_enclosed(z: float) -> None:
    low, high = normal_cdf(z)
    with mpmath.workdps(60):
        true = mpmath.ncdf(mpmath.mpf(z))
        assert mpmath.mpf(str(low)) < true < mpmath.mpf(str(high))
    assert high - low <= 3 * CDF_ERROR


@given(st.integers(1, 60), st.data())
def test_the_binomial_tail_is_bounded_from_above_and_closely(n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, n))
    p = data.draw(st.floats(0.001, 0.999))
    bound, true = Fraction(binomial_tail(k, n, Decimal(p))), exact_tail(k, n, Fraction(p))
    assert bound >= true
    if k > n * p:
        assert bound <= true * (1 + Fraction(1, 10**29))


@pytest.mark.parametrize(("k", "n", "p"), [(1300, 2400, 0.5), (1650, 2700, 0.5625)])
def test_the_stirling_series_agrees_with_multiplied_out_coefficients(k: int, n: int, p: float) -> None:
    assert min(k, n - k) >= 1000
    bound, true = Fraction(binomial_tail(k, n, Decimal(p))), exact_tail(k, n, Fraction(p))
    assert true <= bound <= true * (1 + Fraction(1, 10**29))


def test_results_do_not_depend_on_the_callers_decimal_context() -> None:
    with localcontext() as context:
        context.prec = 5
        assert normal_cdf(1.0) == _fresh_cdf()
        assert quantile_down(0.9) == math.nextafter(quantile_up(0.9), -1) or quantile_down(0.9) < quantile_up(0.9)


def _fresh_cdf() -> tuple[Decimal, Decimal]:
    with localcontext() as context:
        context.prec = 28
        return normal_cdf(1.0)


@given(st.fractions())
def test_floats_are_rounded_to_the_stated_side(value: Fraction) -> None:
    down, up = float_down(value), float_up(value)
    assert Fraction(down) <= value <= Fraction(up)
    assert up <= math.nextafter(down, math.inf)


@given(probabilities)
def test_quantiles_enclose_the_inverse(p: float) -> None:
    low, high = quantile_down(p), quantile_up(p)
    if math.isfinite(low):
        assert cdf_down(low) <= p
    if math.isfinite(high):
        assert cdf_up(high) >= p
    assert low <= high
    if 1e-20 < p < 1 and abs(p - 0.5) > 1e-3:
        assert high - low <= 1e-6 * max(1, abs(low)) * max(1.0, 1e-10 / (1 - p))


@given(st.floats(-9, 9))
def test_the_quantile_of_a_cdf_comes_back(z: float) -> None:
    assert quantile_down(cdf_down(z)) <= z <= quantile_up(cdf_up(z))


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
def test_what_is_no_probability_is_refused(p: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        quantile_down(p)
