"""Pairs of doubles hold what they say: the real number lies within the error, however it was computed."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certify.graph.double_double import DoubleDouble, exactly

DOUBLES = st.one_of(
    st.floats(-4, 4, width=32),
    st.sampled_from([0.0, 1.0, 1 + 2.0**-30, 1 - 2.0**-30, 1 + 2.0**-52, 1e8, -1e8, 1e-20, 1 / 3, -1 / 3, 2.0**-1074, 1e-200]),
    st.floats(-1e100, 1e100),
)
Pair = tuple[DoubleDouble, Fraction]


def contains(value: DoubleDouble, real: Fraction) -> bool:
    """Whether the real number is within the error; an infinite error says nothing."""
    high, low, error = (part.item() for part in (value.high, value.low, value.error))
    return error == np.inf or abs(Fraction(high) + Fraction(low) - real) <= Fraction(error)


@st.composite
def computed(draw: st.DrawFn) -> Pair:
    """A sum of products of sums, and what it is in fractions."""
    value, real = exactly(draw(DOUBLES)), None
    real = Fraction(value.high.item())
    for _ in range(draw(st.integers(0, 8))):
        operator = draw(st.sampled_from([lambda a, b: a + b, lambda a, b: a - b, lambda a, b: b - a, lambda a, b: a * b]))
        other = draw(st.one_of(DOUBLES, st.just("itself")))
        same = other == "itself"
        value, real = operator(value, value if same else other), operator(real, real if same else Fraction(other))
    return value, real


@settings(max_examples=200, deadline=None)
@given(computed())
def test_sums_and_products_lie_within_the_error(pair: Pair) -> None:
    value, real = pair
    assert contains(value, real)
    if value.accurate:
        assert abs(Fraction(value.high.item()) - real) <= 2 * Fraction(2.0**-53) * abs(Fraction(value.high.item()))


@settings(max_examples=60, deadline=None)
@given(computed(), st.floats(1e-10, 1e10))
def test_reciprocals_and_inverse_roots_lie_within_the_error(pair: Pair, positive: float) -> None:
    value, real = pair
    inverse = value.reciprocal()
    assert real == 0 or contains(inverse, 1 / real)
    square = value * value + positive
    root = square**-0.5
    error = root.error.item()
    if error != np.inf:
        middle = Fraction(root.high.item()) + Fraction(root.low.item())
        x = real * real + Fraction(positive)
        assert max(middle - Fraction(error), 0) ** 2 * x <= 1 <= (middle + Fraction(error)) ** 2 * x


@settings(max_examples=40, deadline=None)
@given(st.lists(DOUBLES, min_size=12, max_size=12), st.lists(DOUBLES, min_size=8, max_size=8))
def test_matrix_products_and_sums_are_those_of_their_elements(left: list[float], right: list[float]) -> None:
    a, b = np.array(left).reshape(3, 4), np.array(right).reshape(4, 2)
    product, total = exactly(a) @ exactly(b), exactly(a).sum((0, 1))
    for i, j in np.ndindex(3, 2):
        real = sum((Fraction(float(x)) * Fraction(float(y)) for x, y in zip(a[i], b[:, j], strict=True)), Fraction(0))
        assert contains(product[i, j], real)
    assert contains(total, sum(map(Fraction, left), Fraction(0)))


def test_ordinary_numbers_are_accurate_even_where_a_sum_cancels() -> None:
    third = exactly(3.0).reciprocal()
    left = third * 3.0 - (1.0 - 2.0**-40)
    assert left.accurate
    assert left.high == 2.0**-40


@pytest.mark.parametrize(
    "compute",
    [
        lambda: exactly(2.0) ** 0.5 * exactly(2.0) ** 0.5 - 2.0,  # zero, but who knows
        lambda: (exactly(np.full(4096, 3.0)).reciprocal() * 3.0 - 1.0)[0],  # too many for fractions
        lambda: exactly(0.0).reciprocal(),
        lambda: exactly(-1.0) ** -0.5,
        lambda: exactly(1e308) * 10.0,
        lambda: exactly(1e-200) * 1e-200,
        lambda: exactly(np.nan) + 1.0,
    ],
)
def test_what_is_not_known_is_not_accurate(compute: Callable[[], Any]) -> None:
    assert not compute().accurate


def test_a_fraction_below_the_normal_numbers_is_known_only_where_it_is_a_double() -> None:
    least = exactly(2.0**-1074)
    assert not (least * 1.5).accurate
    assert (least * 3.0).accurate
