"""The largest of a group of elements: ReduceMax, and with `take` every form of MaxPool and of Max between tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from certify.graph import Node
from certify.operators.base import Params
from certify.operators.relaxation import MaximumRelaxation


@dataclass(frozen=True)
class Maximum:
    """max over the axes of `node.attrs["axes"]`."""

    value: Callable[..., Tensor]
    affine: ClassVar[bool] = False
    separable: ClassVar[bool] = False

    def interval(self, l: Tensor, u: Tensor, node: Node, params: Params) -> tuple[Tensor, Tensor]:
        """Exact: max is monotone in every input."""
        return self.value(l, node, params), self.value(u, node, params)

    def linear(self, l: Tensor, u: Tensor, node: Node, params: Params) -> Tensor:
        """Mask of the inputs whose bounds need no tightening: those that are never the largest of their group."""
        axes = [axis + 1 for axis in node.attrs["axes"]]
        return u < l.amax(dim=axes, keepdim=True)

    def relax(self, l: Tensor, u: Tensor, node: Node, params: Params) -> MaximumRelaxation:
        """Lines for l <= x <= u.

        Below: y >= x_i for any i; the one with the largest lower bound is taken. Above: let j have the largest upper bound and v be the
        largest of the other upper bounds and l_j. The line through (l_j, v) and (u_j, u_j) has a slope in [0, 1], lies above x_j on
        [l_j, u_j] because it does at both ends, and above v, hence above all the others: y <= v + slope * (x_j - l_j).
        """
        groups_l, position = _grouped(l, node)
        groups_u, _ = _grouped(u, node)
        low, j = groups_l.argmax(dim=-1), groups_u.argmax(dim=-1)
        u_j = groups_u.gather(-1, j[..., None])
        l_j = groups_l.gather(-1, j[..., None])
        others = groups_u.scatter(-1, j[..., None], -torch.inf).amax(dim=-1, keepdim=True)
        v = torch.maximum(others, l_j)
        width = u_j - l_j
        steep = (u_j - v) / torch.where(width > 0, width, torch.ones_like(width))
        slope = torch.where(width > 0, steep, torch.ones_like(steep))
        # Rounding: with the rounded slope s the line must pass v at l_j and u_j at u_j; the shift is raised by what it could miss.
        shift = torch.maximum(v - slope * l_j, u_j - slope * u_j)
        unit, tiny = torch.finfo(shift.dtype).eps, torch.finfo(shift.dtype).tiny
        size = (torch.maximum(l_j.abs(), u_j.abs()) + v.abs()).clamp(min=tiny)  # unit * tiny covers products that underflow
        touch = (slope == 1) & (v == l_j)
        shift = torch.where(touch, torch.zeros_like(shift), shift + 4 * unit * size)
        position = position.expand(*groups_l.shape)
        out = (l.shape[0], *node.shape)
        return MaximumRelaxation(
            position.gather(-1, low[..., None]).reshape(out),
            position.gather(-1, j[..., None]).reshape(out),
            slope.reshape(out),
            shift.reshape(out),
            tuple(l.shape[1:]),
        )


def _grouped(x: Tensor, node: Node) -> tuple[Tensor, Tensor]:
    """The elements of each group on a last axis, (batch, ..., group), and their flat positions in one batch element."""
    reduced = [axis for axis in range(x.ndim - 1) if axis in node.attrs["axes"]]
    kept = [axis for axis in range(x.ndim - 1) if axis not in node.attrs["axes"]]
    position = torch.arange(x[0].numel(), device=x.device).reshape(1, *x.shape[1:])
    order = [0, *(axis + 1 for axis in kept + reduced)]
    split = 1 + len(kept)
    return x.permute(order).flatten(split), position.permute(order).flatten(split)


REDUCE_MAX = Maximum(
    value=lambda x, node, params: x.amax(dim=[axis + 1 for axis in node.attrs["axes"]], keepdim=node.attrs["keepdims"])
)
