"""Two linear layers with nothing between them are one, where that one is no larger."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from certify.graph.graph import Graph, Node
from certify.graph.passes.rewrite import Draft, known, sweep

_WORK = 2**23


def merge_layers(graph: Graph) -> Graph:
    """The same function with linear after linear multiplied out, unless the product has more elements than both, or takes long.

    No digits are lost, see `fold_affine`; this is why it may take long.
    """
    return sweep(graph, _merge)


def _merge(draft: Draft, node: Node) -> None:
    if node.op != "linear":
        return
    first = draft.producer(node)
    if first.op != "linear" or not draft.private(first.name) or not _smaller(draft, first, node) or not _quick(draft, first, node):
        return
    constants: dict[str, str | None] = {**node.params}
    constants["weight"] = draft.combine(f"{node.name}.weight", lambda w, v: w @ v, node.params["weight"], first.params["weight"])
    if "bias" in first.params:
        own = [node.params["bias"]] if "bias" in node.params else []
        constants["bias"] = draft.combine(f"{node.name}.bias", _carried, node.params["weight"], first.params["bias"], *own)
    params = known(constants)
    if params is not None:
        draft.replace(node.name, replace(node, inputs=first.inputs, params=params))


def _carried(weight: Any, bias: Any, *own: Any) -> Any:
    """What the second layer makes of the bias of the first, and its own bias."""
    return sum(own, (weight @ bias.reshape(-1, 1)).reshape(-1))


def _quick(draft: Draft, first: Node, second: Node) -> bool:
    """Whether the product takes about a second at most; that of live weights is computed elsewhere, and fast."""
    weight = draft.array(second.params["weight"])
    return weight is None or int(np.count_nonzero(weight)) * draft.shape(first.params["weight"])[1] <= _WORK


def _smaller(draft: Draft, first: Node, second: Node) -> bool:
    shapes = [draft.shape(first.params["weight"]), draft.shape(second.params["weight"])]
    return shapes[1][0] * shapes[0][1] <= sum(prod(shape) for shape in shapes)
