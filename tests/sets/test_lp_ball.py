"""Balls and boxes as sets: bounding boxes hold their points, maps carry everything along, bad input is one clear line."""

from __future__ import annotations

from math import inf, nan

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from certify.sets import Box, LpBall


@pytest.mark.parametrize("p", [1.0, 2.0, inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@given(seed=st.integers(0, 10**6), scale=st.sampled_from([1e-30, 1e-3, 1.0, 1e6]))
def test_the_bounding_box_holds_the_exact_ends_of_the_ball(p: float, dtype: torch.dtype, seed: int, scale: float) -> None:
    from fractions import Fraction

    random = np.random.default_rng(seed)
    ball = LpBall(torch.from_numpy(random.normal(size=(2, 3))).to(dtype), torch.from_numpy(scale * random.random(2)).to(dtype), p)
    box = ball.box
    for b in range(2):
        for i in range(3):
            center, eps = Fraction(ball.center[b, i].item()), Fraction(ball.eps[b].item())
            assert Fraction(box.lower[b, i].item()) <= center - eps
            assert center + eps <= Fraction(box.upper[b, i].item())


def test_a_map_that_permutes_the_batch_permutes_the_radii() -> None:
    ball = LpBall(torch.tensor([[0.0, 1.0], [2.0, 3.0]]), torch.tensor([0.5, 0.25]), 2.0, (-10.0, 10.0))
    assert ball.map(lambda t: t.flip(0)).eps.tolist() == [0.25, 0.5]
    assert ball.map(lambda t: t[torch.tensor([1, 1])]).eps.tolist() == [0.25, 0.25]


@pytest.mark.parametrize(
    "region", [Box(torch.zeros(2, 4), torch.ones(2, 4)), LpBall(torch.zeros(2, 4), torch.tensor([0.1, 0.2]), 1)]
)
def test_a_map_reshapes_selects_and_converts(region: Box | LpBall) -> None:
    changed = region.map(lambda t: t.reshape(-1, 2, 2)[:1].double())
    assert tuple(changed.box.lower.shape) == (1, 2, 2)
    assert changed.box.lower.dtype == torch.float64
    if isinstance(changed, LpBall):
        assert changed.eps.shape == (1,)
        assert changed.eps.dtype == torch.float64


@pytest.mark.parametrize("eps", [0.5, [0.5], [0.5, 0.25]])
def test_one_radius_serves_all_and_several_serve_one_each(eps: object) -> None:
    ball = LpBall(torch.zeros(2, 3), eps)
    assert ball.eps.tolist() == [0.5, 0.25] if eps == [0.5, 0.25] else [0.5, 0.5]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((1, 2)), 0.1, 3.0), "p must be 1, 2 or inf"),
        ((np.zeros((1, 2)), -0.1), "must not be negative"),
        ((np.zeros((1, 2)), nan), "eps has 1 entries that are NaN"),
        ((np.full((1, 2), nan), 0.1), "center has 2 entries that are NaN"),
        ((np.zeros((2, 2)), [0.1, 0.2, 0.3]), "one per batch element"),
        ((np.full((1, 2), 2.0), 0.1, inf, (0.0, 1.0)), "does not lie in the domain"),
        ((np.zeros((1, 2)), 0.1, inf, (nan, 1.0)), "does not lie in the domain"),
    ],
)
def test_a_bad_ball_is_refused_in_one_line(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LpBall(*arguments)  # type: ignore[arg-type]


def test_a_reversed_box_is_refused_with_the_place() -> None:
    with pytest.raises(ValueError, match=r"first at \[0, 1\] \(2 > 1\)"):
        Box(torch.tensor([[0.0, 2.0]]), torch.tensor([[1.0, 1.0]]))
