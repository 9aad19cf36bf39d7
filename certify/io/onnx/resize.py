"""Resize and Upsample: every axis on its own, nearest neighbours as a take, linear interpolation as a matrix."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

import numpy as np

from certify.graph.shapes import require_size
from certify.io import lowering, pooling
from certify.io.onnx import nearest
from certify.io.onnx.call import Call, Handler

Policy: TypeAlias = Callable[[Sequence[int], Sequence[int]], tuple[list[int], list[Fraction]]]
FAR = 2.0**31


@dataclass(frozen=True)
class Axis:
    """One axis that changes: from `size` to `count` elements, `ratio` being what the coordinate formulas call the scale."""

    size: int
    count: int
    ratio: Fraction

    @property
    def scale(self) -> float:
        """The ratio as a double."""
        return float(self.ratio)


HALF = Fraction(1, 2)

# Where output element i lies on the input axis: coordinate_transformation_mode in the ONNX operator specification of Resize.
COORDINATES: Mapping[str, Callable[[int, Axis], Fraction]] = {
    "half_pixel": lambda i, axis: (i + HALF) / axis.ratio - HALF,
    "half_pixel_symmetric": lambda i, axis: HALF * axis.size - HALF * axis.count / axis.ratio + (i + HALF) / axis.ratio - HALF,
    "pytorch_half_pixel": lambda i, axis: (i + HALF) / axis.ratio - HALF if axis.count > 1 else Fraction(0),
    "asymmetric": lambda i, axis: i / axis.ratio,
    "align_corners": lambda i, axis: Fraction(i * (axis.size - 1), axis.count - 1) if axis.count > 1 else Fraction(0),
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
        sizes, ratios = POLICIES[call.attrs.get("keep_aspect_ratio_policy", "stretch")](lengths, sizes)
    else:
        sizes = [int(np.floor(np.float32(n) * np.float32(s))) for n, s in zip(lengths, scales, strict=True)]
        ratios = [Fraction(scale) for scale in scales]
    if 0 in sizes:
        raise call.error(f"leaves nothing of an axis: its sizes {lengths} become {sizes}")
    found = {axis: Axis(shape[axis], n, ratio) for axis, n, ratio in zip(chosen, sizes, ratios, strict=True)}
    return {axis: entry for axis, entry in found.items() if (entry.size, entry.ratio) != (entry.count, 1)}


def _stretched(lengths: Sequence[int], sizes: Sequence[int]) -> tuple[list[int], list[Fraction]]:
    return list(sizes), [Fraction(size, n) for n, size in zip(lengths, sizes, strict=True)]


def _one_scale(choose: Callable[[Sequence[Fraction]], Fraction]) -> Policy:
    """All axes by one of their scales, in onnxruntime's arithmetic; sizes are rounded, halves up."""

    def sizes_and_scales(lengths: Sequence[int], sizes: Sequence[int]) -> tuple[list[int], list[Fraction]]:
        scale = float(np.float32(float(choose(_stretched(lengths, sizes)[1]))))
        return [int(np.floor(np.float32(scale) * np.float32(n) + np.float32(0.5))) for n in lengths], [Fraction(scale)] * len(
            lengths
        )

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
    positions = {index: [COORDINATES[rule](i, axis) for i in range(axis.count)] for index, axis in axes.items()}
    matrices = {axis: pooling.interpolation_matrix(places, call.shape()[axis]) for axis, places in positions.items()}
    return pooling.along_axes(call.builder, call.variable(), matrices, call.name)


MODES: Mapping[str, Callable[[Call, Mapping[int, Axis], str], str]] = {"nearest": _nearest, "linear": _linear}

HANDLERS: Mapping[str, Handler] = {"Resize": _resize, "Upsample": _resize}
