"""Reductions, pooling and resampling."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from certify.graph import GraphBuilder
from certify.graph.double_double import DoubleDouble, exactly
from certify.io import lowering, pooling
from certify.io.torch.call import Call, Handler, Operand
from certify.io.torch.dense import spread

Reduction = Callable[[GraphBuilder, str, Sequence[int], bool, str], str]


def _named(op: str) -> Reduction:
    return lambda builder, x, axes, keepdims, source: lowering.reduce(builder, op, x, axes, keepdims, source)


def _reduction(reduce: Reduction) -> Handler:
    """A reduction over some axes; over all of them where none are named."""

    def handler(call: Call, x: Operand, dim: Sequence[int] | int | None = None, keepdim: bool = False, **_: object) -> str:
        node = call.variable(x)
        axes = (dim,) if isinstance(dim, int) else tuple(dim or range(len(call.shape_of(node))))
        return reduce(call.builder, node, axes, keepdim, call.source)

    return handler


def _with_indices(handler: Handler) -> Handler:
    """An operation that also returns where it found its values: those nobody may read."""
    return lambda call, **arguments: [handler(_first_result(call), **arguments), None]


def _first_result(call: Call) -> Call:
    return Call(call.builder, call.source, call.target, call.arguments, call.result[0])


# --- pooling ---------------------------------------------------------------------------------------------------------------


def _windows(axes: int, kernel_size: Sequence[int], stride: Sequence[int], **sizes: Any) -> pooling.Pooling:
    """Windows along some axes; without a stride they lie side by side."""
    kernel = spread(kernel_size, axes)
    amounts = spread(sizes["padding"], axes)
    dilation = spread(sizes.get("dilation", 1), axes)
    return pooling.Pooling(kernel, spread(stride, axes) if stride else kernel, amounts, amounts, dilation, sizes["ceil_mode"])


def _max_pool(axes: int) -> Handler:
    def handler(call: Call, x: Operand, **sizes: Any) -> str:
        return pooling.max_pool(call.builder, call.variable(x), _windows(axes, **sizes), call.source)

    return handler


def _average_pool(axes: int) -> Handler:
    def handler(call: Call, x: Operand, count_include_pad: bool = True, divisor_override: int | None = None, **sizes: Any) -> str:
        node = call.variable(x)
        batched = len(call.shape_of(node)) == axes + 2
        if not batched:
            node = lowering.reshape(call.builder, node, (1, *call.shape_of(node)), call.step("batch"))
        source = call.step("" if batched else "batched")
        windows = _windows(axes, **sizes)
        out = pooling.average_pool(call.builder, node, windows, source, count_padding=count_include_pad, divisor=divisor_override)
        return lowering.reshape(call.builder, out, call.shape, call.source)

    return handler


def _adaptive_average_pool(call: Call, x: Operand, output_size: Sequence[int] | int) -> str:
    """Windows of different sizes, separable: one matrix for each axis. The mean over all cells where one is left."""
    node = call.variable(x)
    space = _space(call, output_size)
    if all(call.shape[axis] == 1 for axis in space):
        return lowering.reduce_mean(call.builder, node, tuple(space), True, call.source)
    matrices = {axis: pooling.adaptive_matrix(call.shape_of(node)[axis], call.shape[axis]) for axis in space}
    return pooling.along_axes(call.builder, node, matrices, call.source)


def _adaptive_max_pool(call: Call, x: Operand, output_size: Sequence[int] | int) -> str:
    node = call.variable(x)
    cells = [pooling.adaptive_cells(call.shape_of(node)[axis], call.shape[axis]) for axis in _space(call, output_size)]
    return pooling.max_over_cells(call.builder, node, cells, call.source)


def _space(call: Call, output_size: Sequence[int] | int) -> list[int]:
    """The axes that an adaptive pooling works on."""
    count = 1 if isinstance(output_size, int) else len(output_size)
    return list(range(len(call.shape) - count, len(call.shape)))


# --- resampling ------------------------------------------------------------------------------------------------------------


def _linear_resize(call: Call, x: Operand, align_corners: bool, **arguments: Any) -> str:
    """Linear interpolation is separable: a matrix for each axis."""
    node = call.variable(x)
    shape, out = call.shape_of(node), call.shape
    scales = _scales(len(shape) - 2, **arguments)
    matrices = {axis: _interpolation(shape[axis], out[axis], align_corners, scales[axis - 2]) for axis in range(2, len(shape))}
    return pooling.along_axes(call.builder, node, matrices, call.source)


def _interpolation(size: int, count: int, align_corners: bool, scale: float | None) -> DoubleDouble:
    """Output i lies at i (size - 1) / (count - 1) with corners aligned, else at (i + 1/2) / scale - 1/2; where sizes agree, at i."""
    if size == count:
        return exactly(np.eye(size))
    if align_corners:
        step = Fraction(size - 1, count - 1) if count > 1 else Fraction(0)
        return pooling.interpolation_matrix([i * step for i in range(count)], size)
    step = 1 / Fraction(scale) if scale else Fraction(size, count)
    return pooling.interpolation_matrix([(i + Fraction(1, 2)) * step - Fraction(1, 2) for i in range(count)], size)


def _scales(axes: int, scale_factors: Sequence[float] | None = None, **arguments: Any) -> list[float | None]:
    """The scale given for each axis: all in one list, or in arguments of their own."""
    if scale_factors is not None:
        return list(scale_factors)
    names = {1: ("scales",), 2: ("scales_h", "scales_w"), 3: ("scales_d", "scales_h", "scales_w")}[axes]
    return [arguments.get(name) for name in names]


SPACES = (1, 2, 3)

HANDLERS: Mapping[str, Handler] = {
    **{f"sum.{overload}": _reduction(_named("reduce_sum")) for overload in ("default", "dim_IntList")},
    **{f"mean.{overload}": _reduction(lowering.reduce_mean) for overload in ("default", "dim")},
    "amax.default": _reduction(_named("reduce_max")),
    "amin.default": _reduction(lowering.reduce_min),
    "max.default": _reduction(_named("reduce_max")),
    "min.default": _reduction(lowering.reduce_min),
    "max.dim": _with_indices(_reduction(_named("reduce_max"))),
    "min.dim": _with_indices(_reduction(lowering.reduce_min)),
    **{f"max_pool{n}d.default": _max_pool(n) for n in SPACES},
    **{f"max_pool{n}d_with_indices.default": _with_indices(_max_pool(n)) for n in SPACES},
    **{f"avg_pool{n}d.default": _average_pool(n) for n in SPACES},
    **{f"adaptive_avg_pool{n}d.default": _adaptive_average_pool for n in SPACES},
    **{f"_adaptive_avg_pool{n}d.default": _adaptive_average_pool for n in (2, 3)},
    **{f"adaptive_max_pool{n}d.default": _with_indices(_adaptive_max_pool) for n in SPACES},
    **{
        f"upsample_{mode}.{overload}": _linear_resize
        for mode in ("linear1d", "bilinear2d", "trilinear3d")
        for overload in ("default", "vec")
    },
}
