"""Choices between tensors: Where, comparisons and what is multiplied with them, maxima and minima."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce as fold
from math import inf

import numpy as np

from certify.graph.double_double import DoubleDouble, where
from certify.graph.exact import maximum, minimum
from certify.graph.shapes import broadcast as broadcast_shapes
from certify.io import lowering
from certify.io.onnx.call import Array, Call, Handler, Outputs, Value
from certify.io.onnx.deferred import Condition
from certify.io.onnx.infinities import Parted, parted, picked, shape_of, with_infinities
from certify.io.selections import select

CONTINUOUS = (
    "selects by a comparison of what depends on the network's input, and is not known to be continuous where both sides are equal; "
    "selections that are a relu, leaky relu, abs, max, min or clip are"
)


# --- comparisons ----------------------------------------------------------------------------------------------------------------


def _compare(above: int) -> Handler:
    """Greater and Less: which input has to be the larger one."""

    def handle(call: Call) -> Condition:
        sides = [call.value(index) for index in (above, 1 - above)]
        for index, side in enumerate(sides):
            if not isinstance(side, (str, np.ndarray, DoubleDouble)):
                call.required(above if not index else 1 - above)
        return Condition(sides[0], sides[1], broadcast_shapes(*(shape_of(call.builder, side) for side in sides)))

    return handle


# --- where ----------------------------------------------------------------------------------------------------------------------


def _where(call: Call) -> Outputs:
    condition = call.value(0)
    if isinstance(condition, Condition):
        return selected(call, condition, call.value(1), call.value(2))
    return _chosen(call, call.required(0).astype(bool))


def selected(call: Call, condition: Condition, p: Value, q: Value) -> str:
    """where(condition, p, q), which has to be continuous."""
    if not all(isinstance(value, (str, np.ndarray, DoubleDouble)) for value in (p, q)):
        raise call.error(CONTINUOUS)
    found = select(call.builder, condition.above, condition.below, p, q, call.name)  # type: ignore[arg-type]
    if found is None:
        raise call.error(CONTINUOUS)
    return found


def _chosen(call: Call, condition: Array) -> Outputs:
    """Elements of two tensors, by a constant condition: they only move."""
    sides = [parted(call, index) for index in (1, 2)]
    shape = fold(broadcast_shapes, (side.shape for side in sides), condition.shape)
    flat = [np.broadcast_to(np.arange(side.size).reshape(side.shape), shape) for side in sides]
    index = np.where(condition, flat[0], sides[0].size + flat[1])
    infinities = np.where(condition, *(np.broadcast_to(side.infinity, shape) for side in sides))
    if any(isinstance(side.value, str) for side in sides):
        return with_infinities(call, picked(call, [side.value for side in sides], index), infinities)
    raise call.error("neither branch depends on the network's input, but the condition does")


# --- maxima and minima ----------------------------------------------------------------------------------------------------------


def _extreme(
    sign: float, both: Callable[..., str], with_constant: Callable[..., str], merge: Callable[..., DoubleDouble]
) -> Handler:
    """Max and Min of any number of tensors: the variables are combined, then the one constant that the others make. Entries that are
    `sign` infinity are left out."""

    def handle(call: Call) -> Outputs:
        sides = [parted(call, index) for index in range(len(call.inputs))]
        if any((side.infinity == sign * inf).any() for side in sides):
            raise call.error(f"compares with {sign * inf:g}, which is what comes out; the model may be damaged")
        constants = [where(side.infinity == 0, side.value, -sign * inf) for side in sides if not isinstance(side.value, str)]
        variables = [side for side in sides if isinstance(side.value, str)]
        x = fold(lambda left, right: _combined(call, left, right, both), variables)
        if constants:
            limit = fold(merge, constants)
            finite = np.isfinite(limit.high)
            x = _combined(call, x, Parted(where(finite, limit, 0.0).simplest, np.where(finite, 0, limit.high)), with_constant)
        return with_infinities(call, x.value, x.infinity)

    return handle


def _combined(call: Call, x: Parted, y: Parted, both: Callable[..., str]) -> Parted:
    """Element by element what `both` makes of two tensors, but where one is infinite the other, and where both are that."""
    shape = broadcast_shapes(x.shape, y.shape)
    first, second = (np.broadcast_to(side.infinity, shape) for side in (x, y))
    value = both(call.builder, x.value, y.value, call.name)
    if first.any() or second.any():
        size = int(np.prod(shape))
        positions = np.arange(size).reshape(shape)
        of_x, of_y = (np.broadcast_to(np.arange(side.size).reshape(side.shape), shape) for side in (x, y))
        index = np.where(first != 0, size + x.size + of_y, np.where(second != 0, size + of_x, positions))
        found = picked(call, [value, x.value, y.value], index)
        value = found if isinstance(found, str) else lowering.constant_node(call.builder, str(x.value), found, call.name)
    return Parted(value, np.where((first != 0) & (second != 0), first, 0.0))


# --- comparisons as numbers -----------------------------------------------------------------------------------------------------


def _as_it_is(call: Call) -> Value:
    return call.value(0)


def _times(call: Call) -> str:
    """A comparison, one or zero, times a tensor: that tensor or zero."""
    condition, other = sorted(call.inputs[:2], key=lambda value: not isinstance(value, Condition))
    if isinstance(other, Condition) or not isinstance(condition, Condition):
        raise call.error("multiplies two comparisons, which is not supported")
    return selected(call, condition, other, np.zeros(()))


def _complement(call: Call) -> Value:
    """One less a comparison: its opposite."""
    condition = call.value(1)
    if not isinstance(condition, Condition) or not (call.required(0) == 1).all():
        raise call.error("subtracts with a comparison, which is supported as 1 - comparison only")
    return _opposite(condition)


def _not(call: Call) -> Value:
    condition = call.value(0)
    if not isinstance(condition, Condition):
        raise call.error("negates what is no comparison")
    return _opposite(condition)


def _opposite(condition: Condition) -> Condition:
    return Condition(condition.below, condition.above, condition.shape)


HANDLERS: Mapping[str, Handler] = {
    "Where": _where,
    **dict.fromkeys(("Greater", "GreaterOrEqual"), _compare(0)),
    **dict.fromkeys(("Less", "LessOrEqual"), _compare(1)),
    "Not": _not,
    "Max": _extreme(1.0, lowering.maximum, lowering.at_least, maximum),
    "Min": _extreme(-1.0, lowering.minimum, lowering.at_most, minimum),
}

CONDITIONED: Mapping[str, Handler] = {
    "Where": _where,
    "Not": _not,
    **dict.fromkeys(("Identity", "Cast", "CastLike"), _as_it_is),
    "Mul": _times,
    "Sub": _complement,
}
"""What is done to comparisons of what depends on the network's input."""
