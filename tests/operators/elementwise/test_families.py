"""Families of lines: every member is sound, derivatives are exact, and the start is the default line."""

from __future__ import annotations

import pytest
import torch
from mpmath import mpf
from torch import Tensor

from certify.operators.base import Line


@pytest.fixture(params=["lower", "upper"])
def side(request: pytest.FixtureRequest) -> str:
    return request.param


def members(case, side: str, t: Tensor, l: Tensor, u: Tensor) -> Line | None:
    family = getattr(case.row, f"{side}_family")
    return None if family is None else family(t, l, u, case.node, case.params(l.dtype))


def crossing_boxes(case, dtype: torch.dtype, boxes) -> tuple[Tensor, Tensor]:
    l, u = boxes(case, dtype, count=40)
    keep = (u - l < 1e3) & (u - l > 1e-4) & (l.abs() < 1e3)
    if case.row.domain is not None:
        keep &= torch.minimum(l.abs(), u.abs()) > 1e-2
    return l[keep][::3], u[keep][::3]


def test_both_or_neither_of_family_and_start_are_given(case, side) -> None:
    assert (getattr(case.row, f"{side}_family") is None) == (getattr(case.row, f"{side}_start") is None)


def test_every_member_is_sound(case, dtype, side, boxes) -> None:
    l, u = crossing_boxes(case, dtype, boxes)
    generator = torch.Generator().manual_seed(1)
    sign = 1 if side == "lower" else -1
    for t in (torch.zeros_like(l), torch.rand(len(l), generator=generator).to(dtype), torch.ones_like(l)):
        line = members(case, side, t, l, u)
        if line is None:
            return
        assert not any(bool(part.isnan().any()) for part in line)
        for i in range(len(l)):
            slope, intercept = mpf(line.slope[i].item()), mpf(line.intercept[i].item())
            spread = l[i] + (u[i] - l[i]) * torch.linspace(0, 1, 9, dtype=dtype)
            for x in {*spread.clamp(l[i], u[i]).tolist(), l[i].item(), u[i].item(), l[i].clamp(min=0).minimum(u[i]).item()}:
                assert sign * (case.exact(x) - slope * mpf(x) - intercept) >= 0, (l[i], u[i], t[i], x)


def test_lower_lines_that_are_said_to_hold_everywhere_do(case, dtype, boxes) -> None:
    if not case.row.lower_everywhere:
        return
    l, u = boxes(case, dtype, count=40)
    for t in (0.0, 0.3, 1.0):
        line = members(case, "lower", torch.full_like(l, t), l, u)
        assert line is not None
        for i in range(len(l)):
            for x in (-1e3, -2.0, -1e-30, 0.0, 1e-30, 0.7, 1e3):
                value = case.exact(x)
                assert value >= mpf(line.slope[i].item()) * mpf(x) + mpf(line.intercept[i].item()), (l[i], u[i], t, x)


def test_derivatives_match_finite_differences(case, side, boxes) -> None:
    l, u = crossing_boxes(case, torch.float64, boxes)
    keep = (u - l > 1e-2) & (u - l < 50)
    l, u = l[keep], u[keep]
    h = 1e-6
    t = torch.full_like(l, 0.4)
    line, before, after = (members(case, side, t + step, l, u) for step in (0.0, -h, h))
    if line is None or before is None or after is None:
        return
    for value, derivative in (("slope", "slope_dt"), ("intercept", "intercept_dt")):
        numerical = (getattr(after, value) - getattr(before, value)) / (2 * h)
        size = 1 + getattr(line, value).abs() + getattr(line, derivative).abs()
        assert bool(((numerical - getattr(line, derivative)).abs() <= 1e-4 * size).all())


def test_the_start_is_the_default_line(case, dtype, side, boxes) -> None:
    l, u = crossing_boxes(case, dtype, boxes)
    start = getattr(case.row, f"{side}_start")
    if start is None:
        return
    params = case.params(dtype)
    t = start(l, u, case.node, params)
    assert bool(((t >= 0) & (t <= 1)).all())
    line, lines = members(case, side, t, l, u), case.row.lines(l, u, case.node, params)
    assert line is not None
    slope, intercept = (lines.lower_slope, lines.lower_intercept) if side == "lower" else (lines.upper_slope, lines.upper_intercept)
    middle = 0.5 * l + 0.5 * u
    roundings = 1e3 * torch.finfo(dtype).eps * (1 + intercept.abs() + (slope * middle).abs() + slope.abs() * (u - l))
    assert bool(((line.slope - slope) * middle + line.intercept - intercept).abs().le(roundings).all())
