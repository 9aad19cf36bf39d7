"""A scale after a scale is one scale, a shift after a shift one shift; scaling by ones and shifting by zeros is nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from certify.graph.graph import Graph, Node
from certify.graph.passes.rewrite import Draft, sweep

# operator: its constant's role, how two constants combine, and the constant that changes nothing
OPERATORS: Mapping[str, tuple[str, Callable[[Any, Any], Any], float]] = {
    "scale": ("factor", lambda a, b: a * b, 1.0),
    "shift": ("offset", lambda a, b: a + b, 0.0),
}


def merge_constants(graph: Graph) -> Graph:
    """The same function without needless scales and shifts; combined constants are computed in float64."""
    return sweep(graph, _merge)


def _merge(draft: Draft, node: Node) -> None:
    if node.op not in OPERATORS:
        return
    role, combine, neutral = OPERATORS[node.op]
    before = draft.producer(node)
    if draft.scalar(node.params[role]) == neutral:
        draft.forward(node.name)
    elif before.op == node.op and draft.private(before.name):
        constant = draft.combine(f"{node.name}.{role}", combine, before.params[role], node.params[role])
        draft.replace(node.name, replace(node, inputs=before.inputs, params={role: constant}))
