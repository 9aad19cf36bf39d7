"""Resize and Upsample: every axis on its own, nearest neighbours as a take, linear interpolation as a matrix."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from certify.io import lowering, pooling
from certify.io.onnx.call import Array, Call, Handler


@dataclass(frozen=True)
class Axis:
    """One axis that changes: from `size` to `count` elements, `scale` being what the coordinate formulas call the scale."""

    size: int
    count: int
    scale: float


def _pytorch_half_pixel(i: Array, axis: Axis) -> Array:
    return (i + 0.5) / axis.scale - 0.5 if axis.count > 1 else np.zeros_like(i)


def _half_pixel_symmetric(i: Array, axis: Axis) -> Array:
    adjustment = axis.count / (axis.scale * axis.size)
    return axis.size / 2 * (1 - adjustment) + (i + 0.5) / axis.scale - 0.5


# Where output element i lies on the input axis: coordinate_transformation_mode in the ONNX operator specification of Resize.
COORDINATES: Mapping[str, Callable[[Array, Axis], Array]] = {
    "half_pixel": lambda i, axis: (i + 0.5) / axis.scale - 0.5,
    "half_pixel_symmetric": _half_pixel_symmetric,
    "pytorch_half_pixel": _pytorch_half_pixel,
    "asymmetric": lambda i, axis: i / axis.scale,
    "align_corners": lambda i, axis: i * (axis.size - 1) / (axis.count - 1) if axis.count > 1 else np.zeros_like(i),
}

NEAREST: Mapping[str, Callable[[Array], Array]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def _resize(call: Call) -> str:
    mode, rule = call.attrs.get("mode", "nearest"), call.attrs.get("coordinate_transformation_mode", _default_rule(call))
    if rule not in COORDINATES:
        raise call.error(f"coordinate_transformation_mode {rule!r} is not supported; supported: {', '.join(COORDINATES)}")
    if mode not in MODES:
        raise call.error(f"mode {mode!r} is not supported; supported: {', '.join(MODES)}")
    if call.attrs.get("antialias", 0):
        raise call.error("antialias=1 is not supported")
    axes = _axes(call)
    positions = {index: COORDINATES[rule](np.arange(axis.count, dtype=np.float64), axis) for index, axis in axes.items()}
    return MODES[mode](call, positions) if axes else call.variable()


def _default_rule(call: Call) -> str:
    """Before opset 11 there was one rule."""
    return "half_pixel" if call.op == "Resize" and call.opset >= 11 else "asymmetric"


def _axes(call: Call) -> dict[int, Axis]:
    """The axes whose size changes. From sizes, the scale is their ratio; from scales, the size is rounded down."""
    shape = call.shape()
    scales, sizes = _scales_and_sizes(call)
    chosen = _named_axes(call, len(shape))
    if sizes:
        if call.attrs.get("keep_aspect_ratio_policy", "stretch") != "stretch":
            raise call.error("keep_aspect_ratio_policy is only supported as 'stretch'")
        found = {axis: Axis(shape[axis], n, n / shape[axis]) for axis, n in zip(chosen, sizes, strict=True)}
    else:
        found = {axis: Axis(shape[axis], int(np.floor(shape[axis] * s)), s) for axis, s in zip(chosen, scales, strict=True)}
    return {axis: entry for axis, entry in found.items() if (entry.size, entry.scale) != (entry.count, 1.0)}


def _named_axes(call: Call, rank: int) -> list[int]:
    """The axes that scales or sizes speak of."""
    return [axis % rank for axis in call.attrs.get("axes", range(rank))]


def _scales_and_sizes(call: Call) -> tuple[list[float], list[int]]:
    """Where the opset keeps them: Upsample 7 in an attribute, 9 and Resize 10 in input 1, Resize 11 and later in inputs 2 and 3."""
    if call.op == "Upsample" or call.opset < 11:
        return call.setting("scales", 1), []
    return call.setting("", 2, []), call.setting("", 3, [])


def _nearest(call: Call, positions: Mapping[int, Array]) -> str:
    default = "round_prefer_floor" if call.op == "Resize" and call.opset >= 11 else "floor"
    nearest = NEAREST[call.attrs.get("nearest_mode", default)]
    cells = [np.arange(size) for size in call.shape()]
    for axis, position in positions.items():
        cells[axis] = np.clip(nearest(position), 0, len(cells[axis]) - 1).astype(np.int64)
    index = lowering.take_index(call.shape(), lambda flat: flat[np.ix_(*cells)])
    return lowering.take(call.builder, call.variable(), index, call.name)


def _linear(call: Call, positions: Mapping[int, Array]) -> str:
    matrices = {axis: pooling.interpolation_matrix(position, call.shape()[axis]) for axis, position in positions.items()}
    return pooling.along_axes(call.builder, call.variable(), matrices, call.name)


MODES: Mapping[str, Callable[[Call, Mapping[int, Array]], str]] = {"nearest": _nearest, "linear": _linear}

HANDLERS: Mapping[str, Handler] = {"Resize": _resize, "Upsample": _resize}
