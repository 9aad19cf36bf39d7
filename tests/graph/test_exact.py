"""Exact evaluation of canonical operators holds the real values: against 80 digits, at hostile numbers, known exactly or not."""

from __future__ import annotations

from fractions import Fraction

import mpmath
import numpy as np
import pytest
from mpmath import mpf

from certify.graph import GraphBuilder, enclosures
from certify.graph.double_double import DoubleDouble, exactly, from_fractions, joined, where
from certify.graph.enclosures import Interval
from certify.graph.evaluate import DEFINITIONS, ELEMENTWISE
from certify.graph.exact import EXACT, evaluate_exactly, floor, maximum, minimum, round_half_even, rounded, sign, truncate
from tests.operators.elementwise import conftest as facts

DIGITS = 120
POINTS = [0.1, -0.1, 1.0, -1.0, 0.5, -0.5, 2.5, -2.5, 3.0, -3.0, 1e-30, -1e-30, 7.25, -7.25, 22 / 7, 11.0, -11.0, 20.5, 0.0]
ATTRS = {
    "leaky_relu": {"slope": 0.01},
    "clip": {"min": -0.3, "max": 2.7},
    "hard_sigmoid": {"alpha": 0.2, "beta": 0.5},
    "softplus": {"beta": 3.0, "threshold": 100.0},
    "elu": {"alpha": 0.7},
    "celu": {"alpha": 0.4},
    "pow": {"exponent": 2.3},
}


def middle_and_error(value: DoubleDouble, i: int) -> tuple[mpf, mpf]:
    return mpf(value.high[i]) + mpf(value.low[i]), mpf(value.error[i])


@pytest.mark.parametrize("op", sorted(ELEMENTWISE.keys() - {"prelu"}))
def test_functions_hold_their_real_values(op: str) -> None:
    attrs = ATTRS.get(op, {})
    x = exactly(np.array(POINTS))
    third = from_fractions([Fraction(p) + Fraction(1, 3 * 2**60) for p in POINTS], (len(POINTS),))
    blurred = DoubleDouble(x.high, x.low, np.full(len(POINTS), 2.0**-90))
    for given in (x, third, blurred):
        found = EXACT[op](given, params={}, attrs=attrs)
        known = 0
        with mpmath.workdps(DIGITS):
            for i, point in enumerate(POINTS):
                shift = mpf(1) / (3 * 2**60) if given is third else mpf(0)
                if not np.isfinite(found.error[i]):
                    continue
                expected = facts.EXACT[op](mpf(point) + shift, **attrs)
                value, error = middle_and_error(found, i)
                assert abs(value - expected) <= error + mpf(10) ** -(DIGITS - 10) * abs(expected), (op, point)
                known += given is blurred or error <= mpf(2) ** -80 * abs(expected)
        jumps = op in ("floor", "ceil", "round", "sign")
        assert known >= (4 if jumps and given is blurred else 9), op


def test_every_operator_has_an_exact_evaluation_but_convolutions() -> None:
    assert DEFINITIONS.keys() - EXACT.keys() == {"conv", "conv_transpose"}


def test_choices_between_numbers_hold_what_they_choose() -> None:
    near = DoubleDouble(np.array([1.0, 1.0]), np.zeros(2), np.array([2.0**-70, 0.0]))
    for choose, expected in ((maximum, 1.0), (minimum, 1.0)):
        found = choose(near, 1.0)
        assert abs(found.high - expected).max() == 0
        assert found.error[0] >= 2.0**-70  # either may be the larger one
        assert found.error[1] == 0
    assert maximum(exactly(np.array([-np.inf, 2.0])), 1.0).high.tolist() == [1, 2]


def test_whole_numbers_are_known_or_said_not_to_be() -> None:
    tiny = exactly(np.array([3.0, -3.0, 2.5, -2.5, 0.0])) + 2.0**-70
    assert floor(tiny).high.tolist() == [3, -3, 2, -3, 0]
    assert floor(tiny - 2.0**-69).high.tolist() == [2, -4, 2, -3, -1]
    assert truncate(tiny).high.tolist() == [3, -2, 2, -2, 0]
    assert round_half_even(tiny).high.tolist() == [3, -3, 3, -2, 0]
    assert round_half_even(exactly(np.array([0.5, 1.5, 2.5, -0.5, -1.5]))).high.tolist() == [0, 2, 2, 0, -2]
    unknown = DoubleDouble(np.array([3.0, 2.5, 0.0]), np.zeros(3), np.full(3, 2.0**-70))
    assert np.isinf(floor(unknown).error).tolist() == [True, False, True]
    assert np.isinf(round_half_even(unknown).error).tolist() == [False, True, False]
    assert np.isinf(sign(unknown).error).tolist() == [False, False, True]


def test_rounding_to_a_narrower_type_is_that_of_the_real_number() -> None:
    ulp = 2.0**-23
    values = [1 + ulp / 2, 1 + 3 * ulp / 2, 1 + ulp / 4]
    above, below = (exactly(np.array(values)) + tiny for tiny in (2.0**-80, -(2.0**-80)))
    assert rounded(above, np.dtype(np.float32)).high.tolist() == [1 + ulp, 1 + 2 * ulp, 1]
    assert rounded(below, np.dtype(np.float32)).high.tolist() == [1, 1 + ulp, 1]
    assert rounded(exactly(np.array(values)), np.dtype(np.float32)).high.tolist() == [1, 1 + 2 * ulp, 1]
    unknown = DoubleDouble(np.array(values), np.zeros(3), np.full(3, 2.0**-90))
    assert np.isinf(rounded(unknown, np.dtype(np.float32)).error).tolist() == [True, True, False]


def test_fractions_outlive_moves_and_choices() -> None:
    third = exactly(np.array([3.0, 7.0])).reciprocal()
    both = joined([third, exactly(np.array([2.0]))])
    chosen = where(np.array([True, True, False]), both[np.array([1, 0, 2])], np.array([-np.inf, -np.inf, 0.5]))
    whole = chosen * np.array([7.0, 3.0, 1.0]) - 1.0
    assert whole.exact
    assert whole.high.tolist() == [0, 0, -0.5]


def test_an_operator_without_an_exact_evaluation_is_named() -> None:
    builder = GraphBuilder()
    x = builder.input("x", (1, 1, 3))
    attrs = {"stride": (1,), "padding": (0,), "dilation": (1,), "groups": 1}
    y = builder.add("conv", [x], {"weight": builder.constant("w", np.ones((1, 1, 2)))}, attrs)
    with pytest.raises(ValueError, match=r"conv of constants.*store"):
        evaluate_exactly(builder.build(y), exactly(np.ones((1, 1, 3))))


@pytest.mark.parametrize("x", [10000.0, 3e38, 1.7e308, 5e-324, 1 + 2.0**-52, 1 - 2.0**-53, 0.5])
def test_logarithms_keep_their_digits_and_take_no_more_of_them_for_large_numbers(x: float) -> None:
    found = enclosures.log(Interval(Fraction(x), Fraction(x)))
    with mpmath.workdps(200):
        truth = mpmath.log(mpmath.mpf(x))
        low, high = (mpmath.mpf(end.numerator) / end.denominator for end in (found.low, found.high))
        assert low <= truth <= high
        assert high - low <= abs(truth) * mpmath.mpf(10) ** -70
    assert max(found.low.denominator.bit_length(), found.low.numerator.bit_length()) < 700
