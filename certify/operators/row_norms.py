"""Norms of the rows of an affine operator's matrix, all at once and without the rows.

The l_2 norm: in each operator of the table an entry of the matrix is one weight, or 0 or +-1, so that the matrix of the squared entries
is what the operator's `magnitude` becomes with squared weights. Borders, padding, groups, stride and dilation come with it. The largest
entry of each row is the operator's own business: `Affine.largest`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from certify.graph import Node
from certify.operators.base import Affine, Params


class RowNorms(NamedTuple):
    """Norms of rows, (1, *node.shape): each is within `relative` roundings of, and at most `least` less than, the real one."""

    values: Tensor
    least: Tensor


def row_norms(rule: Affine, node: Node, params: Params, scale: Tensor, p: float) -> RowNorms | None:
    """The dual norms (l_2 for p = 2, the largest entry for p = 1) of the rows of the operator's matrix times diag(scale).

    `scale` is (1, *shape of the input), not negative. None where there is no cheap form. Differentiable; 0 has the gradient 0.

    Divided by powers of two, weights and scale are less than 2, so that no square overflows. Underflow takes less than `tiny` from each
    of both quotients, from their squares and from the product of these: with factors up to 4 less than 64 tiny from a term, 64 n tiny
    from a sum of n, and 8 n sqrt(tiny) from its root.
    """
    if rule.separable:  # one entry a row
        return RowNorms((rule.magnitude or rule.linear)(scale, node=node, params=params), _tiny(scale))
    if p == 1:
        return None if rule.largest is None else RowNorms(rule.largest(scale, node=node, params=params), _tiny(scale))
    unit = _power_of_two(scale)
    squares = (scale / unit).square()
    if rule.magnitude is None:
        total, weight = rule.linear(squares, node=node, params=params), torch.ones_like(unit)
    else:
        floats = {role: value for role, value in params.items() if value.is_floating_point() and role != "bias"}
        weight = torch.stack([_power_of_two(value) for value in floats.values()]).amax()
        total = rule.magnitude(squares, node=node, params={role: (value / weight).square() for role, value in floats.items()})
    positive = total > 0
    root = torch.where(positive, torch.where(positive, total, 1).sqrt(), 0)
    size = unit * weight
    terms = max(scale[0].numel(), total[0].numel())
    return RowNorms(torch.where(positive, root * size, 0), 8 * terms * _tiny(scale).sqrt() * size)


def _tiny(like: Tensor) -> Tensor:
    return torch.full((), torch.finfo(like.dtype).tiny, dtype=like.dtype, device=like.device)


def _power_of_two(values: Tensor) -> Tensor:
    """A power of two, a scalar, that is greater than half of every |value|."""
    values, limits = values.detach(), torch.finfo(values.dtype)
    largest = values.abs().amax() if values.numel() else values.new_zeros(())
    mantissa, exponent = torch.frexp(largest.clamp(min=limits.tiny, max=limits.max / 2))
    return torch.ldexp(torch.ones_like(mantissa), exponent)
