"""The default lines are those of least area: at the midpoint they reach the convex and concave envelopes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from certify.graph import Node
from certify.operators.elementwise import ELEMENTWISE

SAMPLES = 241


def envelope(x: Tensor, y: Tensor, at: Tensor) -> Tensor:
    """The convex envelope of sampled functions, (boxes, samples), at points between the two halves of the samples."""
    half = x.shape[1] // 2
    left, right = (x[:, : half + 1, None], y[:, : half + 1, None]), (x[:, None, half:], y[:, None, half:])
    run, m = right[0] - left[0], at[:, None, None]
    heights = (left[1] * (right[0] - m) + right[1] * (m - left[0])) / torch.where(run > 0, run, 1)
    return torch.where(run > 0, heights, left[1]).flatten(1).amin(1)


def test_lines_reach_the_envelopes_in_the_middle(case) -> None:
    generator = torch.Generator().manual_seed(3)
    center = 2 * torch.randn(80, generator=generator, dtype=torch.float64)
    width = 10 ** (2.7 * torch.rand(80, generator=generator, dtype=torch.float64) - 2)
    l, u = center - width / 2, center + width / 2
    if case.row.domain is not None:
        l, u = torch.cat([l, 1e-2 + center.abs()]), torch.cat([u, 1e-2 + center.abs() + width])
    keep = case.defined(l, u) & ((u - l < 6) if case.name in ("sin", "cos") else True)
    l, u = l[keep], u[keep]
    params = case.params(torch.float64)
    x = l[:, None] + (u - l)[:, None] * torch.linspace(0, 1, SAMPLES, dtype=torch.float64)
    y = case.row.value(x, case.node, params)
    middle = 0.5 * l + 0.5 * u
    lines = case.row.lines(l, u, case.node, params)
    # Samples miss a kink or a jump by up to one step, so that much of f's change is allowed; smooth functions need far less.
    rise = (y.amax(1) - y.amin(1)) + 1e-10 * (1 + y.abs().amax(1))
    steepest = (y[:, 1:] - y[:, :-1]).abs().amax(1)
    allowed = 1e-3 * rise + (steepest if case.row.kinks or case.name in ("clip", "hard_sigmoid") else 0)
    assert bool((envelope(x, y, middle) - lines[0] * middle - lines[1] <= allowed).all())
    assert bool((lines[2] * middle + lines[3] + envelope(x, -y, middle) <= allowed).all())


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "gelu", "silu", "sin", "exp", "softplus", "square"])
@pytest.mark.parametrize("width", [0.0, 1e-14, 1e-9, 1e-3])
def test_slopes_stay_within_the_derivative_on_tiny_boxes(name: str, width: float) -> None:
    l = torch.linspace(-3, 3, 61, dtype=torch.float64)
    lines = ELEMENTWISE[name].lines(l, l + width, Node("node", name, ("x",), (61,)), {})
    x = l.clone().requires_grad_()
    (slope,) = torch.autograd.grad(ELEMENTWISE[name].value(x, Node("node", name, ("x",), (61,)), {}).sum(), x)
    for found in (lines.lower_slope, lines.upper_slope):
        flat = found == 0  # as good as any on a box of a few units in the last place
        assert bool(((found - slope).abs() <= 2 * width * 20 + 1e-9)[~flat].all())
        assert width < 1e-12 or not bool((flat & (slope.abs() > 1e-2)).any())


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "gelu", "erf", "silu", "mish"])
def test_lines_touch_the_function_up_to_a_few_roundings(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    l = 3 * torch.randn(200, generator=generator, dtype=torch.float64)
    u = l + 4 * torch.rand(200, generator=generator, dtype=torch.float64)
    node = Node("node", name, ("x",), (200,))
    lines = ELEMENTWISE[name].lines(l, u, node, {})
    x = l[:, None] + (u - l)[:, None] * torch.linspace(0, 1, 2001, dtype=torch.float64)
    y = ELEMENTWISE[name].value(x, node, {})
    assert float((y - lines[0][:, None] * x - lines[1][:, None]).amin(1).max()) < 1e-6
    assert float((lines[2][:, None] * x + lines[3][:, None] - y).amin(1).max()) < 1e-6
