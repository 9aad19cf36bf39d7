"""Affine maps that only move, copy and add elements: their matrix has entries 0 and 1, so they keep order and are free of products."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from certify.graph import Node
from certify.operators.base import Affine, Params, Shapes
from certify.operators.rows import PickedRows, Rows, UnitRows


def _zero_one(
    linear: Callable[..., Tensor],
    transpose: Callable[[Tensor, Node, Params, Shapes], tuple[Tensor, ...]],
    **rest: Any,
) -> Affine:
    return Affine(value=linear, linear=linear, transpose=transpose, **rest)


def _reshape(x: Tensor, node: Node, params: Params) -> Tensor:
    return x.reshape(x.shape[0], *node.shape)


def _permute(x: Tensor, node: Node, params: Params) -> Tensor:
    return x.permute(0, *(axis + 1 for axis in node.attrs["perm"]))


def _permute_back(rows: Tensor, node: Node, params: Params, shapes: Shapes) -> tuple[Tensor, ...]:
    perm = node.attrs["perm"]
    return (rows.permute(0, *(perm.index(axis) + 1 for axis in range(len(perm)))),)


def _take(x: Tensor, node: Node, params: Params) -> Tensor:
    index = params["index"]
    return x.reshape(x.shape[0], -1).index_select(1, index.flatten()).reshape(x.shape[0], *index.shape)


def _take_back(rows: Tensor, node: Node, params: Params, shapes: Shapes) -> tuple[Tensor, ...]:
    """Scatter-add: an element of x that was read k times gathers k coefficients."""
    count = prod(shapes[0])
    back = rows.new_zeros(rows.shape[0], count).index_add(1, params["index"].flatten(), rows.reshape(rows.shape[0], -1))
    return (back.reshape(rows.shape[0], *shapes[0]),)


def _take_units(rows: UnitRows, node: Node, params: Params, shapes: Shapes) -> tuple[Rows, ...]:
    return (UnitRows(params["index"].take(rows.index), rows.sign, shapes[0]),)


def _take_picked(rows: PickedRows, node: Node, params: Params, shapes: Shapes) -> tuple[Rows, ...]:
    return (PickedRows(rows.values, params["index"].take(rows.index), shapes[0]).compact(),)


def _concat(*xs: Tensor, node: Node, params: Params) -> Tensor:
    return torch.cat(xs, dim=node.attrs["axis"] + 1)


def _concat_back(rows: Tensor, node: Node, params: Params, shapes: Shapes) -> tuple[Tensor, ...]:
    axis = node.attrs["axis"]
    return rows.split([shape[axis] for shape in shapes], dim=axis + 1)


def _sum(x: Tensor, node: Node, params: Params) -> Tensor:
    return x.sum(dim=[axis + 1 for axis in node.attrs["axes"]], keepdim=node.attrs["keepdims"])


def _sum_largest(x: Tensor, node: Node, params: Params) -> Tensor:
    return x.amax(dim=[axis + 1 for axis in node.attrs["axes"]], keepdim=node.attrs["keepdims"])


def _sum_back(rows: Tensor, node: Node, params: Params, shapes: Shapes) -> tuple[Tensor, ...]:
    kept = [1 if axis in node.attrs["axes"] else n for axis, n in enumerate(shapes[0])]
    return (rows.reshape(rows.shape[0], *kept).expand(rows.shape[0], *shapes[0]),)


def _padding(node: Node) -> list[int]:
    """The amounts in the order torch wants them: last axis first."""
    pairs = zip(reversed(node.attrs["before"]), reversed(node.attrs["after"]), strict=True)
    return [amount for pair in pairs for amount in pair]


def _pad(x: Tensor, node: Node, params: Params) -> Tensor:
    return F.pad(x, _padding(node), value=node.attrs["value"])


def _pad_zero(x: Tensor, node: Node, params: Params) -> Tensor:
    return F.pad(x, _padding(node))


def _pad_back(rows: Tensor, node: Node, params: Params, shapes: Shapes) -> tuple[Tensor, ...]:
    return (F.pad(rows, [-amount for amount in _padding(node)]),)


def _pad_constant(node: Node, params: Params) -> Tensor | None:
    if not node.attrs["value"]:
        return None
    inner = [n - b - a for n, b, a in zip(node.shape, node.attrs["before"], node.attrs["after"], strict=True)]
    return F.pad(torch.zeros(inner, dtype=torch.float64), _padding(node), value=node.attrs["value"])


STRUCTURE = {
    "reshape": Affine(
        value=_reshape,
        linear=_reshape,
        transpose=lambda rows, node, params, shapes: (rows.reshape(rows.shape[0], *shapes[0]),),
        unit_rows=lambda rows, node, params, shapes: (UnitRows(rows.index, rows.sign, shapes[0]),),
        picked=lambda rows, node, params, shapes: (PickedRows(rows.values, rows.index, shapes[0]),),
        largest=_reshape,
        separable=True,
        moves=True,
    ),
    "transpose": Affine(value=_permute, linear=_permute, transpose=_permute_back, largest=_permute, separable=True, moves=True),
    "take": Affine(
        value=_take, linear=_take, transpose=_take_back, unit_rows=_take_units, picked=_take_picked, largest=_take, moves=True
    ),
    "concat": _zero_one(_concat, _concat_back, moves=True),
    "reduce_sum": _zero_one(_sum, _sum_back, largest=_sum_largest),
    "pad": Affine(value=_pad, linear=_pad_zero, transpose=_pad_back, constant=_pad_constant, largest=_pad_zero, separable=True),
}
