"""Two linear layers with nothing between them are one, where that one is no larger."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from certify.graph.graph import Graph, Node
from certify.graph.passes.rewrite import Draft, sweep


def merge_layers(graph: Graph) -> Graph:
    """The same function with linear after linear multiplied out, in float64, unless the product has more elements than both."""
    return sweep(graph, _merge)


def _merge(draft: Draft, node: Node) -> None:
    if node.op != "linear":
        return
    first = draft.producer(node)
    if first.op != "linear" or not draft.private(first.name) or not _smaller(draft, first, node):
        return
    params = {"weight": draft.combine(f"{node.name}.weight", lambda w, v: w @ v, node.params["weight"], first.params["weight"])}
    bias = node.params.get("bias")
    if "bias" in first.params:
        weight_and_bias = (node.params["weight"], first.params["bias"])
        carried = draft.combine(f"{node.name}.bias", lambda w, b: (w * b.reshape(1, -1)).sum(1), *weight_and_bias)
        bias = carried if bias is None else draft.combine(f"{node.name}.bias", lambda b, c: b + c, bias, carried)
    draft.replace(node.name, replace(node, inputs=first.inputs, params=params if bias is None else {**params, "bias": bias}))


def _smaller(draft: Draft, first: Node, second: Node) -> bool:
    shapes = [draft.shape(first.params["weight"]), draft.shape(second.params["weight"])]
    return shapes[1][0] * shapes[0][1] <= sum(prod(shape) for shape in shapes)
