"""Tensors with infinite entries, which stand for what a maximum or minimum leaves out.

They are no numbers, so that they are not in the graph: they wait, as `Masked`, for the node that leaves them out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from certify.graph import GraphBuilder, Shape
from certify.graph.double_double import DoubleDouble, exactly, joined
from certify.io import lowering
from certify.io.onnx import moves, structure, windows
from certify.io.onnx.arithmetic import HANDLERS as ARITHMETIC
from certify.io.onnx.call import Array, Call, Handler, Numbers, Outputs
from certify.io.onnx.deferred import Masked
from certify.io.onnx.elementwise import HANDLERS as ELEMENTWISE

# --- finite and infinite parts --------------------------------------------------------------------------------------------------


def shape_of(builder: GraphBuilder, value: Any) -> Shape:
    """The shape of a node or of a constant."""
    return builder.shape(value) if isinstance(value, str) else tuple(value.shape)


def picked(call: Call, values: Sequence[Any], index: Array, source: str = "") -> str | Numbers:
    """Elements of nodes and constants, by positions that count through them all."""
    starts = np.cumsum([0, *(int(np.prod(shape_of(call.builder, value))) for value in values)])
    ordered = sorted(range(len(values)), key=lambda i: not isinstance(values[i], str))
    moved, total = np.zeros_like(index), 0
    for i in ordered:
        inside = (index >= starts[i]) & (index < starts[i + 1])
        moved = np.where(inside, index - starts[i] + total, moved)
        total += starts[i + 1] - starts[i]
    nodes = [values[i] for i in ordered if isinstance(values[i], str)]
    constants = [values[i] for i in ordered if not isinstance(values[i], str)]
    if not (moved < sum(int(np.prod(call.builder.shape(node))) for node in nodes)).any():
        behind = moved - sum(int(np.prod(call.builder.shape(node))) for node in nodes)
        return joined([exactly(value).reshape(-1) for value in constants])[behind].simplest
    return lowering.gather(call.builder, nodes, constants, moved, source or call.name)


@dataclass(frozen=True)
class Parted:
    """A tensor as finite numbers (a node or a constant), and what is infinite of it: an array with zeros elsewhere."""

    value: str | Numbers
    infinity: Array

    @property
    def shape(self) -> Shape:
        """That of both."""
        return tuple(self.infinity.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return int(self.infinity.size)


def parted(call: Call, index: int) -> Parted:
    """An input as its finite part and its infinities."""
    value = call.value(index)
    if isinstance(value, str):
        return Parted(value, np.zeros(call.builder.shape(value)))
    if isinstance(value, Masked):
        return Parted(value.node, np.where(value.mask, value.infinity, 0.0))
    constant = call.required_numbers(index)
    if isinstance(constant, DoubleDouble):
        return Parted(constant, np.zeros(constant.shape))
    if np.isnan(constant).any():
        raise call.error("its constant holds NaN")
    infinite = np.isinf(constant)
    return Parted(np.where(infinite, 0, constant), np.where(infinite, constant, 0.0))


def with_infinities(call: Call, value: str | Numbers, infinities: Array) -> Outputs:
    """A tensor with infinite entries, which have to be of one sign."""
    mask = infinities != 0
    if not mask.any():
        return value
    if isinstance(value, str):
        sign = infinities[mask].flat[0]
        if (infinities[mask] != sign).any():
            raise call.error("has infinite entries of either sign")
        return Masked(value, mask, float(sign))
    return np.where(mask, infinities, exactly(value).high)


# --- maxima that leave entries out ----------------------------------------------------------------------------------------------


def _over_axes(call: Call) -> Outputs:
    """ReduceMax and ReduceMin."""
    rank, axes = len(call.inputs[0].shape), call.setting("axes", 1) or []  # type: ignore[union-attr]
    if not axes and not call.attrs.get("noop_with_empty_axes", 0):
        axes = list(range(rank))
    chosen = lowering.normalise_axes(axes, rank)
    kept = [axis for axis in range(rank) if axis not in chosen]
    shape = shape_of(call.builder, call.inputs[0])
    positions = np.arange(int(np.prod(shape))).reshape(shape).transpose(*kept, *chosen)
    groups = positions.reshape(*(shape[axis] for axis in kept), -1)
    y = _largest(call, groups)
    if not call.attrs["keepdims"]:
        return y
    return _reshaped(call, y, tuple(1 if axis in chosen else n for axis, n in enumerate(shape)))


def _pooled(call: Call) -> Outputs:
    shape = shape_of(call.builder, call.inputs[0])
    return _largest(call, windows.pooled_positions(call, shape))


def _over_space(call: Call) -> Outputs:
    shape = shape_of(call.builder, call.inputs[0])
    positions = np.arange(int(np.prod(shape))).reshape(*shape[:2], -1)
    return _reshaped(call, _largest(call, positions), (*shape[:2], *(1,) * (len(shape) - 2)))


def _largest(call: Call, groups: Array) -> Outputs:
    """The largest (for ReduceMin the smallest) element of each group of positions, its infinite entries left out."""
    masked = call.inputs[0]
    smallest = call.op == "ReduceMin"
    if not isinstance(masked, Masked) or masked.infinity != (np.inf if smallest else -np.inf):
        raise call.error(f"input 0 is {masked}; this is not supported here")
    left_out = masked.mask.reshape(-1)[groups]
    first = np.take_along_axis(groups, left_out.argmin(-1)[..., None], -1)
    x = lowering.take(call.builder, masked.node, np.where(left_out, first, groups), f"{call.name}.groups")
    reduce = lowering.reduce_min if smallest else _reduce_max
    y = reduce(call.builder, x, (-1,), False, call.name)
    nothing = left_out.all(-1)
    return Masked(y, nothing, masked.infinity) if nothing.any() else y


def _reduce_max(builder: GraphBuilder, x: str, axes: Sequence[int], keepdims: bool, source: str) -> str:
    return lowering.reduce(builder, "reduce_max", x, axes, keepdims, source)


def _reshaped(call: Call, y: Any, shape: Shape) -> Outputs:
    if isinstance(y, Masked):
        return Masked(lowering.reshape(call.builder, y.node, shape, call.name), y.mask.reshape(shape), y.infinity)
    return lowering.reshape(call.builder, y, shape, call.name)


# --- what is done to such tensors before ----------------------------------------------------------------------------------------


def _moved(call: Call) -> Outputs:
    """Moves of elements take the infinite ones along."""
    masked = call.inputs[0]
    if not isinstance(masked, Masked):
        raise call.error(
            f"an input is {next(value for value in call.inputs if isinstance(value, Masked))}; only the first may be that"
        )
    nodes = {**moves.HANDLERS, **structure.HANDLERS}[call.op](replace(call, inputs=(masked.node, *call.inputs[1:])))
    tensors = nodes if isinstance(nodes, tuple) else (nodes,)
    plain = replace(call, inputs=(masked.mask.astype(np.float32), *call.inputs[1:]))
    masks = (moves.OWN[call.op](plain),) if call.op in moves.OWN else plain.evaluate(list(plain.inputs))  # type: ignore[arg-type]
    pairs = zip(tensors, masks, strict=False)
    return tuple(Masked(str(node), np.asarray(mask) != 0, masked.infinity) if np.any(mask) else node for node, mask in pairs)  # type: ignore[arg-type]


def _limit(call: Call) -> Outputs:
    """A function of one element that has a limit there: its limit."""
    masked = call.inputs[0]
    if not isinstance(masked, Masked):
        raise call.error("limits the ends of a clip by infinite entries")
    (limit,) = call.evaluate([np.array([masked.infinity], np.float64), *(call.constant(i) for i in range(1, len(call.inputs)))])
    if not np.isfinite(limit).all():
        raise call.error(f"input 0 is {masked}; this is not supported here")
    y = ELEMENTWISE[call.op](replace(call, inputs=(masked.node, *call.inputs[1:])))
    size = masked.mask.size
    index = np.where(masked.mask, size, np.arange(size).reshape(masked.shape))
    return lowering.gather(call.builder, [str(y)], [np.asarray(limit, np.float64)], index, call.name)


def add(call: Call) -> Outputs:
    """A sum with a constant that has infinite entries, as masks have them."""
    sides = [parted(call, index) if not isinstance(call.value(index), (str, type(None))) else None for index in (0, 1)]
    if not any(side is not None and side.infinity.any() for side in sides):
        return ARITHMETIC["Add"](call)
    inputs = [call.value(i) if side is None else side.value for i, side in enumerate(sides)]
    total = ARITHMETIC["Add"](replace(call, inputs=tuple(inputs)))
    shape = shape_of(call.builder, total)
    parts = [np.broadcast_to(side.infinity, shape) for side in sides if side is not None]
    if len(parts) == 2 and (parts[0] * parts[1] < 0).any():
        raise call.error("adds infinite entries of either sign")
    return with_infinities(call, str(total), sum(parts) if len(parts) > 1 else parts[0])  # type: ignore[arg-type]


def _subtract(call: Call) -> Outputs:
    """A difference with a constant that has infinite entries: the sum with its opposite."""
    constant = call.value(1)
    if not isinstance(constant, np.ndarray) or not np.isinf(constant).any():
        return ARITHMETIC["Sub"](call)
    return add(replace(call, inputs=(call.inputs[0], -constant)))


def pad(call: Call) -> Outputs:
    """Padding with minus infinity, which a maximum leaves out."""
    value = float(np.asarray(call.setting("value", 2, 0.0)).item())
    if call.attrs["mode"] != "constant" or np.isfinite(value) or np.isnan(value):
        return structure.HANDLERS["Pad"](call)
    given = (*call.inputs, None, None)
    finite = replace(
        call, inputs=(given[0], given[1], np.zeros((), np.float32), *call.inputs[3:]), attrs={**call.attrs, "value": 0.0}
    )
    y = structure.HANDLERS["Pad"](finite if call.opset >= 11 else replace(call, attrs={**call.attrs, "value": 0.0}))
    y = y[0] if isinstance(y, tuple) else y
    inside = replace(call, inputs=(np.zeros(call.shape()), *call.inputs[1:])).evaluate(
        [np.zeros(call.shape()), *(call.constant(i) for i in range(1, len(call.inputs)))]
    )[0]
    return with_infinities(call, str(y), np.where(np.isinf(inside), inside, 0.0))


def concat(call: Call) -> Outputs:
    """Tensors side by side, with what is infinite in them: their elements only move."""
    sides = [parted(call, i) if isinstance(v, (np.ndarray, Masked)) else None for i, v in enumerate(call.inputs)]
    if not any(side is not None and side.infinity.any() for side in sides):
        return structure.HANDLERS["Concat"](call)
    pieces = [parted(call, i) if side is None else side for i, side in enumerate(sides)]
    starts = np.cumsum([0, *(piece.size for piece in pieces)])
    axis = int(call.attrs["axis"])
    index = np.concatenate([start + np.arange(p.size).reshape(p.shape) for start, p in zip(starts, pieces, strict=False)], axis)
    infinities = np.concatenate([piece.infinity for piece in pieces], axis)
    return with_infinities(call, picked(call, [piece.value for piece in pieces], index), infinities)


KEPT = ("Reshape", "Squeeze", "Unsqueeze", "Transpose", "Flatten", "Identity", "Cast", "Dropout")

HANDLERS: Mapping[str, Handler] = {"Add": add, "Sub": _subtract, "Pad": pad, "Concat": concat}

MASKED: Mapping[str, Handler] = {
    **dict.fromkeys(("ReduceMax", "ReduceMin"), _over_axes),
    "MaxPool": _pooled,
    "GlobalMaxPool": _over_space,
    **dict.fromkeys((*moves.HANDLERS, *KEPT), _moved),
    **dict.fromkeys(("Relu", "Sigmoid", "Tanh", "Exp", "Clip"), _limit),
    "Add": add,
    "Concat": concat,
}
"""What is done to tensors with infinite entries."""
