"""Resize and Upsample: every axis on its own, nearest neighbours as a take, linear interpolation as a matrix."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from certify.graph.shapes import require_size
from certify.io import lowering, pooling
from certify.io.onnx import nearest
from certify.io.onnx.call import Array, Call, Handler

Policy: TypeAlias = Callable[[Sequence[int], Sequence[int]], tuple[list[int], list[float]]]
FAR = 2.0**31


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


def _resize(call: Call) -> str:
    mode, rule = call.attrs["mode"], call.attrs.get("coordinate_transformation_mode", "asymmetric")
    if rule == "tf_half_pixel_for_nn" and mode != "nearest":
        raise call.error(f"coordinate_transformation_mode {rule!r} is for the nearest neighbour only")
    if rule not in (*COORDINATES, *nearest.COORDINATES):
        raise call.error(f"coordinate_transformation_mode {rule!r} is not supported; supported: {', '.join(COORDINATES)}")
    if mode not in MODES:
        raise call.error(f"mode {mode!r} is not supported; supported: {', '.join(MODES)}")
    for setting in ("antialias", "exclude_outside"):
        if call.attrs.get(setting, 0) and mode != "nearest":
            raise call.error(f"{setting}=1 is not supported")
    axes = _axes(call)
    require_size([axes[i].count if i in axes else size for i, size in enumerate(call.shape())])
    return MODES[mode](call, axes, rule) if axes else call.variable()


def _axes(call: Call) -> dict[int, Axis]:
    """The axes whose size changes. From sizes, the scale is their ratio; from scales, the size is rounded down."""
    shape = call.shape()
    scales, sizes = _scales_and_sizes(call)
    chosen = _named_axes(call, len(shape))
    lengths = [shape[axis] for axis in chosen]
    if not all(0 < scale < FAR for scale in scales) or not all(size > 0 for size in sizes) or not (scales or sizes):
        raise call.error(f"resizes by {scales or sizes}, which are no scales or sizes; the model may be damaged")
    if sizes:
        sizes, scales = POLICIES[call.attrs.get("keep_aspect_ratio_policy", "stretch")](lengths, sizes)
    else:
        sizes = [int(np.floor(np.float32(n) * np.float32(s))) for n, s in zip(lengths, scales, strict=True)]
    found = {axis: Axis(shape[axis], n, s) for axis, n, s in zip(chosen, sizes, scales, strict=True)}
    return {axis: entry for axis, entry in found.items() if (entry.size, entry.scale) != (entry.count, 1.0)}


def _stretched(lengths: Sequence[int], sizes: Sequence[int]) -> tuple[list[int], list[float]]:
    return list(sizes), [size / n for n, size in zip(lengths, sizes, strict=True)]


def _one_scale(choose: Callable[[Sequence[float]], float]) -> Policy:
    """All axes by one of their scales, in onnxruntime's arithmetic; sizes are rounded, halves up."""

    def sizes_and_scales(lengths: Sequence[int], sizes: Sequence[int]) -> tuple[list[int], list[float]]:
        scale = float(np.float32(choose(_stretched(lengths, sizes)[1])))
        return [int(np.floor(np.float32(scale) * np.float32(n) + np.float32(0.5))) for n in lengths], [scale] * len(lengths)

    return sizes_and_scales


# keep_aspect_ratio_policy: from the lengths of the axes and the wanted sizes, the sizes and scales.
POLICIES: Mapping[str, Policy] = {"stretch": _stretched, "not_larger": _one_scale(min), "not_smaller": _one_scale(max)}


def _named_axes(call: Call, rank: int) -> list[int]:
    """The axes that scales or sizes speak of."""
    return [axis % rank for axis in call.attrs.get("axes", range(rank))]


def _scales_and_sizes(call: Call) -> tuple[list[float], list[int]]:
    """Where the opset keeps them: Upsample 7 in an attribute, 9 and Resize 10 in input 1, Resize 11 and later in inputs 2 and 3."""
    if call.op == "Upsample" or call.opset < 11:
        return call.setting("scales", 1), []
    return call.setting("", 2, []), call.setting("", 3, [])


def _nearest(call: Call, axes: Mapping[int, Axis], rule: str) -> str:
    cells = [np.arange(size) for size in call.shape()]
    for index, axis in axes.items():
        rounding = call.attrs.get("nearest_mode") or ("ceil" if axis.scale < 1 else "floor")
        cells[index] = nearest.nearest_cells(axis.size, axis.count, axis.scale, rule, rounding)
    flat = lowering.take_index(call.shape(), lambda flat: flat[np.ix_(*cells)])
    return lowering.take(call.builder, call.variable(), flat, call.name)


def _linear(call: Call, axes: Mapping[int, Axis], rule: str) -> str:
    positions = {index: COORDINATES[rule](np.arange(axis.count, dtype=np.float64), axis) for index, axis in axes.items()}
    matrices = {axis: pooling.interpolation_matrix(position, call.shape()[axis]) for axis, position in positions.items()}
    return pooling.along_axes(call.builder, call.variable(), matrices, call.name)


MODES: Mapping[str, Callable[[Call, Mapping[int, Axis], str], str]] = {"nearest": _nearest, "linear": _linear}

HANDLERS: Mapping[str, Handler] = {"Resize": _resize, "Upsample": _resize}
