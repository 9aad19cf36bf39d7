"""Zeros of monotone functions in brackets."""

from __future__ import annotations

import hypothesis.strategies as st
import torch
from hypothesis import given
from torch import Tensor

from certify.operators.elementwise.root import crossing

place = st.floats(-50, 50)


def cubic(zero: float, steepness: float):
    """(t - zero)^3 + steepness (t - zero), which rises everywhere."""

    def function(t: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        d = t - zero
        return d**3 + steepness * d, 3 * d**2 + steepness, (abs(zero) + t.abs()) * (d**2 + steepness)

    return function


def found(function, start: float, stop: float, wanted: bool = True) -> tuple[float, int]:
    ends = torch.tensor([start], dtype=torch.float64), torch.tensor([stop], dtype=torch.float64)
    t, index = crossing(function, *ends, torch.tensor([wanted]))
    return t.item(), index.numel()


@given(place, st.floats(1e-3, 10), st.floats(1e-3, 60), st.floats(1e-3, 60))
def test_a_zero_between_the_ends_is_found_from_either_side(zero: float, steepness: float, before: float, after: float) -> None:
    function = cubic(zero, steepness)
    t, count = found(function, zero - before, zero + after)
    assert count == 1
    assert abs(t - zero) <= 1e-9 * (1 + abs(zero))

    def falling(t: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h, slope, magnitude = function(t, index)
        return -h, -slope, magnitude

    t, count = found(falling, zero + after, zero - before)
    assert count == 1
    assert abs(t - zero) <= 1e-9 * (1 + abs(zero))


@given(place, st.floats(1e-2, 60))
def test_without_a_change_of_sign_the_result_is_the_last_end_that_is_not_above(zero: float, gap: float) -> None:
    assert found(cubic(zero, 1.0), zero - 2 * gap, zero - gap) == (zero - gap, 0)
    assert found(cubic(zero, 1.0), zero + gap, zero + 2 * gap) == (zero + gap, 0)


def test_what_is_not_wanted_is_left_at_its_stop() -> None:
    assert found(cubic(0.0, 1.0), -1.0, 2.0, wanted=False) == (2.0, 0)
