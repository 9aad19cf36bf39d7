"""Writing into a tensor at constant positions: elements move, or are added to those that are there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod

import numpy as np

from certify.graph import Shape
from certify.io import lowering
from certify.io.onnx.call import Array, Call, Handler, Outputs
from certify.io.onnx.infinities import picked, shape_of
from certify.io.onnx.moves import element_index

Places = Callable[[Call, Shape], Array]
"""Where each element of the updates goes: flat positions in a tensor of this shape."""

MOST_LAYERS = 64
"""How many updates of one element are added."""


def _elements(call: Call, shape: Shape) -> Array:
    """ScatterElements: output[index[i, j, ...], j, ...] = updates[i, j, ...] for axis 0."""
    chosen = call.required(1)
    index = np.broadcast_arrays(*element_index(call.attrs["axis"], chosen, shape))
    return np.ravel_multi_index(tuple(index), shape)


def _slices(call: Call, shape: Shape) -> Array:
    """ScatterND: the last axis of the indices says where; what it leaves open is written whole."""
    chosen = call.required(1)
    depth = chosen.shape[-1]
    sizes = np.asarray(shape[:depth])
    if not ((-sizes <= chosen) & (chosen < sizes)).all():
        raise call.error(f"an index lies outside the tensor of shape {list(shape)}")
    positions = np.arange(prod(shape)).reshape(shape)
    return positions[tuple(np.moveaxis(np.where(chosen < 0, chosen + sizes, chosen), -1, 0))]


def _scatter(places: Places) -> Handler:
    def handle(call: Call) -> Outputs:
        values = [call.value(index) for index in (0, 2)]
        shapes = [shape_of(call.builder, value) for value in values]
        flat = places(call, shapes[0]).reshape(-1)
        if flat.size != prod(shapes[1]):
            raise call.error(f"has {flat.size} positions and {prod(shapes[1])} updates")
        reduction = call.attrs.get("reduction", "none")
        if reduction not in REDUCTIONS:
            raise call.error(f"reduction {reduction!r} is not supported; supported: {', '.join(REDUCTIONS)}")
        return REDUCTIONS[reduction](call, flat, shapes[0])

    return handle


def _overwritten(call: Call, places: Array, shape: Shape) -> Outputs:
    """The updates in their places; of two for one place nobody says which one is last."""
    if len(np.unique(places)) < len(places):
        raise call.error("writes an element twice, in no order that the standard says")
    index = np.arange(prod(shape))
    index[places] = prod(shape) + np.arange(len(places))
    return picked(call, [call.value(0), call.value(2)], index.reshape(shape))


def _added(call: Call, places: Array, shape: Shape) -> Outputs:
    """The data plus, in layers without repetition, the updates in their places and zeros elsewhere."""
    total: Outputs = call.value(0)
    for layer in _layers(call, places):
        index = np.full(prod(shape), len(places))
        index[places[layer]] = layer
        step = f"{call.name}.updates"
        part = picked(call, [call.value(2), np.zeros(1)], index.reshape(shape), step)
        total = _sum(call, total, part)
    return total


def _sum(call: Call, x: Outputs, y: Outputs) -> Outputs:
    if isinstance(x, str) and isinstance(y, str):
        return lowering.combine(call.builder, "add", x, y, call.name)
    node, constant = (x, y) if isinstance(x, str) else (y, x)
    return lowering.shift(call.builder, str(node), constant, call.name)  # type: ignore[arg-type]


def _layers(call: Call, places: Array) -> list[Array]:
    """The updates, in groups in which each goes elsewhere."""
    order = np.argsort(places, kind="stable")
    ordered = places[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    rank = np.arange(len(places)) - np.repeat(starts, np.diff([*starts, len(places)]))
    if len(places) and rank.max() >= MOST_LAYERS:
        raise call.error(f"adds more than {MOST_LAYERS} updates to one element")
    return [order[rank == number] for number in range(int(rank.max(initial=-1)) + 1)]


REDUCTIONS: Mapping[str, Callable[[Call, Array, Shape], Outputs]] = {"none": _overwritten, "add": _added}

HANDLERS: Mapping[str, Handler] = {
    "ScatterND": _scatter(_slices),
    **dict.fromkeys(("ScatterElements", "Scatter"), _scatter(_elements)),
}
