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
    params, h = case.params(torch.float64), 1e-6

    def parts(l: Tensor, u: Tensor) -> list[Tensor]:
        return [*case.row.lines(l, u, case.node, params), *case.row.interval(l, u, case.node, params)]

    leaves = l.clone().requires_grad_(), u.clone().requires_grad_()
    found = parts(*leaves)
    for number in range(len(found)):
        for leaf, step in ((0, (h, 0.0)), (1, (0.0, h))):
            exact = torch.zeros_like(l)
            if found[number].requires_grad:
                gradient = torch.autograd.grad(found[number].sum(), leaves[leaf], retain_graph=True, allow_unused=True)[0]
                exact = exact if gradient is None else gradient
            after, before = parts(l + step[0], u + step[1])[number], parts(l - step[0], u - step[1])[number]
            numerical = (after - before) / (2 * h)
            wide = (parts(l + 10 * step[0], u + 10 * step[1])[number] - parts(l - 10 * step[0], u - 10 * step[1])[number]) / (
                20 * h
            )
            smooth = (numerical - wide).abs() <= 1e-4 * (1 + numerical.abs())  # not next to a kink, where two lines change places
            assert bool(((exact - numerical).abs() <= 1e-3 * (1 + numerical.abs()))[smooth].all()), (number, leaf)
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
