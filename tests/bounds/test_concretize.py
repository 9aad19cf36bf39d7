"""Minima of linear rows over boxes and balls: exact against convex programs, lower bounds at every scale, gradients of the optimum."""

from __future__ import annotations

from fractions import Fraction
from math import inf

import cvxpy as cp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from certify.bounds.concretize import minimise, minimiser
from certify.bounds.rounding import NEAREST, OUTWARD
from certify.operators.rows import DenseRows
from certify.sets import LpBall

SEEDS = st.integers(0, 10**6)
ONE = torch.zeros(1, dtype=torch.int64)


def ball(seed: int, p: float, eps: float, domain: str, count: int = 4) -> tuple[LpBall, Tensor]:
    """A ball around a point of [0, 1], which may touch the domain, and one row with ties and zeros."""
    random = np.random.default_rng(seed)
    center = np.round(random.random((1, count)), 1)
    limits = {"none": None, "unit": (0.0, 1.0), "point": (torch.from_numpy(center), torch.from_numpy(center))}[domain]
    row = np.where(random.random((1, count)) < 0.3, random.choice([0.0, 1.0, -1.0]), random.normal(size=(1, count)))
    return LpBall(torch.from_numpy(center), eps, p, limits), torch.from_numpy(row)


CASES = {
    "p": st.sampled_from([1.0, 2.0, inf]),
    "eps": st.sampled_from([0.0, 0.01, 0.3, 1.0, 100.0]),
    "domain": st.sampled_from(["none", "unit", "point"]),
}


@settings(max_examples=60)
@given(seed=SEEDS, **CASES)
def test_the_minimum_is_that_of_the_convex_program(seed: int, p: float, eps: float, domain: str) -> None:
    region, row = ball(seed, p, eps, domain)
    x = cp.Variable(row.shape[1])
    low, high = (np.clip(end[0].numpy(), -1e3, 1e3) for end in region.domain)
    step = x - region.center[0].numpy()
    constraints = [cp.norm(step, p if p < inf else "inf") <= eps, x >= low, x <= high]
    expected = cp.Problem(cp.Minimize(row[0].numpy() @ x), constraints).solve(solver=cp.CLARABEL)
    found = float(minimise(DenseRows(row), region, ONE, OUTWARD))
    assert found == pytest.approx(expected, abs=2e-6 * (1 + eps))


@given(seed=SEEDS, **CASES)
def test_the_minimiser_lies_in_the_set_and_attains_the_minimum(seed: int, p: float, eps: float, domain: str) -> None:
    region, row = ball(seed, p, eps, domain)
    point = minimiser(row, region, ONE)
    assert float((point - region.center).norm(p=p)) <= eps * (1 + 1e-9) + 1e-15
    assert bool(((region.domain[0] <= point) & (point <= region.domain[1])).all())
    lowest = float(minimise(DenseRows(row), region, ONE, NEAREST))
    assert float((row * point).sum()) == pytest.approx(lowest, abs=2e-6 * (1 + eps))  # the search for the multiplier stops there


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@given(
    seed=SEEDS,
    p=st.sampled_from([1.0, 2.0, inf]),
    eps=st.floats(-44, 30).map(lambda power: 10.0**power),
    size=st.sampled_from([1e-30, 1e-3, 1.0, 1e5]),
    centred=st.booleans(),
)
def test_no_exact_point_of_the_ball_is_below_the_minimum(
    dtype: torch.dtype, seed: int, p: float, eps: float, size: float, centred: bool
) -> None:
    """In rational arithmetic, at scales where squares of eps underflow or overflow."""
    random = np.random.default_rng(seed)
    center = torch.from_numpy(np.zeros((1, 3)) if centred else random.random((1, 3))).to(dtype)
    row = torch.from_numpy(size * random.normal(size=(1, 3))).to(dtype)
    region = LpBall(center, eps if dtype == torch.float64 else float(np.float32(eps)), p)
    bound = Fraction(float(minimise(DenseRows(row), region, ONE, OUTWARD)))
    a, c = ([Fraction(v) for v in t[0].tolist()] for t in (row, center))
    radius = Fraction(region.eps.item())
    # A direction near the best one, made a rational point of the ball.
    direction = {
        1.0: [float(abs(v) == max(map(abs, a))) for v in a],
        2.0: [float(abs(v) / max(map(abs, a))) for v in a],
        inf: [1.0] * 3,
    }[p]
    step = [-Fraction(d) * (1 if v > 0 else -1) for d, v in zip(direction, a, strict=True)]
    square = sum(s * s for s in step)
    length = {1.0: sum(map(abs, step)), 2.0: Fraction(np.sqrt(float(square)) * (1 + 1e-15)), inf: max(map(abs, step))}[p]
    assert bound <= sum(v * (x + s * radius / length) for v, x, s in zip(a, c, step, strict=True))


@pytest.mark.parametrize("p", [1.0, 2.0])
def test_a_ball_that_holds_the_whole_domain_gives_the_minimum_over_the_domain(p: float) -> None:
    region = LpBall(torch.full((1, 3), 0.5, dtype=torch.float64), 1e200, p, (0.0, 1.0))
    assert float(minimise(DenseRows(torch.tensor([[1.0, -2.0, 3.0]], dtype=torch.float64)), region, ONE, NEAREST)) == -2.0


@pytest.mark.parametrize("p", [1.0, 2.0, inf])
@pytest.mark.parametrize("limits", [None, (0.0, 1.0)])
@given(seed=SEEDS)
def test_gradients_of_the_minimum_are_its_finite_differences(p: float, limits: tuple[float, float] | None, seed: int) -> None:
    random = np.random.default_rng(seed)
    row, center = (torch.from_numpy(random.uniform(0.2, 0.8, (1, 3)) * sign) for sign in (random.choice([-1, 1], (1, 3)), 1))
    eps = torch.tensor(float(random.uniform(0.05, 0.6)), dtype=torch.float64)
    inputs = [row, center, eps]
    for tensor in inputs:
        tensor.requires_grad_()

    def value() -> Tensor:
        return minimise(DenseRows(row), LpBall(center, eps, p, limits), ONE, NEAREST).sum()

    gradients = torch.autograd.grad(value(), inputs)
    h = 1e-5
    for tensor, gradient in zip(inputs, gradients, strict=True):
        for i in range(tensor.numel()):
            with torch.no_grad():
                ends = []
                for change in (h, -2 * h):
                    tensor.view(-1)[i] += change
                    ends.append(float(value()))
                tensor.view(-1)[i] += h
            middle = float(value().detach())
            kink = abs(ends[0] + ends[1] - 2 * middle) > 1e-7  # the optimum changes its shape here
            assert kink or float(gradient.view(-1)[i]) == pytest.approx((ends[0] - ends[1]) / (2 * h), abs=1e-4)
