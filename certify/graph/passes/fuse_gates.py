"""x * gate(x) becomes one function of one variable: SiLU, HardSwish, Mish and both forms of GELU, as exporters spell them out.

A product of two variables has only loose lines, and here its two factors are the same x. With g the function that is recognised,
every spelling is factor * g(stretch * x) for some two numbers, so that constants are kept exactly as the file rounds them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import isclose, pi, sqrt
from typing import NamedTuple

import numpy as np
from numpy.polynomial import Polynomial

from certify.graph.graph import Graph, Node
from certify.graph.passes.polynomials import as_polynomial
from certify.graph.passes.rewrite import Draft, sweep

FLOAT32_ROUNDING = 2.0**-23


class Gate(NamedTuple):
    """A node whose value is factor * op(stretch * x) / (stretch * x)."""

    op: str
    factor: float
    stretch: float


def fuse_gates(graph: Graph) -> Graph:
    """The same function with products of a node and a gate of that node as silu, hard_swish, mish, gelu or gelu_tanh.

    Two constants may differ from those that the operator means, by their rounding in float32: 0.79788456 and 0.044715 of gelu_tanh.
    """
    return sweep(graph, _fuse)


def _fuse(draft: Draft, node: Node) -> None:
    if node.op != "mul":
        return
    for base, outside, gate in _readings(draft, node):
        # outside * x * factor * op(stretch * x) / (stretch * x): scales by one are dropped by a later pass
        stretch, factor = (np.array(c) for c in (gate.stretch, outside * gate.factor / gate.stretch))
        stretched, gated = (draft.fresh(f"{node.name}.{step}") for step in ("stretched", gate.op))
        draft.replace(
            node.name,
            _scaled(draft, node, stretched, base, stretch),
            replace(node, name=gated, op=gate.op, inputs=(stretched,)),
            _scaled(draft, node, node.name, gated, factor),
        )
        return


def _scaled(draft: Draft, like: Node, name: str, source: str, factor: np.ndarray) -> Node:
    return replace(like, name=name, op="scale", inputs=(source,), params={"factor": draft.constant(f"{name}.factor", factor)})


def _readings(draft: Draft, product: Node) -> Iterator[tuple[str, float, Gate]]:
    """Every way to read a product as outside * x * gate(x): the node x, the number outside, the gate."""
    for value, other in (product.inputs, product.inputs[::-1]):
        for base, f in _multiples(draft, value):
            for name, g in _multiples(draft, other):
                gate = _gate(draft, name, base)
                if gate is not None:
                    yield base, f * g, gate


def _multiples(draft: Draft, name: str) -> Iterator[tuple[str, float]]:
    """The nodes that this one is a multiple of, itself first, and by what number."""
    factor: float | None = 1.0
    while factor is not None:
        yield name, factor
        node = draft.node(name)
        own = draft.scalar(node.params["factor"]) if node.op == "scale" else None
        factor = None if own is None else factor * own
        name = node.inputs[0] if node.inputs else name


def _gate(draft: Draft, name: str, base: str) -> Gate | None:
    """How the node gates x, the value of the node `base`; None where it does not."""
    for ops, read in GATES.items():
        chain = _chain(draft, name, ops)
        argument = as_polynomial(draft, chain[-1].inputs[0], base) if chain else None
        gate = read(draft, chain, argument) if argument is not None else None
        if gate is not None:
            return gate
    return None


def _chain(draft: Draft, name: str, ops: Sequence[str]) -> list[Node]:
    """The node and the producers above it, if their operators are these; else nothing."""
    chain: list[Node] = []
    for op in ops:
        node = draft.node(name)
        if node.op != op:
            return []
        chain.append(node)
        name = node.inputs[0]
    return chain


def _slope(argument: Polynomial) -> float | None:
    """k, where the argument is k * x."""
    if argument.degree() != 1 or argument.coef[0] != 0:
        return None
    return float(argument.coef[1])


def _straight(op: str, factor: float = 1.0, stretch: float = 1.0) -> Callable[..., Gate | None]:
    """A gate that depends on k * x alone: factor * op(stretch * k * x) / (stretch * k * x)."""

    def read(draft: Draft, chain: Sequence[Node], argument: Polynomial) -> Gate | None:
        slope = _slope(argument)
        return Gate(op, factor, stretch * slope) if slope else None

    return read


def _after_adding_one(read: Callable[..., Gate | None]) -> Callable[..., Gate | None]:
    """A gate of the form 1 + f(x)."""
    return lambda draft, chain, argument: read(draft, chain, argument) if draft.scalar(chain[0].params["offset"]) == 1 else None


def _clipped(low: float, high: float, line: Polynomial) -> Gate | None:
    """clip(line, 0, m) with line(0) = m / 2 is m * hard_swish(y) / y at y = 6 * slope / m * x."""
    if low != 0 or not 0 < high < np.inf or line.degree() != 1 or line.coef[0] != high / 2:
        return None
    return Gate("hard_swish", high, 6 * float(line.coef[1]) / high)


def _hard_sigmoid(draft: Draft, chain: Sequence[Node], argument: Polynomial) -> Gate | None:
    attrs = chain[0].attrs
    return _clipped(0.0, 1.0, attrs["alpha"] * argument + attrs["beta"])


def _tanh_gate(draft: Draft, chain: Sequence[Node], argument: Polynomial) -> Gate | None:
    """1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)) is 2 * gelu_tanh(x) / x (arXiv:1606.08415, section 2)."""
    wanted = sqrt(2 / pi) * np.array([0, 1, 0, 0.044715])
    if argument.degree() != 3:
        return None
    close = (isclose(a, b, rel_tol=4 * FLOAT32_ROUNDING) for a, b in zip(argument.coef, wanted, strict=True))
    return Gate("gelu_tanh", 2.0, 1.0) if all(close) else None


# Operators of a gate, the outermost first, and how to read it given the argument of the innermost as a polynomial in x.
GATES: Mapping[tuple[str, ...], Callable[..., Gate | None]] = {
    ("sigmoid",): _straight("silu"),
    ("tanh", "softplus"): _straight("mish"),
    ("shift", "erf"): _after_adding_one(_straight("gelu", factor=2.0, stretch=sqrt(2))),  # 1 + erf(x) = 2 Phi(sqrt(2) x)
    ("shift", "tanh"): _after_adding_one(_tanh_gate),
    ("hard_sigmoid",): _hard_sigmoid,
    ("clip",): lambda draft, chain, argument: _clipped(chain[0].attrs["min"], chain[0].attrs["max"], argument),
}
