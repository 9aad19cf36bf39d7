"""Rows made of straight pieces: what must be exact is exact."""

from __future__ import annotations

from fractions import Fraction

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given

from certify.graph import Node
from certify.operators.elementwise import ELEMENTWISE

RELU = ELEMENTWISE["relu"]
NODE = Node("node", "relu", ("x",), (1,))
finite = st.floats(allow_nan=False, allow_infinity=False)


def relu_lines(l: float, u: float, dtype: torch.dtype = torch.float64) -> list[float]:
    lines = RELU.lines(torch.tensor([l], dtype=dtype), torch.tensor([u], dtype=dtype), NODE, {})
    return [part.item() for part in lines]


@given(finite, finite)
def test_relu_chord_is_above_both_ends_in_rational_arithmetic(a: float, b: float) -> None:
    l, u = min(a, b), max(a, b)
    _, _, slope, intercept = relu_lines(l, u)
    if intercept < float("inf"):
        assert Fraction(slope) * Fraction(l) + Fraction(intercept) >= max(Fraction(l), 0)
        assert Fraction(slope) * Fraction(u) + Fraction(intercept) >= max(Fraction(u), 0)


@given(st.floats(-(2.0**100), 2.0**100), st.floats(-(2.0**100), 2.0**100))
def test_relu_chord_is_tight(a: float, b: float) -> None:
    l, u = min(a, b), max(a, b)
    _, _, slope, intercept = relu_lines(l, u)
    allowed = 1e-14 * abs(min(l, 0)) + 1e-270
    assert slope * l + intercept <= max(l, 0) + allowed
    assert slope * u + intercept <= max(u, 0) + 1e-14 * max(u, 0) + allowed


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("l", "u", "slope"), [(0.0, 3.0, 1.0), (1e-30, 1e30, 1.0), (-3.0, 0.0, 0.0), (-1e30, -1e-30, 0.0), (0.0, 1e-40, 1.0)]
)
def test_relu_is_exact_where_it_does_not_cross_zero(l: float, u: float, slope: float, dtype: torch.dtype) -> None:
    assert relu_lines(l, u, dtype) == [slope, 0.0, slope, 0.0]


@pytest.mark.parametrize(("l", "u", "slope"), [(-1.0, 2.0, 1.0), (-2.0, 1.0, 0.0), (-1.0, 1.0, 0.0)])
def test_relu_lower_line_is_the_steeper_one_only_if_the_box_is_mostly_positive(l: float, u: float, slope: float) -> None:
    assert relu_lines(l, u)[:2] == [slope, 0.0]


def test_relu_has_finite_gradients_on_degenerate_boxes() -> None:
    l = torch.tensor([0.0, -1.0, 0.0, -1e-40, 2.0], requires_grad=True)
    u = torch.tensor([0.0, 0.0, 1.0, 1e-40, 2.0], requires_grad=True)
    total = sum(part.sum() for part in RELU.lines(l, u, NODE, {}))
    gradients = torch.autograd.grad(total, (l, u))
    assert all(bool(g[[0, 1, 2, 4]].isfinite().all()) and not bool(g.isnan().any()) for g in gradients)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("name", "attrs", "l", "u", "slope", "intercept"),
    [
        ("leaky_relu", {"slope": 0.25}, -3.0, -1.0, 0.25, 0.0),
        ("leaky_relu", {"slope": 0.25}, 1.0, 3.0, 1.0, 0.0),
        ("abs", {}, -3.0, -1.0, -1.0, 0.0),
        ("abs", {}, 0.5, 1.0, 1.0, 0.0),
        ("clip", {"min": 0.0, "max": 6.0}, 0.1, 6.0, 1.0, 0.0),
        ("clip", {"min": 0.0, "max": 6.0}, 6.5, 7.0, 0.0, 6.0),
        ("clip", {"min": 0.0, "max": 6.0}, -6.5, -0.1, 0.0, 0.0),
        ("floor", {}, 1.25, 1.75, 0.0, 1.0),
        ("ceil", {}, 1.25, 1.75, 0.0, 2.0),
        ("round", {}, -0.5, 0.5, 0.0, 0.0),
        ("sign", {}, -2.0, -1.0, 0.0, -1.0),
    ],
)
def test_straight_pieces_are_exact(name, attrs, l, u, slope, intercept, dtype) -> None:
    row, node = ELEMENTWISE[name], Node("node", name, ("x",), (1,), {}, attrs)
    bounds = torch.tensor([l], dtype=dtype), torch.tensor([u], dtype=dtype)
    assert bool(row.linear(*bounds, node, {}).all())
    assert [part.item() for part in row.lines(*bounds, node, {})] == [slope, intercept, slope, intercept]


def test_a_slope_that_float32_cannot_hold_is_bounded_on_both_sides() -> None:
    row, node = ELEMENTWISE["leaky_relu"], Node("node", "leaky_relu", ("x",), (1,), {}, {"slope": 0.01})
    l, u = torch.tensor([-2.0]), torch.tensor([-1.0])
    lower_slope, lower_intercept, upper_slope, upper_intercept = (Fraction(p.item()) for p in row.lines(l, u, node, {}))
    for x in (Fraction(-2), Fraction(-1)):
        for slope in (Fraction(0.01), Fraction(torch.tensor(0.01).item())):
            assert lower_slope * x + lower_intercept <= slope * x <= upper_slope * x + upper_intercept


def test_per_channel_slopes_broadcast() -> None:
    row, node = ELEMENTWISE["prelu"], Node("node", "prelu", ("x",), (2, 3))
    params = {"slope": torch.tensor([[0.5], [2.0]])}
    lines = row.lines(torch.full((4, 2, 3), -1.0), torch.full((4, 2, 3), 3.0), node, params)
    assert all(part.shape == (4, 2, 3) for part in lines)
    assert lines.lower_slope[0, :, 0].tolist() == [1.0, pytest.approx(1.25)]
    assert lines.upper_slope[0, :, 0].tolist() == [pytest.approx(0.875), 1.0]


def test_clip_with_limits_in_the_wrong_order_is_refused_by_name() -> None:
    node = Node("clip_3", "clip", ("x",), (1,), {}, {"min": 2.0, "max": 1.0})
    with pytest.raises(ValueError, match=r"clip_3.*min <= max.*2 and 1"):
        ELEMENTWISE["clip"].lines(torch.zeros(1), torch.ones(1), node, {})
