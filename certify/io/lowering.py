"""What both front ends express in the small vocabulary of the graph: indexing, broadcasting, arithmetic, BatchNorm.

Functions that emit nodes take a `GraphBuilder`, names of nodes and constants, and `source`, what the author of the model calls the
operation. The last node they add has that name; those before it are called `source.step`. They return the name of the last node.
No torch, no onnx.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import prod

import numpy as np

from certify.graph import GraphBuilder, Shape
from certify.graph.double_double import DoubleDouble, exactly
from certify.graph.shapes import broadcast as broadcast_shapes

Array = np.ndarray
Constant = str | float | Array | DoubleDouble
"""The name of a constant already in the builder, or a value."""


def normalise_axes(axes: Sequence[int], rank: int) -> tuple[int, ...]:
    """Axes counted from the front and sorted; a ValueError where one does not exist."""
    for axis in axes:
        if not -rank <= axis < rank:
            raise ValueError(f"axis {axis} of a tensor with {rank} axes")
    return tuple(sorted({axis % rank for axis in axes}))


# --- moving elements ------------------------------------------------------------------------------------------------------------


def take_index(shape: Shape, function: Callable[[Array], Array]) -> Array:
    """Which flat elements a function that only moves elements puts where: `function` applied to arange(shape)."""
    return np.asarray(function(np.arange(prod(shape), dtype=np.int64).reshape(shape)), dtype=np.int64)


def take(builder: GraphBuilder, x: str, index: Array, source: str) -> str:
    """x.flatten()[index]; a reshape, or x itself, where the index keeps all elements in their order."""
    shape = builder.shape(x)
    in_order = index.size == prod(shape) and np.array_equal(index.ravel(), np.arange(index.size))
    if in_order:
        return reshape(builder, x, index.shape, source)
    return builder.add("take", [x], {"index": builder.constant(f"{source}.index", index.astype(np.int64))}, source=source)


def reshape(builder: GraphBuilder, x: str, shape: Sequence[int], source: str) -> str:
    """x in another shape, in C order; x itself where it has that shape already."""
    shape = tuple(shape)
    return x if builder.shape(x) == shape else builder.add("reshape", [x], attrs={"shape": shape}, source=source)


def transpose(builder: GraphBuilder, x: str, perm: Sequence[int], source: str) -> str:
    """x with its axes permuted; x itself where none moves."""
    perm = tuple(perm)
    return x if perm == tuple(range(len(perm))) else builder.add("transpose", [x], attrs={"perm": perm}, source=source)


def broadcast(builder: GraphBuilder, x: str, shape: Shape, source: str) -> str:
    """x repeated to `shape` by numpy's rules; x itself where it has that shape already."""
    return take(builder, x, take_index(builder.shape(x), lambda index: np.broadcast_to(index, shape)), source)


# --- arithmetic -----------------------------------------------------------------------------------------------------------------


def constant(builder: GraphBuilder, value: Constant, name: str) -> str:
    """The name of a constant, stored under `name` if it is a value."""
    if isinstance(value, str):
        return value
    return builder.constant(name, value.simplest if isinstance(value, DoubleDouble) else np.asarray(value))


def scale(builder: GraphBuilder, x: str, factor: Constant, source: str) -> str:
    """x * factor, with numpy broadcasting both ways."""
    return _with_constant(builder, "scale", x, "factor", factor, source)


def shift(builder: GraphBuilder, x: str, offset: Constant, source: str) -> str:
    """x + offset, with numpy broadcasting both ways."""
    return _with_constant(builder, "shift", x, "offset", offset, source)


def _with_constant(builder: GraphBuilder, op: str, x: str, role: str, value: Constant, source: str) -> str:
    name = constant(builder, value, f"{source}.{role}")
    shape = broadcast_shapes(builder.shape(x), builder.constant_shape(name))
    return builder.add(op, [broadcast(builder, x, shape, f"{source}.broadcast")], {role: name}, source=source)


def constant_node(builder: GraphBuilder, x: str, value: Constant, source: str) -> str:
    """A constant as a node that the input does not reach, zero padding plus the value: for operations whose other operands depend on
    the network's input, as x does."""
    name = constant(builder, value, f"{source}.value")
    shape = builder.constant_shape(name)
    one = take(builder, x, np.zeros(1, np.int64), f"{source}.take")
    padded = builder.add("pad", [one], attrs={"before": (0,), "after": (1,), "value": 0.0}, source=f"{source}.pad")
    zeros = take(builder, padded, np.ones(shape or (1,), np.int64), f"{source}.zero")  # bounds need an axis, also of one number
    return reshape(builder, shift(builder, zeros, name, source), shape, f"{source}.number")


def gather(builder: GraphBuilder, nodes: Sequence[str], constants: Sequence[Constant], index: Array, source: str) -> str:
    """Elements of several nodes and constants, by flat positions that count through all nodes first and then through the constants.

    At least one element has to be that of a node.
    """
    names = [constant(builder, value, f"{source}.value") for value in constants]
    sizes = [prod(builder.shape(x)) for x in nodes] + [prod(builder.constant_shape(name)) for name in names]
    starts = np.cumsum([0, *sizes])
    found = np.searchsorted(starts, index, side="right") - 1
    found = np.where(index < starts[found] + np.asarray(sizes)[found], found, -1)
    used = np.unique(found)
    if len(used) == 1 and used[0] < len(nodes):
        return take(builder, nodes[used[0]], index - starts[used[0]], source)
    pieces: dict[str, list[tuple[Array, Array]]] = {}
    for i in used:
        at = np.flatnonzero(found == i)
        whole = nodes[i] if i < len(nodes) else constant_node(builder, nodes[0], names[i - len(nodes)], f"{source}.constant")
        for origin, places, positions in _origins(builder, whole, at, index.ravel()[at] - starts[i]):
            pieces.setdefault(origin, []).append((places, positions))
    return _collected(builder, pieces, index.shape, source)


def _origins(builder: GraphBuilder, x: str, places: Array, positions: Array) -> Iterator[tuple[str, Array, Array]]:
    """Elements of a node at flat positions, as elements of the nodes that it takes them from; with each the place it goes to."""
    node = builder.node(x)
    fixed = [builder.fixed(name) for name in node.params.values()]
    if node.op == "reshape":
        yield from _origins(builder, node.inputs[0], places, positions)
    elif node.op == "take" and all(isinstance(value, np.ndarray) for value in fixed):
        yield from _origins(builder, node.inputs[0], places, fixed[0].ravel()[positions])
    elif node.op == "concat" and len(node.shape) == 1:
        start = 0
        for part in node.inputs:
            end = start + builder.shape(part)[0]
            own = (positions >= start) & (positions < end)
            if own.any():
                yield from _origins(builder, part, places[own], positions[own] - start)
            start = end
    else:
        yield x, places, positions


def _collected(builder: GraphBuilder, pieces: Mapping[str, list[tuple[Array, Array]]], shape: Shape, source: str) -> str:
    """A node whose elements at the places are those of other nodes at the positions."""
    index, start, parts = np.zeros(prod(shape), np.int64), 0, []
    for x, elements in pieces.items():
        for places, positions in elements:
            index[places] = start + positions
        parts.append(x)
        start += prod(builder.shape(x))
    if len(parts) == 1:
        return take(builder, parts[0], index.reshape(shape), source)
    flat = [reshape(builder, x, (prod(builder.shape(x)),), f"{source}.flat") for x in parts]
    return take(builder, builder.add("concat", flat, attrs={"axis": 0}, source=f"{source}.parts"), index.reshape(shape), source)


def matmul(builder: GraphBuilder, x: str, weight: str, source: str) -> str:
    """x @ weight for a weight of several matrices, whose leading axes broadcast against those of x."""
    shape, rank = builder.shape(x), len(builder.constant_shape(weight))
    lifted = reshape(builder, x, (*(1,) * (rank - len(shape)), *shape), f"{source}.lifted")
    return builder.add("matmul", [lifted], {"weight": weight}, source=source)


def negate(builder: GraphBuilder, x: str, source: str) -> str:
    """-x"""
    return scale(builder, x, -1.0, source)


def combine(builder: GraphBuilder, op: str, x: str, y: str, source: str) -> str:
    """x op y for two nodes and op one of add, sub, mul, with numpy broadcasting; x * x is a square."""
    if op == "mul" and x == y:
        return builder.add("square", [x], source=source)
    x, y = _same_shape(builder, x, y, source)
    return builder.add(op, [x, y], source=source)


def divide(builder: GraphBuilder, x: str, y: str, source: str) -> str:
    """x / y for two nodes, as x * (1 / y)."""
    inverse = builder.add("reciprocal", [y], source=f"{source}.reciprocal")
    return combine(builder, "mul", x, inverse, source)


def maximum(builder: GraphBuilder, x: str, y: str, source: str) -> str:
    """The larger of two nodes, element by element, with numpy broadcasting."""
    pair = _same_shape(builder, x, y, source)
    shape = builder.shape(pair[0])
    parts = [reshape(builder, part, (1, *shape), f"{source}.row") for part in pair]
    both = builder.add("concat", parts, attrs={"axis": 0}, source=f"{source}.concat")
    return builder.add("reduce_max", [both], attrs={"axes": (0,), "keepdims": False}, source=source)


def minimum(builder: GraphBuilder, x: str, y: str, source: str) -> str:
    """The smaller of two nodes, element by element, with numpy broadcasting."""
    x, y = (negate(builder, part, f"{source}.negated") for part in (x, y))
    return negate(builder, maximum(builder, x, y, f"{source}.maximum"), source)


def at_least(builder: GraphBuilder, x: str, floor: Constant, source: str) -> str:
    """max(x, floor) for a constant, as relu(x - floor) + floor."""
    return _clamp_to(builder, x, floor, 1.0, source)


def at_most(builder: GraphBuilder, x: str, ceiling: Constant, source: str) -> str:
    """min(x, ceiling) for a constant, as ceiling - relu(ceiling - x)."""
    return _clamp_to(builder, x, ceiling, -1.0, source)


def _clamp_to(builder: GraphBuilder, x: str, limit: Constant, sign: float, source: str) -> str:
    name = constant(builder, limit, f"{source}.limit")
    away = builder.combine(f"{source}.away", lambda value: -sign * value, name, shape=builder.constant_shape(name))
    oriented = x if sign > 0 else negate(builder, x, f"{source}.negated")
    excess = builder.add("relu", [shift(builder, oriented, away, f"{source}.excess")], source=f"{source}.relu")
    signed = excess if sign > 0 else negate(builder, excess, f"{source}.excess_negated")
    return shift(builder, signed, name, source)


def prelu(builder: GraphBuilder, x: str, slope: Constant, source: str) -> str:
    """x above zero, slope * x below. A slope that no double holds scales a ReLU: a nonlinear rule takes its numbers for exact."""
    if isinstance(slope, DoubleDouble) and not slope.exact:
        below = builder.add("relu", [negate(builder, x, f"{source}.negated")], source=f"{source}.below")
        scaled = scale(builder, below, slope, f"{source}.scaled")
        return builder.add("sub", [builder.add("relu", [x], source=f"{source}.above"), scaled], source=source)
    return builder.add("prelu", [x], {"slope": constant(builder, slope, f"{source}.slope")}, source=source)


def truncate(builder: GraphBuilder, x: str, source: str) -> str:
    """x rounded towards zero: floor(max(x, 0)) - floor(max(-x, 0)), of which one is zero."""
    sides = [x, negate(builder, x, f"{source}.negated")]
    whole = [
        builder.add("floor", [builder.add("relu", [side], source=f"{source}.relu")], source=f"{source}.floor") for side in sides
    ]
    return builder.add("sub", whole, source=source)


def _same_shape(builder: GraphBuilder, x: str, y: str, source: str) -> tuple[str, str]:
    shape = broadcast_shapes(builder.shape(x), builder.shape(y))
    return broadcast(builder, x, shape, f"{source}.broadcast"), broadcast(builder, y, shape, f"{source}.broadcast")


# --- reductions -----------------------------------------------------------------------------------------------------------------


def reduce(builder: GraphBuilder, op: str, x: str, axes: Sequence[int], keepdims: bool, source: str) -> str:
    """reduce_sum or reduce_max over axes, which may be negative; a reshape where they all have size one."""
    shape = builder.shape(x)
    axes = normalise_axes(axes, len(shape))
    if all(shape[axis] == 1 for axis in axes):
        return reshape(builder, x, tuple(n for axis, n in enumerate(shape) if keepdims or axis not in axes), source)
    return builder.add(op, [x], attrs={"axes": axes, "keepdims": keepdims}, source=source)


def reduce_mean(builder: GraphBuilder, x: str, axes: Sequence[int], keepdims: bool, source: str) -> str:
    """The mean over axes."""
    count = prod(builder.shape(x)[axis] for axis in normalise_axes(axes, len(builder.shape(x))))
    return scale(builder, reduce(builder, "reduce_sum", x, axes, keepdims, f"{source}.sum"), exactly(count).reciprocal(), source)


def reduce_min(builder: GraphBuilder, x: str, axes: Sequence[int], keepdims: bool, source: str) -> str:
    """The minimum over axes."""
    largest = reduce(builder, "reduce_max", negate(builder, x, f"{source}.negated"), axes, keepdims, f"{source}.max")
    return negate(builder, largest, source)


# --- convolution and BatchNorm --------------------------------------------------------------------------------------------------


def pad(builder: GraphBuilder, x: str, before: Sequence[int], after: Sequence[int], value: float, source: str) -> str:
    """Constant padding of every axis; x itself where nothing is added. Negative amounts, which crop, are a take."""
    shape = builder.shape(x)
    if min((*before, *after), default=0) < 0:
        inner = tuple(slice(max(-b, 0), n - max(-a, 0)) for n, b, a in zip(shape, before, after, strict=True))
        x = take(builder, x, take_index(shape, lambda index: index[inner]), f"{source}.crop")
        before, after = [max(b, 0) for b in before], [max(a, 0) for a in after]
    if not any(before) and not any(after):
        return x
    attrs = {"before": tuple(before), "after": tuple(after), "value": float(value)}
    return builder.add("pad", [x], attrs=attrs, source=source)


def conv(
    builder: GraphBuilder,
    x: str,
    weight: str,
    bias: str | None,
    *,
    stride: Sequence[int],
    before: Sequence[int],
    after: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    source: str,
) -> str:
    """A convolution of (n, c, *space) padded with zeros, by different amounts before and after each axis if need be."""
    padding = tuple(before)
    if padding != tuple(after):
        x = pad(builder, x, (0, 0, *before), (0, 0, *after), 0.0, f"{source}.pad")
        padding = (0,) * len(padding)
    params = {"weight": weight} if bias is None else {"weight": weight, "bias": bias}
    attrs = {"stride": tuple(stride), "padding": padding, "dilation": tuple(dilation), "groups": groups}
    return builder.add("conv", [x], params, attrs, source=source)


def batch_norm(
    builder: GraphBuilder, x: str, gamma: str | None, beta: str | None, mean: str, variance: str, epsilon: float, source: str
) -> str:
    """BatchNorm with fixed statistics over axis 1: gamma * (x - mean) / sqrt(variance + epsilon) + beta (arXiv 1502.03167).

    Both shifts are the constants as stored; passes merge them where the result can be known.
    """
    rank = len(builder.shape(x))
    channels = builder.constant_shape(mean)[0]
    shape = (channels, *(1,) * (rank - 2))
    gamma = gamma or builder.constant(f"{source}.gamma", np.ones(channels))
    beta = beta or builder.constant(f"{source}.beta", np.zeros(channels))

    def factor(gamma, variance):  # type: ignore[no-untyped-def]
        return (gamma * (variance + epsilon) ** -0.5).reshape(shape)

    centre = builder.combine(f"{source}.centre", lambda mean: (-mean).reshape(shape), mean, shape=shape)
    stretch = builder.combine(f"{source}.factor", factor, gamma, variance, shape=shape)
    offset = builder.combine(f"{source}.offset", lambda beta: beta.reshape(shape), beta, shape=shape)
    scaled = scale(builder, shift(builder, x, centre, f"{source}.shift"), stretch, f"{source}.scale")
    return shift(builder, scaled, offset, source)
