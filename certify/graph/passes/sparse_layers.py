"""Linear layers whose weights are nearly all zero, as sums of a few scaled elements: a row costs what it has, not its length.

Not part of `normalise`: linear layers are what other passes and dense kernels know best.
"""

from __future__ import annotations

import numpy as np

from certify.graph.graph import Graph, Node
from certify.graph.passes.emitter import Emitter
from certify.graph.passes.rewrite import Draft, sweep

_WORTH = 16  # times fewer weights than a dense layer has


def sparse_layers(graph: Graph) -> Graph:
    """The same function, exactly, with take, scale and sum in the place of linear layers over a vector whose rows are short."""
    return sweep(graph, _rewrite)


def _rewrite(draft: Draft, node: Node) -> None:
    if node.op != "linear" or len(node.shape) != 2 or node.shape[0] != 1:
        return
    weight = draft.array(node.params["weight"])
    bias = draft.array(node.params["bias"]) if "bias" in node.params else np.zeros(node.shape[1])
    if weight is None or bias is None:
        return
    most = max(1, int((weight != 0).sum(axis=1).max()))
    if most * _WORTH > weight.shape[1]:
        return
    # Stable: the elements of a row that are not zero come first, in their order.
    index = np.argsort(weight == 0, axis=1, kind="stable")[:, :most]
    emitter = Emitter(draft, node)
    taken = emitter.take(node.inputs[0], index[None])
    scaled = emitter.add("scale", taken, params={"factor": np.take_along_axis(weight, index, axis=1)[None]})
    total = emitter.add("reduce_sum", scaled, axes=(2,), keepdims=False)
    emitter.add("shift", total, params={"offset": bias[None]})
    emitter.finish()
