"""The kernels with gradients: plain dispatch where nothing needs one, an autograd function or torch operations where something does."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from certify.kernels import dispatch
from certify.kernels.dispatch import spatial, window_places

__all__ = [
    "halves",
    "magnitude",
    "minimise",
    "norm",
    "relax",
    "window_dense",
    "window_mask",
    "window_minimise",
    "window_places",
    "window_relax",
]


def _needs_grad(*tensors: Tensor) -> bool:
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)


class _Relax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(*inputs)
        return dispatch.relax(*inputs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad_rows, *grad_lines = dispatch.relax_gradients(*ctx.saved_tensors, *grads)
        return grad_rows, grad_lines[0], grad_lines[1], None, grad_lines[2], grad_lines[3], None


def relax(
    rows: Tensor,
    lower_slope: Tensor,
    lower_shift: Tensor,
    lower_owner: Tensor,
    upper_slope: Tensor,
    upper_shift: Tensor,
    upper_owner: Tensor,
) -> tuple[Tensor, Tensor]:
    """`dispatch.relax`, differentiable in the rows and in the four lines."""
    inputs = (rows, lower_slope, lower_shift, lower_owner, upper_slope, upper_shift, upper_owner)
    if _needs_grad(rows, lower_slope, lower_shift, upper_slope, upper_shift):
        return _Relax.apply(*inputs)
    return dispatch.relax(*inputs)


class _Halves(torch.autograd.Function):
    """Gradients (c, r) of centre and radius become (c - r) / 2 of the lower end and (c + r) / 2 of the upper one: halves again."""

    @staticmethod
    def forward(ctx: Any, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        return dispatch.halves(lower, upper)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        of_center, of_radius = grads
        of_upper, of_lower = dispatch.halves(of_radius, of_center)
        return of_lower, of_upper


def halves(lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
    """`dispatch.halves`, differentiable."""
    return _Halves.apply(lower, upper) if _needs_grad(lower, upper) else dispatch.halves(lower, upper)


class _Minimise(torch.autograd.Function):
    """The derivative in the rows is the point where the minimum is attained (envelope theorem)."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, lower: Tensor, upper: Tensor, owner: Tensor) -> Tensor:
        ctx.save_for_backward(rows, lower, upper, owner)
        return dispatch.minimise(rows, lower, upper, owner)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        rows, lower, upper, owner = ctx.saved_tensors
        grad = grads[0][:, None]
        of_rows = dispatch.minimiser(rows, lower, upper, owner).mul_(grad) if ctx.needs_input_grad[0] else None
        of_lower = torch.zeros_like(lower).index_add(0, owner, grad * rows.clamp(min=0)) if ctx.needs_input_grad[1] else None
        of_upper = torch.zeros_like(upper).index_add(0, owner, grad * rows.clamp(max=0)) if ctx.needs_input_grad[2] else None
        return of_rows, of_lower, of_upper, None


def minimise(rows: Tensor, lower: Tensor, upper: Tensor, owner: Tensor) -> Tensor:
    """`dispatch.minimise`, differentiable in the rows and in the ends of the box."""
    if _needs_grad(rows, lower, upper):
        return _Minimise.apply(rows, lower, upper, owner)
    return dispatch.minimise(rows, lower, upper, owner)


def magnitude(rows: Tensor, weight: Tensor, owner: Tensor) -> Tensor:
    """`dispatch.magnitude` of detached tensors: rounding allowances carry no gradient."""
    return dispatch.magnitude(rows.detach(), weight.detach(), owner)


class _Norm(torch.autograd.Function):
    """The gradient of the norm is the row's direction; 0 of a row of zeros."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        norm = dispatch.norm(rows)
        ctx.save_for_backward(rows, norm)
        return norm

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        rows, norm = ctx.saved_tensors
        return rows * (grads[0] / torch.where(norm > 0, norm, 1))[:, None]


def norm(rows: Tensor) -> Tensor:
    """`dispatch.norm`, differentiable."""
    return _Norm.apply(rows) if _needs_grad(rows) else dispatch.norm(rows)


def window_relax(
    windows: Tensor,
    origin: Tensor,
    lower_slope: Tensor,
    lower_shift: Tensor,
    upper_slope: Tensor,
    upper_shift: Tensor,
    owner: Tensor,
) -> tuple[Tensor, Tensor]:
    """`dispatch.window_relax`, differentiable in the windows and in the lines."""
    lines = (lower_slope, lower_shift, upper_slope, upper_shift)
    if not _needs_grad(windows, *lines):
        return dispatch.window_relax(windows, origin, *lines, owner)
    space = spatial(lower_slope)
    a = dispatch.window_mask(windows, origin, space)
    ls, lb, us, ub = (dispatch.gather_lines(line, windows, origin, space, owner) for line in lines)
    positive, negative = a.clamp(min=0), a.clamp(max=0)
    return positive * ls + negative * us, (positive * lb + negative * ub).flatten(1).sum(dim=1)


def window_minimise(windows: Tensor, origin: Tensor, lower: Tensor, upper: Tensor, owner: Tensor) -> Tensor:
    """`dispatch.window_minimise`, differentiable in the windows and in the ends of the box."""
    if not _needs_grad(windows, lower, upper):
        return dispatch.window_minimise(windows, origin, lower, upper, owner)
    space = spatial(lower)
    a = dispatch.window_mask(windows, origin, space)
    low, high = (dispatch.gather_lines(end, windows, origin, space, owner) for end in (lower, upper))
    return (a.clamp(min=0) * low + a.clamp(max=0) * high).flatten(1).sum(dim=1)


class _WindowDense(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, windows: Tensor, origin: Tensor, space: tuple[int, int, int]) -> Tensor:
        ctx.save_for_backward(origin)
        ctx.shape, ctx.space = windows.shape, space
        return dispatch.window_dense(windows, origin, space)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (origin,) = ctx.saved_tensors
        rows = torch.arange(len(origin), device=origin.device)
        like = grads[0].new_empty(ctx.shape)
        cells = dispatch.gather_lines(grads[0], like, origin, ctx.space, rows)
        return dispatch.window_mask(cells, origin, ctx.space), None, None


def window_dense(windows: Tensor, origin: Tensor, space: tuple[int, int, int]) -> Tensor:
    """`dispatch.window_dense`, differentiable in the windows."""
    if _needs_grad(windows):
        return _WindowDense.apply(windows, origin, space)
    return dispatch.window_dense(windows, origin, space)


def window_mask(windows: Tensor, origin: Tensor, space: tuple[int, int, int]) -> Tensor:
    """The windows with zero in the cells outside the space, differentiable."""
    return dispatch.window_mask(windows, origin, space)
