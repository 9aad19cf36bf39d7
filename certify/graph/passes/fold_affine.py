"""Scales and shifts per channel (BatchNorm is one of each) move into the weight and bias of the layer next to them.

Guaranteed of every fixed constant that a model computes of others (`certify.graph.exact`), or a pass, here and in `merge_constants` and
`merge_layers`: each element is within two units, 2 * 2^-53, of relative error of its real value, that of the formula on the constants as
the model stores them. Sums may cancel, and constants be folded again and again, without losing digits: until `normalise` rounds them,
once, at its end, they are pairs of doubles with a bound of their error (`DoubleDouble`), and a few of them fractions. Where even these
cannot tell the value of what a pass would compute, the nodes stay apart; of what the model itself computes, it is refused. The exception
is what depends on live parameters: that is derived anew in the dtype of each evaluation, and each of its operations rounds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from certify.graph.graph import Graph, Node, Shape
from certify.graph.passes.rewrite import Draft, known, sweep

Fold = Callable[[Any, Any, Node], Any]
Folded = Mapping[str, "str | None"]
"""New constants by role, None for those that cannot be known well enough."""


@dataclass(frozen=True)
class Layer:
    """How a layer's constants take up a vector with one number per channel: `(weight, vector, node) -> new constant`.

    axis           the axis of channels, in the input and in the output.
    scaled_output  weight of x -> factor * layer(x).
    scaled_input   weight of x -> layer(factor * x).
    shifted_input  what layer(x + offset) adds to the bias.
    """

    axis: int
    scaled_output: Fold
    scaled_input: Fold
    shifted_input: Fold


def _along(vector: Any, axis: int, rank: int) -> Any:
    return vector.reshape(*(-1 if i == axis else 1 for i in range(rank)))


def _grouped(weight: Any, node: Node) -> Any:
    """(groups, filters of a group, channels of a filter, *kernel): what a group's channels meet is then an axis of its own."""
    groups = node.attrs["groups"]
    return weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])


def _times_second(weight: Any, vector: Any, node: Node) -> Any:
    """The weight times a factor for each channel of its second axis, of which every group has its own."""
    grouped, groups = _grouped(weight, node), node.attrs["groups"]
    return grouped * vector.reshape(groups, 1, -1, *(1,) * (len(grouped.shape) - 3))


def _conv_input(weight: Any, vector: Any, node: Node) -> Any:
    return _times_second(weight, vector, node).reshape(*weight.shape)


def _conv_offset(weight: Any, vector: Any, node: Node) -> Any:
    product = _times_second(weight, vector, node)
    return product.sum(tuple(range(2, len(product.shape)))).reshape(-1)


LAYERS: Mapping[str, Layer] = {
    "linear": Layer(
        axis=-1,
        scaled_output=lambda weight, factor, node: weight * _along(factor, 0, 2),
        scaled_input=lambda weight, factor, node: weight * _along(factor, 1, 2),
        shifted_input=lambda weight, offset, node: (weight * _along(offset, 1, 2)).sum(1),
    ),
    "conv": Layer(
        axis=1,
        scaled_output=lambda weight, factor, node: weight * _along(factor, 0, len(weight.shape)),
        scaled_input=_conv_input,
        shifted_input=_conv_offset,
    ),
    "conv_transpose": Layer(
        axis=1,
        scaled_output=_conv_input,
        scaled_input=lambda weight, factor, node: weight * _along(factor, 0, len(weight.shape)),
        shifted_input=_conv_offset,
    ),
}


def fold_affine(graph: Graph) -> Graph:
    """The same function with per-channel scales and shifts inside the linear, conv and conv_transpose nodes next to them."""
    return sweep(sweep(graph, _fold_after), _fold_before)


def _fold_after(draft: Draft, node: Node) -> None:
    """layer, then scale or shift."""
    if node.op not in ("scale", "shift"):
        return
    before = draft.producer(node)
    layer = LAYERS.get(before.op)
    if layer is None or not draft.private(before.name):
        return
    (constant,) = node.params.values()
    vector = _channel_vector(draft, constant, node.shape, layer.axis)
    if vector is None:
        return
    fold = _scale_output if node.op == "scale" else _shift_output
    params = known({**before.params, **fold(draft, layer, before, vector)})
    if params is not None:
        draft.replace(node.name, replace(before, name=node.name, source=node.source, params=params))


def _scale_output(draft: Draft, layer: Layer, node: Node, factor: str) -> Folded:
    weight = draft.combine(f"{node.name}.weight", lambda w, f: layer.scaled_output(w, f, node), node.params["weight"], factor)
    if "bias" not in node.params:
        return {"weight": weight}
    return {"weight": weight, "bias": draft.combine(f"{node.name}.bias", lambda b, f: b * f, node.params["bias"], factor)}


def _shift_output(draft: Draft, layer: Layer, node: Node, offset: str) -> Folded:
    if "bias" not in node.params:
        return {"bias": offset}
    return {"bias": draft.combine(f"{node.name}.bias", lambda b, s: b + s, node.params["bias"], offset)}


def _fold_before(draft: Draft, node: Node) -> None:
    """scale or shift, then layer. A shift cannot pass the zeros of a padding, nor a transposed convolution's borders."""
    layer = LAYERS.get(node.op)
    if layer is None:
        return
    before = draft.producer(node)
    passable = {"scale": True, "shift": node.op != "conv_transpose" and not any(node.attrs.get("padding", ()))}
    if not passable.get(before.op) or not draft.private(before.name):
        return
    (constant,) = before.params.values()
    vector = _channel_vector(draft, constant, before.shape, layer.axis)
    if vector is None:
        return
    fold = _scale_input if before.op == "scale" else _shift_input
    params = known({**node.params, **fold(draft, layer, node, vector)})
    if params is not None:
        draft.replace(node.name, replace(node, inputs=before.inputs, params=params))


def _scale_input(draft: Draft, layer: Layer, node: Node, factor: str) -> Folded:
    return {
        "weight": draft.combine(f"{node.name}.weight", lambda w, f: layer.scaled_input(w, f, node), node.params["weight"], factor)
    }


def _shift_input(draft: Draft, layer: Layer, node: Node, offset: str) -> Folded:
    def bias(weight: Any, offset: Any, *own: Any) -> Any:
        return sum(own, layer.shifted_input(weight, offset, node))

    own = [node.params["bias"]] if "bias" in node.params else []
    return {"bias": draft.combine(f"{node.name}.bias", bias, node.params["weight"], offset, *own)}


def _channel_vector(draft: Draft, constant: str, shape: Shape, axis: int) -> str | None:
    """The constant as a vector with one entry per channel of a tensor of `shape`, or None where it varies along other axes.

    One number for all channels is spread over them where it is fixed; a live one stays a node of its own.
    """
    axis, own = axis % len(shape), draft.shape(constant)
    aligned = (1,) * (len(shape) - len(own)) + own
    if any(n != 1 for i, n in enumerate(aligned) if i != axis):
        return None
    if aligned[axis] == shape[axis]:
        return constant if len(own) == 1 else draft.move(f"{constant}.channels", lambda c: c.reshape(-1), constant)
    if draft.array(constant) is None:
        return None
    return draft.move(f"{constant}.channels", lambda c: np.full(shape[axis], c.item(), c.dtype), constant)
