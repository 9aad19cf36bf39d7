"""What the curves claim about their functions, against 80 digits."""

from __future__ import annotations

import mpmath
import pytest
import torch
from mpmath import mpf
from torch import Tensor

from certify.operators.elementwise.curve import Curve, Piece
from certify.operators.elementwise.curves import CURVES
from certify.operators.elementwise.rounding import ULPS, function_error


@pytest.fixture(params=["cpu", *(["cuda"] if torch.cuda.is_available() else [])])
def device(request: pytest.FixtureRequest) -> str:
    """Every processor at hand: each has its own transcendental functions."""
    return request.param


@pytest.fixture
def curve(smooth) -> Curve:
    return CURVES[smooth.name](smooth.attrs)


def points(case, dtype: torch.dtype, count: int = 16) -> Tensor:
    """Points of every size in the domain."""
    generator = torch.Generator().manual_seed(7)
    sizes = torch.tensor([1e-4, 0.3, 1.0, 4.0, 30.0], dtype=torch.float64)
    x = (torch.randn(count, 5, generator=generator, dtype=torch.float64) * sizes).flatten().to(dtype)
    return x[case.defined(x, x) & (x != 0)]


def inside(case, piece: Piece, x: Tensor) -> Tensor:
    """Those of the points that lie inside the piece: small boxes around them stay whole. Room is left for numerical derivatives."""
    l, u = x - 1e-3 * x.abs(), x + 1e-3 * x.abs()
    start, stop = piece.within(l, u)
    return x[(start == l) & (stop == u) & case.defined(l, u)]


def derivatives(case, x: float) -> tuple[mpf, mpf]:
    """f' and f'' by central differences in 400 digits: erf(-24) is -1 to 250 of them."""
    with mpmath.workdps(400):
        h = mpf(10) ** -80
        f = [case.exact(mpf(x) + k * h) for k in (-1, 0, 1)]
        return (f[2] - f[0]) / (2 * h), (f[2] - 2 * f[1] + f[0]) / h**2


def excess(x: Tensor, computed: Tensor, exact: list[mpf], scale: Tensor) -> float:
    """The greatest error in units of what is granted, where the result is finite in the dtype."""
    limit = torch.finfo(x.dtype).max
    allowed = function_error(x, scale)
    pairs = zip(computed.tolist(), exact, allowed.tolist(), strict=True)
    return max((float(abs(mpf(y) - e) / mpf(a)) for y, e, a in pairs if abs(e) < limit and abs(y) < limit), default=0.0)


def test_values_are_computed_within_half_of_the_error_granted(smooth, curve, dtype, device) -> None:
    x = points(smooth, dtype).to(device)
    y = curve.value(x)
    assert excess(x, y, [smooth.exact(v) for v in x.tolist()], curve.scale(x, y)) <= 0.5
    assert ULPS == 4  # what "half of it" was measured for


def test_slopes_are_computed_within_half_of_the_error_granted(smooth, curve, dtype, device) -> None:
    for piece in (*curve.convex, *curve.concave):
        x = inside(smooth, piece, points(smooth, dtype)).to(device)
        slope = piece.slope(x)
        assert excess(x, slope, [derivatives(smooth, v)[0] for v in x.tolist()], piece.scale(x, slope)) <= 0.5


def test_curvature_has_the_sign_that_the_pieces_claim(smooth, curve) -> None:
    for sign, pieces in ((1, curve.convex), (-1, curve.concave)):
        for piece in pieces:
            x = inside(smooth, piece, points(smooth, torch.float64))
            for v, bend in zip(x.tolist(), piece.bend(x).tolist(), strict=True):
                exact = derivatives(smooth, v)[1]
                assert sign * exact >= -(mpf(10) ** -40)
                assert abs(mpf(bend) - exact) <= 1e-6 * abs(exact) + 1e-12


def test_the_pieces_cover_every_small_box(smooth, curve) -> None:
    x = points(smooth, torch.float64)
    l, u = x - 1e-3 * x.abs(), x + 1e-3 * x.abs()
    keep = smooth.defined(l, u) & torch.as_tensor(curve.known(l, u))
    l, u = l[keep], u[keep]
    covered = torch.zeros_like(l)
    for start, stop in (piece.within(l, u) for piece in (*curve.convex, *curve.concave)):
        assert bool(((start >= l) & (start <= stop) & (stop <= u)).all())
        covered += stop - start
    assert bool((covered >= (1 - 1e-9) * (u - l)).all())


def test_values_at_the_turning_points_are_extreme(smooth, curve) -> None:
    x = points(smooth, torch.float64)
    for turn in curve.turns:
        t = turn(x - 1, x + 1)
        interior = (t > x - 1) & (t < x + 1)
        y, before, after = curve.value(t), curve.value(t - 1e-3), curve.value(t + 1e-3)
        assert bool((((y <= before) & (y <= after)) | ((y >= before) & (y >= after)))[interior].all())


def test_what_is_known_at_zero_is_exact(smooth, curve) -> None:
    if curve.origin is not None:
        assert smooth.exact(mpf(0)) == curve.origin
