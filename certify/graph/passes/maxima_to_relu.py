"""max(a, b) = b + relu(a - b): maxima as functions of one variable, whose neurons a search can split.

Not part of `normalise`: bounds of the maximum itself are the better ones before anything is split.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from certify.graph.graph import Graph, Node
from certify.graph.passes.rewrite import Draft, sweep


def maxima_to_relu(graph: Graph) -> Graph:
    """The same function, exactly, with the members of every maximum compared in pairs by relu."""
    return sweep(graph, _rewrite)


def _rewrite(draft: Draft, node: Node) -> None:
    if node.op != "reduce_max":
        return
    nodes: list[Node] = []

    def append(op: str, *inputs: str, params: dict[str, str] | None = None) -> str:
        name = draft.fresh(f"{node.name}.{op}.{len(nodes)}")
        nodes.append(Node(name, op, inputs, node.shape, params or {}, {}, node.source))
        return name

    members = [
        append("take", node.inputs[0], params={"index": draft.constant(f"{node.name}.index", index)})
        for index in _members(draft.producer(node), node)
    ]
    while len(members) > 1:
        first, second, *rest = members
        above = append("relu", append("sub", first, second))
        members = [*rest, append("add", second, above)]
    draft.replace(node.name, *nodes[:-1], replace(nodes[-1], name=node.name))


def _members(source: Node, node: Node) -> list[np.ndarray]:
    """Flat positions of the first, second, ... member of every group, each of the node's shape."""
    axes = [axis % len(source.shape) for axis in node.attrs["axes"]]
    kept = [axis for axis in range(len(source.shape)) if axis not in axes]
    position = np.arange(int(np.prod(source.shape))).reshape(source.shape)
    groups = position.transpose(*axes, *kept).reshape(-1, *node.shape)
    return list(groups)
