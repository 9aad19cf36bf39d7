"""Values on the command line are exact, and nonsense is refused."""

from __future__ import annotations

import argparse
from fractions import Fraction
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certify.cli.arguments import norm, number, positive, radius, seconds


@given(st.integers(-(10**9), 10**9), st.integers(1, 10**9))
def test_fractions_are_exact(numerator: int, denominator: int) -> None:
    assert number(f"{numerator}/{denominator}") == Fraction(numerator, denominator)


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-1000, max_value=1000, places=12))
def test_decimals_are_exact(value) -> None:  # type: ignore[no-untyped-def]
    assert number(str(value)) == Fraction(value)


@pytest.mark.parametrize("text", ["", "x", "nan", "inf", "1/0", "1/2/3", "1e9999999", "1e-9999999", "0x10", "1_0", " "])
def test_what_is_not_a_number_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="not a number"):
        number(text)


def test_a_negative_radius_is_refused() -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="negative"):
        radius("-1/255")


@pytest.mark.parametrize("text", ["0", "-3", "2.5", "many"])
def test_counts_are_positive_whole_numbers(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="positive whole number"):
        positive(text)


def test_a_time_limit_of_zero_is_refused() -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="positive"):
        seconds("0")


@pytest.mark.parametrize(("text", "p"), [("1", 1.0), ("2", 2.0), ("inf", inf), ("Linf", inf)])
def test_norms_are_known_by_their_usual_names(text: str, p: float) -> None:
    assert norm(text) == p


def test_an_unsupported_norm_lists_the_supported_ones() -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="1, 2 or inf"):
        norm("3")
