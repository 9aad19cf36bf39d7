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
    if rule.moves:
        return (lower, upper), scale
    allowance = rounding.gamma(largest_sum(node, inputs), scale.dtype) * scale
    return _with_known_signs(rule, node, params, inputs, (lower - allowance, upper + allowance)), scale


def _with_known_signs(rule: Affine, node: Node, params: Params, inputs: Sequence[Interval], interval: Interval) -> Interval:
    """The interval without what rounding outward has put beyond an exact zero.

    Where no term of an element of L x + c can be negative, neither can their sum: the lower end is zero at least, in real arithmetic;
    likewise for the upper end. So a sum of squares stays in the domain of the root. The signs are those of the stored constants; float64
    holds them all, while float32 may have rounded a small one to zero: nothing is done there.
    """
    lower, upper = interval
    if lower.dtype != torch.float64:
        return interval
    constant = rule.constant(node, params)
    with torch.no_grad():
        above, below = _terms_of_one_sign(rule, node, params, inputs)
        if constant is not None:
            above, below = above & (constant >= 0), below & (constant <= 0)
    return torch.where(above, lower.clamp(min=0), lower), torch.where(below, upper.clamp(max=0), upper)


def _terms_of_one_sign(rule: Affine, node: Node, params: Params, inputs: Sequence[Interval]) -> tuple[Tensor, Tensor]:
    """Which elements of L x have only terms >= 0, and which only terms <= 0, whatever x: masks that broadcast to (batch, *node.shape)."""
    if rule.magnitude is None:  # no entry is negative: an element sums some of the x, and none of the wrong sign
        wrong = [[(l < 0).to(l) for l, _ in inputs], [(u > 0).to(u) for _, u in inputs]]
        above, below = (rule.linear(*side, node=node, params=params) == 0 for side in wrong)
        return above, below
    l, u = inputs[0]
    if rule.entries is None:
        none = torch.zeros((), dtype=torch.bool, device=l.device)
        return none, none
    role, behind = rule.entries
    rising, falling = behind(params[role] >= 0), behind(params[role] <= 0)
    positive, negative = (mask if rule.separable else _everywhere(mask, node) for mask in (l >= 0, u <= 0))
    return rising & positive | falling & negative, rising & negative | falling & positive


def _everywhere(mask: Tensor, node: Node) -> Tensor:
    """Whether all of a batch element is in the mask, shaped to broadcast to (batch, *node.shape)."""
    return mask.flatten(1).all(dim=1).reshape(-1, *(1,) * len(node.shape))


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
