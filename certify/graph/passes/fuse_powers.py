"""A product of a node with itself is a square: one curved function of one variable, with tight lines, instead of a product."""

from __future__ import annotations

from dataclasses import replace

from certify.graph.graph import Graph, Node
from certify.graph.passes.rewrite import Draft, sweep

LARGEST = 2.0**52  # sums of exponents up to this are exact


def fuse_powers(graph: Graph) -> Graph:
    """The same function with x * x as square, and products of whole positive powers of one node as pow."""
    return sweep(graph, _fuse)


def _fuse(draft: Draft, node: Node) -> None:
    if node.op != "mul":
        return
    left, right = (_powers(draft, name) for name in node.inputs)
    shared = [(left[base] + right[base], base) for base in left.keys() & right.keys()]
    if shared:
        exponent, base = max(shared)
        op, attrs = ("square", {}) if exponent == 2 else ("pow", {"exponent": float(exponent)})
        draft.replace(node.name, replace(node, op=op, inputs=(base,), attrs=attrs))


def _powers(draft: Draft, name: str) -> dict[str, int]:
    """The nodes that this one is a whole positive power of, itself included, and the exponents."""
    node = draft.node(name)
    exponent = float({"square": 2.0, "pow": node.attrs.get("exponent", 0.0)}.get(node.op, 0.0))
    if not exponent.is_integer() or not 1 <= exponent <= LARGEST:
        return {name: 1}
    return {name: 1, node.inputs[0]: int(exponent)}
