"""Reads a small piece of a graph as a polynomial in one of its nodes, however it is spelled."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from numpy.polynomial import Polynomial

from certify.graph.graph import Node
from certify.graph.passes.rewrite import Draft

DEPTH = 8  # no spelling is longer, and the search doubles at every sum
DEGREE = 3


def as_polynomial(draft: Draft, name: str, base: str, depth: int = DEPTH) -> Polynomial | None:
    """The node as a polynomial of degree at most 3 in the node `base`, the same for all elements; None where it is none."""
    if name == base:
        return Polynomial([0.0, 1.0])
    node = draft.node(name)
    if depth == 0 or node.op not in OPERATIONS:
        return None
    constants = [draft.scalar(constant) for constant in node.params.values()]
    parts = [as_polynomial(draft, name, base, depth - 1) for name in node.inputs]
    if any(part is None for part in (*parts, *constants)):
        return None
    value = OPERATIONS[node.op](node, *parts, *constants)
    return None if value is None or value.degree() > DEGREE else value.trim()


def _power(node: Node, x: Polynomial) -> Polynomial | None:
    exponent = node.attrs["exponent"]
    return x ** int(exponent) if exponent in range(1, DEGREE + 1) else None


OPERATIONS: Mapping[str, Callable[..., Polynomial | None]] = {
    "scale": lambda node, x, factor: x * factor,
    "shift": lambda node, x, offset: x + offset,
    "add": lambda node, x, y: x + y,
    "sub": lambda node, x, y: x - y,
    "mul": lambda node, x, y: x * y,
    "square": lambda node, x: x**2,
    "pow": _power,
}
