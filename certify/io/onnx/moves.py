"""What only moves or copies elements: the definition of an operator, applied to positions, says which goes where."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from certify.io import lowering
from certify.io.onnx.call import Array, Call, Handler, Outputs

Index = Callable[[Call, Array], Array]
"""Which positions go where: of an array of flat positions, in the shape of the operator's first input, those of its output."""


def move(call: Call) -> Outputs:
    """Gather, Tile and the like by the standard's reference implementation: each output is a take."""
    return tuple(lowering.take(call.builder, call.variable(), index, call.name) for index in call.sources())


def _by(index: Index) -> Handler:
    """An operator by an index of our own, of variables and constants alike."""

    def handle(call: Call) -> Outputs:
        value = call.value(0)
        if isinstance(value, str):
            positions = lowering.take_index(call.shape(), lambda flat: index(call, flat))
            return lowering.take(call.builder, value, positions, call.name)
        return index(call, call.required(0))

    return handle


def _slice(call: Call, array: Array) -> Array:
    """Ends are counted from the back where negative, and brought into [0, n] for steps forward; for steps backward starts into [0, n-1],
    ends into [-1, n-1]. The reference implementation slices as numpy does, which brings starts before the axis into -1."""
    starts, ends = call.setting("starts", 1), call.setting("ends", 2)
    axes = call.setting("axes", 3) or list(range(len(starts)))
    steps = call.setting("", 4) or [1] * len(starts)
    if len({axis % array.ndim for axis in axes}) < len(axes):
        raise call.error(f"slices an axis twice: {axes}")
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        size = array.shape[axis]
        least, most = (0, size) if step > 0 else (-1, size - 1)
        first, last = (value + size if value < 0 else value for value in (start, end))
        first, last = min(max(first, 0), most), min(max(last, least), most)
        array = np.take(array, np.arange(first, last, step), axis)
    return array


def _gather_elements(call: Call, array: Array) -> Array:
    """output[i, j, ...] = input[index[i, j, ...], j, ...] for axis 0, the index being no longer than the input on the other axes."""
    return array[element_index(call.attrs["axis"], call.required(1), array.shape)]


def element_index(axis: int, chosen: Array, shape: tuple[int, ...]) -> tuple[Array, ...]:
    """The positions in a tensor of this shape that `chosen` names on one axis, on the others its own; a ValueError beyond the ends."""
    size = shape[axis]
    if not ((-size <= chosen) & (chosen < size)).all():
        raise ValueError(f"an index lies outside [{-size}, {size - 1}]")
    index: list[Array] = list(np.indices(chosen.shape, sparse=True))
    index[axis] = np.where(chosen < 0, chosen + size, chosen)
    return tuple(index)


OWN: Mapping[str, Handler] = {"Slice": _by(_slice), "GatherElements": _by(_gather_elements)}
"""Operators of which the reference implementation does less than the standard, or something else: constants go through these too."""

_REFERENCE = ("Split", "Gather", "GatherND", "Expand", "Tile", "DepthToSpace", "SpaceToDepth", "Compress", "ReverseSequence")

HANDLERS: Mapping[str, Handler] = {**dict.fromkeys(_REFERENCE, move), **OWN}
