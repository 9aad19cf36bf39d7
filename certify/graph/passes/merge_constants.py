"""A scale after a scale is one scale, a shift after a shift one shift; scaling by ones and shifting by zeros is nothing.

Of a shift on both sides of a scale, as BatchNorm is (x - mean) * factor + beta, only the one behind it remains. No digits are lost: see
`fold_affine`.
"""

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
    """The same function without needless scales and shifts, as far as the constants of fewer can be known."""
    return sweep(sweep(graph, _merge), _move_behind)


def _merge(draft: Draft, node: Node) -> None:
    if node.op not in OPERATORS:
        return
    role, combine, neutral = OPERATORS[node.op]
    before = draft.producer(node)
    if draft.equals(node.params[role], neutral):
        draft.forward(node.name)
    elif before.op == node.op and draft.private(before.name):
        constant = draft.combine(f"{node.name}.{role}", combine, before.params[role], node.params[role])
        if constant is not None:
            draft.replace(node.name, replace(node, inputs=before.inputs, params={role: constant}))


def _move_behind(draft: Draft, node: Node) -> None:
    """shift, scale, shift: (x + a) * f + b = x * f + (a * f + b)."""
    if node.op != "shift":
        return
    scale = draft.producer(node)
    if scale.op != "scale" or not draft.private(scale.name):
        return
    first = draft.producer(scale)
    if first.op != "shift" or not draft.private(first.name):
        return
    factor = scale.params["factor"]
    constants = (first.params["offset"], factor, node.params["offset"])
    offset = draft.combine(f"{node.name}.offset", lambda a, f, b: a * f + b, *constants)
    if offset is not None:
        name = draft.fresh(f"{scale.name}.first")
        draft.replace(
            node.name, replace(scale, name=name, inputs=first.inputs), replace(node, inputs=(name,), params={"offset": offset})
        )
