"""Output shapes of the canonical operators: the vocabulary of the graph, in one table.

An operator that is not listed is elementwise: one input, and its shape. Shapes are of one element, without the engine's batch axis.

| operator | inputs, params | attrs | meaning |
|---|---|---|---|
| linear | x; weight (out, in), bias (out)? | | x @ weight.T + bias on the last axis |
| matmul | x; weight (..., k, n) | | x @ weight, numpy broadcasting of leading axes; x has as many axes as weight, or more |
| conv | x (n, c, *space); weight, bias? | stride, padding, dilation, groups | padding equal on both sides, else a `pad` before |
| conv_transpose | x; weight, bias? | stride, padding, output_padding, dilation, groups | as torch |
| scale, shift | x; factor or offset | | x * factor, x + offset; the constant broadcasts to x's shape, never the reverse |
| add, sub, mul | x, y of equal shape | | |
| reshape | x | shape | C order |
| transpose | x | perm | |
| take | x; index (int64, any shape) | | x.flatten()[index]: slice, split, gather, expand, tile, nearest resize, pooling windows |
| concat | x, y, ... | axis | |
| pad | x | before, after, value | constant padding, per axis; negative amounts never occur (they are a take) |
| reduce_sum, reduce_max | x | axes (sorted, >= 0), keepdims | |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

from certify.graph.graph import Shape

LARGEST = 2**25
"""Elements of the largest tensor that is computed, 256 MiB in double precision: more is taken for a damaged model, before it is
allocated. A picture of 224 by 224 in 64 channels has a tenth of that."""

MOST_WORK = 2**36
"""Multiplications in one convolution; VGG's largest has 2^31."""

ShapeRule = Callable[[Sequence[Shape], Mapping[str, Shape], Mapping[str, Any]], Shape]


def _conv(inputs: Sequence[Shape], params: Mapping[str, Shape], attrs: Mapping[str, Any]) -> Shape:
    (n, channels, *space), weight = inputs[0], params["weight"]
    if channels != weight[1] * attrs["groups"]:
        raise ValueError(f"the input has {channels} channels and the weight wants {weight[1] * attrs['groups']}")
    out = [
        (size + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1
        for size, pad, dilation, kernel, stride in zip(
            space, attrs["padding"], attrs["dilation"], weight[2:], attrs["stride"], strict=True
        )
    ]
    return _within_reach((n, weight[0], *out), prod(weight[1:]))


def _within_reach(shape: Shape, terms: int) -> Shape:
    """The shape of a convolution's output, whose elements sum so many terms each; a ValueError where that is too much work."""
    if prod(require_size(shape)) * terms > MOST_WORK:
        raise ValueError(f"has an output of shape {list(shape)} and sums {terms} terms for each element; the model may be damaged")
    return shape


def _conv_transpose(inputs: Sequence[Shape], params: Mapping[str, Shape], attrs: Mapping[str, Any]) -> Shape:
    (n, channels, *space), weight = inputs[0], params["weight"]
    if channels != weight[0]:
        raise ValueError(f"the input has {channels} channels and the weight wants {weight[0]}")
    out = [
        (size - 1) * stride - 2 * pad + dilation * (kernel - 1) + extra + 1
        for size, stride, pad, dilation, kernel, extra in zip(
            space, attrs["stride"], attrs["padding"], attrs["dilation"], weight[2:], attrs["output_padding"], strict=True
        )
    ]
    return _within_reach((n, weight[1] * attrs["groups"], *out), prod(weight[2:]) * weight[0] // attrs["groups"])


def _linear(inputs: Sequence[Shape], params: Mapping[str, Shape], attrs: Mapping[str, Any]) -> Shape:
    out, features = params["weight"]
    if inputs[0][-1] != features:
        raise ValueError(f"the input has {inputs[0][-1]} features and the weight wants {features}")
    return (*inputs[0][:-1], out)


def _matmul(inputs: Sequence[Shape], params: Mapping[str, Shape], attrs: Mapping[str, Any]) -> Shape:
    x, weight = inputs[0], params["weight"]
    if len(x) < len(weight):
        raise ValueError(f"the weight {list(weight)} has more axes than the input {list(x)}; reshape the input to as many")
    if x[-1] != weight[-2]:
        raise ValueError(f"cannot multiply {list(x)} by {list(weight)}")
    return (*broadcast(x[:-2], weight[:-2]), x[-2], weight[-1])


def _same(inputs: Sequence[Shape], params: Mapping[str, Shape], attrs: Mapping[str, Any]) -> Shape:
    if any(shape != inputs[0] for shape in inputs):
        raise ValueError(f"operands have different shapes {[list(s) for s in inputs]}; broadcast them with `take` first")
    for name, shape in params.items():
        if broadcast(inputs[0], shape) != inputs[0]:
            raise ValueError(f"{name} of shape {list(shape)} does not broadcast into {list(inputs[0])}")
    return inputs[0]


def _reshape(inputs: Sequence[Shape], params: Mapping[str, Shape], attrs: Mapping[str, Any]) -> Shape:
    shape = tuple(attrs["shape"])
    if prod(shape) != prod(inputs[0]):
        raise ValueError(f"cannot reshape {list(inputs[0])} into {list(shape)}")
    return shape


def _concat(inputs: Sequence[Shape], params: Mapping[str, Shape], attrs: Mapping[str, Any]) -> Shape:
    axis, shape = attrs["axis"], list(inputs[0])
    shape[axis] = sum(s[axis] for s in inputs)
    if any(s[:axis] + s[axis + 1 :] != inputs[0][:axis] + inputs[0][axis + 1 :] for s in inputs):
        raise ValueError(f"cannot concatenate {[list(s) for s in inputs]} on axis {axis}")
    return tuple(shape)


def _reduce(inputs: Sequence[Shape], params: Mapping[str, Shape], attrs: Mapping[str, Any]) -> Shape:
    axes, keep = attrs["axes"], attrs["keepdims"]
    return tuple(1 if i in axes else n for i, n in enumerate(inputs[0]) if keep or i not in axes)


def broadcast(left: Shape, right: Shape) -> Shape:
    """The shape that numpy broadcasting gives; a ValueError where there is none."""
    rank = max(len(left), len(right))
    pairs = zip((1,) * (rank - len(left)) + tuple(left), (1,) * (rank - len(right)) + tuple(right), strict=True)
    out = []
    for a, b in pairs:
        if a != b and 1 not in (a, b):
            raise ValueError(f"shapes {list(left)} and {list(right)} do not broadcast")
        out.append(b if a == 1 else a)
    return tuple(out)


SHAPES: Mapping[str, ShapeRule] = {
    "linear": _linear,
    "matmul": _matmul,
    "conv": _conv,
    "conv_transpose": _conv_transpose,
    "reshape": _reshape,
    "transpose": lambda inputs, params, attrs: tuple(inputs[0][axis] for axis in attrs["perm"]),
    "take": lambda inputs, params, attrs: params["index"],
    "concat": _concat,
    "pad": lambda inputs, params, attrs: tuple(
        n + b + a for n, b, a in zip(inputs[0], attrs["before"], attrs["after"], strict=True)
    ),
    "reduce_sum": _reduce,
    "reduce_max": _reduce,
}


def output_shape(op: str, inputs: Sequence[Shape], params: Mapping[str, Shape], attrs: Mapping[str, Any]) -> Shape:
    """Shape of `op` applied to tensors of these shapes; a ValueError says why the shapes do not fit, or that they are too large."""
    return require_size(SHAPES.get(op, _same)(inputs, params, attrs))


def require_size(shape: Sequence[int], largest: int = LARGEST) -> Shape:
    """The shape as plain numbers; a ValueError where an axis is negative or there are more elements than `largest`."""
    sizes = tuple(int(size) for size in shape)
    if min(sizes, default=0) < 0:
        raise ValueError(f"asks for a tensor of shape {list(sizes)}; the model may be damaged")
    if prod(sizes) > largest:
        raise ValueError(f"asks for a tensor of shape {list(sizes)}, of more than {largest} elements; the model may be damaged")
    return sizes
