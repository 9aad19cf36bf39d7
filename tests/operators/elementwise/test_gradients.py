"""Lines and intervals are differentiable in the ends of the box: certified training needs that."""

from __future__ import annotations

import torch
from torch import Tensor


def ordinary_boxes(case, count: int = 24) -> tuple[Tensor, Tensor]:
    """Boxes of ordinary size, in the domain."""
    generator = torch.Generator().manual_seed(11)
    l = 2 * torch.randn(count, generator=generator, dtype=torch.float64)
    width = 0.05 + 3 * torch.rand(count, generator=generator, dtype=torch.float64)
    if case.row.domain is not None:
        l = 0.1 + l.abs()
        width = 0.2 * width
    keep = case.defined(l, l + width)
    return l[keep], (l + width)[keep]


def test_gradients_match_finite_differences(case) -> None:
    l, u = ordinary_boxes(case)
    params = case.params(torch.float64)

    def parts(l: Tensor, u: Tensor) -> list[Tensor]:
        return [*case.row.lines(l, u, case.node, params), *case.row.interval(l, u, case.node, params)]

    def differences(number: int, towards: tuple[float, float], h: float) -> Tensor:
        dl, du = (h * direction for direction in towards)
        return (parts(l + dl, u + du)[number] - parts(l - dl, u - du)[number]) / (2 * h)

    leaves = l.clone().requires_grad_(), u.clone().requires_grad_()
    found = parts(*leaves)
    for number in range(len(found)):
        for leaf, towards in zip(leaves, ((1.0, 0.0), (0.0, 1.0)), strict=True):
            gradient = None
            if found[number].requires_grad:
                (gradient,) = torch.autograd.grad(found[number].sum(), leaf, retain_graph=True, allow_unused=True)
            exact = torch.zeros_like(l) if gradient is None else gradient
            near, far = differences(number, towards, 1e-6), differences(number, towards, 1e-5)
            smooth = (near - far).abs() <= 1e-4 * (1 + near.abs())  # not next to a kink, where two lines change places
            assert bool(((exact - near).abs() <= 1e-3 * (1 + near.abs()))[smooth].all()), (number, towards)
            assert int((~smooth).sum()) <= 3


def test_gradients_are_never_nan(case, dtype, boxes) -> None:
    l, u = boxes(case, dtype, count=40)
    keep = (l.abs() < 50) & (u.abs() < 50)
    if case.row.domain is not None:
        keep &= torch.minimum(l.abs(), u.abs()) > 1e-3  # derivatives overflow, or are infinite, near a pole
    l, u = l[keep].requires_grad_(), u[keep].requires_grad_()
    params = case.params(dtype)
    found = [*case.row.lines(l, u, case.node, params), *case.row.interval(l, u, case.node, params)]
    total = sum(part.sum() for part in found)
    if total.requires_grad:
        for gradient in torch.autograd.grad(total, (l, u), allow_unused=True):
            assert gradient is None or not bool(gradient.isnan().any())
