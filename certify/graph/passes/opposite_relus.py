"""relu(-z) = relu(z) - z: of two neurons with opposite inputs one is left.

That holds where one input is exactly the other's negative: constants that were rounded (`Graph.rounded`) are not compared.

Networks that compute minima and maxima by four neurons each (two-level lattices) then have one for each, and their linear part is exact
in every bound. Not part of `normalise`: it turns a chain of layers into a graph with branches.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from certify.graph.graph import Graph, Node
from certify.graph.passes.emitter import Emitter
from certify.graph.passes.rewrite import Draft, sweep

Layer = tuple[NDArray[np.float64], NDArray[np.float64]]


def opposite_relus(graph: Graph) -> Graph:
    """The same function, with linear, relu, linear rewritten where rows of the first are the negative of others.

    Of such a pair z and relu(z) go on, with weights that are sums of two old ones, rounded once.
    """
    return sweep(graph, _rewrite)


def _rewrite(draft: Draft, node: Node) -> None:
    layers = _layers(draft, node)
    if layers is None:
        return
    source, (weight, bias), (outer, outer_bias) = layers
    kept, opposite = _pairs(np.column_stack([weight, bias]))
    paired = opposite >= 0
    if not paired.any():
        return
    # v relu(z) + w relu(-z) = (v + w) relu(z) - w z
    bent = outer[:, kept] + np.where(paired, outer[:, opposite], 0)  # exact numbers: the sum's one rounding is relative
    straight = -outer[:, opposite[paired]]
    used = np.flatnonzero((bent != 0).any(axis=0))
    emitter = Emitter(draft, node)
    z = emitter.linear(source, weight[kept], bias[kept])
    parts = [emitter.take(z, np.flatnonzero(paired)[None])]
    if len(used):
        parts.append(emitter.add("relu", emitter.take(z, used[None])))
    joined = emitter.add("concat", *parts, axis=1) if len(parts) > 1 else parts[0]
    emitter.linear(joined, np.hstack([straight, bent[:, used]]), outer_bias)
    emitter.finish()


def _layers(draft: Draft, node: Node) -> tuple[str, Layer, Layer] | None:
    """What the first layer reads, and both layers around a relu that nothing else reads; None if `node` is no such second layer."""
    if node.op != "linear" or len(node.shape) != 2 or node.shape[0] != 1:
        return None
    relu = draft.producer(node)
    if relu.op != "relu" or not draft.private(relu.name):
        return None
    first = draft.producer(relu)
    if first.op != "linear" or not draft.private(first.name):
        return None
    inner, outer = _layer(draft, first), _layer(draft, node)
    return None if inner is None or outer is None else (first.inputs[0], inner, outer)


def _layer(draft: Draft, node: Node) -> Layer | None:
    """Weight and bias; None where they are live, or were rounded."""
    weight = draft.exact(node.params["weight"])
    bias = draft.exact(node.params["bias"]) if "bias" in node.params else np.zeros(node.shape[1])
    return None if weight is None or bias is None else (weight, bias)


def _pairs(rows: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The rows to keep, and for each of them the number of a row that is its negative and is not kept, or -1."""
    waiting: dict[bytes, list[int]] = {}
    partner = np.full(len(rows), -1, dtype=np.intp)
    dropped = np.zeros(len(rows), dtype=bool)
    for i, (row, negative) in enumerate(zip(rows + 0.0, 0.0 - rows, strict=True)):
        matches = waiting.get(negative.tobytes())
        if matches:
            partner[matches.pop()], dropped[i] = i, True
        else:
            waiting.setdefault(row.tobytes(), []).append(i)
    kept = np.flatnonzero(~dropped)
    return kept, partner[kept]
