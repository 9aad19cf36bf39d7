"""Affine maps with weights that are not convolutions: matrix products, scaling, shifting, sums of two tensors."""

from __future__ import annotations

from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from certify.graph import Node
from certify.operators.base import Affine, Params, Shapes
from certify.operators.rows import DenseRows, Rows, UnitRows


def _linear_unit_rows(rows: UnitRows, node: Node, params: Params, shapes: Shapes) -> tuple[Rows, ...]:
    """Row e_i of x @ W.T has the coefficients W[i]; with several positions in front, only those of its own position."""
    positions, out = prod(node.shape[:-1]), node.shape[-1]
    weight = params["weight"].index_select(0, rows.index % out) * rows.sign[:, None]
    if positions == 1:
        return (DenseRows(weight.reshape(-1, *shapes[0])),)
    values = weight.new_zeros(len(weight), positions, weight.shape[1])
    values[torch.arange(len(weight), device=weight.device), rows.index // out] = weight
    return (DenseRows(values.reshape(-1, *shapes[0])),)


def _to_each(rows: Rows, node: Node, params: Params, shapes: Shapes) -> tuple[Rows, ...]:
    """The transpose of a sum, and of adding a constant: every input receives the rows as they are."""
    return (rows,) * len(shapes)


LINEAR = Affine(
    value=lambda x, node, params: F.linear(x, params["weight"], params.get("bias")),
    linear=lambda x, node, params: F.linear(x, params["weight"]),
    magnitude=lambda x, node, params: F.linear(x, params["weight"].abs()),
    transpose=lambda rows, node, params, shapes: (rows @ params["weight"],),
    constant=lambda node, params: params.get("bias"),
    unit_rows=_linear_unit_rows,
    largest=lambda x, node, params: (x[..., None, :] * params["weight"].abs()).amax(dim=-1),
    entries=("weight", lambda mask: mask.all(dim=1)),
)


def _sum_to(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Adds up, behind the row axis, what broadcasting from `shape` had repeated."""
    extra = tensor.ndim - 1 - len(shape)
    tensor = tensor.sum(dim=list(range(1, 1 + extra))) if extra else tensor
    repeated = [axis + 1 for axis, n in enumerate(shape) if n == 1 and tensor.shape[axis + 1] != 1]
    return tensor.sum(dim=repeated, keepdim=True) if repeated else tensor


MATMUL = Affine(
    value=lambda x, node, params: x @ params["weight"],
    linear=lambda x, node, params: x @ params["weight"],
    magnitude=lambda x, node, params: x @ params["weight"].abs(),
    transpose=lambda rows, node, params, shapes: (_sum_to(rows @ params["weight"].transpose(-1, -2), shapes[0]),),
    largest=lambda x, node, params: (x[..., None] * params["weight"].abs()[..., None, :, :]).amax(dim=-2),
    entries=("weight", lambda mask: mask.all(dim=-2, keepdim=True)),
)

SCALE = Affine(
    value=lambda x, node, params: x * params["factor"],
    linear=lambda x, node, params: x * params["factor"],
    magnitude=lambda x, node, params: x * params["factor"].abs(),
    transpose=lambda rows, node, params, shapes: (rows * params["factor"],),
    largest=lambda x, node, params: x * params["factor"].abs(),
    separable=True,
    entries=("factor", lambda mask: mask),
)

SHIFT = Affine(
    value=lambda x, node, params: x + params["offset"],
    linear=lambda x, node, params: x,
    transpose=lambda rows, node, params, shapes: (rows,),
    constant=lambda node, params: params["offset"],
    largest=lambda x, node, params: x,
    separable=True,
    unit_rows=_to_each,
    windows=_to_each,
)

ADD = Affine(
    value=lambda x, y, node, params: x + y,
    linear=lambda x, y, node, params: x + y,
    transpose=lambda rows, node, params, shapes: (rows, rows),
    unit_rows=_to_each,
    windows=_to_each,
)

SUB = Affine(
    value=lambda x, y, node, params: x - y,
    linear=lambda x, y, node, params: x - y,
    magnitude=lambda x, y, node, params: x + y,
    transpose=lambda rows, node, params, shapes: (rows, -rows),
)

WEIGHTED = {"linear": LINEAR, "matmul": MATMUL, "scale": SCALE, "shift": SHIFT, "add": ADD, "sub": SUB}
