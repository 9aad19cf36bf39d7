"""log(1 + exp(x)) is softplus(x): smooth and convex, where its parts need bounds of an exponential that may overflow."""

from __future__ import annotations

from dataclasses import replace

from certify.graph.graph import Graph, Node
from certify.graph.passes.rewrite import Draft, sweep


def fuse_softplus(graph: Graph) -> Graph:
    """The same function with log(1 + exp(x)) as softplus."""
    return sweep(graph, _fuse)


def _fuse(draft: Draft, node: Node) -> None:
    if node.op != "log":
        return
    plus = draft.producer(node)
    if plus.op != "shift" or not draft.equals(plus.params["offset"], 1.0):
        return
    exponential = draft.producer(plus)
    if exponential.op == "exp":
        draft.replace(node.name, replace(node, op="softplus", inputs=exponential.inputs))
