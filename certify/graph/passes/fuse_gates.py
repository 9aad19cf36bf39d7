"""x * gate(x) becomes one function of one variable: SiLU, HardSwish, Mish and both forms of GELU, as exporters spell them out.

A product of two variables has only loose lines, and here its two factors are the same x. With g the function that is recognised,
every spelling is factor * g(stretch * x) for some two numbers, which are known to twice the digits of a double and rounded once, like
every constant (see `fold_affine`): what is recognised is exactly the same function. A spelling that is only nearly one keeps its parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from certify.graph.double_double import DoubleDouble, exactly
from certify.graph.graph import Graph, Node
from certify.graph.passes.polynomials import Polynomial, as_polynomial, plus, polynomial, times, vanishes
from certify.graph.passes.rewrite import Draft, sweep

ONE = exactly(1.0)
PI = DoubleDouble(np.array(3.141592653589793), np.array(1.2246467991473532e-16), np.array(2.0**-108))
ROOT_OF_2 = exactly(2.0).inverse_root() * 2.0

CUBICS = (0.04, 0.05)
"""Coefficients of gelu_tanh's cubic for which its shape is known (`operators/elementwise/gates.py`), around 0.044715."""


@dataclass(frozen=True)
class Gate:
    """A node whose value is factor * op(stretch * x) / (stretch * x)."""

    op: str
    factor: DoubleDouble
    stretch: DoubleDouble
    attrs: Mapping[str, Any] = field(default_factory=dict)


def fuse_gates(graph: Graph) -> Graph:
    """The same function with products of a node and a gate of that node as silu, hard_swish, mish, gelu or gelu_tanh."""
    return sweep(graph, _fuse)


def _fuse(draft: Draft, node: Node) -> None:
    if node.op != "mul":
        return
    for base, outside, gate in _readings(draft, node):
        # outside * x * factor * op(stretch * x) / (stretch * x): scales by one are dropped by a later pass
        factor = outside * gate.factor * gate.stretch.reciprocal()
        if not (factor.accurate and gate.stretch.accurate):
            continue
        stretched, gated = (draft.fresh(f"{node.name}.{step}") for step in ("stretched", gate.op))
        draft.replace(
            node.name,
            _scaled(draft, node, stretched, base, gate.stretch),
            replace(node, name=gated, op=gate.op, inputs=(stretched,), attrs=gate.attrs),
            _scaled(draft, node, node.name, gated, factor),
        )
        return


def _scaled(draft: Draft, like: Node, name: str, source: str, factor: DoubleDouble) -> Node:
    constant = draft.constant(f"{name}.factor", factor.simplest)
    return replace(like, name=name, op="scale", inputs=(source,), params={"factor": constant}, attrs={})


def _readings(draft: Draft, product: Node) -> Iterator[tuple[str, DoubleDouble, Gate]]:
    """Every way to read a product as outside * x * gate(x): the node x, the number outside, the gate."""
    for value, other in (product.inputs, product.inputs[::-1]):
        for base, f in _multiples(draft, value):
            for name, g in _multiples(draft, other):
                gate = _gate(draft, name, base)
                if gate is not None:
                    yield base, f * g, gate


def _multiples(draft: Draft, name: str) -> Iterator[tuple[str, DoubleDouble]]:
    """The nodes that this one is a multiple of, itself first, and by what number."""
    factor: DoubleDouble | None = ONE
    while factor is not None:
        yield name, factor
        node = draft.node(name)
        own = draft.number(node.params["factor"]) if node.op == "scale" else None
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


def _slope(argument: Polynomial) -> DoubleDouble | None:
    """k, where the argument is k * x."""
    return argument[1] if len(argument) == 2 and vanishes(argument[0]) else None


def _straight(op: str, factor: DoubleDouble = ONE, stretch: DoubleDouble = ONE) -> Callable[..., Gate | None]:
    """A gate that depends on k * x alone: factor * op(stretch * k * x) / (stretch * k * x)."""

    def read(draft: Draft, chain: Sequence[Node], argument: Polynomial) -> Gate | None:
        slope = _slope(argument)
        return None if slope is None else Gate(op, factor, stretch * slope)

    return read


def _after_adding_one(read: Callable[..., Gate | None]) -> Callable[..., Gate | None]:
    """A gate of the form 1 + f(x)."""
    return lambda draft, chain, argument: read(draft, chain, argument) if draft.equals(chain[0].params["offset"], 1.0) else None


def _mish(draft: Draft, chain: Sequence[Node], argument: Polynomial) -> Gate | None:
    """tanh(softplus(x)), for the softplus of beta = 1.

    torch's softplus is x itself beyond a threshold t. From 20 on that makes no difference that counts: tanh rises from x to
    softplus(x) by at most (softplus(x) - x) / cosh(x)^2 <= e^-x 4 e^-2x <= 4 e^-60 < 2^-84, of a value next to 1, and the error granted to
    every value of mish is 2^31 times that in double precision.
    """
    attrs = chain[1].attrs
    if float(attrs.get("beta", 1.0)) != 1 or not float(attrs.get("threshold", 20.0)) >= 20:
        return None
    return _straight("mish")(draft, chain, argument)


def _clipped(low: float, high: float, line: Polynomial) -> Gate | None:
    """clip(line, 0, m) with line(0) = m / 2 is m * hard_swish(y) / y at y = 6 * slope / m * x."""
    if low != 0 or not 0 < high < np.inf or len(line) != 2 or not vanishes(line[0] - high / 2):
        return None
    return Gate("hard_swish", exactly(high), line[1] * 6.0 * exactly(high).reciprocal())


def _hard_sigmoid(draft: Draft, chain: Sequence[Node], argument: Polynomial) -> Gate | None:
    alpha, beta = (float(chain[0].attrs.get(name, default)) for name, default in (("alpha", 0.2), ("beta", 0.5)))
    return _clipped(0.0, 1.0, plus(times(argument, polynomial(alpha)), polynomial(beta)))


def _clip(draft: Draft, chain: Sequence[Node], argument: Polynomial) -> Gate | None:
    low, high = (float(chain[0].attrs.get(name, default)) for name, default in (("min", -np.inf), ("max", np.inf)))
    return _clipped(low, high, argument)


def _tanh_gate(draft: Draft, chain: Sequence[Node], argument: Polynomial) -> Gate | None:
    """1 + tanh(a x + b x^3) = 2 gelu_tanh(y) / y at y = a / r * x, r = sqrt(2 / pi), with the cubic b r^2 / a^3.

    gelu_tanh(y) = y / 2 (1 + tanh(r (y + cubic * y^3))); 0.044715 is the paper's cubic (arXiv 1606.08415, section 2), and what a file
    makes of it by rounding r and 0.044715 stays as the file has it.
    """
    if len(argument) != 4 or not vanishes(argument[0]) or not vanishes(argument[2]):
        return None
    a, b = argument[1], argument[3]
    cubic = b * PI.reciprocal() * 2.0 * (a * a * a).reciprocal()
    if not cubic.accurate or not CUBICS[0] <= float(cubic.high) <= CUBICS[1]:
        return None
    return Gate("gelu_tanh", exactly(2.0), a * (PI * 0.5).inverse_root().reciprocal(), {"cubic": float(cubic.high)})


# Operators of a gate, the outermost first, and how to read it given the argument of the innermost as a polynomial in x.
GATES: Mapping[tuple[str, ...], Callable[..., Gate | None]] = {
    ("sigmoid",): _straight("silu"),
    ("tanh", "softplus"): _mish,
    ("shift", "erf"): _after_adding_one(_straight("gelu", exactly(2.0), ROOT_OF_2)),  # 1 + erf(x) = 2 Phi(sqrt(2) x)
    ("shift", "tanh"): _after_adding_one(_tanh_gate),
    ("hard_sigmoid",): _hard_sigmoid,
    ("clip",): _clip,
}
