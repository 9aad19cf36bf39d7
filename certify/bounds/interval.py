"""Interval bound propagation through one node (arXiv 1810.12715)."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from certify.bounds.rounding import Rounding, per_element, underflow
from certify.graph import Node
from certify.kernels import autograd as kernels
from certify.operators.base import Affine, Params

Interval = tuple[Tensor, Tensor]


def affine_interval(
    rule: Affine, node: Node, params: Params, inputs: Sequence[Interval], rounding: Rounding
) -> tuple[Interval, Tensor | None]:
    """Bounds of an affine node, exact where its inputs vary independently, and their `affine_scale` (None unless needed)."""
    if rule.magnitude is None:
        lower = rule.value(*(l for l, _ in inputs), node=node, params=params)
        upper = rule.value(*(u for _, u in inputs), node=node, params=params)
    else:
        centers, radii = zip(*(kernels.halves(l, u) for l, u in inputs), strict=True)
        center = rule.value(*centers, node=node, params=params)
        radius = rule.magnitude(*radii, node=node, params=params)
        lower, upper = center - radius, center + radius
    if not rounding.active:
        return (lower, upper), None
    scale = affine_scale(rule, node, params, inputs)
    allowance = rounding.gamma(largest_sum(node, inputs), scale.dtype) * scale
    return (lower - allowance, upper + allowance), scale


def affine_scale(rule: Affine, node: Node, params: Params, inputs: Sequence[Interval]) -> Tensor:
    """|L| max|x| + |constant|: at least the sum of the absolute values of all terms of each element, and what underflow needs.

    Halving an end of an interval may underflow: every |x| counts as a normal number at least.
    """
    magnitude = rule.magnitude or rule.linear
    with torch.no_grad():
        sizes = [largest_magnitude(l, u) for l, u in inputs]
        scale = magnitude(*(size.clamp(min=torch.finfo(size.dtype).tiny) for size in sizes), node=node, params=params)
        scale = scale + per_element(underflow(sizes), scale)
        constant = rule.constant(node, params)
        return scale if constant is None else scale + constant.abs().to(scale)


def largest_magnitude(l: Tensor, u: Tensor) -> Tensor:
    """max |x| over l <= x <= u, detached."""
    return torch.maximum(l.detach().abs(), u.detach().abs())


def largest_sum(node: Node, inputs: Sequence[Interval]) -> int:
    """No sum in the node, its transpose or a product with its rows has more terms than this."""
    return max(prod(node.shape), *(l[0].numel() for l, _ in inputs)) + len(inputs)
