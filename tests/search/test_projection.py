"""Projection onto input sets ends inside them, and near the nearest point."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from certify.search.projection import interior, project, random_start
from certify.sets import Box, LpBall

seeds = st.integers(0, 2**32 - 1)


def random_ball(seed: int, p: float, eps: float, size: int = 4, batch: int = 3) -> LpBall:
    center = torch.rand(batch, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float32)
    return LpBall(center, torch.tensor(eps, dtype=torch.float32), p, (0.0, 1.0))


def inside(ball: LpBall, x: torch.Tensor) -> bool:
    """Membership in float64, exact enough to see one float32 rounding; the domain exactly."""
    distance = torch.linalg.vector_norm(x.double() - ball.center.double(), ord=ball.p, dim=1)
    return bool((distance <= ball.eps.double()).all() & (x >= 0).all() & (x <= 1).all())


@given(seeds, st.sampled_from([1.0, 2.0, inf]), st.sampled_from([0.0, 1e-6, 0.1, 1.0, 10.0]))
def test_projected_points_lie_in_the_ball_and_the_domain(seed: int, p: float, eps: float) -> None:
    ball = random_ball(seed, p, eps)
    generator = torch.Generator().manual_seed(seed)
    x = ball.center + 2 * torch.randn(ball.center.shape, generator=generator)
    assert inside(ball, project(ball, interior(ball), x))
    assert inside(ball, random_start(ball, interior(ball), generator))


@given(seeds, st.sampled_from([1.0, 2.0]))
def test_points_of_the_set_stay_where_they_are(seed: int, p: float) -> None:
    ball = random_ball(seed, p, 0.5)
    x = project(ball, interior(ball), ball.center + 0.1 * torch.randn(3, 4, generator=torch.Generator().manual_seed(seed)))
    assert torch.equal(project(ball, interior(ball), x), x)


@pytest.mark.parametrize("p", [1.0, 2.0])
def test_projection_is_the_nearest_point(p: float) -> None:
    """Against the convex programme solved by cvxpy."""
    cvxpy = pytest.importorskip("cvxpy")
    ball = random_ball(7, p, 0.4)
    x = ball.center + torch.randn(3, 4, generator=torch.Generator().manual_seed(8))
    ours = project(ball, interior(ball), x).double().numpy()
    for k in range(3):
        z = cvxpy.Variable(4)
        center, target = ball.center[k].double().numpy(), x[k].double().numpy()
        cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(z - target)), [cvxpy.norm(z - center, int(p)) <= 0.4, z >= 0, z <= 1]).solve(
            solver=cvxpy.CLARABEL
        )
        assert np.linalg.norm(ours[k] - target) <= np.linalg.norm(z.value - target) + 1e-5


def test_the_interior_of_a_box_is_itself() -> None:
    box = Box(torch.zeros(1, 2), torch.ones(1, 2))
    assert interior(box) is box
    assert project(box, box, torch.tensor([[2.0, -1.0]])).tolist() == [[1.0, 0.0]]
